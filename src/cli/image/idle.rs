//! Images that nobody runs any more.

use super::{open, used_layers};
use crate::cli::error::Failure;
use crate::cli::fetch::explain;
use crate::cli::freed::Freed;
use crate::config::paths::Paths;
use crate::pod::list;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// Removes, or names, the images that no pod has, running or not, and that nobody has used for `age`.
pub(super) fn expire(paths: &Paths, age: Duration, dry_run: bool) -> Result<Vec<Freed>, Failure> {
    if !paths.store().is_dir() {
        return Ok(Vec::new());
    }
    let store = open(paths)?;
    let shared = if dry_run { Some(store.lock_shared().map_err(explain)?) } else { None };
    let removal = if dry_run { None } else { Some(store.removal().map_err(explain)?) };
    // Asked while the lock is held: no pod comes to use one meanwhile.
    let layers = used_layers(paths)?;
    let pods = list::all(paths)?;
    let metas = pods.iter().filter_map(|pod| pod.meta.as_ref());
    let kept: BTreeSet<&str> =
        metas.flat_map(|meta| &meta.apps).map(|app| app.image_id.as_str()).collect();
    let (sizes, mut names) = (store.sizes().map_err(explain)?, store.names().map_err(explain)?);
    let mut freed = Vec::new();
    for id in store.image_ids().map_err(explain)? {
        let idle = store.idle_since(&id).and_then(|at| SystemTime::now().duration_since(at).ok());
        let Some(idle) = idle.filter(|idle| *idle >= age) else { continue };
        if kept.contains(id.to_string().as_str()) {
            continue;
        }
        freed.push(Freed {
            kind: "image",
            uuid: None,
            digest: Some(id.to_string()),
            name: names.remove(&id).map(|names| names.join(" ")),
            why: format!("nobody has used it for {} s", idle.as_secs()),
            bytes: sizes.get(&id).map_or(0, |(own, _)| *own),
        });
        if let Some(removal) = &removal {
            removal.image(&id, &layers).map_err(explain)?;
        }
    }
    drop(shared);
    Ok(freed)
}
