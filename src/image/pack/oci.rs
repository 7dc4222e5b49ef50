//! An OCI image around one layer: configuration, manifest, and a layout or an archive that holds them.

use super::header::Entry;
use super::sink::{Sink, Unfinished, beside};
use super::{Compression, Form, Packed, Request, padding, tree};
use crate::image::digest::{Algo, Digest};
use crate::image::error::ImageError;
use crate::image::manifest::{App, ImageManifest, STOP_SIGNAL};
use crate::image::store::ImageId;
use crate::image::time::from_epoch;
use rustix::fs::FlockOperation;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const TAG: &str = "org.opencontainers.image.ref.name";
const LAYOUT: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";
/// Largest index that is read and added to.
const MAX_INDEX: u64 = 4 << 20;

/// The layer's descriptor.
struct Layer {
    diff_id: Digest,
    digest: Digest,
    size: u64,
    kind: &'static str,
}

/// The documents around a layer.
struct Documents {
    config: (Digest, Vec<u8>),
    manifest: (Digest, Vec<u8>),
    /// The manifest as an index lists it.
    listed: Value,
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn hashed(value: &Value) -> (Digest, Vec<u8>) {
    let bytes = text(value);
    (Digest::of(Algo::Sha256, &bytes), bytes)
}

fn layer(
    request: &Request<'_>,
    file: File,
    path: &Path,
) -> Result<(Layer, Vec<String>), ImageError> {
    let algos = (Algo::Sha256, Some(Algo::Sha256));
    let mut sink = Sink::new(file, path, algos, request.compression)?;
    let notes = tree(&mut sink, request, Form::Oci, path)?;
    let written = sink.finish()?;
    let (digest, size) = written
        .file
        .ok_or_else(|| ImageError::bad(path.display().to_string(), "its digest was not taken"))?;
    let kind = match request.compression {
        Compression::None => "application/vnd.oci.image.layer.v1.tar",
        Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
    };
    Ok((Layer { diff_id: written.plain, digest, size, kind }, notes))
}

/// Packs into the layout in `dir`, which is made when it is not there.
pub(super) fn layout(request: &Request<'_>, dir: &Path, tag: &str) -> Result<Packed, ImageError> {
    let platform = check(request, tag)?;
    let fresh = prepare(dir)?;
    let blobs = dir.join("blobs/sha256");
    let made = std::fs::create_dir_all(&blobs);
    made.map_err(|e| ImageError::io("make the directory", &blobs, e))?;
    let held = File::open(dir).map_err(|e| ImageError::io("open", dir, e))?;
    let temp = blobs.join("layer");
    let (file, unfinished) = beside(&temp)?;
    let (layer, mut notes) = layer(request, file, &temp)?;
    unfinished.into_place(&blobs.join(layer.digest.hex()))?;
    let documents = documents(request, &layer, &platform, tag, &mut notes)?;
    for (digest, bytes) in [&documents.config, &documents.manifest] {
        put(&blobs.join(digest.hex()), bytes)?;
    }
    // Two that pack into one layout must not lose each other's line.
    rustix::fs::flock(&held, FlockOperation::LockExclusive)
        .map_err(|e| ImageError::io("lock", dir, e))?;
    let index = dir.join("index.json");
    let mut listed = if fresh && !index.exists() { Vec::new() } else { read_index(&index)? };
    listed.retain(|known| {
        known.pointer("/annotations").and_then(|a| a.get(TAG)) != Some(&json!(tag))
    });
    listed.push(documents.listed);
    put(&dir.join("oci-layout"), LAYOUT)?;
    put(&index, &index_of(listed))?;
    held.sync_all().map_err(|e| ImageError::io("write", dir, e))?;
    Ok(Packed { id: ImageId::new(documents.manifest.0), notes })
}

/// Packs into the archive `file`.
pub(super) fn archive(request: &Request<'_>, file: &Path, tag: &str) -> Result<Packed, ImageError> {
    let platform = check(request, tag)?;
    let (mut layer_file, _scratch) = beside(file)?;
    let copy = layer_file.try_clone().map_err(|e| ImageError::io("open", file, e))?;
    let (layer, mut notes) = layer(request, copy, file)?;
    let documents = documents(request, &layer, &platform, tag, &mut notes)?;
    let (out, unfinished) = beside(file)?;
    let mut sink = Sink::new(out, file, (Algo::Sha256, None), Compression::None)?;
    let mtime = (request.clamp.unwrap_or(0).max(0), 0);
    let head = |sink: &mut Sink, path: &str, kind, mode, size| {
        let path = path.as_bytes();
        sink.write(&Entry { path, kind, mode, mtime, size, ..Entry::default() }.blocks())
    };
    head(&mut sink, "blobs/", b'5', 0o755, 0)?;
    head(&mut sink, "blobs/sha256/", b'5', 0o755, 0)?;
    let index = index_of(vec![documents.listed.clone()]);
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let mut files = vec![
        (blob(&documents.config.0), Some(documents.config.1.as_slice())),
        (blob(&documents.manifest.0), Some(documents.manifest.1.as_slice())),
        (blob(&layer.digest), None),
    ];
    files.sort();
    files.push(("index.json".to_owned(), Some(index.as_slice())));
    files.push(("oci-layout".to_owned(), Some(LAYOUT)));
    for (path, bytes) in files {
        match bytes {
            Some(bytes) => {
                head(&mut sink, &path, b'0', 0o644, bytes.len() as u64)?;
                sink.write(bytes)?;
                sink.write(padding(bytes.len() as u64))?;
            }
            None => {
                head(&mut sink, &path, b'0', 0o644, layer.size)?;
                pour(&mut layer_file, &mut sink, file)?;
                sink.write(padding(layer.size))?;
            }
        }
    }
    sink.finish()?;
    unfinished.into_place(file)?;
    Ok(Packed { id: ImageId::new(documents.manifest.0), notes })
}

fn pour(from: &mut File, sink: &mut Sink, path: &Path) -> Result<(), ImageError> {
    let read = |e| ImageError::io("read", path, e);
    from.seek(io::SeekFrom::Start(0)).map_err(read)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer).map_err(read)? {
            0 => return Ok(()),
            count => sink.write(buffer.get(..count).unwrap_or_default())?,
        }
    }
}

