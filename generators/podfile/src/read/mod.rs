//! From the tree to the types. Every reader takes what is right, reports what is wrong at its
//! place, and goes on: one pass finds all there is to find.

mod app;
mod check;
mod limits;
mod names;
mod parts;
mod pod;
mod section;
mod security;

pub(crate) use pod::read;

pub(crate) use security::SYSCTLS;
