//! The search path: precedence, masks, drop-ins, digests, positions.
#![allow(clippy::unwrap_used)]

use rocket_podfile::{Catalog, LoadError, list, load, load_file};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const POD: &str = "network = \"none\"\n[app.web]\nimage = \"low\"\nexec = [\"/a\", \"b\"]\n\
                   environment = { A = \"1\", B = \"2\" }\n";

struct Host {
    _dir: TempDir,
    dirs: Vec<PathBuf>,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dirs: Vec<_> = ["etc", "run", "usr"].iter().map(|d| dir.path().join(d)).collect();
        for dir in &dirs {
            fs::create_dir(dir).unwrap();
        }
        Self { _dir: dir, dirs }
    }

    /// Writes `path`, which begins with `etc/`, `run/` or `usr/`.
    fn file(&self, path: &str, text: &str) -> PathBuf {
        let (top, rest) = path.split_once('/').unwrap();
        let path = self.dirs.iter().find(|d| d.ends_with(top)).unwrap().join(rest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn image(&self) -> String {
        load(&self.dirs, "web").unwrap().pod.apps[0].image.clone()
    }

    fn digest(&self) -> String {
        load(&self.dirs, "web").unwrap().digest
    }
}

#[test]
fn the_highest_directory_wins() {
    let host = Host::new();
    assert!(matches!(load(&host.dirs, "web"), Err(LoadError::NotFound { .. })));
    host.file("usr/web.toml", POD);
    assert_eq!(host.image(), "low");
    host.file("run/web.toml", &POD.replace("low", "middle"));
    assert_eq!(host.image(), "middle");
    host.file("etc/web.toml", &POD.replace("low", "high"));
    assert_eq!(host.image(), "high");
    assert_eq!(list(&host.dirs).unwrap(), ["web"]);
}

#[test]
fn empty_files_and_links_to_dev_null_mask() {
    let host = Host::new();
    host.file("usr/web.toml", POD);
    host.file("usr/db.toml", POD);
    let mask = host.file("etc/web.toml", "");
    symlink("/dev/null", host.dirs[1].join("db.toml")).unwrap();
    for name in ["web", "db"] {
        assert!(matches!(load(&host.dirs, name), Err(LoadError::Masked(_))), "{name}");
    }
    assert_eq!(list(&host.dirs).unwrap(), Vec::<String>::new());
    fs::remove_file(mask).unwrap();
    assert_eq!(list(&host.dirs).unwrap(), ["web"]);
}

#[test]
fn drop_ins_merge_in_order_of_file_name() {
    let host = Host::new();
    host.file("usr/web.toml", POD);
    host.file("etc/web.toml.d/20-b.toml", "[app.web]\nimage = \"b\"\nenvironment = { B = \"3\" }");
    host.file("run/web.toml.d/10-a.toml", "[app.web]\nimage = \"a\"\nexec = [\"/x\"]");
    host.file(
        "usr/web.toml.d/30-c.toml",
        "unset = [\"app.web.environment.A\"]\ndescription = \"c\"",
    );
    host.file("usr/web.toml.d/notes.txt", "not a drop-in");
    let loaded = load(&host.dirs, "web").unwrap();
    let web = &loaded.pod.apps[0];
    assert_eq!(web.image, "b", "scalars replace");
    assert_eq!(web.exec.as_ref().unwrap(), &["/x"], "lists replace");
    assert_eq!(web.environment, [("B".to_owned(), "3".to_owned())], "tables merge, unset clears");
    assert_eq!(loaded.pod.description.as_deref(), Some("c"));
    let names: Vec<_> =
        loaded.sources.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["web.toml", "10-a.toml", "20-b.toml", "30-c.toml"]);
}

#[test]
fn a_drop_in_of_a_higher_directory_replaces_or_masks_its_namesake() {
    let host = Host::new();
    host.file("usr/web.toml", POD);
    host.file("usr/web.toml.d/10-a.toml", "[app.web]\nimage = \"vendor\"");
    assert_eq!(host.image(), "vendor");
    let over = host.file("etc/web.toml.d/10-a.toml", "[app.web]\nimage = \"admin\"");
    assert_eq!(host.image(), "admin");
    fs::write(&over, "").unwrap();
    assert_eq!(host.image(), "low");
}

