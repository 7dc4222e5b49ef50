//! Limits of an app: what is written to the files of its leaf.

use super::plan::{AppInput, Input};
use rocket_plan::LimitFile;

/// The limit files of one app's leaf, in the order in which they are written.
pub(super) fn files(input: &Input<'_>, app: &AppInput<'_>) -> Vec<LimitFile> {
    let limits = &app.app.limits;
    let devices = limits.io_max.iter().zip(app.io_devices);
    limits
        .cgroup_files(input.host)
        .into_iter()
        .map(|(file, value)| (file.to_owned(), value))
        .chain(
            devices.map(|(max, (major, minor))| {
                ("io.max".to_owned(), max.cgroup_value(*major, *minor))
            }),
        )
        .map(|(file, value)| LimitFile { file, value, required: !input.best_effort })
        .collect()
}
