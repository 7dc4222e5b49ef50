//! What was said, and what is so.

use rocket::pod::explain::bpf::{self, Answer, Call};
use rocket_plan::PodPlan;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;

/// Capabilities in the order of their numbers (linux/capability.h).
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// A pod file's explanation is that of the pod made from it, but for what is chosen then.
#[track_caller]
pub fn same_but_for_the_start(said: &Value, prepared: &Value) {
    let strip = |json: &Value| {
        let mut json = json.clone();
        json["from"].take();
        json["pod"]["ids"]["base"].take();
        for app in json["apps"].as_array_mut().unwrap() {
            app["host-uid"].take();
            app["host-gid"].take();
        }
        json
    };
    assert_eq!(strip(said), strip(prepared));
}

fn set(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}:");
    text.lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("{name}"))
        .trim()
}

/// Everything but calls.
#[track_caller]
pub fn inside(said: &Value, seen: &Value) {
    let (pod, app) = (&said["pod"], &said["apps"][0]);
    status(app, seen["status"].as_str().unwrap());
    ids(pod, seen);
    namespaces(pod, &seen["namespaces"]);
    mounts(app, seen["mountinfo"].as_str().unwrap());
    devices(app, &seen["devices"]);
    assert_eq!(set(&app["environment"]), set(&seen["environment"]));
    assert_eq!(app["working-directory"], seen["cwd"]);
    assert_eq!(app["securebits"], seen["securebits"]);
    let text = |name: &str| seen[name].as_str().unwrap().trim().to_owned();
    assert_eq!(pod["hostname"], text("hostname").as_str());
    assert_eq!(app["oom-score-adj"].to_string(), text("oom-score-adj"));
    if app["leaf"].is_string() {
        assert_eq!(text("cgroup").lines().last().unwrap().rsplit("::").next().unwrap(), "/");
    }
    let interfaces = text("net-dev");
    let count = interfaces.lines().skip(2).count();
    assert!(pod["network"] == "host" || count == 1, "{interfaces}");
    for limit in app["rlimits"].as_array().unwrap() {
        rlimit(limit, seen["limits"].as_str().unwrap());
    }
    for limit in app["limits"].as_array().unwrap() {
        let found = &seen["cgroup-files"][limit["file"].as_str().unwrap()];
        // The bed's cgroup2 may have no controllers; then there is no such file.
        let Some(found) = found.as_str() else {
            assert_ne!(std::env::var("ROCKET_BED").unwrap(), "uml", "{limit}: no such file");
            continue;
        };
        assert_eq!(found.trim(), limit["value"].as_str().unwrap(), "{limit}");
    }
}

#[track_caller]
fn status(app: &Value, status: &str) {
    for (name, id) in [("Uid", &app["uid"]), ("Gid", &app["gid"])] {
        for word in field(status, name).split_whitespace() {
            assert_eq!(word, id.to_string(), "{name} in {status}");
        }
    }
    let groups: BTreeSet<String> =
        field(status, "Groups").split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect();
    let said: BTreeSet<String> =
        app["groups"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(groups, said, "groups");
    for (name, set_of) in [
        ("CapInh", "inheritable"),
        ("CapPrm", "permitted"),
        ("CapEff", "effective"),
        ("CapBnd", "bounding"),
        ("CapAmb", "ambient"),
    ] {
        let bits = u64::from_str_radix(field(status, name), 16).unwrap();
        let found: BTreeSet<String> = (0..64)
            .filter(|bit| bits & (1 << bit) != 0)
            .map(|bit| CAPABILITIES.get(bit).map_or_else(|| bit.to_string(), |n| (*n).to_owned()))
            .collect();
        assert_eq!(found, set(&app["capabilities"][set_of]), "{name}");
    }
    let flag = |value: &Value| if value.as_bool().unwrap() { "1" } else { "0" };
    assert_eq!(field(status, "NoNewPrivs"), flag(&app["no-new-privileges"]));
    let mode = if app["seccomp"]["installed"] == true { "2" } else { "0" };
    assert_eq!(field(status, "Seccomp"), mode);
}

#[track_caller]
fn ids(pod: &Value, seen: &Value) {
    for map in ["uid-map", "gid-map"] {
        let found: Vec<u64> =
            seen[map].as_str().unwrap().split_whitespace().map(|w| w.parse().unwrap()).collect();
        let expected = match &pod["ids"] {
            Value::Null => vec![0, 0, u64::from(u32::MAX)],
            ids => vec![0, ids["base"].as_u64().unwrap(), ids["count"].as_u64().unwrap()],
        };
        assert_eq!(found, expected, "{map}");
    }
}

#[track_caller]
fn namespaces(pod: &Value, seen: &Value) {
    let (own, shared) = (set(&pod["namespaces"]), set(&pod["shared-namespaces"]));
    assert_eq!(own.len() + shared.len(), seen.as_object().unwrap().len());
    for (name, link) in seen.as_object().unwrap() {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let same = ours.to_str() == link.as_str();
        assert!(if same { shared.contains(name) } else { own.contains(name) }, "{name}");
    }
}

/// Options of each mount point: of several at one place the last counts.
fn mountinfo(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let known = ["ro", "rw", "nosuid", "nodev", "noexec"];
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let options = fields[5].split(',').filter(|o| known.contains(o)).map(str::to_owned);
            (fields[4].to_owned(), options.collect())
        })
        .collect()
}

