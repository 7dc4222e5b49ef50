//! Where things are. No other room builds a path of its own from a constant.
pub mod layers;
pub mod paths;
