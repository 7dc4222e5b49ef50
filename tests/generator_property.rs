//! What holds for the generator whatever pod files say: it succeeds, gives the same bytes for the
//! same files, writes nowhere else, talks to nobody, and systemd finds nothing to complain about.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rocket_testkit::{Command, require_bed};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const GENERATOR: &str = "/usr/lib/systemd/system-generators/rocket-generator";

/// A small generator of numbers, so that a failure can be had again from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Texts that have to be escaped, or look as if.
const TEXTS: [&str; 8] = [
    "plain",
    "100% of it",
    "%i %n $HOME ${PATH}",
    "back\\\\slash \\\\",
    "quo\\\"ted' ; # x",
    "ünï©ode → 🚀",
    " blanks  at both ends ",
    "[Service]",
];

fn lines(random: &mut Random, table: &[&str], count: usize) -> String {
    let mut text = String::new();
    let mut left: Vec<&str> = table.to_vec();
    for _ in 0..random.below(count + 1).min(table.len()) {
        let line = left.swap_remove(random.below(left.len()));
        writeln!(text, "{line}").unwrap();
    }
    text
}

/// A pod file of the grammar, sometimes with a slip.
fn pod_file(random: &mut Random) -> String {
    let mut text = format!("network = \"{}\"\n", random.one(&["host", "none"]));
    if random.chance(60) {
        writeln!(text, "description = \"{}\"", random.one(&TEXTS)).unwrap();
    }
    text += &lines(random, &["version = 1", "hostname = \"h-1\"", "exit-policy = \"all-done\""], 3);
    text += "[app.main]\nimage = \"example.com/a:1\"\n";
    text += &lines(
        random,
        &[
            "exec = [\"/bin/x\", \"%i $A \\\\ \\\" ü\"]",
            "stop-timeout = \"1min 3s\"",
            "stop-signal = \"SIGQUIT\"",
            "restart = \"always\"",
            "environment = { A = \"%n\", B = \"\" }",
            "limits = { memory-max = \"64M\", cpu-weight = 5 }",
            "mounts = { \"/data\" = \"data\" }",
        ],
        5,
    );
    writeln!(text, "[volume.data]").unwrap();
    let source = random.one(&["/srv", "/srv/with blank", "/srv/100%", "/srv/ü\\\\x"]);
    match random.below(2) {
        0 => writeln!(text, "kind = \"state\"").unwrap(),
        _ => writeln!(text, "kind = \"host\"\nsource = \"{source}\"").unwrap(),
    }
    text += "[limits]\n";
    text += &lines(
        random,
        &[
            "memory-max = \"50%\"",
            "memory-high = \"1.5G\"",
            "memory-low = 4096",
            "memory-swap-max = 0",
            "cpu-quota = \"12.5%\"",
            "cpu-weight = \"idle\"",
            "tasks-max = \"infinity\"",
            "io-weight = 10",
            "io-max = { \"/dev/null\" = { read-bandwidth = \"1M\", write-iops = 5 } }",
            "allowed-cpus = \"0\"",
        ],
        6,
    );
    text += "[unit]\n";
    text += &lines(
        random,
        &[
            "after = [\"network-online.target\", \"pod:other\"]",
            "before = [\"shutdown.target\"]",
            "wants = [\"network-online.target\"]",
            "conflicts = [\"pod:enemy\"]",
            "restart = \"no\"",
            "restart-sec = \"infinity\"",
            "start-timeout = \"1h 1us\"",
            "stop-timeout = \"2d\"",
            "slice = \"a-b.slice\"",
        ],
        5,
    );
    if random.chance(30) {
        text += "[schedule]\ncalendar = [\"Mon..Fri 03:00\", \"*-*-1/2 *:0/5\"]\n";
        text +=
            &lines(random, &["persistent = true", "after-boot = \"1min\"", "every = \"1h\""], 3);
    }
    // A slip: a byte lost, doubled or changed.
    let mut bytes = text.into_bytes();
    if random.chance(40) {
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, bytes[at]),
                _ => bytes[at] = b"\"[]={}%\\\n\x01\xff$"[random.below(12)],
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let below = tree(&entry.path());
            files.extend(below.into_iter().map(|(path, text)| (format!("{name}/{path}"), text)));
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    files
}

