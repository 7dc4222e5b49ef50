//! Setup as an ordered list of typed operations, built from the plan alone; tests compare lists.

use rocket_plan::{AppPlan, Cgroup, DeviceRule, IdMap, LimitFile, MountSource, Network, PodPlan};
use serde::Serialize;

/// One step of setup. `setup` executes them in order; the first failure ends the pod.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op<'a> {
    /// The network namespace that belongs to the pod's user namespace.
    JoinNetwork,
    /// What is made from here on belongs to the root of the pod's user namespace. Mounts are still
    /// made with all the privileges of the host's root.
    MakeAsPodRoot(IdMap),
    /// The end of that.
    MakeAsHostRoot,
    /// What init needs of the cgroup to start, stop and remove leaves belongs to the root of the
    /// pod's user namespace; the limits stay the host's.
    GiveCgroup {
        /// The root of the pod's user namespace, of the host's ids.
        owner: u32,
        /// The apps' leaves.
        leaves: Vec<&'a str>,
    },
    /// The last step of all: from here on init is root in the pod's user namespace only.
    EnterUserNamespace,
    /// No mount goes in or out.
    PrivateMounts,
    /// The UTS host name.
    Hostname(&'a str),
    /// The loopback of a network namespace of the pod's own.
    LoopbackUp,
    /// A tmpfs on `mnt` that becomes the root of init.
    Scratch,
    /// A tmpfs that apps share.
    SharedTmpfs(Shared<'a>),
    /// An app's root from its layers.
    Root(&'a AppPlan),
    /// Something mounted in an app's root.
    Mount(At<'a>, What<'a>),
    /// A path hidden behind an empty file or directory.
    Mask(At<'a>),
    /// A path made read-only with all that is mounted below it.
    ReadOnly(At<'a>),
    /// The root's own mount made read-only.
    RootReadOnly(&'a str),
    /// A namespaced sysctl.
    Sysctl(&'a str, &'a str),
    /// Scaffolding goes away and the scratch tmpfs becomes the root: no host directory is
    /// reachable from here on.
    Pivot,
    /// Wait until stage0 says that the cgroup is ours.
    AwaitGo,
    /// Take the cgroup namespace's tree as a detached mount. `claim`: make the namespace first and
    /// move init to its leaf (in a unit the entry process has done that).
    Cgroup {
        /// Whether init does the moving.
        claim: bool,
    },
    /// An app's leaf with its limits.
    Leaf(&'a str, &'a str, &'a [LimitFile]),
    /// Which devices open in an app's leaf.
    DeviceRules(&'a str, &'a str, &'a [DeviceRule]),
}

/// A tmpfs of the pod, by its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shared<'a> {
    /// Key inside the pod.
    pub name: &'a str,
    /// `size=` in bytes.
    pub size: Option<u64>,
    /// Mode of its root.
    pub mode: u32,
    /// Owner of its root.
    pub uid: u32,
    /// Group of its root.
    pub gid: u32,
}

/// A place in an app's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct At<'a> {
    /// The app.
    pub app: &'a str,
    /// Absolute path inside its root.
    pub path: &'a str,
}

/// What is mounted, and with which attributes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct What<'a> {
    /// Where it comes from; `dev` takes its nodes from the app's devices.
    pub source: &'a MountSource,
    /// Only for `dev`.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub devices: &'a [rocket_plan::Device],
    /// Read-only, all the way down.
    pub read_only: bool,
    /// Set `nosuid`.
    pub nosuid: bool,
    /// Set `nodev`.
    pub nodev: bool,
    /// Set `noexec`.
    pub noexec: bool,
    /// Only for credentials: the app's user and group.
    #[serde(skip_serializing_if = "is_root")]
    pub owner: (u32, u32),
    /// It is the host's: nothing is made in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lent: bool,
}

fn is_root(owner: &(u32, u32)) -> bool {
    *owner == (0, 0)
}

/// The pod's `/dev/shm`, unless the plan sizes one itself.
const SHM: Shared<'static> = Shared { name: "shm", size: None, mode: 0o1777, uid: 0, gid: 0 };

/// The operations for a plan, in order.
pub fn build(plan: &PodPlan) -> Vec<Op<'_>> {
    let mut ops = Vec::new();
    let user = plan.namespaces.user;
    ops.push(Op::PrivateMounts);
    if user.is_some() && plan.namespaces.network == Network::None {
        ops.push(Op::JoinNetwork);
    }
    ops.push(Op::Hostname(&plan.hostname));
    if plan.namespaces.network == Network::None {
        ops.push(Op::LoopbackUp);
    }
    ops.push(Op::Scratch);
    ops.extend(user.map(Op::MakeAsPodRoot));
    ops.extend(shared(plan).into_iter().map(Op::SharedTmpfs));
    for app in &plan.apps {
        build_app(app, &mut ops);
    }
    ops.extend(plan.sysctls.iter().map(|(name, value)| Op::Sysctl(name, value)));
    ops.push(Op::Pivot);
    if user.is_some() {
        ops.push(Op::MakeAsHostRoot);
    }
    match plan.cgroup {
        Cgroup::Unit => ops.push(Op::Cgroup { claim: false }),
        Cgroup::Scope => ops.extend([Op::AwaitGo, Op::Cgroup { claim: true }]),
        Cgroup::None => {}
    }
    if plan.cgroup != Cgroup::None {
        for app in &plan.apps {
            if let Some(leaf) = &app.leaf {
                ops.push(Op::Leaf(&app.name, leaf, &app.limits));
                let rules = app.device_rules.as_deref();
                ops.extend(rules.map(|rules| Op::DeviceRules(&app.name, leaf, rules)));
            }
        }
        let leaves = || plan.apps.iter().filter_map(|app| app.leaf.as_deref()).collect();
        ops.extend(user.map(|map| Op::GiveCgroup { owner: map.base, leaves: leaves() }));
    }
    if user.is_some() {
        ops.push(Op::EnterUserNamespace);
    }
    ops
}

fn build_app<'a>(app: &'a AppPlan, ops: &mut Vec<Op<'a>>) {
    ops.push(Op::Root(app));
    let at = |path| At { app: &app.name, path };
    for mount in &app.mounts {
        // The app mounts its own view of its leaf when it starts.
        if mount.source == MountSource::Cgroup2 {
            continue;
        }
        let what = What {
            source: &mount.source,
            devices: if mount.source == MountSource::Dev { &app.devices } else { &[] },
            owner: match mount.source {
                MountSource::Credentials(_) => (app.uid, app.gid),
                _ => (0, 0),
            },
            read_only: mount.read_only,
            nosuid: mount.nosuid,
            nodev: mount.nodev,
            noexec: mount.noexec,
            lent: mount.lent,
        };
        ops.push(Op::Mount(at(&mount.target), what));
    }
    // Masks come last: nothing mounted later can uncover what they hide.
    ops.extend(app.read_only_paths.iter().map(|p| Op::ReadOnly(at(p))));
    ops.extend(app.masked_paths.iter().map(|p| Op::Mask(at(p))));
    if app.root.read_only {
        ops.push(Op::RootReadOnly(&app.name));
    }
}

/// Every shared tmpfs once, in order of first use.
fn shared(plan: &PodPlan) -> Vec<Shared<'_>> {
    let mut out: Vec<Shared<'_>> = Vec::new();
    let mut dev = false;
    for mount in plan.apps.iter().flat_map(|a| &a.mounts) {
        match &mount.source {
            MountSource::Dev => dev = true,
            MountSource::SharedTmpfs { name, size, mode, uid, gid }
                if !out.iter().any(|s| s.name == name) =>
            {
                out.push(Shared { name, size: *size, mode: *mode, uid: *uid, gid: *gid });
            }
            _ => {}
        }
    }
    if dev && !out.iter().any(|s| s.name == SHM.name) {
        out.push(SHM);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors: a plan and the operations it gives, one JSON value a line. `UPDATE_VECTORS=1`
    /// writes them anew; read the difference before you commit it.
    #[test]
    fn vectors() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
        let mut seen = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let Some(stem) = path.to_str().and_then(|p| p.strip_suffix(".plan.json")) else {
                continue;
            };
            let plan: PodPlan = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            crate::check::plan(&plan).unwrap();
            let lines: Vec<String> = build(&plan)
                .iter()
                .map(|op| match op {
                    Op::Root(app) => format!("{{\"root\":{:?}}}", app.name),
                    op => serde_json::to_string(op).unwrap(),
                })
                .collect();
            let got = lines.join("\n") + "\n";
            let expected = format!("{stem}.ops.jsonl");
            if std::env::var_os("UPDATE_VECTORS").is_some() {
                std::fs::write(&expected, &got).unwrap();
            }
            assert_eq!(got, std::fs::read_to_string(&expected).unwrap(), "{stem}");
            seen += 1;
        }
        assert!(seen >= 2);
    }

    /// Whatever a plan says, it is refused or it gives operations.
    #[test]
    fn damaged_plans_are_survived() {
        let whole = include_bytes!("../tests/vectors/two-apps-unit.plan.json");
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below as u64).unwrap()
        };
        let mut understood = 0;
        for _ in 0..5000 {
            let mut bytes = whole.to_vec();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                bytes[at] = b"0123456789-\"{}[],:/.ax\\"[random(23)];
            }
            let Ok(plan) = serde_json::from_slice::<PodPlan>(&bytes) else { continue };
            understood += 1;
            if crate::check::plan(&plan).is_ok() {
                assert!(build(&plan).len() > 4);
            }
        }
        assert!(understood > 100, "{understood}");
    }
}
