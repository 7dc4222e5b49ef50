//! Images that are not what they should be: a clear error with its cause, status 125, the store as before.

use crate::kit::{Host, LayoutSpec, MANIFEST, Tar, aci, gzip, zstd};
use rocket_testkit::Command;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn names(dir: &Path) -> BTreeSet<String> {
    crate::kit::listing(dir).into_keys().collect()
}

/// A host with one good image, and its store's names.
fn host() -> (Host, BTreeSet<String>) {
    let host = Host::new();
    let good = host.file("good.aci", &aci().file("rootfs/good", "good").end());
    host.rocket(&["fetch", &good]).ok();
    let before = names(&host.path("state"));
    (host, before)
}

#[track_caller]
fn refused(host: &Host, before: &BTreeSet<String>, reference: &str, why: &str) {
    let done = host.rocket(&["fetch", reference]).ends_with(125);
    assert!(done.stderr.contains(why), "{reference}: expected {why:?} in:\n{}", done.stderr);
    assert!(
        done.stderr.starts_with("rocket: ") || done.stderr.contains("\nrocket: "),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    assert_eq!(done.stdout, "");
    assert_eq!(*before, names(&host.path("state")), "{reference}: the store changed");
}

#[test]
fn bad_archives_are_refused_by_cause() {
    let (host, before) = host();
    let good = || aci().dir("rootfs/d", 0o755, 0).file("rootfs/d/f", "data");
    let whole = good().end();
    let device = |name: &str, flag| aci().raw(name.as_bytes(), flag, b"", 0o666, (0, 0), b"").end();
    let manifest = |text: &str| Tar::default().file("manifest", text).dir("rootfs", 0o755, 0).end();
    let mut sum = whole.clone();
    sum[1024] ^= 1;
    let mut flipped = gzip(&whole);
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    let mut cut_zstd = zstd(&whole);
    cut_zstd.truncate(cut_zstd.len() - 8);
    let bomb = gzip(&vec![0; 1 << 20]);
    let deep = format!("rootfs/{}", "d/".repeat(600));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "empty"),
        ("text", b"hello, this is not a tar archive at all".repeat(100), "checksum"),
        ("short", b"short".to_vec(), "truncated"),
        ("cut in a file", whole[..3300].to_vec(), "truncated"),
        ("cut in a header", whole[..2148].to_vec(), "truncated"),
        ("without an end", whole[..3584].to_vec(), "truncated"),
        ("cut gzip", gzip(&whole)[..100].to_vec(), "damaged"),
        ("flipped gzip", flipped, "damaged"),
        ("cut zstd", cut_zstd, "damaged"),
        ("checksum", sum, "checksum"),
        ("cut bzip2", b"BZh91AY&SY".to_vec(), "the bzip2 stream is damaged: it is cut off"),
        ("cut xz", b"\xfd7zXZ\0".to_vec(), "the xz stream is damaged: it is cut off"),
        ("zip", b"PK\x03\x04".to_vec(), "zip file"),
        ("only zeros", bomb, "no manifest"),
        ("no manifest", Tar::default().dir("rootfs", 0o755, 0).end(), "no manifest"),
        ("no rootfs", Tar::default().file("manifest", MANIFEST).end(), "no rootfs"),
        ("third name", good().file("extra", "x").end(), "extra: an image archive holds only"),
        (
            "rootfs is a file",
            Tar::default().file("manifest", MANIFEST).file("rootfs", "").end(),
            "not a directory",
        ),
        (
            "manifest is a link",
            Tar::default().symlink("manifest", "/etc/passwd").end(),
            "not a regular file",
        ),
        ("two manifests", aci().file("./manifest", MANIFEST).end(), "twice"),
        ("a path twice", good().file("rootfs/d/f", "again").end(), "twice"),
        ("a directory twice", good().dir("rootfs/d/", 0o755, 0).end(), "twice"),
        ("file then directory", good().dir("rootfs/d/f/", 0o755, 0).end(), "twice"),
        (
            "twice through a link",
            good().symlink("rootfs/l", "d").file("rootfs/l/f", "x").end(),
            "twice",
        ),
        ("climbing name", aci().file("rootfs/../../evil", "x").end(), "climbs"),
        ("climbing in the middle", aci().file("rootfs/a/../../../evil", "x").end(), "climbs"),
        (
            "climbing pax name",
            aci().pax(&[("path", b"rootfs/../evil")]).file("x", "").end(),
            "climbs",
        ),
        ("absolute name", aci().file("/etc/evil", "x").end(), "holds only manifest and rootfs"),
        ("climbing hard link", aci().link("rootfs/l", "rootfs/../../etc/passwd").end(), "climbs"),
        ("hard link outside", aci().link("rootfs/l", "/etc/passwd").end(), "not in rootfs"),
        ("hard link to the manifest", aci().link("rootfs/l", "manifest").end(), "not in rootfs"),
        ("hard link to nothing", aci().link("rootfs/l", "rootfs/none").end(), "does not exist"),
        ("hard link to a directory", good().link("rootfs/l", "rootfs/d").end(), "is a directory"),
        (
            "link loop",
            aci().symlink("rootfs/a", "b").symlink("rootfs/b", "a").file("rootfs/a/x", "").end(),
            "too many symbolic links",
        ),
        ("below a file", good().file("rootfs/d/f/x", "").end(), "not a directory"),
        (
            "char device",
            device("rootfs/null", b'3'),
            "rootfs/null: device nodes outside /dev"[7..].into(),
        ),
        ("block device", device("rootfs/devx/sda", b'4'), "device nodes outside /dev"),
        ("too deep", aci().pax(&[("path", deep.as_bytes())]).dir("x", 0o755, 0).end(), "deeply"),
        (
            "long name",
            aci()
                .pax(&[("path", format!("rootfs/{}", "n".repeat(256)).as_bytes())])
                .file("x", "")
                .end(),
            "255",
        ),
        (
            "long path",
            aci()
                .pax(&[("path", format!("rootfs/{}x", "n/".repeat(2100)).as_bytes())])
                .file("x", "")
                .end(),
            "4096",
        ),
        (
            "huge xattr",
            aci().pax(&[("SCHILY.xattr.user.a", &[b'x'; 66_000][..])]).file("rootfs/x", "").end(),
            "too large",
        ),
        (
            "sizes disagree",
            aci().pax(&[("size", b"9999999999")]).file("rootfs/x", "abc").end(),
            "disagree",
        ),
        ("sparse", aci().raw(b"rootfs/s", b'S', b"", 0o644, (0, 0), b"").end(), "not GNU tar's"),
        (
            "strange type",
            aci().raw(b"rootfs/s", b'Z', b"", 0o644, (0, 0), b"").end(),
            "not supported",
        ),
        ("not JSON", manifest("{"), "manifest cannot be read"),
        ("wrong kind", manifest(&MANIFEST.replace("ImageManifest", "PodManifest")), "acKind"),
        ("wrong version", manifest(&MANIFEST.replace("0.8.11", "2.0.0")), "acVersion"),
        ("wrong name", manifest(&MANIFEST.replace("example.com/app", "Not A Name")), "Not A Name"),
        ("no user", manifest(&MANIFEST.replace("\"user\":\"0\",", "")), "user"),
        (
            "other system",
            manifest(&MANIFEST.replace("\"linux\"", "\"freebsd\"")),
            "this host is linux/",
        ),
        (
            "dependencies",
            manifest(
                &MANIFEST.replace("\"app\":", "\"dependencies\":[{\"imageName\":\"a\"}],\"app\":"),
            ),
            "dependencies",
        ),
    ];
    assert!(cases.len() >= 40);
    for (name, bytes, why) in cases {
        let file = host.file(&format!("{}.aci", name.replace(' ', "-")), &bytes);
        refused(&host, &before, &file, why);
    }
}

