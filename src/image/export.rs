//! Out of the store again, byte for byte: an ACI as it was fetched, an OCI image as a layout.

use crate::image::digest::{Digest, Hasher};
use crate::image::error::ImageError;
use crate::image::oci::Manifest;
use crate::image::store::{Format, ImageId, Store};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Where an export goes.
pub enum Target<'a> {
    /// One file: an ACI, or a layout in a tar archive.
    File(&'a mut dyn Write),
    /// An empty directory, for a layout.
    Dir(&'a Path),
}

/// One file of a layout.
enum Part {
    Bytes(Vec<u8>),
    Blob(Digest),
}

/// Writes an image. Every byte is compared with its digest on the way. The caller holds the shared lock.
///
/// # Errors
/// Something cannot be read or written, or is not what it was when it was fetched.
pub fn export(store: &Store, id: &ImageId, target: Target<'_>) -> Result<(), ImageError> {
    let image = store.image(id)?;
    let lost = || ImageError::bad(id.to_string(), "the store has no blob of it");
    match (image.format, target) {
        (Format::Aci, Target::File(out)) => {
            copy(store, image.blobs().first().ok_or_else(lost)?, out)
        }
        (Format::Aci, Target::Dir(_)) => {
            let problem = "an ACI is one file; a layout is for OCI images";
            Err(ImageError::bad(id.to_string(), problem))
        }
        (Format::Oci, target) => {
            let name = store.names()?.remove(id).and_then(|names| names.into_iter().next());
            let parts = parts(store, id, name)?;
            match target {
                Target::File(mut out) => archive(store, &parts, &mut out),
                Target::Dir(dir) => layout(store, &parts, dir),
            }
        }
    }
}

fn parts(
    store: &Store,
    id: &ImageId,
    name: Option<String>,
) -> Result<Vec<(String, Part)>, ImageError> {
    let damaged = |what: &str| ImageError::bad(id.to_string(), format!("its {what} is damaged"));
    let document = |file: &str, what: &str, wanted: &Digest| -> Result<Vec<u8>, ImageError> {
        let bytes = store.document(id, file)?.ok_or_else(|| damaged(what))?;
        let fits = Digest::of(wanted.algo(), &bytes) == *wanted;
        if fits { Ok(bytes) } else { Err(damaged(what)) }
    };
    let bytes = document("oci-manifest.json", "manifest", id.digest())?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|_| damaged("manifest"))?;
    let config_digest: Digest = manifest.config.digest.parse().map_err(|_| damaged("manifest"))?;
    let config = document("oci-config.json", "configuration", &config_digest)?;
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        #[serde(default)]
        media_type: Option<String>,
    }
    let typed: Typed = serde_json::from_slice(&bytes).map_err(|_| damaged("manifest"))?;
    let media_type =
        typed.media_type.unwrap_or_else(|| "application/vnd.oci.image.manifest.v1+json".to_owned());
    let mut entry = serde_json::json!({
        "mediaType": media_type, "digest": id.digest().oci(), "size": bytes.len(),
    });
    if let (Some(name), Some(entry)) = (name, entry.as_object_mut()) {
        let names = serde_json::json!({ "org.opencontainers.image.ref.name": name });
        entry.insert("annotations".to_owned(), names);
    }
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    let path = |digest: &Digest| format!("blobs/{}/{}", digest.algo().name(), digest.hex());
    let mut parts = vec![
        ("oci-layout".to_owned(), Part::Bytes(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())),
        ("index.json".to_owned(), Part::Bytes(index.to_string().into_bytes())),
        (path(id.digest()), Part::Bytes(bytes)),
        (path(&config_digest), Part::Bytes(config)),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for layer in manifest.layers {
        let digest: Digest = layer.digest.parse().map_err(|_| damaged("manifest"))?;
        if seen.insert(digest.clone()) {
            parts.push((path(&digest), Part::Blob(digest)));
        }
    }
    Ok(parts)
}

fn layout(store: &Store, parts: &[(String, Part)], dir: &Path) -> Result<(), ImageError> {
    for (name, part) in parts {
        let path = dir.join(name);
        let write = |e| ImageError::io("write", &path, e);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(write)?;
        }
        let mut file = File::create_new(&path).map_err(write)?;
        match part {
            Part::Bytes(bytes) => file.write_all(bytes).map_err(write)?,
            Part::Blob(digest) => copy(store, digest, &mut file)?,
        }
    }
    Ok(())
}

