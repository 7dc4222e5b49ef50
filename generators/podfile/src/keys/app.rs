//! `[app.NAME]` and the tables in it.

use super::pod::LIMITS;
use super::{Form, Key, Rule, Table, Takes};

/// `[app.NAME]`.
pub(crate) const APP: Table = Table {
    keys: &[
        Key::new(
            "image",
            Takes::Text(Form::Image),
            "An image in the store: example.com/app:1.0, or with @sha256:… exactly that one. Never \
             fetched by a start: rocket fetch it first.",
        )
        .required(),
        Key::new(
            "exec",
            Takes::Command(false),
            "Program and arguments, no shell. A program without / is searched in the app's PATH. \
             Without it: the image's.",
        ),
        Key::new(
            "user",
            Takes::Scalar(Form::Account, 0, 4_294_967_294),
            "A name, which is looked up in the image, a number, or a path of the image whose owner \
             is meant. Without it: the image's.",
        ),
        Key::new(
            "group",
            Takes::Scalar(Form::Account, 0, 4_294_967_294),
            "A name, a number, or a path of the image whose group is meant. Without it: the \
             image's, or the main group of user.",
        ),
        Key::new(
            "supplementary-groups",
            Takes::Scalars(Form::Account, 0, 4_294_967_294),
            "Exactly these further groups. Without it: the image's.",
        ),
        Key::new(
            "working-directory",
            Takes::Text(Form::Path),
            "Where the program starts; has to be there. Without it: the image's, or /.",
        ),
        Key::new(
            "environment",
            Takes::Map(Form::Variable, &Takes::Text(Form::Any)),
            "Variables, over the image's and those of environment-files. Values are never expanded.",
        ),
        Key::new(
            "environment-files",
            Takes::List(Form::Path),
            "Files of the host with NAME=value lines, under environment.",
        ),
        Key::new(
            "pre-start",
            Takes::Command(true),
            "A handler that runs before each run of the app and has to end with 0; [] is none. \
             Without it: the image's.",
        ),
        Key::new(
            "post-stop",
            Takes::Command(true),
            "A handler that runs after each run of the app; [] is none. Without it: the image's.",
        ),
        Key::new(
            "kind",
            Takes::Words(&["service", "oneshot"]),
            "A oneshot runs to its end, and what comes after it waits for that.",
        )
        .default("\"service\""),
        Key::new(
            "after",
            Takes::List(Form::Name),
            "Apps of this pod: this one starts when each of them is ready, or over for good.",
        ),
        Key::new(
            "requires",
            Takes::List(Form::Name),
            "Apps of this pod: this one starts when each of them is ready, and runs only while none \
             of them is over for good.",
        ),
        Key::new(
            "restart",
            Takes::Words(&["no", "on-failure", "always"]),
            "Restart of the app, in a pod that lives on. To restart the whole pod: [unit] restart.",
        )
        .default("\"no\""),
        Key::new(
            "restart-delay",
            Takes::Scalar(Form::Time, 0, MOST_SECONDS),
            "The first pause before a restart; each further one is twice as long.",
        )
        .default("\"100ms\""),
        Key::new(
            "restart-max-delay",
            Takes::Scalar(Form::Time, 0, MOST_SECONDS),
            "The longest pause before a restart.",
        )
        .default("\"1min\""),
        Key::new(
            "restart-limit",
            Takes::Text(Form::RestartLimit),
            "COUNT/TIME: after so many restarts within so much time the app has failed.",
        )
        .default("\"5/10min\""),
        Key::new(
            "ready",
            Takes::Either(&[Takes::Words(&["exec", "notify"]), Takes::Table(&READY)]),
            "When the app is ready: when its program was executed, when it says so, or when a probe \
             succeeds.",
        )
        .default("\"exec\""),
        Key::new("health", Takes::Table(&HEALTH), "A probe that is repeated while the app runs."),
        Key::new(
            "stop-signal",
            Takes::Either(&[Takes::Scalar(Form::Signal, 1, 31), Takes::Number(34, 64)]),
            "Asks the app to stop. Without it: the image's, or SIGTERM.",
        ),
        Key::new(
            "stop-timeout",
            Takes::Scalar(Form::Time, 0, MOST_SECONDS),
            "From the stop signal to SIGKILL, and the most that post-stop may take.",
        )
        .default("\"10s\""),
        Key::new(
            "credentials",
            Takes::List(Form::Name),
            "Which of [credentials] the app may read.",
        ),
        Key::new(
            "mounts",
            Takes::Map(
                Form::MountTarget,
                &Takes::Either(&[Takes::Text(Form::Name), Takes::Table(&MOUNT)]),
            ),
            "Volumes at paths of the app: \"/path\" = \"volume\".",
        ),
        Key::new("limits", Takes::Table(&LIMITS), "Limits of this app alone."),
        Key::new("security", Takes::Table(&APP_SECURITY), "What the app may do."),
    ],
    rules: &[Rule::Not([("kind", "\"oneshot\""), ("restart", "\"always\"")])],
};

