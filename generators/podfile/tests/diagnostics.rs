//! Bad pod files: what is said, and where.
#![allow(clippy::unwrap_used)]

use rocket_podfile::parse;
use std::path::Path;

const HEAD: &str = "network = \"none\"\n[app.web]\nimage = \"i\"\n";

/// `line:column: message [hint]` of everything wrong with `text`.
fn complaints(text: &str) -> Vec<String> {
    let diagnostics = parse(Path::new("x.toml"), text).err().unwrap_or_default();
    let line = |d: &rocket_podfile::Diagnostic| match &d.hint {
        Some(hint) => format!("{}:{}: {} [{hint}]", d.line, d.column, d.message),
        None => format!("{}:{}: {}", d.line, d.column, d.message),
    };
    diagnostics.iter().map(line).collect()
}

/// Each case: its name, what follows the head (its first line is line 4), the complaint.
fn check(cases: &[(&str, &str, &str)]) {
    for (name, text, expected) in cases {
        assert_eq!(complaints(&format!("{HEAD}{text}")), [*expected], "{name}");
    }
}

#[test]
fn the_smallest_pod_file_is_right() {
    assert_eq!(complaints(HEAD), Vec::<String>::new());
}

#[test]
fn unknown_and_misplaced_keys() {
    check(&[
        (
            "misspelt key",
            "exce = [\"/x\"]",
            "4:1: unknown key \"exce\" in [app.web] [did you mean \"exec\"?]",
        ),
        (
            "misspelt limit, dotted",
            "limits.memroy-max = \"1M\"",
            "4:8: unknown key \"memroy-max\" in [app.web.limits] [did you mean \"memory-max\"?]",
        ),
        (
            "misspelt limit, inline",
            "limits = { task-max = 3 }",
            "4:12: unknown key \"task-max\" in [app.web.limits] [did you mean \"tasks-max\"?]",
        ),
        (
            "key in the wrong table",
            "memory-max = \"1M\"",
            "4:1: unknown key \"memory-max\" in [app.web] [\"memory-max\" belongs in \
             [app.NAME.limits]]",
        ),
        (
            "unknown table",
            "[containers.x]",
            "4:2: unknown key \"containers\" at the top of the file",
        ),
        (
            "unset outside a drop-in",
            "[unit]\nunset = [\"after\"]",
            "5:1: unknown key \"unset\" in [unit] [unset clears keys from a drop-in, in \
             NAME.toml.d]",
        ),
    ]);
}

#[test]
fn wrong_types() {
    check(&[
        (
            "exec as a string",
            "exec = \"/bin/sh\"",
            "4:8: exec takes a list of strings, not a string [exec = [\"/bin/sh\"]]",
        ),
        ("number for a word", "kind = 1", "4:8: kind takes a string, not a number"),
        ("app as a value", "[app]\ndb = 1", "5:6: app.db takes a table, not a number"),
        ("limits as a list", "limits = []", "4:10: app.web.limits takes a table, not a list"),
        (
            "word for a boolean",
            "security.read-only = \"yes\"",
            "4:22: read-only takes true or false, not a string",
        ),
        (
            "decimals",
            "stop-timeout = 1.5",
            "4:16: stop-timeout takes a string or a whole number, not a number with decimals",
        ),
        (
            "number in an environment",
            "environment = { A = 1 }",
            "4:21: the variable \"A\" takes a string, not a number",
        ),
        (
            "a number past all bounds",
            "limits.tasks-max = 99999999999999999999999999999999999999999999",
            "4:20: tasks-max is out of range",
        ),
    ]);
}

