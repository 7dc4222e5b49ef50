use super::*;
use crate::image::digest::{Algo, Digest};
use crate::image::files::Record;

/// A disk that remembers what exists, so that a wrong order of operations fails as a real one would.
#[derive(Default)]
struct Memory(BTreeMap<Vec<u8>, bool>, Vec<Vec<u8>>);

impl Disk for Memory {
    fn mkdir(&mut self, path: &[u8]) -> io::Result<()> {
        assert_eq!(self.0.insert(path.to_vec(), true), None, "{}", printable(path));
        Ok(())
    }
    fn remove(&mut self, path: &[u8], dir: bool) -> io::Result<()> {
        assert_eq!(self.0.remove(path), Some(dir), "{}", printable(path));
        Ok(())
    }
    fn link(&mut self, old: &[u8], new: &[u8]) -> io::Result<()> {
        assert!(self.0.contains_key(old), "{}", printable(old));
        assert_eq!(self.0.insert(new.to_vec(), false), None, "{}", printable(new));
        Ok(())
    }

    fn copy_up(&mut self, _: usize, path: &[u8], _: &Kind, _: &Meta) -> io::Result<()> {
        self.1.push(path.to_vec());
        self.0.insert(path.to_vec(), false);
        Ok(())
    }
}

fn meta(mode: u32) -> Meta {
    Meta { mode, ..Meta::default() }
}

fn file() -> Kind {
    Kind::File { size: 0, digest: Digest::of(Algo::Sha256, b"") }
}

/// Steps: `d PATH`, `f PATH`, `l PATH TARGET`, `h PATH TARGET`, `w PATH` (whiteout), `o PATH` (opaque).
fn play(tree: &mut Tree, steps: &[&str]) -> Result<Memory> {
    let mut disk = Memory::default();
    for step in steps {
        let mut words = step.split(' ');
        let (what, path) = (words.next().unwrap(), words.next().unwrap().as_bytes());
        let target = words.next().unwrap_or_default().as_bytes();
        match what {
            "d" => tree.put_dir(path, meta(0o711), &mut disk)?,
            "h" => {
                let (old, new) = tree.put_link(path, target, &mut disk)?;
                assert_eq!(disk.0.get(&old), Some(&false));
                assert_eq!(disk.0.insert(new, false), None);
            }
            "w" => {
                let at = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
                let name = path[at..].strip_prefix(b"/").unwrap_or(&path[at..]);
                tree.whiteout(&path[..at], name, &mut disk)?;
            }
            "o" => tree.opaque(path, &mut disk)?,
            _ => {
                let kind = if what == "l" { Kind::Symlink(target.to_vec()) } else { file() };
                let (at, _) = tree.put(path, kind, meta(0o644), &mut disk)?;
                assert_eq!(disk.0.insert(at, false), None);
            }
        }
    }
    Ok(disk)
}

fn listing(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    let _ = tree.records(|record| {
        let path = printable(&record.path);
        let opaque = record.meta.xattrs.iter().any(|(name, _)| name == lower::OPAQUE);
        lines.push(match record.kind {
            Kind::Dir if opaque => format!("o {path}"),
            Kind::Dir => format!("d {path} {:o}", record.meta.mode),
            Kind::Link(to) => format!("h {path} {}", printable(&to)),
            Kind::Whiteout => format!("w {path}"),
            Kind::Symlink(to) => format!("l {path} {}", printable(&to)),
            _ => format!("f {path}"),
        });
        Ok::<_, ()>(())
    });
    lines
}

fn over(lowers: &[&[&str]]) -> Tree {
    let mut below: Vec<Vec<Record>> = Vec::new();
    for steps in lowers {
        let mut tree = stack(&below);
        play(&mut tree, steps).unwrap();
        let mut records = Vec::new();
        let _ = tree.records(|record| {
            records.push(record);
            Ok::<_, ()>(())
        });
        below.push(records);
    }
    stack(&below)
}

fn stack(below: &[Vec<Record>]) -> Tree {
    let mut tree = Tree::new(false);
    for (layer, records) in below.iter().enumerate() {
        for record in records {
            tree.lay(layer, record.clone()).unwrap();
        }
    }
    tree
}

