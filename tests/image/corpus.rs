//! A corpus of tricky images: what rocket makes of each is what `umoci unpack` makes of it, in every
//! respect that a tree has. Where the two differ on purpose, the case says where, and docs/store.md why.

use crate::kit::{Host, LayoutSpec, Tar};
use rocket::image::{Algo, Digest};
use rocket_testkit::run;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Everything about every path: type, mode, owner, time, size, links, device, content, attributes.
fn everything(dir: &Path) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    walk(dir, Path::new(""), &mut out);
    out
}

fn walk(dir: &Path, path: &Path, out: &mut BTreeMap<String, String>) {
    let full = if path.as_os_str().is_empty() { dir.to_owned() } else { dir.join(path) };
    let found = fs::symlink_metadata(&full).unwrap();
    let kind = found.file_type();
    let content = if kind.is_file() {
        Digest::of(Algo::Sha256, &fs::read(&full).unwrap()).to_string()
    } else if kind.is_symlink() {
        fs::read_link(&full).unwrap().as_os_str().as_bytes().escape_ascii().to_string()
    } else {
        format!("device {:x}", found.rdev())
    };
    // What a directory's size and links are is the file system's affair.
    let (size, links) = if kind.is_dir() { (0, 0) } else { (found.size(), found.nlink()) };
    let mut line = format!(
        "mode={:o} owner={}:{} time={}.{:09} size={size} links={links} {content}",
        found.mode(),
        found.uid(),
        found.gid(),
        found.mtime(),
        found.mtime_nsec()
    );
    for (name, value) in attributes(&full) {
        write!(line, " {name}={}", value.escape_ascii()).unwrap();
    }
    out.insert(format!("/{}", path.as_os_str().as_bytes().escape_ascii()), line);
    if kind.is_dir() {
        for entry in fs::read_dir(&full).unwrap() {
            walk(dir, &path.join(entry.unwrap().file_name()), out);
        }
    }
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|b| *b == 0).filter(|n| !n.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names.map(|name| (name.escape_ascii().to_string(), value(name))).collect()
}

struct Case {
    name: &'static str,
    layers: Vec<Tar>,
    /// Paths where the two differ on purpose.
    differs: &'static [&'static str],
}

fn case(name: &'static str, layers: Vec<Tar>) -> Case {
    Case { name, layers, differs: &[] }
}

impl Case {
    fn differs(mut self, paths: &'static [&'static str]) -> Self {
        self.differs = paths;
        self
    }
}

