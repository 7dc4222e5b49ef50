//! The top of the file, and the tables below it that are not an app's.

use super::app::{APP, MOST_SECONDS};
use super::{Form, Key, Rule, Table, Takes};

/// Keys at the top.
pub(crate) const TOP: Table = Table {
    keys: &[
        Key::new("version", Takes::Number(1, 1), "Version of the grammar.").default("1"),
        Key::new("description", Takes::Text(Form::Description), "What systemctl shows: one line."),
        Key::new(
            "network",
            Takes::Either(&[
                Takes::Words(&["host", "none", "default", "restricted"]),
                Takes::List(Form::Name),
            ]),
            "The host's network, or a loopback of the pod's own and nothing else.",
        )
        .required(),
        Key::new("hostname", Takes::Text(Form::Hostname), "Without it: the pod's name."),
        Key::new(
            "dns",
            Takes::Either(&[Takes::Words(&["host", "none"]), Takes::Table(&DNS)]),
            "What /etc/resolv.conf of the apps is. Without it: the host's on its network, else none.",
        ),
        Key::new(
            "hosts",
            Takes::Either(&[
                Takes::Words(&["host"]),
                Takes::Map(Form::Domain, &Takes::Text(Form::Address)),
            ]),
            "What /etc/hosts of the apps has besides the loopback and the pod's own name: NAME = \
             \"address\", or the host's.",
        ),
        Key::new("flavour", Takes::Text(Form::Name), "Which stage1 runs the pod.")
            .default("\"ns\""),
        Key::new(
            "exit-policy",
            Takes::Text(Form::ExitPolicy),
            "When the pod ends: when an app has failed, only with the last app, or with the app \
             NAME, however that ends.",
        )
        .default("\"any-failure\""),
        Key::new(
            "log",
            Takes::Words(&["stream", "fields"]),
            "How the apps' lines reach the journal.",
        )
        .default("\"stream\""),
        Key::new(
            "app",
            Takes::Tables(&APP),
            "[app.NAME], one or more: the programs of the pod, started in the order of writing, \
             which after and requires change.",
        )
        .required(),
        Key::new("volume", Takes::Tables(&VOLUME), "[volume.NAME]: what apps mount."),
        Key::new("port", Takes::Tables(&PORT), "[port.NAME]: where apps listen."),
        Key::new("limits", Takes::Table(&LIMITS), "Limits around the whole pod."),
        Key::new("security", Takes::Table(&POD_SECURITY), "Security of the whole pod."),
        Key::new(
            "sysctls",
            Takes::Map(Form::Sysctl, &Takes::Scalar(Form::SysctlValue, i64::MIN, i64::MAX)),
            "Kernel settings of the pod's own namespaces, the names in quotes.",
        ),
        Key::new(
            "credentials",
            Takes::Tables(&CREDENTIAL),
            "Secrets, which apps read by name: from a path, encrypted or not, or written here.",
        ),
        Key::new("unit", Takes::Table(&UNIT), "What only systemd acts on."),
        Key::new("schedule", Takes::Table(&SCHEDULE), "When a timer starts the pod."),
    ],
    rules: &[],
};

/// `[dns]`.
pub(crate) const DNS: Table = Table {
    keys: &[
        Key::new("servers", Takes::List(Form::Address), "nameserver lines.").default("[]"),
        Key::new("search", Takes::List(Form::Domain), "Domains that are searched.").default("[]"),
        Key::new("options", Takes::List(Form::DnsOption), "As in resolv.conf(5): \"ndots:2\".")
            .default("[]"),
        Key::new("domain", Takes::Text(Form::Domain), "The local domain; not beside search."),
    ],
    rules: &[Rule::NotBeside("domain", "search")],
};

const MEMORY: Takes = Takes::Scalar(Form::Memory, 0, i64::MAX);