#[track_caller]
fn mounts(app: &Value, text: &str) {
    let mut found = mountinfo(text);
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap();
    for mount in app["mounts"].as_array().unwrap() {
        let target = mount["target"].as_str().unwrap();
        if mount["source"]["type"] == "mqueue" && !filesystems.contains("mqueue") {
            continue;
        }
        let options = found.remove(target).unwrap_or_else(|| panic!("no {target} in {text}"));
        assert_eq!(options, set(&mount["options"]), "{target} in {text}");
    }
    for device in app["devices"].as_array().unwrap() {
        let path = device["path"].as_str().unwrap();
        assert!(found.remove(path).is_some(), "no {path} in {text}");
    }
    for (list, masked) in [("masked-paths", true), ("read-only-paths", false)] {
        for path in set(&app[list]) {
            // What this kernel does not have is not covered.
            let options = found.remove(&path);
            assert_eq!(options.is_some(), std::path::Path::new(&path).exists(), "{path} in {text}");
            assert!(masked || options.is_none_or(|o| o.contains("ro")), "{path} in {text}");
        }
    }
    assert!(found.is_empty(), "nobody said: {found:?}");
}

#[track_caller]
fn devices(app: &Value, seen: &Value) {
    let said: BTreeMap<String, u64> = app["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| {
            let host = device["source"]["path"].as_str().unwrap();
            (device["path"].as_str().unwrap().to_owned(), std::fs::metadata(host).unwrap().rdev())
        })
        .collect();
    let seen: BTreeMap<String, u64> = seen
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, number)| (path.clone(), number.as_u64().unwrap()))
        .collect();
    assert_eq!(said, seen);
}

#[track_caller]
fn rlimit(limit: &Value, table: &str) {
    let titles =
        [("nofile", "Max open files"), ("core", "Max core file size"), ("nproc", "Max processes")];
    let resource = limit["resource"].as_str().unwrap();
    let (_, title) = titles.iter().find(|(name, _)| *name == resource).expect(resource);
    let line = table.lines().find_map(|line| line.strip_prefix(title)).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let word = |value: &Value| value.as_u64().map_or("unlimited".to_owned(), |n| n.to_string());
    assert_eq!(words[..2], [word(&limit["soft"]), word(&limit["hard"])], "{resource}");
}

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const X32: u32 = 0x4000_0000;

/// What the kernel answered to each call is what the plan's program says, and what was explained of it.
#[track_caller]
pub fn calls(said: &Value, plan: &PodPlan, seen: &[Value]) {
    let filter = plan.apps[0].seccomp.as_ref();
    let view = &said["apps"][0]["seccomp"];
    let [native, x32, i386, grid] = seen else { panic!("{seen:?}") };
    assert_eq!(view["installed"], filter.is_some());
    let program = filter.map_or(&[] as &[_], |filter| &filter.program);
    let mut compared = 0;
    for (list, arch) in [(native, X86_64), (x32, X86_64), (i386, I386), (grid, X86_64)] {
        let Some(list) = list.as_array() else {
            // What this kernel, or this filter, ends whoever tries it.
            assert_eq!(arch, I386, "the probe was killed");
            eprintln!("calls by the i386 way end whoever makes one");
            continue;
        };
        // User-mode Linux has one convention only, and takes the numbers of the other for its own.
        if arch == I386 && std::env::var("ROCKET_BED").unwrap() == "uml" {
            eprintln!("this kernel has no i386 way");
            continue;
        }
        for row in list {
            let number = |index: usize| row[index].as_u64().unwrap();
            let mut args = [Some(0); 6];
            (args[0], args[1]) = (Some(number(1)), Some(number(2)));
            let call = Call { number: u32::try_from(number(0)).unwrap(), arch, args };
            let expected =
                match bpf::answers(program, &call).into_iter().collect::<Vec<_>>().as_slice() {
                    [] if filter.is_none() => 0,
                    [Answer::Allow] => 0,
                    [Answer::Errno(errno)] => u64::from(*errno),
                    other => panic!("{call:?}: {other:?}"),
                };
            assert_eq!(number(3), expected, "{call:?}");
            compared += 1;
        }
    }
    assert!(compared > 3000, "{compared}");
    eprintln!("{compared} calls compared");
    by_name(view, native, x32);
}

/// What was explained by name.
#[track_caller]
fn by_name(view: &Value, native: &Value, x32: &Value) {
    let answers: BTreeMap<u64, u64> = native
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row[0].as_u64().unwrap(), row[3].as_u64().unwrap()))
        .collect();
    let numbers: BTreeMap<&str, u32> =
        rocket::pod::seccomp::calls(rocket::pod::seccomp::Machine::X86_64).collect();
    let answer = |name: &str| answers.get(&u64::from(numbers[name])).copied();
    for name in set(&view["allowed"]) {
        assert!(matches!(answer(&name), Some(0) | None), "{name}");
    }
    let word = |errno: &str| match errno {
        "EPERM" => 1,
        "ENOSYS" => 38,
        other => panic!("{other}"),
    };
    for (errno, names) in view["refused"].as_object().unwrap() {
        for name in set(names) {
            assert_eq!(answer(&name), Some(word(errno)), "{name}");
        }
    }
    let known: BTreeSet<u64> = numbers.values().map(|n| u64::from(*n)).collect();
    let others = |list: &Value| match list[0].as_str().unwrap() {
        "allowed" => 0,
        errno => word(errno),
    };
    for (number, answer) in &answers {
        assert!(known.contains(number) || *answer == others(&view["unknown-calls"]), "{number}");
    }
    for row in x32.as_array().unwrap() {
        let number = row[0].as_u64().unwrap() & !u64::from(X32);
        let told = !known.contains(&number)
            || row[3].as_u64().unwrap() == others(&view["other-conventions"]["x32"]);
        assert!(told, "{row}");
    }
}