/// Calls that change something below a path, or reach out.
const CHANGES: &str = "trace=open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,\
                       symlink,symlinkat,link,linkat,chmod,fchmodat,truncate,mknod,mknodat,mount,kill,%network";

/// The calls of a trace that change something outside `dir`, or reach out.
fn strays<'a>(trace: &'a str, dir: &str) -> Vec<&'a str> {
    let is_stray = |line: &&str| {
        // The second half of a call whose first half was looked at.
        if line.contains(" resumed>") {
            return false;
        }
        let Some((call, rest)) = line.split_once('(') else { return false };
        let opens = call.ends_with("open") || call.ends_with("openat");
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];
        if opens && !writes.iter().any(|flag| rest.contains(flag)) {
            return false;
        }
        let mut paths = rest.split('"').skip(1).step_by(2).peekable();
        paths.peek().is_none() || paths.any(|path| !path.starts_with(dir))
    };
    trace.lines().filter(is_stray).collect()
}

mod ns {
    mod systemd {
        use super::super::*;

        #[test]
        fn whatever_pod_files_say_the_generator_keeps_its_promises() {
            require_bed("ns");
            let dir = tempfile::tempdir().unwrap();
            let [pods, one, two] = ["pods", "one", "two"].map(|name| dir.path().join(name));
            for dir in [&pods, &one, &two] {
                fs::create_dir(dir).unwrap();
            }
            let mut random = Random(0x5EED_0C4E);
            for number in 0..150 {
                fs::write(pods.join(format!("p{number}.toml")), pod_file(&mut random)).unwrap();
            }
            let trace = dir.path().join("trace");
            let strace = ["-f", "-qq", "-s", "4096", "-e", CHANGES, "-o"];
            Command::new("strace")
                .args(strace.into_iter().chain([trace.to_str().unwrap(), GENERATOR]))
                .args([one.to_str().unwrap(); 3])
                .env("ROCKET_POD_FILE_PATH", &pods)
                .seconds(60)
                .run()
                .ok();
            Command::new(GENERATOR)
                .args([two.to_str().unwrap()])
                .env("ROCKET_POD_FILE_PATH", &pods)
                .seconds(60)
                .run()
                .ok();
            let files = tree(&one);
            assert!(files == tree(&two), "not the same bytes twice");
            let services = files.keys().filter(|path| path.contains(".service.d/")).count();
            assert_eq!(services, 150, "every pod has its drop-in, broken or not");
            let broken = files.values().filter(|text| contains(text, b" --fail ")).count();
            assert!((10..110).contains(&broken), "{broken} broken of 150");

            let trace = fs::read_to_string(&trace).unwrap();
            assert!(trace.contains("10-rocket.conf"), "the trace has seen it write");
            assert_eq!(strays(&trace, one.to_str().unwrap()), Vec::<&str>::new());

            let units: Vec<String> =
                files.keys().map(|path| path.split(".d/").next().unwrap().to_owned()).collect();
            for some in units.chunks(40) {
                assert_eq!(complaints(&one, some), Vec::<String>::new());
            }
            // It would have said something.
            let bad = one.join("rocket@p0.service.d/99-bad.conf");
            fs::write(bad, "[Service]\nNoSuchKey=1\n").unwrap();
            let found = complaints(&one, &["rocket@p0.service".to_owned()]);
            assert!(found.iter().any(|line| line.contains("NoSuchKey")), "{found:?}");
        }

        /// What `systemd-analyze verify` says of units with drop-ins below `dir`.
        fn complaints(dir: &Path, units: &[String]) -> Vec<String> {
            let done = Command::new("systemd-analyze")
                .args(["verify", "--man=no"])
                .args(units.iter().map(String::as_str))
                .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display()))
                .seconds(60)
                .run();
            let about_rocket = done.stderr.lines().filter(|line| line.contains("rocket@"));
            about_rocket.map(str::to_owned).collect()
        }

        fn contains(text: &[u8], word: &[u8]) -> bool {
            text.windows(word.len()).any(|part| part == word)
        }
    }
}
