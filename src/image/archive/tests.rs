use super::*;

fn header(name: &str, flag: u8, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_entry_type(tar::EntryType::new(flag));
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(1);
    header.set_gid(2);
    header.set_mtime(3);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn with_data(name: &str, flag: u8, data: &[u8]) -> Vec<u8> {
    let mut out = header(name, flag, data.len() as u64);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length.to_string().len() + body != length {
        length = length.to_string().len() + body;
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

#[test]
fn extended_headers_describe_the_next_entry() {
    let long = "n/".repeat(200) + "file";
    let pax = [
        record("path", long.as_bytes()),
        record("mtime", b"-1.25"),
        record("uid", b"4000000000"),
        record("SCHILY.xattr.user.b", b"2\n=\0"),
        record("SCHILY.xattr.user.a", b""),
        record("comment", b"ignored"),
    ]
    .concat();
    let archive = [
        with_data("x", b'x', &pax),
        with_data("f", b'0', b"data"),
        header("g", b'5', 0),
        vec![0; 1024],
    ]
    .concat();
    let entries = read(&archive).unwrap();
    assert_eq!(entries[0].path, long.as_bytes());
    assert_eq!(entries[0].mtime, (-2, 750_000_000));
    assert_eq!((entries[0].uid, entries[0].gid, entries[0].size), (4_000_000_000, 2, 4));
    let xattrs = vec![(b"user.a".to_vec(), vec![]), (b"user.b".to_vec(), b"2\n=\0".to_vec())];
    assert_eq!(entries[0].xattrs, xattrs);
    assert_eq!(entries[1].path, b"g");
    assert_eq!((entries[1].kind, entries[1].uid), (EntryKind::Dir, 1));
}

#[test]
fn gnu_long_names_are_read() {
    let long = "n/".repeat(300);
    let archive = [
        with_data("L", b'L', format!("{long}\0").as_bytes()),
        with_data("K", b'K', b"target\0"),
        header("f", b'2', 0),
    ]
    .concat();
    let entries = read(&archive).unwrap();
    assert_eq!(
        (entries[0].path.as_slice(), entries[0].link.as_slice()),
        (long.as_bytes(), &b"target"[..])
    );
}

#[test]
fn damage_is_named() {
    let file = with_data("f", b'0', b"data");
    let mut wrong_sum = file.clone();
    wrong_sum[0] = b'g';
    let pax = |records: &[u8]| [with_data("x", b'x', records), file.clone()].concat();
    let mut huge = header("x", b'x', 1 << 30);
    huge.resize(2048, 0);
    let mut zeros = vec![0; 512];
    zeros.extend_from_slice(&file);
    let cases = [
        (wrong_sum, "checksum"),
        (file[..600].to_vec(), "truncated"),
        (file[..100].to_vec(), "truncated"),
        (with_data("x", b'x', &record("path", b"y")), "truncated"),
        (pax(b"99 path=x\n"), "damaged"),
        (pax(b"path=x\n"), "damaged"),
        (pax(&record("size", b"99")), "disagree"),
        (pax(&record("size", b"-1")), "not a number"),
        (pax(&record("path", b"a\0b")), "NUL"),
        (pax(&record("path", b"")), "empty"),
        (pax(&record("uid", b"5000000000")), "too large"),
        (pax(&record("uid", b"4294967295")), "no user or group id"),
        (pax(&record("GNU.sparse.major", b"1")), "sparse"),
        (pax(&record("SCHILY.xattr.user.a", &vec![b'x'; 70_000])), "too large"),
        ([with_data("g", b'g', &record("path", b"z")), file.clone()].concat(), "global"),
        (huge, "larger"),
        (header("s", b'S', 0), "sparse"),
        (header("q", b'Q', 0), "not supported"),
        (header("l", b'2', 0), "without a target"),
        (zeros, "zeros"),
    ];
    for (archive, expected) in cases {
        let error = read(&archive).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn numbers_have_two_forms() {
    assert_eq!(number(b"0000644\0"), Some(0o644));
    assert_eq!(number(b" 644 \0x"), Some(0o644));
    assert_eq!(number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
    assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
    assert_eq!(number(b"08"), None);
    assert_eq!(number(b"\x9f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    assert_eq!(number(b""), Some(0));
}

#[test]
fn any_bytes_end_without_a_panic() {
    let mut seed = 1u64;
    let good = [
        with_data("x", b'x', &record("path", b"y")),
        with_data("f", b'0', &[7; 700]),
        vec![0; 1024],
    ]
    .concat();
    for _ in 0..3000 {
        let mut bytes = good.clone();
        for _ in 0..4 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(seed >> 33).unwrap() % bytes.len();
            bytes[at] = u8::try_from(seed >> 56).unwrap();
        }
        let _ = read(&bytes);
    }
}

/// A GNU header of a sparse file: four pieces, whether more follow, and the size.
fn gnu(pieces: &[(u64, u64)], more: bool, size: u64, stored: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("s").unwrap();
    header.set_entry_type(tar::EntryType::new(b'S'));
    header.set_size(stored);
    for (what, value) in [(0, 0o644), (1, 0), (2, 0)] {
        match what {
            0 => header.set_mode(value),
            1 => header.set_uid(0),
            _ => header.set_gid(0),
        }
    }
    header.set_mtime(0);
    let gnu = header.as_gnu_mut().unwrap();
    for (place, (offset, length)) in gnu.sparse.iter_mut().zip(pieces) {
        place.offset.copy_from_slice(format!("{offset:011o}\0").as_bytes());
        place.numbytes.copy_from_slice(format!("{length:011o}\0").as_bytes());
    }
    gnu.isextended[0] = u8::from(more);
    gnu.realsize.copy_from_slice(format!("{size:011o}\0").as_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn sparse_pax(records: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
    let records: Vec<u8> = records
        .iter()
        .flat_map(|(k, v)| record(&format!("GNU.sparse.{k}"), v.as_bytes()))
        .collect();
    [with_data("x", b'x', &records), with_data("GNUSparseFile.0/s", b'0', data)].concat()
}

#[test]
fn a_sparse_file_is_runs_and_holes() {
    let map = [("size", "30"), ("name", "real"), ("map", "5,2,10,3")];
    let entry = read(&sparse_pax(&map, b"abcde")).unwrap().remove(0);
    assert_eq!((entry.path, entry.size), (b"real".to_vec(), 30));
    let map = entry.sparse.unwrap();
    let runs: Vec<Run> =
        map.runs().filter(|r| !matches!(r, Run::Hole(0) | Run::Stored(0))).collect();
    use Run::{Hole, Stored};
    assert_eq!(runs, [Hole(5), Stored(2), Hole(3), Stored(3), Hole(17)]);
    assert_eq!((map.holes(), map.size()), (25, 30));
}

#[test]
fn sparse_tables_that_cannot_be_are_refused() {
    let one = |records: &[(&str, &str)], data: &[u8]| sparse_pax(records, data);
    let ahead = [("major", "1"), ("minor", "0"), ("realsize", "100"), ("name", "n")];
    let table = |text: &str, data: &[u8]| {
        let mut content = text.as_bytes().to_vec();
        content.resize(content.len().next_multiple_of(512), 0);
        content.extend_from_slice(data);
        one(&ahead, &content)
    };
    let mut endless = gnu(&[(0, 1)], true, 100, 1);
    let mut block = [0u8; 512];
    for place in block[..504].chunks_exact_mut(24) {
        place.copy_from_slice(b"000000000000\x00000000000000\0"[..24].try_into().unwrap());
    }
    block[504] = 1;
    for _ in 0..7000 {
        endless.extend_from_slice(&block);
    }
    let max = u64::MAX.to_string();
    for (name, bytes, why) in [
        ("overlap", one(&[("size", "30"), ("map", "5,4,8,1")], b"abcde"), "overlap"),
        ("backwards", one(&[("size", "30"), ("map", "9,1,5,4")], b"abcde"), "out of order"),
        ("behind the end", one(&[("size", "6"), ("map", "5,5")], b"abcde"), "behind its end"),
        (
            "overflow",
            one(&[("size", &max), ("map", &format!("{max},5"))], b"abcde"),
            "behind its end",
        ),
        (
            "more than there is",
            one(&[("size", "30"), ("map", "5,9")], b"abcde"),
            "the archive holds 5",
        ),
        (
            "less than there is",
            one(&[("size", "30"), ("map", "5,1")], b"abcde"),
            "the archive holds 5",
        ),
        ("no table", one(&[("size", "30")], b"abcde"), "the archive holds 5"),
        ("no size", one(&[("map", "0,5")], b"abcde"), "does not say its size"),
        ("odd", one(&[("size", "30"), ("map", "5,4,8")], b"abcde"), "not in pairs"),
        ("two lengths", one(&[("size", "3"), ("numbytes", "1")], b"a"), "not in pairs"),
        ("words", one(&[("size", "30"), ("map", "a,b")], b"abcde"), "no number"),
        ("sign", one(&[("size", "30"), ("map", "+1,5")], b"abcde"), "no number"),
        ("negative", one(&[("size", "-30")], b"abcde"), "no number"),
        ("version", one(&[("major", "2"), ("minor", "0"), ("size", "1")], b"abcde"), "not known"),
        ("unknown record", one(&[("future", "2")], b"abcde"), "GNU.sparse.future is not known"),
        ("table ahead is cut", table(&format!("400\n{}", "1\n".repeat(254)), b""), "cut off"),
        ("table ahead with words", table("x\n", b""), "no number"),
        ("table ahead with a long line", table(&"1".repeat(30), b""), "no number"),
        ("a million pieces", table("1000000\n", b""), "more than 131072 pieces"),
        ("all numbers", table("18446744073709551615\n", b""), "more than 131072 pieces"),
        ("table ahead overlaps", table("2\n0\n2\n1\n3\n", b"abcde"), "overlap"),
        (
            "old table overlaps",
            [gnu(&[(0, 3), (1, 2)], false, 9, 5), vec![7; 512]].concat(),
            "overlap",
        ),
        (
            "old table behind the end",
            [gnu(&[(9, 5)], false, 9, 5), vec![7; 512]].concat(),
            "behind",
        ),
        ("old table without its block", gnu(&[(0, 5)], true, 9, 5), "truncated"),
        ("endless old table", endless, "more than 131072 pieces"),
        (
            "old and new",
            [with_data("x", b'x', &record("GNU.sparse.size", b"1")), gnu(&[], false, 1, 0)]
                .concat(),
            "is none",
        ),
        (
            "a sparse link",
            [with_data("x", b'x', &record("GNU.sparse.size", b"1")), with_data("l", b'5', b"")]
                .concat(),
            "is none",
        ),
        ("for every entry", with_data("g", b'g', &record("GNU.sparse.size", b"1")), "every entry"),
        ("no GNU header", with_data("s", b'S', b""), "not GNU tar's"),
    ] {
        match read(&bytes) {
            Ok(_) => panic!("{name} was taken"),
            Err(error) => assert!(error.to_string().contains(why), "{name}: {error}"),
        }
    }
}