/// Compares all of them before it fails, so that one run shows everything.
#[track_caller]
fn check(cases: Vec<Case>) {
    let host = Host::new();
    let mut wrong = String::new();
    for case in cases {
        let layout = host.path(case.name);
        LayoutSpec::new(case.layers.into_iter().map(Tar::end).collect()).write(&layout);
        let done = host.rocket(&["fetch", &format!("oci:{}", layout.display())]);
        if !done.status.success() {
            writeln!(wrong, "{}: {}", case.name, done.stderr).unwrap();
            continue;
        }
        let ours = everything(&host.stacked(case.name));
        let bundle = host.path("b");
        let image = format!("{}:latest", layout.display());
        run("umoci", ["unpack", "--image", &image, bundle.to_str().unwrap()]).ok();
        let theirs = everything(&bundle.join("rootfs"));
        fs::remove_dir_all(&bundle).unwrap();
        let paths: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        for path in paths {
            let (a, b) = (ours.get(path), theirs.get(path));
            let on_purpose = case.differs.contains(&path.as_str());
            if (a == b) == on_purpose {
                writeln!(wrong, "{} {path}\n  ours   {a:?}\n  theirs {b:?}", case.name).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn new() -> Tar {
    Tar::default()
}

fn base() -> Tar {
    new()
        .dir("./", 0o755, 0)
        .dir("usr/", 0o755, 0)
        .dir("usr/bin/", 0o755, 0)
        .file("usr/bin/sh", "shell")
        .link("usr/bin/sh2", "usr/bin/sh")
        .symlink("bin", "usr/bin")
        .symlink("abs", "/usr/bin")
        .symlink("hop", "bin")
        .symlink("up", "../../../usr")
        .symlink("dangling", "no/where")
        .dir("d/", 0o750, 3)
        .file("d/a", "a")
        .file("d/b", "b")
        .dir("d/sub/", 0o711, 4)
        .file("d/sub/x", "x")
        .file("plain", "plain")
        .raw(b"pipe", b'6', b"", 0o620, (1, 2), b"")
}

/// A base and one more.
fn two(name: &'static str, second: Tar) -> Case {
    case(name, vec![base(), second])
}

#[test]
fn what_layers_do_to_each_other() {
    let cases = vec![
        case("base", vec![base()]),
        two("whiteouts", new().whiteout("d/.wh.a").whiteout(".wh.plain").whiteout("d/.wh.none")),
        two("whiteout-of-a-directory", new().whiteout(".wh.d")),
        two("whiteout-of-a-link", new().whiteout(".wh.bin").whiteout(".wh.dangling")),
        two("whiteout-through-a-link", new().whiteout("bin/.wh.sh2").whiteout("up/bin/.wh.none")),
        two("whiteout-of-one-hard-link", new().whiteout("usr/bin/.wh.sh")),
        two("opaque", new().dir("d/", 0o700, 5).whiteout("d/.wh..wh..opq").file("d/new", "n")),
        two("opaque-of-nothing", new().dir("n/", 0o700, 5).whiteout("n/.wh..wh..opq")),
        two(
            "opaque-over-a-replaced-name",
            new().dir("d/", 0o755, 0).whiteout("d/.wh..wh..opq").dir("d/a/", 0o755, 0),
        ),
        case(
            "opaque-and-back",
            vec![
                base(),
                new().dir("d/", 0o700, 5).whiteout("d/.wh..wh..opq").file("d/new", "n"),
                new().dir("d/", 0o755, 6).dir("d/sub/", 0o755, 6).file("d/sub/y", "y"),
            ],
        ),
        two("trap-through-a-link", new().file("bin/tool", "t")),
        two("trap-through-an-absolute-link", new().file("abs/tool", "t")),
        two("trap-through-two-links", new().file("hop/tool", "t").dir("hop/dir/", 0o700, 1)),
        two("trap-through-a-climbing-link", new().file("up/bin/tool", "t")),
        two("link-replaced-by-a-directory", new().dir("bin/", 0o755, 0).file("bin/own", "o")),
        two("link-replaced-by-a-file", new().file("bin", "b").file("dangling", "d")),
        two("file-replaced-not-followed", new().symlink("l", "plain").file("l", "own")),
        two("implicit-parents-below", new().file("d/sub/more", "m")),
        two(
            "hard-links-across-layers",
            new().link("sh3", "usr/bin/sh").link("d/l", "bin/sh2").link("pipe2", "pipe"),
        ),
        two("hard-link-to-a-link", new().link("bin2", "bin").link("d2", "dangling")),
        two("hard-link-replaced", new().file("usr/bin/sh", "another")),
        case(
            "hard-links-over-three-layers",
            vec![base(), new().link("one", "plain"), new().link("two", "one").link("three", "two")],
        ),
        case(
            "directory-file-directory",
            vec![
                base(),
                new().file("d", "now a file"),
                new().dir("d/", 0o701, 7).file("d/again", "again"),
            ],
        ),
        case(
            "file-link-pipe",
            vec![
                base(),
                new().symlink("plain", "d"),
                new().raw(b"plain", b'6', b"", 0o600, (0, 0), b""),
                new().file("plain", "back"),
            ],
        ),
        case(
            "link-directory-link",
            vec![
                base(),
                new().dir("bin/", 0o755, 0).file("bin/x", "x"),
                new().symlink("bin", "d/sub").file("d/sub/y", "y"),
                new().file("bin/z", "z"),
            ],
        ),
        case("empty-layers", vec![new(), base(), new(), new().dir("./", 0o700, 9), new()]),
        case("only-a-root", vec![new().dir("./", 0o711, 8)]),
        two("root-changed", new().dir("/", 0o700, 77)),
        two("everything-hidden", new().whiteout(".wh..wh..opq").file("only", "o")),
        two("whiteout-and-file", new().whiteout("d/.wh.a").file("d/a", "again")),
    ];
    assert!(cases.len() >= 30);
    check(cases);
}

#[test]
fn what_entries_can_be() {
    let root = || new().dir("./", 0o755, 0);
    let long = "n".repeat(255);
    let deep = format!("{}/{}", ["p".repeat(124).as_str(); 31].join("/"), "e".repeat(124));
    let deep_parents = |tar: Tar| {
        let parts: Vec<&str> = deep.split('/').collect();
        (1..parts.len()).fold(tar, |tar, count| {
            tar.pax(&[("path", parts[..count].join("/").as_bytes())]).dir("x", 0o755, 0)
        })
    };
    assert_eq!(deep.len(), 3999);
    let timed =
        |tar: Tar, name: &str, time: &str| tar.pax(&[("mtime", time.as_bytes())]).file(name, time);
    let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\x07\0\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let big: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let modes = (0..=7u32).fold(root(), |tar, bits| {
        let name = format!("f{bits}");
        let tar = tar.raw(name.as_bytes(), b'0', b"", bits << 9 | 0o651, (bits, 3), b"x");
        tar.dir(&format!("d{bits}/"), bits << 9 | 0o751, bits)
    });
    let mut cases = vec![
        case("name-of-255", vec![root().pax(&[("path", long.as_bytes())]).file("x", "long")]),
        case(
            "path-of-4000",
            vec![deep_parents(root()).pax(&[("path", deep.as_bytes())]).file("x", "deep")],
        ),
        case("link-of-4000", vec![root().pax(&[("linkpath", deep.as_bytes())]).symlink("l", "x")]),
        case(
            "gnu-long-names",
            vec![
                root()
                    .raw(
                        b"././@LongLink",
                        b'L',
                        b"",
                        0,
                        (0, 0),
                        format!("{}\0", "g".repeat(200)).as_bytes(),
                    )
                    .file("x", "gnu")
                    .raw(
                        b"././@LongLink",
                        b'K',
                        b"",
                        0,
                        (0, 0),
                        format!("{}\0", "t".repeat(300)).as_bytes(),
                    )
                    .symlink("l", "t"),
            ],
        ),
        case(
            "not-utf8",
            vec![
                root()
                    .raw(b"\xff\xfe", b'0', b"", 0o644, (0, 0), b"n")
                    .raw(b"d\x80/", b'5', b"", 0o755, (0, 0), b"")
                    .raw(b"d\x80/l", b'2', b"\xc3\x28", 0o777, (0, 0), b"")
                    .raw(b"hard", b'1', b"\xff\xfe", 0o644, (0, 0), b""),
                new().raw(b"d\x80/.wh.l", b'0', b"", 0, (0, 0), b"").file("o", "o"),
            ],
        ),
        case(
            "strange-names",
            [
                "new\nline",
                "tab\t",
                "back\\slash",
                " ",
                "'\"$`",
                "-rf",
                "...",
                "\x1b[31m",
                "\x7f",
                "%s",
                "*",
                "a:b",
                "a,b",
            ]
            .iter()
            .fold(vec![root()], |mut layers, name| {
                layers[0] = std::mem::take(&mut layers[0]).file(name, name);
                layers
            }),
        ),
        case(
            "attributes",
            vec![
                root()
                    .pax(&[("SCHILY.xattr.user.a", b"1 \0\xff="), ("SCHILY.xattr.user.b", b"=")])
                    .file("f", "f")
                    .pax(&[("SCHILY.xattr.user.d", &[b'v'; 3000])])
                    .dir("d/", 0o700, 1)
                    .pax(&[("SCHILY.xattr.system.posix_acl_access", acl)])
                    .raw(b"acl", b'0', b"", 0o644, (0, 0), b"acl"),
            ],
        ),
        case(
            "capabilities",
            vec![
                root().pax(&[("SCHILY.xattr.security.capability", capability)]).raw(
                    b"ping",
                    b'0',
                    b"",
                    0o755,
                    (5, 6),
                    b"ping",
                ),
                new().link("ping6", "ping"),
            ],
        ),
        case(
            "times",
            vec![
                [
                    ("old", "-1.5"),
                    ("older", "-2147483648"),
                    ("nano", "1234567890.123456789"),
                    ("tiny", "0.000000001"),
                    ("negative-nano", "-7.000000001"),
                    ("after-2038", "2147483648.25"),
                    ("after-2106", "4294967296"),
                    ("more-digits", "5.1234567891234"),
                ]
                .iter()
                .fold(root(), |tar, (name, time)| timed(tar, name, time)),
                new().pax(&[("mtime", b"-3.25")]).dir("dir/", 0o755, 0).file("dir/f", "f"),
            ],
        ),
        case("modes", vec![modes]),
        case(
            "no-rights",
            vec![
                root().dir("d/", 0, 1).raw(b"d/f", b'0', b"", 0, (1, 1), b"f"),
                new().raw(b"d/g", b'0', b"", 0, (1, 1), b"g"),
            ],
        ),
        case(
            "huge-ids",
            vec![
                root()
                    .pax(&[("uid", b"2147483648"), ("gid", b"4294967294")])
                    .file("f", "f")
                    .pax(&[("uid", b"4294967294"), ("gid", b"65536")])
                    .dir("d/", 0o700, 0)
                    .pax(&[("uid", b"3000000000"), ("gid", b"3000000000")])
                    .symlink("l", "f"),
            ],
        ),
        case(
            "owned-links-and-pipes",
            vec![root().raw(b"l", b'2', b"none", 0o777, (7, 8), b"").raw(
                b"p",
                b'6',
                b"",
                0o4666,
                (7, 8),
                b"",
            )],
        ),
        case(
            "twice",
            vec![
                root()
                    .file("f", "first")
                    .file("f", "second")
                    .dir("d/", 0o700, 1)
                    .file("d/x", "x")
                    .dir("d/", 0o755, 2)
                    .symlink("l", "one")
                    .symlink("l", "two")
                    .file("h", "h")
                    .link("h2", "h")
                    .link("h2", "f"),
            ],
        ),
        case(
            "twice-of-different-kinds",
            vec![
                root()
                    .file("a", "a")
                    .dir("a/", 0o700, 1)
                    .dir("b/", 0o700, 1)
                    .file("b/x", "x")
                    .file("b", "b")
                    .symlink("c", "a")
                    .file("c/through", "t"),
            ],
        ),
        case(
            "written-names",
            vec![
                root()
                    .file("./dot", "d")
                    .file("/slash", "s")
                    .dir("e", 0o755, 1)
                    .dir(".//e//f/", 0o700, 1)
                    .file("e/./f/g", "g")
                    .raw(b"old/", 0, b"", 0o755, (0, 0), b"")
                    .raw(b"v7", 0, b"", 0o600, (0, 0), b"v7")
                    .link("hard", "./dot")
                    .link("hard2", "/slash"),
            ],
        ),
        case("sizes", vec![root().file("empty", "").raw(b"big", b'0', b"", 0o644, (0, 0), &big)]),
        case(
            "sparse",
            vec![
                root()
                    .pax(&[
                        ("GNU.sparse.name", b"s"),
                        ("GNU.sparse.size", b"5000000"),
                        ("GNU.sparse.numblocks", b"2"),
                        ("GNU.sparse.map", b"4096,5,4000000,3"),
                    ])
                    .file("x", "abcdefgh"),
            ],
        ),
        case(
            "hard-links",
            vec![
                root()
                    .file("a", "a")
                    .link("b", "a")
                    .link("c", "b")
                    .symlink("l", "a")
                    .link("m", "l"),
                new().whiteout(".wh.a"),
                new().file("b", "alone").dir("n/", 0o755, 0).link("n/d", "c"),
            ],
        ),
        case(
            "many",
            vec![(0..400).fold(root(), |tar, number| tar.file(&format!("f{number}"), "x"))],
        ),
        case(
            "deep",
            vec![(1..120).fold(root(), |tar, depth| {
                tar.pax(&[("path", "d/".repeat(depth).as_bytes())]).dir("x", 0o755, 0)
            })],
        ),
        case(
            "comments",
            vec![root().pax(&[("comment", b"hello"), ("ctime", b"1.5")]).file("f", "f")],
        ),
    ];
    // Where rocket differs: docs/store.md.
    cases.extend([
        case(
            "devices-below-dev",
            vec![root().dir("dev/", 0o755, 0).raw(b"dev/null", b'3', b"", 0o666, (0, 0), b"")],
        )
        .differs(&["/dev/null"]),
        case(
            "attributes-of-the-host",
            vec![
                root()
                    .pax(&[("SCHILY.xattr.trusted.mine", b"x"), ("SCHILY.xattr.user.kept", b"y")])
                    .file("f", "f"),
            ],
        )
        .differs(&["/f"]),
        case("implicit-parents-of-nothing", vec![root().file("i/j/f", "f")])
            .differs(&["/", "/i", "/i/j"]),
        case(
            "attribute-without-a-value",
            vec![root().pax(&[("SCHILY.xattr.user.empty", b"")]).file("f", "f")],
        )
        .differs(&["/f"]),
        case("file-with-a-slash", vec![root().raw(b"old/", b'0', b"", 0o755, (0, 0), b"")])
            .differs(&["/old"]),
    ]);
    assert!(cases.len() >= 25);
    check(cases);
}
