//! Archives compressed by the programs people have: every format, every way of splitting one, and the
//! memory that a fetch takes.

use crate::kit::{Host, LayoutSpec, Tar, aci};
use rocket::image::{Algo, Digest};
use rocket_testkit::Command;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Runs a shell command line in the host's directory.
fn shell(host: &Host, line: &str) {
    Command::new("sh")
        .args(["-c", &format!("cd {} && {line}", host.dir.path().display())])
        .run()
        .ok();
}

/// What a command line makes of bytes.
fn filter(line: &str, bytes: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in"), bytes).unwrap();
    let line = format!("cd {} && {line} <in >out", dir.path().display());
    Command::new("sh").args(["-c", &line]).run().ok();
    fs::read(dir.path().join("out")).unwrap()
}

/// An ACI with enough in it that a split into pieces falls inside files.
fn archive() -> Vec<u8> {
    let mut tar = aci().dir("rootfs/d", 0o755, 0);
    for number in 0..200 {
        let text: String = (0..300).map(|line| format!("{number} {}\n", line * number)).collect();
        tar = tar.file(&format!("rootfs/d/{number}"), &text);
    }
    tar.end()
}

#[test]
fn what_the_usual_programs_compress_is_unpacked() {
    let host = Host::new();
    let plain = archive();
    host.file("plain.aci", &plain);
    fs::write(host.path("head"), &plain[..100_000]).unwrap();
    fs::write(host.path("tail"), &plain[100_000..]).unwrap();
    let expected = Digest::of(Algo::Sha512, &plain).to_string();
    for (name, line) in [
        ("gzip", "gzip -c plain.aci"),
        ("gzip members", "(gzip -c head; gzip -9c tail)"),
        ("gzip padded", "(gzip -c plain.aci; head -c 5120 /dev/zero)"),
        ("pigz", "pigz -p 2 -b 128 -c plain.aci"),
        ("pigz independent", "pigz -i -b 128 -c plain.aci"),
        ("bzip2", "bzip2 -c plain.aci"),
        ("bzip2 members", "(bzip2 -1c head; bzip2 -9c tail)"),
        ("xz", "xz -c plain.aci"),
        ("xz largest", "xz -9ec plain.aci"),
        ("xz filters", "xz -c --x86 --delta=dist=4 --lzma2=preset=1 plain.aci"),
        ("xz checks", "(xz -c -C none head; xz -c -C sha256 tail)"),
        ("xz blocks", "xz -c -T2 --block-size=65536 plain.aci"),
        ("xz padded", "(xz -c head; head -c 8 /dev/zero; xz -c tail; head -c 4 /dev/zero)"),
        // Without -t it appends an index of its own to the archive.
        ("pixz", "pixz -t <plain.aci"),
        ("zstd", "zstd -c plain.aci"),
        ("zstd unknown size", "zstd -15 -c <plain.aci"),
        ("zstd window of 128 MiB", "zstd -3 --long=27 -c <plain.aci"),
        ("zstd without checksum", "zstd --no-check -c plain.aci"),
        ("zstd frames", "(zstd -c head; zstd -c tail)"),
        (
            "zstd skippable",
            r"(printf 'Q*M\030\004\0\0\0none'; zstd -c plain.aci; printf 'P*M\030\0\0\0\0')",
        ),
    ] {
        let one = Host::new();
        shell(&host, &format!("{line} >{}", one.path("image.dat.aci").display()));
        let path = one.path("image.dat.aci").display().to_string();
        let done = one.rocket(&["fetch", &path]).ok();
        assert_eq!(done.stdout.trim(), expected, "{name}");
    }
}