#[test]
fn bad_values() {
    check(&[
        (
            "bad duration",
            "stop-timeout = \"5 parsecs\"",
            "4:16: \"5 parsecs\" is not a time span: no unit of time is called \"parsecs\"",
        ),
        (
            "endless stop",
            "stop-timeout = \"infinity\"",
            "4:16: this time has to end; \"infinity\" is not allowed",
        ),
        (
            "bad size",
            "limits.memory-max = \"256MB\"",
            "4:21: \"256MB\" is not a size; write bytes, or a number with K, M, G, T, P or E: \
             \"256M\"",
        ),
        (
            "bad quota",
            "limits.cpu-quota = \"half\"",
            "4:20: \"half\" is not a CPU quota; write a percentage of one CPU, 0.1% or more: \
             \"50%\", \"200%\"",
        ),
        (
            "bad signal",
            "stop-signal = \"SIGSTOPP\"",
            "4:15: \"SIGSTOPP\" is not a signal; write it like \"SIGTERM\"",
        ),
        (
            "bad capability",
            "security.capabilities = [\"net-bind-services\"]",
            "4:26: \"net-bind-services\" is not a capability that an app may have [did you mean \
             \"net-bind-service\"?]",
        ),
        ("empty exec", "exec = []", "4:8: exec is empty"),
        (
            "relative directory",
            "working-directory = \"srv\"",
            "4:21: \"srv\" is not an absolute path",
        ),
        (
            "climbing mount",
            "mounts = { \"/srv/../etc\" = \"v\" }\n[volume.v]\nkind = \"state\"",
            "4:12: \"/srv/../etc\" climbs with \"..\"",
        ),
        (
            "mount over /proc",
            "mounts = { \"/proc\" = \"v\" }\n[volume.v]\nkind = \"state\"",
            "4:12: \"/proc\" cannot be a volume: it is rocket's own",
        ),
        (
            "mount below /dev",
            "mounts = { \"/dev/data\" = \"v\" }\n[volume.v]\nkind = \"tmpfs\"",
            "4:12: \"/dev/data\" cannot be a volume: it is rocket's own",
        ),
        (
            "state in place of shared memory",
            "mounts = { \"/dev/shm\" = \"v\" }\n[volume.v]\nkind = \"state\"",
            "4:12: \"/dev/shm\" takes a volume of kind = \"tmpfs\" only",
        ),
        (
            "a tmpfs without a limit",
            "[volume.v]\nkind = \"tmpfs\"\nsize = \"0\"",
            "6:8: \"0\" would be no limit; write a size of 1 or more: \"64M\"",
        ),
        (
            "a tmpfs past all bounds",
            "[volume.v]\nkind = \"tmpfs\"\nsize = \"15E\"",
            "6:8: \"15E\" is more than a tmpfs can have; write less than \"8E\"",
        ),
        (
            "no task",
            "limits.tasks-max = \"0%\"",
            "4:20: \"0%\" would be no task at all; write \"0.01%\" or more",
        ),
        (
            "an owner that is not in the pod",
            "[volume.v]\nkind = \"state\"\nuid = 65536",
            "6:7: uid 65536 is not among the ids of the pod, 0 to 65535",
        ),
        (
            "two mounts, one place",
            "mounts = { \"/a\" = \"v\", \"/a/\" = \"v\" }\n[volume.v]\nkind = \"state\"",
            "4:24: \"/a\" is mounted twice",
        ),
        (
            "misspelt kind",
            "[volume.v]\nkind = \"tmpf\"",
            "5:8: kind is one of \"state\", \"empty\", \"tmpfs\", \"host\"; not \"tmpf\" [did you \
             mean \"tmpfs\"?]",
        ),
        (
            "mode in decimals",
            "[volume.v]\nkind = \"state\"\nmode = \"0789\"",
            "6:8: \"0789\" is not a mode; write it in octal: \"0755\"",
        ),
        (
            "size of a directory",
            "[volume.v]\nkind = \"state\"\nsize = \"1M\"",
            "6:8: size goes with kind = \"tmpfs\" only",
        ),
        (
            "bad app name",
            "[app.\"We b\"]\nimage = \"i\"",
            "4:6: \"We b\" is not a name; names are lower-case letters and digits with single \
             dashes between, at most 63 characters",
        ),
        (
            "bad unit",
            "[unit]\nafter = [\"db\"]",
            "5:10: \"db\" is not a unit's name: the type is missing, as in \
             \"network-online.target\"; a pod is \"pod:NAME\"",
        ),
        (
            "line end in the description",
            "[unit]\nslice = \"a\\nb.slice\"",
            "5:9: slice has control characters",
        ),
        (
            "io-max without a number",
            "limits.io-max = { \"/dev/sda\" = {} }",
            "4:32: io-max of \"/dev/sda\" limits nothing",
        ),
    ]);
}