/// More seconds than these are no time span in microseconds.
pub(super) const MOST_SECONDS: i64 = 18_446_744_073_709;

/// `security` of an app.
pub(crate) const APP_SECURITY: Table = Table {
    keys: &[
        Key::new(
            "capabilities",
            Takes::List(Form::Capability),
            "Exactly these; [] is none. Without it: what the image asks for.",
        ),
        Key::new(
            "no-new-privileges",
            Takes::Boolean,
            "Set-uid programs and file capabilities give nothing.",
        )
        .default("true"),
        Key::new(
            "read-only",
            Takes::Boolean,
            "The root file system cannot be written; volumes stay as they are.",
        )
        .default("false"),
        Key::new(
            "seccomp",
            Takes::Words(&["default", "image", "none"]),
            "Which system calls there are: rocket's list, which an image can only make smaller; what \
             the image asks for; all of them.",
        )
        .default("\"default\""),
        Key::new(
            "devices",
            Takes::List(Form::Device),
            "Device nodes of the host that the app has too, to read and write.",
        )
        .default("[]"),
        Key::new(
            "rlimits",
            Takes::Table(&RLIMITS),
            "Limits of setrlimit(2): one value, or \"SOFT:HARD\". Without one: the service \
             manager's.",
        ),
        Key::new(
            "oom-score-adj",
            Takes::Scalar(Form::OomScore, -1000, 1000),
            "The higher, the sooner the kernel kills the app when memory runs out.",
        ),
        Key::new(
            "apparmor",
            Takes::Text(Form::Profile),
            "Name of an AppArmor profile that the host has loaded.",
        ),
        Key::new(
            "selinux",
            Takes::Text(Form::Context),
            "The SELinux context that the app runs in: user:role:type:level.",
        ),
    ],
    rules: &[],
};

const BYTES: Takes = Takes::Scalar(Form::RlimitBytes, 0, i64::MAX);
const COUNT: Takes = Takes::Scalar(Form::RlimitCount, 0, i64::MAX);

/// `security.rlimits` of an app.
pub(crate) const RLIMITS: Table = Table {
    keys: &[
        Key::new("as", BYTES, "Address space, in bytes."),
        Key::new("core", BYTES, "Size of a core file, in bytes."),
        Key::new("cpu", COUNT, "CPU time, in seconds."),
        Key::new("data", BYTES, "Data segment, in bytes."),
        Key::new("fsize", BYTES, "Size of a file, in bytes."),
        Key::new("locks", COUNT, "Number of file locks."),
        Key::new("memlock", BYTES, "Locked memory, in bytes."),
        Key::new("msgqueue", BYTES, "POSIX message queues, in bytes."),
        Key::new("nice", COUNT, "Ceiling of the nice value: 20 minus this."),
        Key::new("nofile", COUNT, "Number of open files."),
        Key::new("nproc", COUNT, "Number of processes of the user."),
        Key::new("rss", BYTES, "Resident memory, in bytes; without effect since Linux 2.4."),
        Key::new("rtprio", COUNT, "Highest real-time priority."),
        Key::new("rttime", COUNT, "Real-time CPU time without a pause, in microseconds."),
        Key::new("sigpending", COUNT, "Number of queued signals."),
        Key::new("stack", BYTES, "Size of the stack, in bytes."),
    ],
    rules: &[],
};

/// A mount written as a table.
pub(crate) const MOUNT: Table = Table {
    keys: &[
        Key::new("volume", Takes::Text(Form::Name), "Name of a volume of this pod.").required(),
        Key::new("read-only", Takes::Boolean, "This app cannot write to it.").default("false"),
    ],
    rules: &[],
};

const PORT: Takes = Takes::Number(1, 65535);
const TCP: Key = Key::new("tcp", PORT, "A port that accepts a connection.");
const HTTP: Key = Key::new("http", PORT, "A port that answers an HTTP request with 2xx or 3xx.");
const PATH: Key =
    Key::new("path", Takes::Text(Form::UrlPath), "Path of the HTTP request.").default("\"/\"");
const COMMAND: Key = Key::new("command", Takes::Command(false), "Run inside the app; ends with 0.");
const PROBE: Rule = Rule::One(&["tcp", "http", "command"]);

/// `ready`.
pub(crate) const READY: Table = Table { keys: &[TCP, HTTP, PATH, COMMAND], rules: &[PROBE] };

/// `health`.
pub(crate) const HEALTH: Table = Table {
    keys: &[
        TCP,
        HTTP,
        PATH,
        COMMAND,
        Key::new(
            "interval",
            Takes::Scalar(Form::Time, 0, MOST_SECONDS),
            "Pause between two probes.",
        )
        .default("\"30s\""),
        Key::new("timeout", Takes::Scalar(Form::Time, 0, MOST_SECONDS), "Of one probe.")
            .default("\"5s\""),
        Key::new(
            "retries",
            Takes::Number(1, 1000),
            "Failures in a row that make the app unhealthy.",
        )
        .default("3"),
    ],
    rules: &[PROBE],
};
