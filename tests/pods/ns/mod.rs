//! In the namespace bed.

mod apps;
mod commands;
mod failed;
mod foreground;
mod leaks;
mod life;
mod steady;
mod systemd;
mod terminal;