fn archive(store: &Store, parts: &[(String, Part)], out: &mut dyn Write) -> Result<(), ImageError> {
    let write = |e| ImageError::io("write", "the archive", e);
    for dir in ["blobs/", "blobs/sha256/", "blobs/sha512/"] {
        if parts.iter().any(|(name, _)| name.starts_with(dir)) {
            out.write_all(&header(dir, 0, b'5')).map_err(write)?;
        }
    }
    for (name, part) in parts {
        let size = match part {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::Blob(digest) => {
                let path = store.blob_path(digest);
                std::fs::metadata(&path).map_err(|e| ImageError::io("stat", &path, e))?.len()
            }
        };
        out.write_all(&header(name, size, b'0')).map_err(write)?;
        match part {
            Part::Bytes(bytes) => out.write_all(bytes).map_err(write)?,
            Part::Blob(digest) => copy(store, digest, out)?,
        }
        let fill = size.next_multiple_of(512) - size;
        io::copy(&mut io::repeat(0).take(fill), out).map_err(write)?;
    }
    out.write_all(&[0; 1024]).map_err(write)
}

/// A header of the old kind; nothing in it depends on the host or the day.
fn header(name: &str, size: u64, kind: u8) -> Vec<u8> {
    let mode = if kind == b'5' { 0o755 } else { 0o644 };
    // Octal where it fits; else as GNU tar and its readers write large numbers.
    let size = if size < 1 << 33 {
        format!("{size:011o}\0").into_bytes()
    } else {
        let mut large = vec![0x80, 0, 0, 0];
        large.extend_from_slice(&size.to_be_bytes());
        large
    };
    // Names here are at most "blobs/sha512/" and 128 digits: what is longer than 100 goes before.
    let (prefix, short) = match name.rsplit_once('/') {
        Some((dir, file)) if name.len() > 100 => (dir, file),
        _ => ("", name),
    };
    if short.len() > 100 {
        return long_name(name, &size, mode, kind);
    }
    let mut block = Vec::with_capacity(512);
    fill(&mut block, short, &size, mode, kind, prefix);
    block
}

/// Before a name that has no place in the header goes an entry with that name.
fn long_name(name: &str, size: &[u8], mode: u32, kind: u8) -> Vec<u8> {
    let mut length = name.len() + 8;
    while format!("{length} path={name}\n").len() != length {
        length += 1;
    }
    let record = format!("{length} path={name}\n");
    let mut block = Vec::with_capacity(1536);
    let own = format!("{:011o}\0", record.len()).into_bytes();
    fill(&mut block, "pax", &own, 0o644, b'x', "");
    block.extend_from_slice(record.as_bytes());
    block.resize(block.len().next_multiple_of(512), 0);
    fill(&mut block, name.get(..100).unwrap_or(name), size, mode, kind, "");
    block
}

fn fill(out: &mut Vec<u8>, name: &str, size: &[u8], mode: u32, kind: u8, prefix: &str) {
    let start = out.len();
    let to = |out: &mut Vec<u8>, end: usize| out.resize(start + end, 0);
    out.extend_from_slice(name.as_bytes());
    to(out, 100);
    out.extend_from_slice(format!("{mode:07o}\0{:07o}\0{:07o}\0", 0, 0).as_bytes());
    out.extend_from_slice(size);
    out.extend_from_slice(format!("{:011o}\0", 0).as_bytes());
    let sum_at = out.len();
    out.extend_from_slice(b"        ");
    out.push(kind);
    to(out, 257);
    out.extend_from_slice(b"ustar\x0000");
    to(out, 345);
    out.extend_from_slice(prefix.as_bytes());
    to(out, 512);
    let sum: u32 = out.iter().skip(start).map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    for (place, byte) in out.iter_mut().skip(sum_at).zip(sum.bytes()) {
        *place = byte;
    }
}

/// Copies a blob, and fails in the end if it is not what it was.
fn copy(store: &Store, digest: &Digest, out: &mut dyn Write) -> Result<(), ImageError> {
    let path = store.blob_path(digest);
    let mut file = File::open(&path).map_err(|e| ImageError::io("open", &path, e))?;
    let mut hasher = Hasher::new(digest.algo());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(|e| ImageError::io("read", &path, e))?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        hasher.update(piece);
        out.write_all(piece).map_err(|e| ImageError::io("write", "the export", e))?;
    }
    if hasher.finish() == *digest {
        return Ok(());
    }
    Err(ImageError::bad(format!("blob {digest}"), "it is damaged: its digest is another"))
}
