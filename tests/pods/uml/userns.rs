//! User namespaces on Linux 6.1.

use crate::owners;
use rocket_testkit::{require_bed, run};
use std::path::Path;

#[test]
fn files_belong_to_whom_they_should() {
    require_bed("uml");
    owners::files_belong_to_whom_they_should(Path::new("/var/lib/rocket/test-owners"));
}

#[test]
fn what_cannot_be_mapped_is_refused_by_name() {
    require_bed("uml");
    let dir = tempfile::tempdir_in("/var/lib").unwrap();
    let path = dir.path().to_str().unwrap();
    run("mount", ["-t", "tmpfs", "unmapped", path]).ok();
    owners::what_cannot_be_mapped_is_refused_by_name(dir.path(), "tmpfs");
    run("umount", ["-l", path]).ok();
}