/// Refuses early what an OCI image cannot say; its platform in Go's words.
fn check(
    request: &Request<'_>,
    tag: &str,
) -> Result<(String, &'static str, Option<&'static str>), ImageError> {
    let manifest = request.manifest;
    let bad = |problem: String| Err(ImageError::bad(manifest.name.to_string(), problem));
    if !manifest.dependencies.is_empty() || !manifest.path_whitelist.is_empty() {
        return bad("an OCI image has no dependencies; pack an ACI".to_owned());
    }
    let plain = tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._+".contains(&b));
    if !plain || tag.is_empty() || tag.len() > 128 {
        return bad(format!("{tag:?} is no tag: letters, digits, and any of - . _ +"));
    }
    if manifest
        .app
        .as_ref()
        .is_some_and(|app| app.user.starts_with('/') || app.group.starts_with('/'))
    {
        return bad(
            "an OCI image names its user by name or number, not by a file's owner".to_owned()
        );
    }
    let os = manifest.label("os").unwrap_or("linux").to_owned();
    let (arch, variant) = match manifest.label("arch").unwrap_or_default() {
        "amd64" => ("amd64", None),
        "i386" => ("386", None),
        "aarch64" => ("arm64", None),
        "armv6l" => ("arm", Some("v6")),
        "armv7l" => ("arm", Some("v7")),
        "ppc64" => ("ppc64", None),
        "ppc64le" => ("ppc64le", None),
        "s390x" => ("s390x", None),
        other => return bad(format!("OCI has no word for the architecture {other:?}")),
    };
    Ok((os, arch, variant))
}

fn documents(
    request: &Request<'_>,
    layer: &Layer,
    (os, arch, variant): &(String, &'static str, Option<&'static str>),
    tag: &str,
    notes: &mut Vec<String>,
) -> Result<Documents, ImageError> {
    let manifest = request.manifest;
    let created = match manifest.annotation("created") {
        Some(created) => Some(created.to_owned()),
        None => request.clamp.and_then(|at| u64::try_from(at).ok()).map(from_epoch),
    };
    let mut config = Map::new();
    let mut history = json!({"created_by": "rocket image pack"});
    let mut platform = json!({"architecture": arch, "os": os});
    config.insert("architecture".to_owned(), json!(arch));
    config.insert("os".to_owned(), json!(os));
    if let Some(variant) = variant {
        config.insert("variant".to_owned(), json!(variant));
        platform["variant"] = json!(variant);
    }
    if let Some(created) = created {
        history["created"] = json!(created);
        config.insert("created".to_owned(), json!(created));
    }
    if let Some(author) = manifest.annotation("authors") {
        config.insert("author".to_owned(), json!(author));
    }
    config.insert("config".to_owned(), run_config(manifest, request.primary_group, notes));
    config
        .insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": [layer.diff_id.oci()]}));
    config.insert("history".to_owned(), json!([history]));
    let config = hashed(&Value::Object(config));
    let annotations: Map<String, Value> = manifest
        .annotations
        .iter()
        .filter(|a| ![STOP_SIGNAL, "created", "authors"].contains(&a.name.as_str()))
        .map(|a| (a.name.to_string(), json!(a.value)))
        .collect();
    let mut document = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config.0.oci(), "size": config.1.len()},
        "layers": [{"mediaType": layer.kind, "digest": layer.digest.oci(), "size": layer.size}],
    });
    if !annotations.is_empty() {
        document["annotations"] = Value::Object(annotations);
    }
    let manifest = hashed(&document);
    let listed = json!({
        "mediaType": MANIFEST, "digest": manifest.0.oci(), "size": manifest.1.len(),
        "platform": platform, "annotations": {TAG: tag},
    });
    Ok(Documents { config, manifest, listed })
}