#[test]
fn what_is_missing_and_what_does_not_fit() {
    let whole = [
        (
            "an empty table of apps",
            "network = \"none\"\n",
            "1:1: the pod has no app [[app.NAME] with at least image = \"…\"]",
        ),
        (
            "no image",
            "network = \"none\"\n[app.web]\nexec = [\"/x\"]",
            "2:1: the key \"image\" is missing [image = \"example.com/app:1.0\"]",
        ),
        (
            "no network",
            "[app.web]\nimage = \"i\"",
            "1:1: the key \"network\" is missing [network = \"none\" is a loopback of its own, \
             \"host\" is the host's network]",
        ),
        (
            "wrong version",
            "version = 2\nnetwork = \"none\"\n[app.web]\nimage = \"i\"",
            "1:11: this release reads version = 1",
        ),
    ];
    for (name, text, expected) in whole {
        assert_eq!(complaints(text), [expected], "{name}");
    }
    check(&[
        (
            "a mount of no volume",
            "mounts = { \"/srv\" = \"dta\" }\n[volume.data]\nkind = \"state\"",
            "4:21: there is no volume \"dta\" in this pod [did you mean \"data\"?]",
        ),
        (
            "host volume without source",
            "[volume.v]\nkind = \"host\"",
            "4:1: the key \"source\" is missing [source = \"/path/of/the/host\"]",
        ),
        (
            "ports without a network",
            "[port.http]\napp = \"web\"\nport = 80",
            "4:7: network = \"none\" has no ports: nothing outside can reach the pod [activation = \
             true has systemd listen for it]",
        ),
        (
            "two probes",
            "ready = { tcp = 1, http = 2 }",
            "4:9: ready takes exactly one of tcp, http and command",
        ),
    ]);
}

#[test]
fn duplicates_and_syntax() {
    for (name, text, line, part) in [
        ("duplicate key", "a = 1\nexec = [\"/x\"]\nexec = [\"/y\"]", 6, "duplicate key"),
        ("duplicate app", "[app.db]\nimage = \"i\"\n[app.web]\nimage = \"j\"", 6, "duplicate key"),
        ("open string", "exec = [\"/x]\n", 4, ""),
        ("not TOML", "ExecStart=/bin/sh", 4, ""),
    ] {
        let found = complaints(&format!("{HEAD}{text}"));
        let here = format!("{line}:");
        assert!(
            found.iter().any(|c| c.starts_with(&here) && c.contains(part)),
            "{name}: {found:?}"
        );
    }
    let json = complaints("{ \"acKind\": \"PodManifest\" }");
    assert!(json.iter().any(|c| c.contains("no annotation \"rocket/network\"")), "{json:?}");
}

#[test]
fn what_would_change_the_host_is_refused() {
    for (text, at, what) in [
        (
            "security.seccomp = \"unconfined\"",
            "4:20",
            "seccomp is one of \"default\", \"image\", \"none\"",
        ),
        ("security.devices = [\"/etc/passwd\"]", "4:21", "\"/etc/passwd\" is not a device node"),
        (
            "security.rlimits = { nofile = \"9:4\" }",
            "4:31",
            "nofile = \"9:4\" has a soft limit above",
        ),
        ("security.rlimits = { nofiles = 4 }", "4:22", "unknown key \"nofiles\""),
        (
            "security.oom-score-adj = 2000",
            "4:26",
            "oom-score-adj takes a number from -1000 to 1000",
        ),
        ("security.selinux = \"x\"", "4:20", "\"x\" is not a context"),
        (
            "[sysctls]\n\"kernel.core_pattern\" = \"|/x\"",
            "5:1",
            "kernel.core_pattern is not the pod's own",
        ),
        ("[sysctls]\nnet.core.somaxconn = 9", "5:1", "\"net\" is not the name of a sysctl"),
    ] {
        let found = complaints(&format!("{HEAD}{text}"));
        assert!(found.iter().any(|c| c.starts_with(&format!("{at}: {what}"))), "{what}: {found:?}");
    }
    let text =
        "network = \"host\"\n[app.web]\nimage = \"i\"\n[sysctls]\n\"net.core.somaxconn\" = 9";
    let found = complaints(text);
    assert!(found[0].starts_with("5:1: net.core.somaxconn is the host's"), "{found:?}");
}

