//! Nothing in a plan goes unexplained.

use super::*;
use rocket_plan::{
    Cgroup, Credential, Descriptor, Device, DeviceKind, DeviceRule, ExitStatus, Isolator, Mount,
    MountSource, Namespaces, RestartRules, RootPlan, SeccompProgram, Socket,
};
use serde_json::Value;

/// Fields, and what lies below them, that an explanation leaves out, and why.
const NOT_EXPLAINED: &[(&str, &str)] = &[
    ("abi", "the version of the form: a plan of another cannot be read"),
    ("uuid", "chosen at the start; of a pod that was made it is in `from`"),
    ("boot-id", "filled in at the start"),
    ("descriptors", "numbers, filled in at the start"),
    ("cgroup", "who owns the cgroup is decided by who starts it"),
    ("exit-status", "follows from that"),
    ("apps.*.stdin", "follows from how it is started"),
    ("apps.*.stdout", "follows from how it is started"),
    ("apps.*.stderr", "follows from how it is started"),
    ("apps.*.terminal", "the name of a descriptor; whether there is one is told"),
    ("apps.*.sockets.*.descriptor", "the name of a descriptor"),
    ("apps.*.root.lowers.*", "names of descriptors; how many is told, and the image"),
    ("apps.*.root.upper", "the name of a descriptor"),
    ("apps.*.seccomp.program", "told as what it answers to calls"),
    ("apps.*.mounts.*.source.descriptor", "a name: told as what it is opened from"),
    ("apps.*.mounts.3.source.credentials.*.descriptor", "the name of a descriptor"),
    ("apps.*.devices.*.source", "a name: told as what it is opened from"),
];

fn isolators() -> Isolators {
    let one = |name: &str| vec![Isolator { name: name.into(), detail: "detail".into() }];
    Isolators { enforced: one("a"), changed: one("b"), ignored: one("c") }
}

fn limit() -> LimitFile {
    LimitFile {
        name: "limits.io-weight".into(),
        file: "io.weight".into(),
        value: "50".into(),
        or: vec![("io.bfq.weight".into(), "50".into())],
        changed: Some("why".into()),
        required: true,
    }
}

/// A plan with something in every field. A field that is new here is one to explain, or to name above.
fn full() -> PodPlan {
    let names = |name: &str| vec![name.to_owned()];
    let mount = |source, target: &str| Mount {
        source,
        target: target.into(),
        read_only: false,
        nosuid: false,
        nodev: false,
        noexec: false,
        lent: true,
    };
    let app = AppPlan {
        name: "web".into(),
        image_id: "sha512-00".into(),
        argv: names("/bin/web"),
        environment: names("NAME=value"),
        uid: 5,
        gid: 6,
        groups: vec![7],
        working_directory: "/srv".into(),
        capabilities: Capabilities {
            bounding: names("chown"),
            effective: names("kill"),
            permitted: names("kill"),
            inheritable: names("kill"),
            ambient: names("kill"),
        },
        securebits: 1,
        no_new_privileges: true,
        seccomp: Some(SeccompProgram {
            arch: "x86_64".into(),
            program: vec![(0x06, 0, 0, 0x7fff_0000)],
        }),
        rlimits: vec![Rlimit { resource: "nofile".into(), soft: Some(1), hard: Some(2) }],
        oom_score_adj: Some(3),
        root: RootPlan {
            lowers: names("lower:web:0"),
            upper: "upper:web".into(),
            read_only: false,
        },
        mounts: vec![
            mount(MountSource::Descriptor("volume:web:data:0".into()), "/data"),
            mount(MountSource::Tmpfs { size: Some(1), mode: 0o755 }, "/tmp"),
            mount(
                MountSource::SharedTmpfs {
                    name: "volume-run".into(),
                    size: Some(1),
                    mode: 0o755,
                    uid: 1,
                    gid: 2,
                },
                "/run",
            ),
            mount(
                MountSource::Credentials(vec![Credential {
                    name: "key".into(),
                    descriptor: "credential:key".into(),
                }]),
                "/run/credentials/web",
            ),
        ],
        devices: vec![Device { path: "/dev/null".into(), source: "device:web:null".into() }],
        device_rules: Some(vec![DeviceRule {
            kind: DeviceKind::Character,
            major: 1,
            minor: Some(3),
            mknod: false,
        }]),
        apparmor: Some("profile".into()),
        selinux: Some("context".into()),
        masked_paths: names("/proc/kcore"),
        read_only_paths: names("/proc/sys"),
        leaf: Some("app-web".into()),
        limits: vec![limit()],
        kind: Kind::Oneshot,
        after: names("db"),
        requires: names("db"),
        pre_start: Some(names("/bin/before")),
        post_stop: Some(names("/bin/after")),
        restart: Restart::OnFailure(RestartRules {
            delay_ms: 1,
            max_delay_ms: 2,
            limit_count: 3,
            limit_window_ms: 4,
        }),
        ready: Ready::Exec,
        stop_signal: 15,
        stop_timeout_ms: 10,
        stdin: Some("stdin:web".into()),
        stdout: Some("stdout:web".into()),
        stderr: Some("stderr:web".into()),
        terminal: Some("terminal:web".into()),
        sockets: vec![Socket { name: "http".into(), descriptor: "socket:web:http".into() }],
        isolators: isolators(),
    };
    PodPlan {
        abi: rocket_plan::ABI,
        features_required: names("overlay"),
        uuid: "6f1b2c1e-58b5-4cbb-9f1d-6a1d8e1f1b11".into(),
        name: Some("blog".into()),
        hostname: "blog".into(),
        boot_id: "boot".into(),
        descriptors: vec![Descriptor { name: "lock".into(), fd: 4 }],
        namespaces: Namespaces {
            network: Network::None,
            user: Some(IdMap { base: 524_288, count: 65_536 }),
        },
        cgroup: Cgroup::Unit,
        exit_status: ExitStatus::Unit,
        exit_policy: ExitPolicy::App("web".into()),
        stop_deadline_ms: 1000,
        sysctls: vec![("net.ipv4.ip_forward".into(), "1".into())],
        limits: vec![limit()],
        isolators: isolators(),
        apps: vec![app],
    }
}

