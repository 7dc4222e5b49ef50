#![allow(clippy::unwrap_used)]

use super::*;
use rocket_podfile::{credential_places, load_with_places};
use std::collections::BTreeSet;
use std::path::PathBuf;

const APP: &str = "[app.a]\nimage = \"example.com/a\"\n";

struct Files {
    dir: tempfile::TempDir,
    names: Vec<String>,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(format!("{name}.toml")), text).unwrap();
        }
        Self { dir, names: files.iter().map(|(name, _)| (*name).to_owned()).collect() }
    }

    fn pods(&self) -> Vec<Pod> {
        let dirs = [self.dir.path().to_owned()];
        let load = |name: &String| {
            let (loaded, places) = load_with_places(&dirs, name).unwrap();
            Pod { name: name.clone(), loaded, places }
        };
        self.names.iter().map(load).collect()
    }
}

/// `FILE:LINE:COLUMN RULE MESSAGE` of each finding.
fn found(files: &[(&str, &str)], images: &[(&str, Image)], host: &Host) -> Vec<String> {
    let files = Files::new(files);
    let pods = files.pods();
    let images = images.iter().map(|(name, image)| ((*name).to_owned(), image.clone())).collect();
    let line = |finding: &Finding| {
        let d = &finding.diagnostic;
        let file = d.file.file_name().unwrap().to_string_lossy().into_owned();
        let word = finding.severity.word();
        format!("{file}:{}:{} {word} {} {}", d.line, d.column, finding.rule, d.message)
    };
    check(&pods, &files.names, &images, host).iter().map(line).collect()
}

#[test]
fn a_file_that_asks_for_nothing_special_is_clean() {
    let text = format!("network = \"none\"\n{APP}");
    assert_eq!(found(&[("a", &text)], &[], &Host::default()), Vec::<String>::new());
}

