//! `rocket-generator`: pod files to systemd drop-ins.
fn main() {}
