//! Images: bytes in, a verified, stored, readable image out. Knows nothing of pods.

pub mod archive;
pub mod digest;
pub mod error;
pub mod files;
pub mod manifest;
pub mod name;
pub mod reference;
pub mod store;
pub mod tree;
pub mod unpack;
pub mod view;

pub use digest::{Algo, Digest};
pub use error::ImageError;
pub use manifest::ImageManifest;
pub use reference::Reference;
pub use store::{Evidence, ImageId, Layer, Store, StoredImage};