#[test]
fn layers_land_where_a_full_root_would_have_them() {
    let base: &[&str] = &[
        "d .",
        "d usr",
        "d usr/bin",
        "f usr/bin/sh",
        "l bin usr/bin",
        "d var",
        "d var/log",
        "f var/log/a",
        "f var/log/b",
        "l abs /usr",
        "f file",
        "d x",
        "d x/y",
        "f x/y/z",
    ];
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "an implicit parent is copied",
            &["f var/log/c"],
            &["d / 711", "d /var 711", "d /var/log 711", "f /var/log/c"],
        ),
        (
            "a lower link is followed",
            &["f bin/tool"],
            &["d / 711", "d /usr 711", "d /usr/bin 711", "f /usr/bin/tool"],
        ),
        (
            "an absolute link stays inside",
            &["f abs/bin/t"],
            &["d / 711", "d /usr 711", "d /usr/bin 711", "f /usr/bin/t"],
        ),
        (
            "a directory replaces a link",
            &["d bin", "f bin/t"],
            &["d / 711", "d /bin 711", "f /bin/t"],
        ),
        ("a missing parent is plain", &["f new/t"], &["d / 711", "d /new 755", "f /new/t"]),
        (
            "a hard link copies up",
            &["h l var/log/a"],
            &["d / 711", "f /l", "d /var 711", "d /var/log 711", "h /var/log/a /l"],
        ),
        (
            "a whiteout hides",
            &["w var/log/a"],
            &["d / 711", "d /var 711", "d /var/log 711", "w /var/log/a"],
        ),
        ("a whiteout of nothing is nothing", &["w var/none", "w no/such"], &["d / 711"]),
        (
            "whiteout and again",
            &["w var/log/a", "f var/log/a"],
            &["d / 711", "d /var 711", "d /var/log 711", "f /var/log/a"],
        ),
        (
            "again and whiteout",
            &["f var/log/a", "w var/log/a"],
            &["d / 711", "d /var 711", "d /var/log 711", "f /var/log/a"],
        ),
        (
            "a directory made again is opaque",
            &["w var/log", "d var/log", "f var/log/n"],
            &["d / 711", "d /var 711", "o /var/log", "f /var/log/n"],
        ),
        (
            "in the other order too",
            &["d var/log", "f var/log/n", "w var/log"],
            &["d / 711", "d /var 711", "o /var/log", "f /var/log/n"],
        ),
        ("opaque", &["d var", "o var", "f var/n"], &["d / 711", "o /var", "f /var/n"]),
        (
            "opaque after its content",
            &["f var/log/n", "o var"],
            &["d / 711", "o /var", "d /var/log 711", "f /var/log/n"],
        ),
        (
            "below opaque nothing is copied",
            &["o x", "f x/y/n"],
            &["d / 711", "o /x", "d /x/y 755", "f /x/y/n"],
        ),
        ("a file replaces a directory", &["f x"], &["d / 711", "f /x"]),
        (
            "a directory replaces a file",
            &["d file", "f file/n"],
            &["d / 711", "d /file 711", "f /file/n"],
        ),
        ("file, then directory: opaque", &["f x", "d x"], &["d / 711", "o /x"]),
        ("opaque, file, directory", &["d x", "o x", "f x", "d x"], &["d / 711", "o /x"]),
        (
            "own content goes with its directory",
            &["d n", "f n/a", "d n/b", "f n"],
            &["d / 711", "f /n"],
        ),
        (
            "a link into a removed place",
            &["w bin", "f bin/t"],
            &["d / 711", "d /bin 755", "f /bin/t"],
        ),
    ];
    for (what, steps, expected) in cases {
        let mut tree = over(&[base]);
        play(&mut tree, steps).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(listing(&tree), *expected, "{what}");
    }
}

#[test]
fn lower_layers_are_merged_as_overlayfs_does() {
    let lowers: &[&[&str]] = &[
        &["d a", "f a/1", "d b", "f b/1", "f c", "d e", "f e/1"],
        &["w a/1", "d b", "o b", "f b/2", "d c", "f c/1", "f e"],
        &["d e", "f e/2"],
    ];
    let mut tree = over(lowers);
    play(&mut tree, &["w a/1", "w b/1", "w b/2", "w c/1", "w e/1", "w e/2"]).unwrap();
    let gone: Vec<String> = listing(&tree).into_iter().filter(|l| l.starts_with('w')).collect();
    assert_eq!(gone, ["w /b/2", "w /c/1", "w /e/2"]);
}

#[test]
fn a_layer_knows_whether_it_needs_what_lies_below() {
    let cases: &[(&[&str], bool)] = &[
        (&["d .", "d a", "f a/b"], true),
        (&["d .", "d a", "o a", "h a/c a/b"][..3], true),
        (&["d a", "f a/b"], false),
        (&["d .", "f a/b"], false),
        (&["d .", "w a"], false),
        (&["d .", "l b a", "d a", "f b/c"], true),
        (&["d .", "f a", "d a"], false),
    ];
    for (steps, alone) in cases {
        let mut tree = Tree::new(false);
        play(&mut tree, steps).unwrap();
        assert_eq!(tree.self_contained(), *alone, "{steps:?}");
    }
    let mut tree = over(&[&["f a"]]);
    play(&mut tree, &["d .", "h b a"]).unwrap();
    assert!(!tree.self_contained());
}

#[test]
fn hostile_paths_are_refused_or_stay_inside() {
    let deep = format!("f {}", "a/".repeat(600));
    let long = format!("f {}", "a".repeat(300));
    let longer = format!("f {}", "a/".repeat(2100));
    let refused: &[(&[&str], &str)] = &[
        (&["f ../x"], "climbs"),
        (&["f a/../../x"], "climbs"),
        (&["h a ../../etc/passwd"], "climbs"),
        (&["h a b"], "does not exist"),
        (&["f a", "h a a"], "itself"),
        (&["d a", "h b a"], "is a directory"),
        (&["l a a", "f a/b"], "too many"),
        (&["l a b", "l b a", "f a/b"], "too many"),
        (&["f a", "f a/b"], "not a directory"),
        (&["f ."], "root must be"),
        (&["d d", "f d/a", "h d d/a"], "below the path it replaces"),
        (&[&deep], "deeply"),
        (&[&long], "255"),
        (&[&longer], "4096"),
    ];
    for (steps, why) in refused {
        let error = play(&mut Tree::new(false), steps).err().unwrap().to_string();
        assert!(error.contains(why), "{steps:?}: {error}");
    }
    let mut tree = Tree::new(false);
    play(&mut tree, &["l up ../../..", "f up/x", "l abs /../etc", "f /abs/y"]).unwrap();
    let expected =
        ["d / 755", "l /abs /../etc", "d /etc 755", "f /etc/y", "l /up ../../..", "f /x"];
    assert_eq!(listing(&tree), expected);
}

#[test]
fn an_aci_names_each_path_once() {
    for steps in [&["f a", "f a"][..], &["d a", "d a"], &["f a/b", "f a"], &["f a", "d a"]] {
        assert!(play(&mut Tree::new(true), steps).is_err(), "{steps:?}");
    }
    assert!(play(&mut Tree::new(true), &["f a/b", "d a", "d ."]).is_ok());
}
