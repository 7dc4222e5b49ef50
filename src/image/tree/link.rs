//! Hard links, also to what lies below.

use super::{Body, Disk, Inode, Result, Tree, components, disk_error, entry_error, join};
use crate::image::files::printable;
use std::rc::Rc;

impl Tree {
    /// Places one more name for an existing inode, copying it up when it lies below.
    /// Gives the existing and the new path.
    pub fn put_link(
        &mut self,
        path: &[u8],
        target: &[u8],
        disk: &mut dyn Disk,
    ) -> Result<(Vec<u8>, Vec<u8>)> {
        let shown = printable(target);
        let missing = || entry_error(path, format!("its hard link target {shown} does not exist"));
        let parts = components(target).map_err(|_| {
            entry_error(path, format!("its hard link target {shown} climbs with .."))
        })?;
        let Some((target_name, dirs)) = parts.split_last() else { return Err(missing()) };
        let holder = self.walk(dirs, None)?.ok_or_else(missing)?;
        let node = self.child(holder.node, target_name).ok_or_else(missing)?;
        let Body::Inode(inode) = &self.nodes[node].body else {
            return Err(entry_error(path, format!("its hard link target {shown} is a directory")));
        };
        let mut inode = Rc::clone(inode);
        let old = join(&holder.path, target_name);
        if !self.nodes[node].ours {
            self.needs_lower = true;
            let parts: Vec<&[u8]> = old.split(|byte| *byte == b'/').collect();
            let dirs = parts.split_last().map(|(_, dirs)| dirs).unwrap_or_default();
            self.walk(dirs, Some(&mut *disk))?;
            let copy = {
                let lower = inode.borrow();
                let layer = lower.layer.unwrap_or_default();
                disk.copy_up(layer, &old, &lower.kind, &lower.meta)
                    .map_err(|e| disk_error("copy up", &old, e))?;
                Inode { kind: lower.kind.clone(), meta: lower.meta.clone(), layer: None }
            };
            let lower = std::mem::replace(&mut inode, Rc::new(std::cell::RefCell::new(copy)));
            self.nodes[node].ours = true;
            self.nodes[node].body = Body::Inode(Rc::clone(&inode));
            for other in self.names.remove(&(Rc::as_ptr(&lower) as usize)).unwrap_or_default() {
                self.bring_along(&lower, &inode, (&old, &other), disk)?;
            }
        }
        let Some((place, name)) = self.parent(path, disk)? else { return Err(missing()) };
        let new = join(&place.path, name);
        if new == old {
            return Err(entry_error(path, "is a hard link to itself"));
        }
        if let Some(node) = self.child(place.node, name) {
            self.refuse_twice(node, false, path)?;
            self.clear(&place, name, disk)?;
        }
        if self.child(holder.node, target_name).is_none() {
            return Err(entry_error(path, "its hard link target lies below the path it replaces"));
        }
        let node = self.insert(place.node, name, Body::Inode(inode), true);
        self.nodes[node].named = true;
        Ok((old, new))
    }

    /// Gives the copy of a lower inode another of the names that the inode has below, if it still has.
    fn bring_along(
        &mut self,
        lower: &Rc<std::cell::RefCell<Inode>>,
        copy: &Rc<std::cell::RefCell<Inode>>,
        (old, other): (&[u8], &[u8]),
        disk: &mut dyn Disk,
    ) -> Result<()> {
        let Some(node) = self.find(other) else { return Ok(()) };
        match &self.nodes[node].body {
            Body::Inode(inode) if Rc::ptr_eq(inode, lower) => {}
            _ => return Ok(()),
        }
        let parts: Vec<&[u8]> = other.split(|byte| *byte == b'/').collect();
        let dirs = parts.split_last().map(|(_, dirs)| dirs).unwrap_or_default();
        self.walk(dirs, Some(&mut *disk))?;
        disk.link(old, other).map_err(|e| disk_error("make the hard link", other, e))?;
        self.nodes[node].ours = true;
        self.nodes[node].body = Body::Inode(Rc::clone(copy));
        Ok(())
    }
}
