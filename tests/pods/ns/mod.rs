//! In the namespace bed.

mod apps;
mod audit;
mod broken;
mod commands;
mod confined;
mod credentials;
mod discovery;
mod failed;
mod foreground;
mod handlers;
mod images;
mod leaks;
mod life;
mod manifests;
mod servers;
mod signed;
mod syscalls;
mod systemd;
mod terminal;
mod triggers;
mod userns;
mod volumes;
mod world;
