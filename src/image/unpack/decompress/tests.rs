use super::*;
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    liblzma::encode_all(bytes, 1).unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

type Codec = (&'static str, fn(&[u8]) -> Vec<u8>);
const ALL: [Codec; 4] = [("gzip", gzip), ("bzip2", bzip2), ("xz", xz), ("zstd", zstd)];

/// Gives its bytes in pieces of one size.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.1.min(buffer.len());
        self.0.read(&mut buffer[..most])
    }
}

fn read_by(bytes: &[u8], step: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut reader = Decompress::new(Drip(bytes, step)).map_err(|e| e.to_string())?;
    reader.read_to_end(&mut out).map_err(|e| e.to_string())?;
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    Ok(out)
}

fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
    read_by(bytes, usize::MAX)
}

/// Text that repeats itself now and then.
fn text() -> Vec<u8> {
    let mut out = Vec::new();
    let mut state = 7u32;
    while out.len() < 200_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend_from_slice(format!("line {} ", state >> 20).as_bytes());
    }
    out
}

#[test]
fn every_format_gives_its_bytes_however_they_arrive() {
    let text = text();
    assert_eq!(read(&text).unwrap(), text);
    for (name, compress) in ALL {
        for step in [1, 7, 4096, usize::MAX] {
            assert!(read_by(&compress(&text), step).unwrap() == text, "{name} by {step}");
        }
        assert_eq!(read(&compress(b"")).unwrap(), b"", "{name}");
    }
}

#[test]
fn members_that_follow_one_another_are_one_stream() {
    for (name, compress) in ALL {
        let parts = [&b"one "[..], b"", b"two ", b"three"];
        let joined = parts.map(compress).concat();
        for step in [1, usize::MAX] {
            assert_eq!(read_by(&joined, step).unwrap(), b"one two three", "{name}");
        }
    }
    let mut frames = vec![0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    frames.extend(zstd(b"between "));
    frames.extend([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
    frames.extend(zstd(b"skipped"));
    for step in [1, usize::MAX] {
        assert_eq!(read_by(&frames, step).unwrap(), b"between skipped");
    }
}

#[test]
fn zeros_may_follow_and_nothing_else() {
    for (name, compress) in ALL {
        let padded = [compress(b"text"), vec![0; 10_240]].concat();
        assert_eq!(read(&padded).unwrap(), b"text", "{name}");
        for garbage in [&b"garbage"[..], b"\0\0\0\0x", &text()] {
            let error = read(&[compress(b"text"), garbage.to_vec()].concat()).unwrap_err();
            assert!(error.contains("follows the end") || error.contains("damaged"), "{error}");
            assert!(error.contains(name), "{error}");
        }
    }
}

#[test]
fn a_stream_cut_anywhere_is_damaged() {
    for (name, compress) in ALL {
        let whole = [compress(b"the first member"), compress(b"the second")].concat();
        let boundary = compress(b"the first member").len();
        for length in (10..whole.len()).filter(|length| *length != boundary) {
            let result = read(&whole[..length]);
            let error = result.expect_err(&format!("{name} cut at {length}"));
            let expected = format!("the {name} stream is damaged");
            assert!(
                error.contains(&expected) || error.contains("follows the end"),
                "{length}: {error}"
            );
        }
    }
}

#[test]
fn a_flipped_bit_is_found() {
    let text = text();
    for (name, compress) in ALL {
        let good = compress(&text);
        // The headers' free fields (a time, a system's number) may be anything.
        for at in (12..good.len()).step_by(good.len() / 50 + 1) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            // The quick encoder here writes no checksum into zstd frames.
            let result = read(&bad);
            assert!(name == "zstd" || result.is_err(), "{name} at {at}");
        }
    }
}

#[test]
fn what_needs_too_much_memory_is_refused_with_sizes() {
    let window = |log: u32, text: &[u8]| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.window_log(log).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(read(&window(27, b"large window")).unwrap(), b"large window");
    let refusals = [window(28, b"x"), [zstd(b"first "), window(31, b"x")].concat()];
    for (stream, size) in refusals.iter().zip(["256 MiB", "2048 MiB"]) {
        let error = read(stream).unwrap_err();
        assert!(error.contains(size) && error.contains("the limit is 128 MiB"), "{error}");
        assert!(!error.contains("damaged"), "{error}");
    }

    let dictionary = |size: u32, text: &[u8]| {
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(size);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let check = liblzma::stream::Check::Crc64;
        let stream = liblzma::stream::Stream::new_stream_encoder(&filters, check).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(read(&dictionary(64 << 20, b"large")).unwrap(), b"large");
    for stream in [dictionary(96 << 20, b"x"), [xz(b"a"), dictionary(96 << 20, b"x")].concat()] {
        let error = read(&stream).unwrap_err();
        assert!(error.contains("needs 97 MiB of memory"), "{error}");
        assert!(error.contains("the limit is 72 MiB (a dictionary of 64 MiB)"), "{error}");
    }
}

#[test]
fn windows_are_read_from_frame_headers() {
    let frame = |rest: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd][..], rest].concat();
    assert_eq!(zstd_window(&frame(&[0x00, 0x00])), Some(1 << 10));
    assert_eq!(zstd_window(&frame(&[0x00, 0x89])), Some((1 << 27) + (1 << 24)));
    // A single segment, with its size in one, two, four and eight bytes, and a dictionary's id.
    assert_eq!(zstd_window(&frame(&[0x20, 9])), Some(9));
    assert_eq!(zstd_window(&frame(&[0x60, 1, 1])), Some(257 + 256));
    assert_eq!(zstd_window(&frame(&[0xa0, 0, 0, 0, 1])), Some(1 << 24));
    assert_eq!(zstd_window(&frame(&[0xe0, 0, 0, 0, 0, 1, 0, 0, 0])), Some(1 << 32));
    assert_eq!(zstd_window(&frame(&[0xa2, 7, 7, 0, 0, 0, 1])), Some(1 << 24));
    assert_eq!(zstd_window(&frame(&[0x00])), None);
    assert_eq!(zstd_window(&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]), Some(0));
}

#[test]
fn what_is_known_and_of_no_use_is_named() {
    for (bytes, why) in [
        (&b""[..], "empty"),
        (b"PK\x03\x04", "a zip file"),
        (b"\x1f\x9d\x90rest", "compressed with compress"),
        (b"\x04\x22\x4d\x18rest", "lz4"),
        (b"LZIP\x01rest", "lzip"),
        (b"\x5d\0\0\x80\0\xff", "lzma"),
        (b"-----BEGIN PGP MESSAGE-----\n", "encrypted with OpenPGP"),
        (b"\x8c\x0d\x04\x09\x03\x02", "encrypted with OpenPGP"),
        (b"\x85\x02\x0c\x03\x11", "encrypted with OpenPGP"),
        (b"-----BEGIN PGP SIGNATURE-----\n", "a signature"),
    ] {
        let error = read(bytes).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    // Names that only begin like a format.
    for name in [&b"BZh9file"[..], b"LZIPfile", b"]x"] {
        assert_eq!(read(name).unwrap(), name);
    }
}