#[test]
fn a_layer_is_what_its_bytes_say_not_what_its_type_says() {
    let host = Host::new();
    let layer = Tar::default().dir("./", 0o755, 0).file("f", "content").end();
    type Case = (&'static str, fn(&[u8]) -> Vec<u8>);
    let types: [Case; 4] = [
        ("plain", <[u8]>::to_vec),
        ("bzip2", |bytes| filter("bzip2 -c", bytes)),
        ("xz", |bytes| filter("xz -c", bytes)),
        ("zstd", |bytes| filter("zstd -c", bytes)),
    ];
    for (name, compress) in types {
        // All of them say gzip.
        LayoutSpec { compress, ..LayoutSpec::new(vec![layer.clone()]) }.write(&host.path(name));
        host.rocket(&["fetch", &format!("oci:{}", host.path(name).display())]).ok();
        assert!(host.merged(name).contains_key("/f"), "{name}");
    }
}

#[test]
fn damaged_compressed_archives_are_refused_by_cause() {
    let host = Host::new();
    host.file("plain.aci", &archive());
    for (line, why) in [
        ("(gzip -c plain.aci; echo garbage)", "something follows the end of its gzip stream"),
        ("(bzip2 -c plain.aci; echo garbage)", "something follows the end of its bzip2 stream"),
        ("(xz -c plain.aci; echo garbage)", "the xz stream is damaged"),
        ("(xz -c plain.aci; head -c 3 /dev/zero)", "the xz stream is damaged"),
        ("(zstd -c plain.aci; echo garbage)", "something follows the end of its zstd stream"),
        ("(gzip -c plain.aci; xz -c plain.aci)", "something follows the end of its gzip stream"),
        ("gzip -c plain.aci | head -c -4", "the gzip stream is damaged: it is cut off"),
        ("bzip2 -c plain.aci | head -c -4", "the bzip2 stream is damaged: it is cut off"),
        ("xz -c plain.aci | head -c -4", "the xz stream is damaged: it is cut off"),
        ("zstd -c plain.aci | head -c -4", "the zstd stream is damaged: it is cut off"),
        ("pixz <plain.aci | head -c 9000", "the xz stream is damaged: it is cut off"),
        (
            "xz -c --lzma2=preset=0,dict=192MiB plain.aci",
            "needs 193 MiB of memory, the limit is 72 MiB",
        ),
        (
            "zstd -c --ultra --long=30 <plain.aci",
            "needs a window of 1024 MiB, the limit is 128 MiB",
        ),
        ("lzma -c plain.aci", "the old lzma format"),
        (r"(printf '\214\015\004\011\003\002'; cat plain.aci)", "encrypted with OpenPGP"),
    ] {
        shell(&host, &format!("{line} >bad.aci"));
        let done = host.rocket(&["fetch", &host.path("bad.aci").display().to_string()]);
        let done = done.ends_with(125);
        assert!(done.stderr.contains(why), "{line}: expected {why:?} in:\n{}", done.stderr);
    }
    let store = rocket::image::Store::open(&host.store()).unwrap();
    assert!(store.images().unwrap().is_empty());
}

/// What the program's own text takes in both processes, as it is installed, in MB. A build for tests
/// has more of it, which says nothing about a fetch, so text is not measured.
const TEXT: u64 = 16;

/// Peak memory of a process and its children without the program's text, in kB.
fn peak(pid: u32, peaks: &mut BTreeMap<u32, u64>) {
    if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kb = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peaks
            .entry(pid)
            .and_modify(|old| *old = (*old).max(kb.unwrap_or(0)))
            .or_insert(kb.unwrap_or(0));
    }
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    for child in children.unwrap_or_default().split_whitespace() {
        peak(child.parse().unwrap(), peaks);
    }
}

/// Megabytes that a fetch takes at most: rocket and its worker together.
fn memory(host: &Host, image: &str) -> u64 {
    let mut rocket = Command::new(env!("CARGO_BIN_EXE_rocket"))
        .args(["fetch", image])
        .env("ROCKET_STATE_DIR", host.path("state"))
        .env("ROCKET_CONFIG_DIR", host.path("config"))
        .seconds(600)
        .start();
    let pid = u32::try_from(rocket.pid().as_raw_nonzero().get()).unwrap();
    let mut peaks = BTreeMap::new();
    while !rocket.has_ended() {
        peak(pid, &mut peaks);
        std::thread::sleep(Duration::from_millis(5));
    }
    rocket.wait().ok();
    assert!(peaks.len() >= 2, "the worker was not seen");
    peaks.values().sum::<u64>() * 1024 / 1_000_000 + TEXT
}

/// A large archive's memory is its format's, whatever its size.
#[test]
fn long_a_fetch_takes_the_memory_that_is_promised() {
    let host = Host::new();
    // Bytes that compress to about half, so that windows are filled and not just skipped over.
    let mut state = 1u64;
    let mut block = Vec::new();
    for _ in 0..(8 << 20) / 16 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        block.extend_from_slice(format!("{:016x}", state >> 13).as_bytes());
    }
    let mut tar = aci();
    for number in 0..24u8 {
        block[..8].fill(number);
        tar = tar.raw(format!("rootfs/{number}").as_bytes(), b'0', b"", 0o644, (0, 0), &block);
    }
    host.file("plain", &tar.end());
    for (name, line, limit) in [
        ("plain", "cat", 64),
        ("gzip", "pigz -1 -c", 64),
        ("bzip2", "bzip2 -9 -c", 64),
        ("zstd", "zstd -3 -c", 64),
        ("zstd with a window of 8 MiB", "zstd -1 --zstd=wlog=23 -c", 64),
        ("zstd with a window of 128 MiB", "zstd -1 --long=27 -c", 160),
        ("xz", "xz -0 -c", 64),
        ("xz with a dictionary of 64 MiB", "xz -c --lzma2=preset=0,dict=64MiB", 160),
    ] {
        shell(&host, &format!("{line} <plain >large.aci"));
        let one = Host::new();
        let most = memory(&one, &host.path("large.aci").display().to_string());
        println!("{name}: {most} MB");
        assert!(most <= limit, "{name}: {most} MB, promised {limit}");
    }
}
