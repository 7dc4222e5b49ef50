//! A layer again, from its blob.

use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::fetch::digest_of;
use crate::image::store::{Format, ImageId, LayerRecord, Store, VERSION};
use crate::image::unpack::{self, Kind, Source};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::File;
use std::path::PathBuf;

/// Unpacks a layer of an image once more, by the sandboxed worker, and puts it in the place of the
/// damaged one in one step. `busy` is asked, under the store's exclusive lock, whether something runs
/// on the layer: an overlay whose lower layer is taken away is broken, so then nothing is changed.
/// Layers below must be in order.
///
/// # Errors
/// The blob is not there, or no longer what it was; or the layer is in use.
pub fn repair(
    store: &Store,
    id: &ImageId,
    layer: &Digest,
    busy: &dyn Fn() -> Result<Option<String>, ImageError>,
) -> Result<(), ImageError> {
    let name = format!("layer {layer}");
    let bad = |problem: String| ImageError::bad(&name, problem);
    let again = "fetch the image again: rocket image rm, then rocket fetch";
    let record = store.record(id)?;
    let at = record.layers.iter().position(|known| known == layer);
    let lost = || bad(format!("no blob of {id} is known to hold it; {again}"));
    let (at, blob) = match (record.format, at) {
        (Format::Aci, Some(at)) if layer == id.digest() => (at, record.blobs.first()),
        (Format::Oci, Some(at)) if record.blobs.len() == record.layers.len() => {
            (at, record.blobs.get(at))
        }
        _ => return Err(lost()),
    };
    let blob = blob.ok_or_else(lost)?;
    let path = store.blob_path(blob);
    let temp = store.temp()?;
    let mut file = File::open(&path)
        .map_err(|e| bad(format!("its blob {blob} cannot be read: {e}; {again}")))?;
    let is = digest_of(blob.algo(), &mut file, &path)?;
    if is != *blob {
        return Err(bad(format!("its blob {blob} is damaged too; {again}")));
    }
    let target = temp.dir("layer")?;
    let lowers: Vec<PathBuf> = match record.format {
        Format::Aci => Vec::new(),
        Format::Oci => {
            record.layers.iter().skip(at + 1).rev().map(|l| store.layer_dir(l)).collect()
        }
    };
    let (kind, wanted) = match record.format {
        Format::Aci => (Kind::Aci, id.digest().clone()),
        Format::Oci => (Kind::Layer, diff_id(store, id, record.layers.len() - 1 - at)?),
    };
    let size = file.metadata().map_err(|e| ImageError::io("stat", &path, e))?.len();
    let source = Source { name: &name, file: &file, size, kind, hash: wanted.algo() };
    let report = unpack::unpack(&source, &target, &lowers, &mut |_| {})?;
    if report.content != wanted {
        return Err(bad(format!("unpacked it is {}, not {wanted}; {again}", report.content)));
    }
    unpack::finish(&target)?;
    let meta = LayerRecord {
        version: VERSION,
        diff_id: wanted,
        self_contained: report.self_contained,
        inodes: report.inodes,
        bytes: report.bytes,
        files: None,
    };
    store.write_layer_record(&target, &meta)?;
    store.sync()?;
    let place = store.layer_dir(layer);
    let removal = store.removal()?;
    if let Some(who) = busy()? {
        return Err(bad(format!("{who} runs on it; stop it, then repair")));
    }
    let flags = if place.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    renameat_with(CWD, &target, CWD, &place, flags)
        .map_err(|e| ImageError::io("store", &place, e))?;
    store.sync()?;
    drop(removal);
    Ok(())
}

/// What a layer's uncompressed archive must be; `index` counts from the bottom.
fn diff_id(store: &Store, id: &ImageId, index: usize) -> Result<Digest, ImageError> {
    let damaged = || ImageError::bad(id.to_string(), "its configuration is damaged");
    let bytes = store.document(id, "oci-config.json")?.ok_or_else(damaged)?;
    let wanted = store.record(id)?.config.ok_or_else(damaged)?;
    if Digest::of(wanted.algo(), &bytes) != wanted {
        return Err(damaged());
    }
    let config: crate::image::oci::Config =
        serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    config.rootfs.diff_ids.get(index).cloned().ok_or_else(damaged)
}
