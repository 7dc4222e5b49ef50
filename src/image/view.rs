//! Reading an image through its stacked layers, without mounting it.

use crate::image::error::ImageError;
use crate::image::store::Layer;

/// What a path in an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// File type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
}

/// Reads a file of an image, at most `limit` bytes long; `None` when it does not exist.
pub fn read_file(layers: &[Layer], path: &str, limit: u64) -> Result<Option<Vec<u8>>, ImageError> {
    let _ = (layers, path, limit);
    Ok(None)
}

/// What a path of an image is, symbolic links followed; `None` when it does not exist.
pub fn metadata(layers: &[Layer], path: &str) -> Result<Option<Metadata>, ImageError> {
    let _ = (layers, path);
    Ok(None)
}