/// `limits`.
pub(crate) const LIMITS: Table = Table {
    keys: &[
        Key::new("memory-max", MEMORY, "MemoryMax=: a size, a share of the host's, or infinity."),
        Key::new("memory-high", MEMORY, "MemoryHigh=: above it, memory is taken back by force."),
        Key::new("memory-low", MEMORY, "MemoryLow=: below it, memory is left alone."),
        Key::new("memory-swap-max", MEMORY, "MemorySwapMax=: the most swap."),
        Key::new(
            "cpu-quota",
            Takes::Text(Form::Quota),
            "CPUQuota=: a percentage of one CPU; \"200%\" is two.",
        ),
        Key::new(
            "cpu-weight",
            Takes::Scalar(Form::CpuWeight, 1, 10_000),
            "CPUWeight=: 1 to 10000, or \"idle\"; 100 is what everybody has.",
        ),
        Key::new(
            "tasks-max",
            Takes::Scalar(Form::Tasks, 1, i64::MAX),
            "TasksMax=: a number, a share of the host's maximum, or infinity.",
        ),
        Key::new("io-weight", Takes::Scalar(Form::Weight, 1, 10_000), "IOWeight=: 1 to 10000."),
        Key::new(
            "io-max",
            Takes::Map(Form::DevicePath, &Takes::Table(&IO_MAX)),
            "Bandwidth and operations by device, or by any path on its file system.",
        ),
        Key::new(
            "allowed-cpus",
            Takes::Scalar(Form::Cpus, 0, 8191),
            "AllowedCPUs=: numbers and ranges, \"0-3,5\".",
        ),
    ],
    rules: &[],
};

const RATE: Takes = Takes::Scalar(Form::Rate, 1, i64::MAX);

/// One device of `io-max`.
pub(crate) const IO_MAX: Table = Table {
    keys: &[
        Key::new("read-bandwidth", RATE, "Bytes per second; K and M are to the base of 1000."),
        Key::new("write-bandwidth", RATE, "Bytes per second; K and M are to the base of 1000."),
        Key::new("read-iops", RATE, "Operations per second."),
        Key::new("write-iops", RATE, "Operations per second."),
    ],
    rules: &[Rule::Some(&["read-bandwidth", "write-bandwidth", "read-iops", "write-iops"])],
};

/// `[security]` of the pod.
pub(crate) const POD_SECURITY: Table = Table {
    keys: &[Key::new(
        "user-namespace",
        Takes::Boolean,
        "A user namespace of the pod's own: its root and all its users are nobody on the host.",
    )
    .default("true")],
    rules: &[],
};

/// `[volume.NAME]`.
pub(crate) const VOLUME: Table = Table {
    keys: &[
        Key::new(
            "kind",
            Takes::Words(&["state", "empty", "tmpfs", "host"]),
            "state is kept, empty is new at each start, tmpfs is in memory, host is a path of the \
             host.",
        )
        .required(),
        Key::new(
            "source",
            Takes::Text(Form::Path),
            "File, directory or device node of the host; for kind = \"host\".",
        ),
        Key::new(
            "size",
            Takes::Scalar(Form::Size, 0, i64::MAX),
            "For kind = \"tmpfs\"; without it half of the memory.",
        ),
        Key::new(
            "mode",
            Takes::Text(Form::Mode),
            "Octal mode of the directory that rocket makes. Without it: the image's, or \"0755\".",
        ),
        Key::new(
            "uid",
            Takes::Number(0, 4_294_967_294),
            "Owner of the directory that rocket makes. Without it: the image's, or 0.",
        ),
        Key::new(
            "gid",
            Takes::Number(0, 4_294_967_294),
            "Group of the directory that rocket makes. Without it: the image's, or 0.",
        ),
        Key::new(
            "recursive",
            Takes::Boolean,
            "With what is mounted below source; for kind = \"host\".",
        )
        .default("true"),
        Key::new(
            "follow-symlinks",
            Takes::Boolean,
            "source may be, or go through, a symbolic link: whoever can write where the link is \
             chooses what the pod gets.",
        )
        .default("false"),
        Key::new(
            "idmap",
            Takes::Boolean,
            "Files belong inside to the ids they have on disk; false: to whom they do on the host.",
        )
        .default("true"),
        Key::new("read-only", Takes::Boolean, "For every app.").default("false"),
    ],
    rules: &[
        Rule::Only(&["source", "recursive", "follow-symlinks"], "kind", &["\"host\""]),
        Rule::Only(&["size"], "kind", &["\"tmpfs\""]),
        Rule::Only(&["mode", "uid", "gid"], "kind", &["\"state\"", "\"empty\"", "\"tmpfs\""]),
        Rule::Needs("kind", "\"host\"", "source"),
    ],
};

