//! Whiteouts and opaque directories.

use super::{Disk, Place, ROOT, Result, Tree, components};

impl Tree {
    /// Hides a lower name. Entries of the same layer stay, whatever the order.
    pub fn whiteout(&mut self, dir: &[u8], name: &[u8], disk: &mut dyn Disk) -> Result<()> {
        self.needs_lower = true;
        let parts = components(dir)?;
        let Some(place) = self.walk(&parts, None)? else { return Ok(()) };
        let Some(node) = self.child(place.node, name) else { return Ok(()) };
        if self.nodes[node].ours {
            self.make_opaque(node);
            return Ok(());
        }
        if let Some(place) = self.walk(&parts, Some(&mut *disk))? {
            self.clear(&place, name, disk)?;
        }
        Ok(())
    }

    /// Hides everything that lower layers have in a directory.
    pub fn opaque(&mut self, dir: &[u8], disk: &mut dyn Disk) -> Result<()> {
        let parts = components(dir)?;
        let Some(place) = self.walk(&parts, None)? else {
            self.needs_lower = true;
            return Ok(());
        };
        if place.node == ROOT {
            return self.hide_all(disk);
        }
        let place = if self.nodes[place.node].ours {
            place
        } else {
            match self.walk(&parts, Some(disk))? {
                Some(place) => place,
                None => return Ok(()),
            }
        };
        self.make_opaque(place.node);
        Ok(())
    }

    /// Hides everything below, name by name: overlayfs heeds no mark on a layer's own root.
    fn hide_all(&mut self, disk: &mut dyn Disk) -> Result<()> {
        self.needs_lower = true;
        let root = Place { node: ROOT, path: Vec::new() };
        let children: Vec<(Box<[u8]>, usize)> = self
            .dir(ROOT)
            .map(|dir| dir.children.iter().map(|(name, node)| (name.clone(), *node)).collect())
            .unwrap_or_default();
        for (name, node) in children {
            if self.nodes[node].ours {
                self.make_opaque(node);
            } else {
                self.clear(&root, &name, disk)?;
            }
        }
        Ok(())
    }

    fn make_opaque(&mut self, node: usize) {
        if let Some(dir) = self.dir_mut(node) {
            dir.opaque = true;
        }
        let over_lower = self.dir(node).is_some_and(|dir| dir.over_lower);
        self.forget_lower(node);
        // The name still exists below: whoever removes it here and makes it again must know.
        if let Some(dir) = self.dir_mut(node) {
            dir.over_lower = over_lower;
        }
    }

    /// Drops what only lower layers have below `node`.
    fn forget_lower(&mut self, node: usize) {
        let Some(dir) = self.dir_mut(node) else { return };
        dir.hidden.clear();
        dir.over_lower = false;
        let children: Vec<(Box<[u8]>, usize)> =
            dir.children.iter().map(|(name, node)| (name.clone(), *node)).collect();
        for (name, child) in children {
            if self.nodes[child].ours {
                self.forget_lower(child);
            } else if let Some(dir) = self.dir_mut(node) {
                dir.children.remove(&name);
            }
        }
    }
}
