//! In the namespace bed.

mod apps;
mod commands;
mod confined;
mod credentials;
mod failed;
mod foreground;
mod handlers;
mod leaks;
mod life;
mod manifests;
mod syscalls;
mod systemd;
mod terminal;
mod triggers;
mod userns;
mod volumes;
mod world;
