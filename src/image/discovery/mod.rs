//! Finding images by name, without a registry: where a name may be had, decided on plain data.
//!
//! `page` reads what a web page says of names (appc's meta discovery), `place` writes addresses from
//! templates, `mirrors` reads which places are asked first. Nothing here asks a server: `fetch` does.

pub mod mirrors;
pub mod page;
pub mod place;

pub use mirrors::{Mirrors, Place};
pub use page::{Page, PageError};
pub use place::{Form, expand, pages};
