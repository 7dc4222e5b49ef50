//! `docs/escape.md`, made from the code.

use crate::attempts::GROUPS;
use crate::protection::Protection;
use crate::{Attempt, Who, all};
use std::fmt::Write as _;

/// What user-mode-linux 6.1, where success is shown, cannot do at all: attempt, and what is missing.
pub const LACKING: &[(&str, &str)] = &[
    ("scheduler-fifo", "its groups for real-time scheduling have no time to give below the root"),
    ("perf-event", "`perf_event_open`"),
    ("kexec", "`kexec_load`"),
    ("iopl", "input and output ports"),
    ("ioperm", "input and output ports"),
    ("i386-call", "system calls of 32-bit programs: `int 0x80` takes the numbers of 64-bit ones"),
    ("x32-call", "system calls of x32"),
    ("kcmp", "`kcmp`"),
    ("proc-irq", "interrupts that can be moved"),
    ("sys-firmware", "firmware tables"),
    ("tioclinux", "virtual terminals"),
];

/// The page.
#[must_use]
pub fn page() -> String {
    let mut out = String::from(INTRODUCTION);
    for (subject, attempts) in GROUPS {
        let _ = write!(
            out,
            "\n## {subject}\n\n| attempt | what it tries | succeeds without |\n|---|---|---|\n"
        );
        for attempt in *attempts {
            let _ =
                writeln!(out, "| `{}` | {} | {} |", attempt.name, attempt.what, without(attempt));
        }
    }
    let _ = write!(out, "\n## What that kernel lacks\n\n{LACKS}\n");
    for (name, why) in LACKING {
        let _ = writeln!(out, "- `{name}`: {why}");
    }
    let counted = all().count();
    out.replace("{count}", &counted.to_string())
}

fn without(attempt: &Attempt) -> String {
    let names: Vec<&str> = attempt.off.iter().map(|p| Protection::name(*p)).collect();
    let who = if attempt.who == Who::User { "; as uid 1000" } else { "" };
    let place = if attempt.in_a_pod() { "" } else { "; outside of a pod" };
    format!("{}{who}{place}", names.join(", "))
}

const INTRODUCTION: &str = "# Ways out, and what stops them

`tests/escape` has a program that tries {count} ways out of a pod, or up inside it. The suite runs it in
a default pod as root and as an ordinary user, and the same by `rocket enter`: **each attempt is refused**.
So that none is a check that cannot fail, each is then shown to *succeed* without the protections named
here, all of them off and everything else on. That happens in the uml bed only, which has a kernel of its own
([tests/README.md](../tests/README.md)).

\"Outside of a pod\": what cannot be taken away from a pod, like its PID namespace, is shown with the same
program in a plain `chroot` of the same root. A protection that is not named for an attempt may stop it
as well.

This page is made by `cargo run -p rocket-escape -- table`; a test compares them.
";

const LACKS: &str = "The uml bed is user-mode-linux 6.1. There these attempts are refused inside a pod, \
and fail without the protection too, for want of the thing itself:";