#[test]
fn what_is_not_supported_is_named() {
    let not = "is not supported by this release";
    for (text, at, what) in [
        ("ready = \"notify\"", "4:9", "app.web.ready = \"notify\""),
        ("ready = { tcp = 80 }", "4:9", "this app.web.ready"),
        ("health = { tcp = 80 }", "4:10", "app.web.health"),
        ("[unit]\nmachine = true", "5:11", "unit.machine = true"),
        ("[unit]\napp-scopes = true", "5:14", "unit.app-scopes = true"),
    ] {
        let found = complaints(&format!("{HEAD}{text}"));
        let expected = format!("{at}: {what} {not}");
        assert!(found.iter().any(|c| c.starts_with(&expected)), "{expected}: {found:?}");
        assert!(found.iter().all(|c| !c.contains("unknown")), "{found:?}");
    }
    for (key, value) in [
        ("network", "\"default\""),
        ("network", "[\"lan\"]"),
        ("flavour", "\"vm\""),
        ("log", "\"fields\""),
    ] {
        let rest = if key == "network" { "" } else { "network = \"none\"\n" };
        let found = complaints(&format!("{key} = {value}\n{rest}[app.web]\nimage = \"i\""));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(key) && found[0].contains(not), "{found:?}");
    }
    let host =
        "network = \"host\"\n[app.web]\nimage = \"i\"\n[port.http]\napp = \"web\"\nport = 80\n";
    assert_eq!(complaints(host), Vec::<String>::new());
    assert_eq!(complaints(&format!("{host}activation = true")), Vec::<String>::new());
    assert!(complaints(&format!("{host}listen = [\"8080\"]"))[0].contains(not));
}

#[test]
fn one_pass_finds_everything_in_the_order_of_writing() {
    let text = "netwrok = \"host\"\nversion = \"1\"\n[app.web]\nimge = \"i\"\nstop-timeout = \"x\"\n\
                [volume.v]\nkind = \"disk\"\n[unit]\nafter = [\"pod:UPPER\"]\n";
    let lines: Vec<String> = complaints(text)
        .iter()
        .map(|complaint| complaint.split(": ").next().unwrap().to_owned())
        .collect();
    assert_eq!(lines, ["1:1", "2:11", "4:1", "5:16", "7:8", "9:10"]);
}

#[test]
fn groups_may_be_names_and_numbers_each_once() {
    let groups = |list: &str| complaints(&format!("{HEAD}supplementary-groups = {list}"));
    assert_eq!(groups("[\"mail\", 5, \"6\", \"/etc\"]"), Vec::<String>::new());
    assert_eq!(groups("[5, \"5\"]"), ["4:28: \"5\" is there twice"]);
    assert_eq!(
        groups("[true, -1]"),
        [
            "4:25: each entry of supplementary-groups takes a string or a whole number, not true or false",
            "4:31: \"-1\" is not a group; write a name, a number, or a path of the image whose owner is meant",
        ]
    );
}

#[test]
fn a_oneshot_that_is_never_done_is_refused() {
    let found = complaints(&format!("{HEAD}kind = \"oneshot\"\nrestart = \"always\""));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("5:11: a oneshot with restart = \"always\""), "{found:?}");
}

#[test]
fn circles_are_named() {
    let text = "network = \"none\"\n[app.a]\nimage = \"i\"\nafter = [\"b\"]\n[app.b]\nimage = \"i\"\n\
                requires = [\"a\"]\n[app.c]\nimage = \"i\"\nafter = [\"c\"]\n";
    let found = complaints(text).join("\n");
    assert!(found.contains("4:9: these apps wait for each other in a circle: a, b"), "{found}");
    assert!(found.contains("the app \"c\" names itself"), "{found}");
}

#[test]
fn schedules() {
    for (text, at, what) in [
        ("[schedule]\n", "4:1", "a schedule says when"),
        ("[schedule]\ncalendar = [\"often\"]", "5:13", "\"often\" is not a calendar event"),
        (
            "[schedule]\nevery = \"1h\"\npersistent = true",
            "6:14",
            "persistent goes with calendar only",
        ),
        ("[schedule]\nevry = \"1h\"", "5:1", "unknown key \"evry\" in [schedule]"),
    ] {
        let found = complaints(&format!("{HEAD}{text}"));
        assert!(found.iter().any(|c| c.starts_with(&format!("{at}: {what}"))), "{text}: {found:?}");
    }
    let right = "[schedule]\ncalendar = [\"Mon..Fri 03:00\", \"daily\"]\npersistent = true";
    assert_eq!(complaints(&format!("{HEAD}{right}")), Vec::<String>::new());
}
