//! In the namespace bed.

mod apps;
mod foreground;
mod leaks;
mod systemd;