/// How to run it, in OCI's words.
fn run_config(manifest: &ImageManifest, primary_group: bool, notes: &mut Vec<String>) -> Value {
    let mut config = Map::new();
    let mut set = |key: &str, value: Value| {
        config.insert(key.to_owned(), value);
    };
    if let Some(signal) = manifest.stop_signal() {
        set("StopSignal", json!(signal));
    }
    let Some(app) = &manifest.app else { return Value::Object(config) };
    let root = app.user == "0" && (app.group == "0" || primary_group);
    if !root {
        let user = app.user.clone();
        set("User", json!(if primary_group { user } else { format!("{user}:{}", app.group) }));
    }
    if let Some((program, args)) = app.exec.split_first() {
        set("Entrypoint", json!([program]));
        if !args.is_empty() {
            set("Cmd", json!(args));
        }
    }
    if let Some(dir) = &app.working_directory {
        set("WorkingDir", json!(dir));
    }
    let env: Vec<String> =
        app.environment.iter().map(|v| format!("{}={}", v.name, v.value)).collect();
    if !env.is_empty() {
        set("Env", json!(env));
    }
    let keys = |keys: Vec<String>| -> Value {
        Value::Object(keys.into_iter().map(|key| (key, json!({}))).collect())
    };
    let volumes: Vec<String> = app.mount_points.iter().map(|m| m.path.clone()).collect();
    if !volumes.is_empty() {
        set("Volumes", keys(volumes));
    }
    let ports: Vec<String> = app
        .ports
        .iter()
        .flat_map(|p| {
            (p.port..p.port.saturating_add(p.count)).map(|n| format!("{n}/{}", p.protocol))
        })
        .collect();
    if !ports.is_empty() {
        set("ExposedPorts", keys(ports));
    }
    if !app.user_labels.is_empty() {
        set("Labels", json!(app.user_labels));
    }
    for (what, there) in left_out(app) {
        if there {
            notes.push(format!("an OCI image has no {what}; left out"));
        }
    }
    Value::Object(config)
}

/// What only an ACI can say.
fn left_out(app: &App) -> [(&'static str, bool); 4] {
    [
        ("isolators", !app.isolators.is_empty()),
        ("event handlers", !app.event_handlers.is_empty()),
        ("supplementary groups of its own", !app.supplementary_gids.is_empty()),
        ("annotations of an app", !app.user_annotations.is_empty()),
    ]
}

fn index_of(listed: Vec<Value>) -> Vec<u8> {
    text(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}))
}

/// Whether the layout is made now; what is something else stays as it is.
fn prepare(dir: &Path) -> Result<bool, ImageError> {
    if dir.join("oci-layout").is_file() {
        // What cannot be added to is said before the work, not after it.
        read_index(&dir.join("index.json"))?;
        return Ok(false);
    }
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            let subject = dir.display().to_string();
            Err(ImageError::bad(subject, "the directory is neither empty nor an OCI layout"))
        }
        Ok(false) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(ImageError::io("read the directory", dir, error)),
    }
}

fn read_index(path: &Path) -> Result<Vec<Value>, ImageError> {
    let bad = || ImageError::bad(path.display().to_string(), "this is no index of an OCI layout");
    let file = File::open(path).map_err(|e| ImageError::io("open", path, e))?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_INDEX + 1).read_to_end(&mut bytes);
    read.map_err(|e| ImageError::io("read", path, e))?;
    let index: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    if index.get("schemaVersion") != Some(&json!(2)) {
        return Err(bad());
    }
    index.get("manifests").and_then(Value::as_array).cloned().ok_or_else(bad)
}

/// Writes a small file, whole or not at all.
fn put(path: &PathBuf, bytes: &[u8]) -> Result<(), ImageError> {
    let (mut file, unfinished): (File, Unfinished) = beside(path)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|e| ImageError::io("write", path, e))?;
    unfinished.into_place(path)
}