#[test]
fn a_bomb_is_refused_before_it_fills_the_disk() {
    let (host, before) = host();
    let header = aci().raw(b"rootfs/zeros", b'0', b"", 0o644, (0, 0), b"").0;
    // A header that promises 3 GB, and 3 GB of zeros in a few kilobytes.
    let mut header = header;
    let at = header.len() - 512;
    header[at + 124..at + 136].copy_from_slice(b"27777777777\0");
    header[at + 148..at + 156].fill(b' ');
    let sum: u32 = header[at..].iter().map(|b| u32::from(*b)).sum();
    header[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    std::io::Write::write_all(&mut encoder, &header).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..1300 {
        std::io::Write::write_all(&mut encoder, &zeros).unwrap();
    }
    let file = host.file("bomb.aci", &encoder.finish().unwrap());
    refused(&host, &before, &file, "bomb");
}

#[test]
fn links_cannot_lead_out_of_the_root() {
    let host = Host::new();
    let victim = host.path("victim");
    let climb = format!("{}{}", "../".repeat(30), &victim.to_str().unwrap()[1..]);
    let tar = aci()
        .symlink("rootfs/up", "../../../../../..")
        .symlink("rootfs/abs", victim.to_str().unwrap())
        .symlink("rootfs/climb", &climb[..climb.len().min(99)])
        .file("rootfs/up/one", "1")
        .file("rootfs/abs/two", "2")
        .end();
    fs::create_dir(&victim).unwrap();
    let file = host.file("links.aci", &tar);
    host.rocket(&["fetch", &file]).ok();
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
    let tree = host.layers("example.com/app").remove(0);
    assert!(tree.join("one").is_file());
    assert!(tree.join(format!(".{}/two", victim.display())).is_file());
}

#[test]
fn devices_below_dev_are_left_out_and_said() {
    let host = Host::new();
    let tar =
        aci().dir("rootfs/dev", 0o755, 0).raw(b"rootfs/dev/null", b'3', b"", 0o666, (0, 0), b"");
    let file = host.file("dev.aci", &tar.end());
    host.rocket(&["fetch", &file]).ok().says(&["left out 1 device"]);
    let tree = host.layers("example.com/app").remove(0);
    assert_eq!(fs::read_dir(tree.join("dev")).unwrap().count(), 0);
}

#[test]
fn bad_layouts_are_refused_by_cause() {
    let (host, before) = host();
    let layer = || Tar::default().dir("./", 0o755, 0).file("f", "data").end();
    let make = |name: &str, spec: LayoutSpec| {
        spec.write(&host.path(name));
        format!("oci:{}", host.path(name).display())
    };
    let blobs = |name: &str| {
        let dir = host.path(name).join("blobs/sha256");
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>()
    };
    let spec = || LayoutSpec::new(vec![layer()]);
    let with = |change: fn(&mut LayoutSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec
    };
    let artifact = make("artifact", with(|s| s.config_type = "application/vnd.example.config"));
    refused(&host, &before, &artifact, "artifact");
    let foreign = make("foreign", with(|s| s.layer_type = "application/vnd.example.layer"));
    refused(&host, &before, &foreign, "application/vnd.example.layer");
    let whiteout = make("wh", LayoutSpec::new(vec![Tar::default().whiteout("a/.wh.").end()]));
    refused(&host, &before, &whiteout, "whiteout of nothing");
    let two = make("two", LayoutSpec::new(vec![layer(), Tar::default().link("x", "none").end()]));
    refused(&host, &before, &two, "layer 2/2");
    let climbing =
        make("climb", LayoutSpec::new(vec![layer(), Tar::default().file("../x", "").end()]));
    refused(&host, &before, &climbing, "climbs");
    let device = Tar::default().raw(b"sda", b'4', b"", 0o666, (0, 0), b"").end();
    let device = make("device", LayoutSpec::new(vec![device]));
    refused(&host, &before, &device, "sda: device nodes outside /dev");

    // Each blob damaged in turn: one bit, and one byte more.
    for grow in [false, true] {
        for index in 0..3 {
            let name = format!("damaged-{index}-{grow}");
            let reference = make(&name, spec());
            let path = &blobs(&name)[index];
            let mut bytes = fs::read(path).unwrap();
            let at = bytes.len() / 2;
            if grow {
                bytes.push(0)
            } else {
                bytes[at] ^= 1
            }
            fs::write(path, bytes).unwrap();
            refused(
                &host,
                &before,
                &reference,
                if grow { "bytes, its descriptor says" } else { "" },
            );
        }
    }
    let lost = make("lost", spec());
    fs::remove_file(&blobs("lost")[0]).unwrap();
    refused(&host, &before, &lost, "No such file");
    let piped = make("piped", spec());
    let pipe = &blobs("piped")[1];
    fs::remove_file(pipe).unwrap();
    rocket_testkit::run("mkfifo", [pipe]).ok();
    refused(&host, &before, &piped, "not a regular file");

    make("tags", spec());
    let tags = host.path("tags").display().to_string();
    refused(&host, &before, &format!("oci:{tags}:none"), "no tag none (tags: latest)");
    fs::write(host.path("tags/oci-layout"), r#"{"imageLayoutVersion":"9"}"#).unwrap();
    refused(&host, &before, &format!("oci:{tags}"), "version \"9\"");
    refused(&host, &before, "oci:/nowhere", "no OCI image layout");
    let other = make("other", spec());
    let index = host.path("other/index.json");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("image.manifest.v1", "image.index.v1")).unwrap();
    refused(&host, &before, &other, "is said to be");
}

#[test]
fn references_that_are_not_supported_are_named() {
    let (host, before) = host();
    for (reference, why) in [
        ("docker://host/Nginx", "means no image of a registry"),
        ("https://user@example.com/a.aci", "is no address of an image"),
        ("docker-daemon:a", "docker-daemon: references are not supported"),
        ("docker-archive:./none.tar", "No such file"),
        ("localhost:5000/x", "docker://HOST:PORT/NAME"),
        ("sha512-1234", "at least 8 digits"),
        ("example.com/none", "not in the store"),
        ("./none.aci", "No such file"),
        ("/dev/zero", "not a regular file"),
    ] {
        refused(&host, &before, reference, why);
    }
}

#[test]
fn a_full_disk_in_the_middle_leaves_the_store_as_it_was() {
    let host = Host::new();
    let small = host.file("small.aci", &aci().file("rootfs/a", "a").end());
    let many: Vec<Vec<u8>> = (0..3u8)
        .map(|n| Tar::default().file(&format!("f{n}"), &"x".repeat(3 << 20)).end())
        .collect();
    LayoutSpec::new(many).write(&host.path("big"));
    let big = aci().raw(b"rootfs/b", b'0', b"", 0o644, (0, 0), &vec![7; 9 << 20]).end();
    let big = host.file("big.aci", &big);
    let script = format!(
        "mkdir {state} && mount -t tmpfs -o size=8m tmpfs {state} && {rocket} fetch {small} || exit 9
        find {state} | sort >{dir}/before
        {rocket} fetch {big} && exit 8
        {rocket} fetch oci:{dir}/big && exit 7
        find {state} | sort >{dir}/after
        cmp {dir}/before {dir}/after && {rocket} image list",
        state = host.path("state").display(),
        dir = host.dir.path().display(),
        rocket = env!("CARGO_BIN_EXE_rocket"),
    );
    let done = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .env("ROCKET_STATE_DIR", host.path("state"))
        .env("ROCKET_CONFIG_DIR", host.path("config"))
        .run()
        .ok();
    assert_eq!(done.stderr.matches("No space left on device").count(), 2, "{}", done.stderr);
}

#[test]
fn what_a_killed_fetch_left_goes_at_the_next() {
    let (host, before) = host();
    let tmp = host.store().join("tmp");
    fs::create_dir_all(tmp.join("dead/layer/tree")).unwrap();
    fs::write(tmp.join("dead.lock"), "").unwrap();
    let good = host.file("again.aci", &gzip(&aci().file("rootfs/good", "good").end()));
    host.rocket(&["fetch", &good]).ok();
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    assert_eq!(names(&host.path("state")).len(), before.len() + 1, "one blob more, one image");
}