#[test]
fn what_the_host_lacks_is_said_with_what_happens_instead() {
    let text = format!(
        "network = \"host\"\n{APP}limits = {{ memory-max = \"1G\", tasks-max = 5 }}\n\
         [limits]\nmemory-swap-max = 0\n[port.web]\napp = \"a\"\nport = 80\n"
    );
    let host = Host {
        systemd: Some(249),
        kernel: Some((5, 10)),
        controllers: Some(vec!["memory".into(), "cpu".into()]),
        swap_accounting: Some(false),
        user_namespaces: Some(0),
        ..Host::default()
    };
    let found = found(&[("a", &text)], &[], &host);
    for expected in [
        "a.toml:4:43 warning host-controller tasks-max: this host's cgroup tree has no pids",
        "a.toml:6:19 warning host-swap memory-swap-max",
        "warning host-user-namespaces",
        "a.toml:9:8 warning low-port port 80",
        "warning host-systemd this host's systemd is 249",
        "warning host-kernel this host's kernel is 5.10",
    ] {
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:#?}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn values_that_undo_each_other_are_named() {
    let text = format!(
        "network = \"none\"\n{APP}restart-delay = \"5s\"\nrestart-max-delay = \"2s\"\n\
         limits = {{ memory-low = \"2G\", memory-high = \"1G\", memory-max = \"1G\" }}\n\
         [limits]\nmemory-low = \"10%\"\nmemory-high = \"3G\"\nmemory-max = \"infinity\"\n"
    );
    let found = found(&[("a", &text)], &[], &Host::default());
    for expected in [
        "a.toml:5:21 warning restart-delay restart-max-delay is below restart-delay",
        "a.toml:6:25 warning memory-order memory-low is above memory-high",
        "a.toml:6:25 warning memory-order memory-low is above memory-max",
    ] {
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:#?}");
    }
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[test]
fn images_and_paths() {
    let text = "network = \"none\"\n[app.a]\nimage = \"x\"\nenvironment-files = [\"/e\"]\n\
                [app.b]\nimage = \"y\"\n[app.c]\nimage = \"z\"\n\
                [volume.v]\nkind = \"host\"\nsource = \"/gone\"\n\
                [volume.w]\nkind = \"host\"\nsource = \"/net\"\n";
    let host = Host {
        missing: [PathBuf::from("/e"), PathBuf::from("/gone")].into(),
        not_idmappable: [(PathBuf::from("/net"), "NFS")].into(),
        ..Host::default()
    };
    let images =
        [("x", Image::Missing), ("y", Image::Unsigned), ("z", Image::Bad("ambiguous".to_owned()))];
    let found = found(&[("a", text)], &images, &host);
    for expected in [
        "a.toml:3:9 warning image-missing x is not in the store",
        "a.toml:4:22 warning path-missing /e is not there",
        "a.toml:6:9 warning image-unsigned y",
        "a.toml:8:9 error image-reference ambiguous",
        "a.toml:11:10 warning path-missing /gone",
        "a.toml:14:10 warning host-idmap /net lies on NFS",
    ] {
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn pods_that_wait_for_each_other_or_for_nobody() {
    let pod = |unit: &str| format!("network = \"none\"\n{APP}[unit]\n{unit}\n");
    let found = found(
        &[
            ("a", &pod("after = [\"pod:b\"]")),
            ("b", &pod("after = [\"pod:c\"]")),
            ("c", &pod("before = [\"pod:b\"]\nafter = [\"pod:a\"]")),
            ("d", &pod("after = [\"pod:a\", \"pod:nobody\"]\nrequires = [\"pod:t@1\"]")),
        ],
        &[],
        &Host::default(),
    );
    let circles = found.iter().filter(|line| line.contains("dependency-circle")).count();
    assert_eq!(circles, 1, "{found:#?}");
    assert!(found.iter().any(|l| l.contains("a after b after c after a")), "{found:#?}");
    assert!(found.iter().any(|l| l.starts_with("d.toml:5:19 warning pod-missing")), "{found:#?}");
    assert!(found.iter().any(|l| l.contains("no pod t@1: this one does not")), "{found:#?}");
}

#[test]
fn a_pod_before_what_every_service_is_after_is_a_circle() {
    let text = format!(
        "network = \"none\"\n{APP}[unit]\nbefore = [\"shutdown.target\", \"sysinit.target\"]\n"
    );
    let found = found(&[("a", &text)], &[], &Host::default());
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("a.toml:5:30 error dependency-circle"), "{found:#?}");
}

#[test]
fn a_file_is_fetched_and_then_named_by_what_is_in_it() {
    let files = Files::new(&[("a", "network = \"none\"\n[app.a]\nimage = \"/srv/app.aci\"\n")]);
    let images = [("/srv/app.aci".to_owned(), Image::Missing)].into();
    let found = check(&files.pods(), &files.names, &images, &Host::default());
    let hint = found[0].diagnostic.hint.as_deref();
    assert_eq!(hint, Some("rocket fetch /srv/app.aci, and name the image that it prints"));
}

#[test]
fn ports_that_two_pods_want() {
    let pod =
        |port: &str| format!("network = \"host\"\n{APP}[port.web]\napp = \"a\"\nport = {port}\n");
    let found = found(
        &[
            ("a", &pod("8080")),
            ("b", &pod("8080")),
            ("c", &pod("8081")),
            ("d", &pod("8080\nprotocol = \"udp\"")),
        ],
        &[],
        &Host::default(),
    );
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("b.toml:4:1 error port-clash 8080 is wanted by port web of pod a")
    );
}

#[test]
fn credentials_that_are_not_there_or_that_no_app_has_are_told() {
    let text = format!(
        "network = \"none\"\n{APP}credentials = [\"one\", \"two\", \"four\"]\n[credentials]\n\
         one = {{ load = \"/gone\" }}\ntwo = {{ load = \"stored\" }}\n\
         three = {{ set = \"hush\" }}\nfour = {{ load-encrypted = \"there\" }}\n"
    );
    let mut missing: BTreeSet<PathBuf> = credential_places("stored", false).into_iter().collect();
    missing.insert("/gone".into());
    // One of all places is enough.
    missing.extend(credential_places("there", true).into_iter().skip(1));
    let host = Host { missing, ..Host::default() };
    let found = found(&[("a", &text)], &[], &host);
    for expected in [
        "a.toml:6:16 warning credential-missing /gone is not there",
        "a.toml:7:16 warning credential-missing stored is in none of systemd's stores",
        "a.toml:8:9 warning credential-unused no app has the credential three",
    ] {
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:#?}");
    }
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(!format!("{found:?}").contains("hush"));
}
