//! In the namespace bed.

mod apps;
mod failed;
mod foreground;
mod leaks;
mod systemd;
