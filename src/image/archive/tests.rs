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