#[test]
fn unset_clears_before_the_drop_in_sets() {
    let host = Host::new();
    host.file("usr/web.toml", POD);
    host.file(
        "etc/web.toml.d/1.toml",
        "unset = [\"app.web.environment\", \"app.web.exec\"]\n[app.web]\nenvironment = { C = \"4\" }",
    );
    let pod = load(&host.dirs, "web").unwrap().pod;
    assert_eq!(pod.apps[0].environment, [("C".to_owned(), "4".to_owned())]);
    assert_eq!(pod.apps[0].exec, None);
}

fn complaints(result: Result<rocket_podfile::Loaded, LoadError>, base: &Path) -> Vec<String> {
    match result {
        Err(LoadError::Invalid(all)) => {
            all.iter().map(|d| d.to_string().replace(&format!("{}/", base.display()), "")).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn positions_name_the_file_of_the_value() {
    let host = Host::new();
    host.file("usr/web.toml", POD);
    host.file("usr/web.toml.d/1.toml", "[app.web]\nstop-timeout = \"x\"\nunknown = 1");
    host.file("etc/web.toml.d/2.toml", "unset = [\"app.web.exce\", 3, \"a..b\"]");
    let base = host.dirs[0].parent().unwrap();
    // Errors of reading come when merging went well.
    let merge = complaints(load(&host.dirs, "web"), base);
    assert_eq!(
        merge,
        [
            "etc/web.toml.d/2.toml:1:10: no key is called \"app.web.exce\"",
            "etc/web.toml.d/2.toml:1:26: a key is written as a string, not a number",
            "etc/web.toml.d/2.toml:1:29: \"a..b\" is not a key",
        ]
    );
    fs::remove_file(host.dirs[0].join("web.toml.d/2.toml")).unwrap();
    let read = complaints(load(&host.dirs, "web"), base);
    assert!(
        read[0].starts_with("usr/web.toml.d/1.toml:2:16: \"x\" is not a time span"),
        "{read:?}"
    );
    assert!(read[1].starts_with("usr/web.toml.d/1.toml:3:1: unknown key"), "{read:?}");
    fs::write(host.dirs[2].join("web.toml"), b"network = \"none\"\nd = \"\xff\"").unwrap();
    let utf8 = complaints(load(&host.dirs, "web"), base);
    assert_eq!(utf8, ["usr/web.toml:2:6: the file is not UTF-8 from here on"]);
}

#[test]
fn the_digest_follows_names_and_bytes() {
    let host = Host::new();
    host.file("usr/web.toml", POD);
    let first = host.digest();
    assert_eq!(first.len(), 64);
    assert_eq!(first, host.digest());
    // The same file in another directory is the same pod.
    host.file("etc/web.toml", POD);
    assert_eq!(first, host.digest());
    host.file("etc/web.toml", &format!("{POD}# a comment\n"));
    assert_ne!(first, host.digest());
    host.file("etc/web.toml", POD);
    host.file("run/web.toml.d/1.toml", "description = \"x\"");
    let with = host.digest();
    assert_ne!(first, with);
    fs::rename(host.dirs[1].join("web.toml.d/1.toml"), host.dirs[1].join("web.toml.d/2.toml"))
        .unwrap();
    assert_ne!(with, host.digest());
}

#[test]
fn names_templates_and_odd_files() {
    let host = Host::new();
    for name in ["", "Web", "../web", "a@b@c", "web.toml"] {
        assert!(matches!(load(&host.dirs, name), Err(LoadError::BadName(_))), "{name}");
    }
    assert!(matches!(load(&host.dirs, "web@1"), Err(LoadError::NotFound { .. })));
    host.file("usr/web@.toml", POD);
    host.file("usr/Not-A-Name.toml", POD);
    assert_eq!(list(&host.dirs).unwrap(), ["web@"]);
    assert!(load(&host.dirs, "web@1").is_ok());
    let error = load_file(&host.dirs[2].join("web@.toml")).unwrap_err().to_string();
    assert!(error.contains("only an instance of it is a pod"), "{error}");

    fs::create_dir(host.dirs[0].join("dir.toml")).unwrap();
    assert!(matches!(load(&host.dirs, "dir"), Err(LoadError::Unreadable { .. })));
    symlink("nowhere", host.dirs[0].join("dangling.toml")).unwrap();
    assert!(matches!(load(&host.dirs, "dangling"), Err(LoadError::Unreadable { .. })));
    host.file("etc/huge.toml", &"#".repeat((1 << 20) + 1));
    assert!(matches!(load(&host.dirs, "huge"), Err(LoadError::Unreadable { .. })));
}

#[test]
fn a_file_anywhere_is_read_alone() {
    let host = Host::new();
    let path = host.file("etc/web.toml", POD);
    host.file("etc/web.toml.d/1.toml", "broken");
    let loaded = load_file(&path).unwrap();
    assert_eq!(loaded.name.as_deref(), Some("web"));
    assert_eq!(loaded.sources, [path]);
    let odd = host.file("etc/My Pod.toml", POD);
    assert_eq!(load_file(&odd).unwrap().name, None);
    assert!(matches!(load_file(Path::new("/no/such.toml")), Err(LoadError::Unreadable { .. })));
}

#[test]
fn a_catalog_says_the_same_as_a_look_at_one_pod() {
    let host = Host::new();
    host.file("usr/web.toml", POD);
    host.file("etc/web.toml.d/1.toml", "description = \"x\"");
    host.file("run/web.toml.d/2.toml", "[app.web]\nimage = \"y\"");
    host.file("run/db.toml", POD);
    host.file("usr/db.toml", "broken");
    host.file(
        "usr/bad.toml",
        &format!("{POD}typo = 1\n[limits]\ntasks-max = 5\nmemory-max = \"x\""),
    );
    host.file("etc/syntax.toml", "[limits]\ntasks-max = 5\nx");
    host.file("usr/masked.toml", POD);
    host.file("etc/masked.toml", "");
    // Drop-ins of nothing are no pod.
    host.file("etc/nothing.toml.d/1.toml", POD);
    let mut dirs = vec![host.dirs[0].join("absent")];
    dirs.extend(host.dirs.iter().cloned());
    let catalog = Catalog::scan(&dirs).unwrap();
    assert_eq!(catalog.names(), ["bad", "db", "masked", "syntax", "web"]);
    for name in catalog.names() {
        match (catalog.load(name), load(&dirs, name)) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{name}"),
            (Err(ours), Err(theirs)) => assert_eq!(ours.to_string(), theirs.to_string(), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    // What is right in a broken file: its good limits, not its bad ones.
    let limits = catalog.salvage("bad").unwrap().limits;
    assert_eq!(limits.unit_properties(), [("TasksMax", "5".to_owned())]);
    // Where a port listens is not guessed.
    let port = "\n[port.p]\napp = \"web\"\nport = 80\nactivation = true\n";
    for (index, (listen, ports)) in [
        ("listen = [\"127.0.0.1:8080\"]", 1),
        ("listen = [\"127.0.0.1\"]", 0),
        ("listen = [\"127.0.0.1:8080\", \"x\"]", 0),
        ("listen = \"127.0.0.1:8080\"", 0),
        ("listen = [5]", 0),
        ("protocol = \"upd\"", 0),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("port{index}");
        host.file(&format!("etc/{name}.toml"), &format!("{POD}{port}{listen}\n[limits]\nx = 1\n"));
        let found = Catalog::scan(&dirs).unwrap().salvage(&name).unwrap().ports;
        assert_eq!(found.len(), ports, "{listen}");
    }
    // Files that are no pod's are named.
    for name in ["Web", "my_web", "web@1"] {
        host.file(&format!("etc/{name}.toml"), POD);
    }
    host.file("etc/.hidden.toml", POD);
    let catalog = Catalog::scan(&dirs).unwrap();
    let misnamed: Vec<_> =
        catalog.misnamed().iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(misnamed, ["Web.toml", "my_web.toml", "web@1.toml"]);
    let said = Catalog::misnaming(&catalog.misnamed()[2]);
    assert!(said.hint.unwrap().contains("web@.toml"), "{}", said.message);
    assert!(catalog.salvage("syntax").is_none() && catalog.salvage("masked").is_none());
}

#[test]
fn an_instance_is_its_template_with_its_own_name_and_drop_ins() {
    let host = Host::new();
    host.file(
        "usr/web@.toml",
        "description = \"%i of 100%%\"\nnetwork = \"none\"\n[app.web]\nimage = \"example.com/%i\"\n\
         exec = [\"/srv\", \"--name=%i\"]\n",
    );
    host.file("etc/web@.toml.d/10.toml", "hostname = \"all-%i\"");
    host.file("etc/web@.toml.d/20.toml", "[app.web]\nuser = 5");
    host.file("etc/web@blue.toml.d/20.toml", "[app.web]\nuser = 7");
    let blue = load(&host.dirs, "web@blue").unwrap();
    assert_eq!(blue.name.as_deref(), Some("web@blue"));
    assert_eq!(blue.pod.description.as_deref(), Some("blue of 100%"));
    assert_eq!(blue.pod.apps[0].image, "example.com/blue");
    assert_eq!(blue.pod.apps[0].exec.as_deref().unwrap()[1], "--name=blue");
    assert_eq!(blue.pod.hostname.as_deref(), Some("all-blue"));
    assert_eq!(blue.pod.apps[0].user, Some(rocket_podfile::Account::Id(7)));
    let red = load(&host.dirs, "web@red").unwrap();
    assert_eq!(red.pod.apps[0].user, Some(rocket_podfile::Account::Id(5)));
    assert_ne!(red.digest, blue.digest);
    // In a file that is no template a % is a %.
    host.file("usr/plain.toml", "description = \"%i\"\nnetwork = \"none\"\n[app.a]\nimage = \"i\"");
    assert_eq!(load(&host.dirs, "plain").unwrap().pod.description.as_deref(), Some("%i"));
    host.file("etc/web@.toml.d/30.toml", "\nhostname = \"%H\"");
    let error = load(&host.dirs, "web@red").unwrap_err().to_string();
    assert!(error.contains("30.toml:2:12: %H is nothing in a template"), "{error}");

    let catalog = rocket_podfile::Catalog::scan(&host.dirs).unwrap();
    assert_eq!(catalog.instances().collect::<Vec<_>>(), ["web@blue"]);
    assert!(catalog.has_template_of("web@green") && !catalog.has_template_of("plain"));
}

#[test]
fn nothing_listens_where_a_broken_file_does_not_say_where() {
    let host = Host::new();
    let port = |more: &str| {
        format!("{POD}typo = 1\n[port.web]\napp = \"{}\"\nactivation = true\n{more}", app_of(POD))
    };
    let table = [
        ("port = 80\n", 1),
        ("port = 80\nlisten = []\n", 1),
        ("port = 80\nlisten = [\"127.0.0.1:80\"]\n", 1),
        ("port = 80\nlisten = [\"127.0.0.1\"]\n", 0),
        ("port = 80\nlisten = \"127.0.0.1:80\"\n", 0),
        ("port = 80\nlisten = [\"127.0.0.1:80\", \"localhost:80\"]\n", 0),
        ("port = 80\nlisten = [80]\n", 0),
        ("port = 80\nlisen = [\"127.0.0.1:80\"]\n", 0),
        ("port = 80\naddress = [\"127.0.0.1:80\"]\n", 0),
        ("port = 80\nprotocol = \"tpc\"\n", 0),
        ("port = 0\n", 0),
        ("listen = [\"127.0.0.1:80\"]\n", 0),
    ];
    for (more, expected) in table {
        host.file("etc/web.toml", &port(more));
        let catalog = Catalog::scan(&host.dirs).unwrap();
        assert_eq!(catalog.salvage("web").unwrap().ports.len(), expected, "{more}");
    }
    // A name becomes part of a file's name.
    host.file("etc/web.toml", &port("port = 80\n").replace("port.web", "port.\"../web\""));
    let catalog = Catalog::scan(&host.dirs).unwrap();
    assert_eq!(catalog.salvage("web").unwrap().ports, []);
}

/// The first app of a pod file.
fn app_of(text: &str) -> &str {
    text.split("[app.").nth(1).unwrap().split(']').next().unwrap()
}
