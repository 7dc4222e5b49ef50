//! Whether a range that was noted once is one that a pod may have now. Nothing that is read back from a
//! disk becomes a user namespace without that: a range at 0 would be the host itself.

use super::reserved::Reserved;
use super::{COUNT, GREATEST, IdsError, LEAST, Pool};
use crate::pod::name::PodName;
use rocket_plan::IdMap;
use std::path::Path;
use uuid::Uuid;

/// An entry that tells nothing. Without it the next start takes another range, and `gc` frees what
/// is nobody's then.
pub(super) fn damaged(path: &Path, found: String) -> IdsError {
    let remedy = format!(
        "remove it: the next start takes another range. Files of state volumes are the pod's then \
         too, but those of volumes with idmap = false keep the owners that they have on disk. \
         Or make it again as the symbolic link that it was ({} says which ranges there are)",
        path.parent().unwrap_or(path).display()
    );
    IdsError::Damaged { path: path.to_owned(), found, remedy }
}

/// Why a range can be nobody's, wherever the pool lies.
fn form(base: u32) -> Result<(), String> {
    if base < LEAST {
        return Err(format!("{base} begins among the host's own ids"));
    }
    if !base.is_multiple_of(COUNT) {
        return Err(format!("{base} is no multiple of {COUNT}, as the first id of a range is"));
    }
    if base > GREATEST {
        return Err(format!("{base} begins a range that the kernel does not map"));
    }
    Ok(())
}

/// The first id in an entry.
pub(super) fn base(path: &Path, text: &str) -> Result<u32, IdsError> {
    let base: u32 = text
        .parse()
        .map_err(|_| damaged(path, format!("{text:?} is not the first id of a range")))?;
    form(base).map_err(|why| damaged(path, why))?;
    Ok(base)
}

fn reserved(base: u32, etc: &Path) -> Option<String> {
    Reserved::of_host(etc).touches(base, COUNT).then(|| {
        format!(
            "and accounts of the host have some of them by now ({etc}/passwd, group, subuid or subgid)",
            etc = etc.display()
        )
    })
}

/// Whether a name may have the range that it had.
pub(super) fn of_name(
    name: &PodName,
    base: u32,
    path: &Path,
    pool: Pool,
    etc: &Path,
) -> Result<(), IdsError> {
    let outside = base < pool.first || base.saturating_add(COUNT - 1) > pool.last;
    let outside = outside.then(|| {
        format!("which are not among ids.first = {} to ids.last = {}", pool.first, pool.last)
    });
    let Some(why) = reserved(base, etc).or(outside) else { return Ok(()) };
    let last = base.saturating_add(COUNT - 1);
    Err(IdsError::Forbidden {
        whose: format!("the pod name {name}"),
        base,
        path: path.to_owned(),
        why,
        remedy: format!(
            "give these ids back to it, or remove {}: the next start takes another range. Files of \
             state volumes are the pod's then too; only in volumes with idmap = false the owners on \
             disk are {base} to {last}, and have to be changed",
            path.display()
        ),
    })
}

/// Whether a prepared pod may have the range that it was prepared with.
pub(super) fn of_pod(uuid: Uuid, map: IdMap, path: &Path, etc: &Path) -> Result<(), IdsError> {
    let form = form(map.base).err().or_else(|| {
        (map.count != COUNT).then(|| format!("{} ids are not the {COUNT} of a pod", map.count))
    });
    let form = form.map(|why| format!("but {why}"));
    let Some(why) = form.or_else(|| reserved(map.base, etc)) else { return Ok(()) };
    Err(IdsError::Forbidden {
        whose: format!("pod {uuid}"),
        base: map.base,
        path: path.to_owned(),
        why,
        remedy: format!(
            "give these ids back to it, or remove it (rocket rm {uuid}) and prepare it again"
        ),
    })
}
