//! Images: bytes in, a verified, stored, readable image out. Knows nothing of pods.

pub mod archive;
pub mod believe;
pub mod check;
pub mod digest;
pub mod discovery;
pub mod error;
pub mod export;
pub mod fetch;
pub mod files;
pub mod local;
pub mod manifest;
pub mod name;
pub mod oci;
pub mod pack;
pub mod publish;
pub mod reference;
pub mod signed_text;
pub mod store;
pub mod time;
pub mod transport;
pub mod tree;
pub mod trust;
pub mod unpack;
pub mod view;

pub use digest::{Algo, Digest};
pub use error::ImageError;
pub use local::Host;
pub use manifest::ImageManifest;
pub use reference::Reference;
pub use store::{Evidence, ImageId, Layer, Store, StoredImage};