fn explained(plan: &PodPlan) -> Value {
    let from = From::PodFile { files: vec!["blog.toml".into()] };
    let source = Source {
        name: "volume:web:data:0".into(),
        origin: crate::pod::sources::Origin::Host("/srv/data".into()),
        recursive: true,
        follow_symlinks: false,
        idmap: true,
    };
    let facts = Facts {
        from: &from,
        plan,
        sources: &[source],
        weakened: &["something".to_owned()],
        report: None,
        unit: &UnitView::default(),
        apps: &[],
    };
    serde_json::to_value(explain(&facts)).unwrap()
}

/// Every value without parts, as a JSON pointer.
fn leaves(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, below)| leaves(below, format!("{path}/{key}"), found));
        }
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(index, below)| leaves(below, format!("{path}/{index}"), found)),
        _ => found.push(path),
    }
}

/// Another value of the same type; several, since a name may have to be a known one.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(value) => vec![(!value).into()],
        Value::Number(number) => vec![(number.as_i64().unwrap() + 1).into()],
        Value::String(text) => {
            let known = ["block", "host", "none", "service", "aarch64", "exec"];
            known.iter().map(|word| (*word).into()).chain([format!("x{text}").into()]).collect()
        }
        _ => vec![Value::Null],
    }
}

fn named(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    NOT_EXPLAINED.iter().any(|(field, _)| {
        let field: Vec<&str> = field.split('.').collect();
        field.len() <= parts.len()
            && field.iter().zip(&parts).all(|(f, p)| f == p || (*f == "*" && number(p)))
    })
}

#[test]
fn every_field_of_a_plan_is_explained_or_named_as_left_out() {
    let plan = full();
    let json = serde_json::to_value(&plan).unwrap();
    let before = explained(&plan);
    let mut paths = Vec::new();
    leaves(&json, String::new(), &mut paths);
    assert!(paths.len() > 80, "{paths:?}");
    let mut missing = Vec::new();
    for path in paths.iter().filter(|path| !named(path)) {
        let changed = others(json.pointer(path).unwrap()).into_iter().any(|other| {
            let mut json = json.clone();
            *json.pointer_mut(path).unwrap() = other;
            serde_json::from_value::<PodPlan>(json)
                .is_ok_and(|plan| plan != full() && explained(&plan) != before)
        });
        // One value only is left to have.
        if !changed && path != "/apps/0/ready" {
            missing.push(path);
        }
    }
    assert!(missing.is_empty(), "explain, or name in NOT_EXPLAINED: {missing:?}");
}

#[test]
fn what_is_left_out_is_in_the_plan() {
    let mut paths = Vec::new();
    leaves(&serde_json::to_value(full()).unwrap(), String::new(), &mut paths);
    for (field, _) in NOT_EXPLAINED {
        let pattern = format!("/{}", field.replace('.', "/").replace('*', "0"));
        assert!(paths.iter().any(|path| path.starts_with(&pattern)), "{field}");
    }
}

#[test]
fn values_of_variables_are_nowhere() {
    let mut plan = full();
    plan.apps[0].environment = vec!["TOKEN=hunter2".into()];
    let json = explained(&plan);
    assert!(json.to_string().contains("TOKEN") && !json.to_string().contains("hunter2"));
}

#[test]
fn what_costs_more_has_a_higher_figure() {
    let figure = |change: &dyn Fn(&mut PodPlan)| {
        let mut plan = full();
        change(&mut plan);
        explained(&plan)["score"]["exposure"].as_f64().unwrap()
    };
    let base = figure(&|_| {});
    type Change = fn(&mut PodPlan);
    let worse: [(&str, Change); 4] = [
        ("user namespace", |plan| plan.namespaces.user = None),
        ("network", |plan| plan.namespaces.network = Network::Host),
        ("new privileges", |plan| plan.apps[0].no_new_privileges = false),
        ("root", |plan| plan.apps[0].uid = 0),
    ];
    for (what, change) in worse {
        let now = figure(&change);
        assert!(now > base, "{what}: {now} after {base}");
    }
}