/// `[port.NAME]`.
pub(crate) const PORT: Table = Table {
    keys: &[
        Key::new("app", Takes::Text(Form::Line), "The app that answers.").required(),
        Key::new("port", Takes::Number(1, 65535), "Where it listens.").required(),
        Key::new("protocol", Takes::Words(&["tcp", "udp"]), "Of the port.").default("\"tcp\""),
        Key::new(
            "listen",
            Takes::List(Form::Listen),
            "Where systemd listens, as in ListenStream=; with activation = true. Without it: port.",
        ),
        Key::new("activation", Takes::Boolean, "systemd listens, and hands the socket to the app.")
            .default("false"),
    ],
    rules: &[Rule::Only(&["listen"], "activation", &["true"])],
};

/// `[credentials]`, one entry.
pub(crate) const CREDENTIAL: Table = Table {
    keys: &[
        Key::new(
            "load",
            Takes::Text(Form::CredentialSource),
            "A path, or a name in systemd's stores.",
        ),
        Key::new("load-encrypted", Takes::Text(Form::CredentialSource), "The same, encrypted."),
        Key::new("set", Takes::Text(Form::Filled), "The secret itself."),
    ],
    rules: &[Rule::One(&["load", "load-encrypted", "set"])],
};

const UNITS: Takes = Takes::List(Form::Unit);
const TIME: Takes = Takes::Scalar(Form::EndlessTime, 0, MOST_SECONDS);

/// `[unit]`.
pub(crate) const UNIT: Table = Table {
    keys: &[
        Key::new("after", UNITS, "After=: units, or pod:NAME."),
        Key::new("before", UNITS, "Before=: units, or pod:NAME."),
        Key::new("requires", UNITS, "Requires=: units, or pod:NAME. Does not imply after."),
        Key::new("wants", UNITS, "Wants=: units, or pod:NAME."),
        Key::new("conflicts", UNITS, "Conflicts=: units, or pod:NAME."),
        Key::new(
            "restart",
            Takes::Words(&["no", "on-failure", "always"]),
            "Restart=, of the whole pod.",
        )
        .default("\"on-failure\""),
        Key::new("restart-sec", TIME, "RestartSec=.").default("\"1s\""),
        Key::new("start-timeout", TIME, "TimeoutStartSec=.").default("\"90s\""),
        Key::new(
            "stop-timeout",
            TIME,
            "TimeoutStopSec=: then everything left is killed. Without it: the sum over the apps, \
             and 5 s.",
        ),
        Key::new("slice", Takes::Text(Form::Slice), "Slice=. Without it: rocket.slice."),
        Key::new("machine", Takes::Boolean, "Register with systemd-machined.").default("false"),
        Key::new("app-scopes", Takes::Boolean, "A scope for each app.").default("false"),
    ],
    rules: &[],
};

/// `[schedule]`.
pub(crate) const SCHEDULE: Table = Table {
    keys: &[
        Key::new(
            "calendar",
            Takes::List(Form::Calendar),
            "OnCalendar=: events as systemd.time(7) writes them, \"Mon..Fri 03:00\".",
        ),
        Key::new("after-boot", TIME, "OnBootSec=: once, so long after the boot."),
        Key::new("every", TIME, "OnUnitInactiveSec=: so long after the last run ended."),
        Key::new(
            "persistent",
            Takes::Boolean,
            "Persistent=: what was missed while the host was off is done at once; with calendar.",
        )
        .default("false"),
        Key::new("random-delay", TIME, "RandomizedDelaySec=. Without it: none."),
        Key::new("accuracy", TIME, "AccuracySec=. Without it: systemd's."),
    ],
    rules: &[
        Rule::Some(&["calendar", "after-boot", "every"]),
        Rule::Beside("persistent", "calendar"),
    ],
};
