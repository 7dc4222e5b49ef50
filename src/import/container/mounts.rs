//! Volumes of all kinds.

use super::{Container, Source};
use crate::import::scalar::{absolute, boolean, docker_size, size_text};
use crate::import::sheet::Sheet;
use crate::import::value::Value;
use crate::import::{ImportError, Place};

/// A mount, from whichever syntax.
#[derive(Clone, Debug, Default)]
pub(in crate::import) struct Mount {
    pub(in crate::import) kind: String,
    pub(in crate::import) source: String,
    pub(in crate::import) target: String,
    pub(in crate::import) read_only: bool,
    /// Everything else, `KEY` or `KEY=VALUE`.
    pub(in crate::import) options: Vec<String>,
}

/// The mount options of a volume that is declared by itself: of a directory of the host, or a tmpfs.
pub(in crate::import) fn declared(
    sheet: &mut Sheet,
    title: &str,
    host: bool,
    text: &str,
    key: &str,
    place: &Place,
) {
    for option in text.split(',').map(str::trim).filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let number = value.parse::<i64>();
        match (name, docker_size(value), number) {
            ("bind" | "rbind", ..) if host => {}
            // What every volume is.
            ("rw" | "nosuid" | "nodev", ..) => {}
            ("ro", ..) => sheet.set(title, "read-only", true, place),
            ("size", Some(size), _) if !host => sheet.set(title, "size", size_text(size), place),
            ("mode", ..) if !host => sheet.set(title, "mode", value, place),
            ("uid" | "gid", _, Ok(number)) if !host => sheet.set(title, name, number, place),
            _ => {
                let why = format!("the option {option:?} has no counterpart");
                sheet.lose(title, place, key, &why, "");
            }
        }
    }
}

impl Container<'_> {
    /// `[SOURCE:]TARGET[:OPTIONS]`.
    pub(in crate::import) fn volume(
        &mut self,
        text: &str,
        place: &Place,
    ) -> Result<(), ImportError> {
        let parts: Vec<&str> = text.splitn(3, ':').collect();
        let (source, target, options) = match parts.as_slice() {
            [target] => ("", *target, ""),
            [source, target] => (*source, *target, ""),
            [source, target, options] => (*source, *target, *options),
            _ => ("", "", ""),
        };
        let bind = source.starts_with(['/', '.', '~']);
        let mut mount = Mount {
            kind: if bind { "bind" } else { "volume" }.to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            ..Mount::default()
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => mount.read_only = true,
                "rw" => {}
                other => mount.options.push(other.to_owned()),
            }
        }
        self.mount(&mount, "volume", place)
    }

    /// `type=bind,source=…,target=…,readonly`.
    pub(in crate::import) fn mount_words(
        &mut self,
        text: &str,
        place: &Place,
    ) -> Result<(), ImportError> {
        let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
        for word in text.split(',') {
            let word = word.trim().trim_matches('"');
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "type" => mount.kind = value.to_owned(),
                "source" | "src" => mount.source = value.to_owned(),
                "target" | "dst" | "destination" => mount.target = value.to_owned(),
                "readonly" | "ro" => mount.read_only = boolean(value).unwrap_or(true),
                "rw" => mount.read_only = !boolean(value).unwrap_or(true),
                _ => mount.options.push(word.to_owned()),
            }
        }
        self.mount(&mount, "mount", place)
    }

    /// `/path[:OPTIONS]`.
    pub(in crate::import) fn tmpfs_text(
        &mut self,
        text: &str,
        place: &Place,
    ) -> Result<(), ImportError> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        self.tmpfs(target, options, place)
    }

    /// A tmpfs of the app's own.
    pub(in crate::import) fn tmpfs(
        &mut self,
        target: &str,
        options: &str,
        place: &Place,
    ) -> Result<(), ImportError> {
        let mount = Mount {
            kind: "tmpfs".to_owned(),
            target: target.to_owned(),
            options: options.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect(),
            ..Mount::default()
        };
        self.mount(&mount, "tmpfs", place)
    }

    /// Any mount.
    pub(in crate::import) fn mount(
        &mut self,
        mount: &Mount,
        key: &str,
        place: &Place,
    ) -> Result<(), ImportError> {
        if !mount.target.starts_with('/') {
            let message = format!("{:?} is not a path to mount something at", mount.target);
            return Err(ImportError::new(place, message).hint("an absolute path of the container"));
        }
        let target = absolute(&mount.target, "/", "/");
        let own = ["/", "/dev", "/proc", "/sys"].contains(&target.as_str())
            || target.starts_with("/proc/")
            || target.starts_with("/sys/");
        if own {
            let why = format!("{target} is rocket's own: nothing can be mounted there");
            self.lose(place, key, &why, "");
            return Ok(());
        }
        let mut read_only = mount.read_only;
        let volume = match mount.kind.as_str() {
            "bind" => {
                let source = absolute(&mount.source, &self.options.base, &self.options.home);
                if source == "/" {
                    let why = "the whole of the host's file system is more than a pod should see";
                    self.lose(place, key, why, "mount the directories that are needed");
                    return Ok(());
                }
                let recursive =
                    !mount.options.iter().any(|o| o == "bind" || o == "bind-recursive=disabled");
                let what = format!("bind{}{source}", if recursive { ":" } else { "-flat:" });
                let name = source.rsplit('/').next().unwrap_or_default().to_owned();
                self.sheet.volume(&what, &name, |sheet, title| {
                    sheet.set(title, "kind", "host", place);
                    sheet.set(title, "source", source.as_str(), place);
                    if !recursive {
                        sheet.set(title, "recursive", false, place);
                    }
                })
            }
            "tmpfs" | "ramfs" => {
                let what = format!("tmpfs:{}:{target}", self.name);
                let name =
                    format!("{}-{}", self.name, target.rsplit('/').next().unwrap_or_default());
                self.sheet.volume(&what, &name, |sheet, title| {
                    sheet.set(title, "kind", "tmpfs", place);
                    sheet.set(title, "mode", "1777", place);
                })
            }
            "volume" if mount.source.is_empty() => {
                let what = format!("anonymous:{}:{target}", self.name);
                let name =
                    format!("{}-{}", self.name, target.rsplit('/').next().unwrap_or_default());
                let kind = if self.throw_away { "empty" } else { "state" };
                self.sheet.volume(&what, &name, |sheet, title| {
                    sheet.set(title, "kind", kind, place);
                })
            }
            "volume" => {
                let name = mount.source.clone();
                let key = format!("{}{key}", self.prefix);
                let copies = self.source != Source::Kubernetes;
                self.sheet.volume(&format!("named:{name}"), &name, |sheet, title| {
                    sheet.set(title, "kind", "state", place);
                    begins_empty(sheet, title, &name, copies, &key, place);
                })
            }
            other => {
                let why = format!("a mount of type {other:?} is nothing a pod has");
                self.lose(place, key, &why, "");
                return Ok(());
            }
        };
        let title = format!("volume.{volume}");
        for option in &mount.options {
            self.mount_option(option, &title, mount, &mut read_only, key, place);
        }
        let mounts = format!("{}.mounts", self.at);
        let value = match read_only {
            true => Value::Table(vec![
                ("volume".to_owned(), volume.into()),
                ("read-only".to_owned(), true.into()),
            ]),
            false => volume.into(),
        };
        self.sheet.set(&mounts, &target, value, place);
        Ok(())
    }

    fn mount_option(
        &mut self,
        option: &str,
        title: &str,
        mount: &Mount,
        read_only: &mut bool,
        key: &str,
        place: &Place,
    ) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let tmpfs = mount.kind == "tmpfs";
        match name {
            // What every volume of a pod is anyway.
            "rw" | "bind" | "rbind" | "private" | "rprivate" | "nosuid" | "nodev" | "exec"
            | "bind-recursive" | "notmpcopyup" | "nocopy" | "volume-nocopy" => {}
            "ro" => *read_only = true,
            "bind-propagation" if ["private", "rprivate"].contains(&value) => {}
            "size" | "tmpfs-size" if tmpfs => match docker_size(value) {
                Some(size) => self.sheet.set(title, "size", size_text(size), place),
                None => self.lose(
                    place,
                    key,
                    &format!("the size {value:?} is not understood"),
                    "size = …",
                ),
            },
            "mode" | "tmpfs-mode" if tmpfs => {
                self.sheet.set(
                    title,
                    "mode",
                    format!("{:0>4}", value.trim_start_matches("0o")),
                    place,
                );
            }
            "uid" | "gid" if tmpfs => match value.parse::<i64>() {
                Ok(id) => self.sheet.set(title, name, id, place),
                Err(_) => self.lose(place, key, &format!("{option} is not a number"), ""),
            },
            "z" | "Z" | "relabel" => {
                let todo = "where SELinux is enforced: chcon or semanage fcontext";
                self.lose(place, key, &format!("{option}: rocket does not relabel files"), todo);
            }
            "U" | "chown" => {
                let todo = "chown the directory once";
                self.lose(place, key, &format!("{option}: rocket does not change owners"), todo);
            }
            "idmap" => self.lose(place, key, "idmap: every volume is idmapped already", ""),
            "shared" | "rshared" | "slave" | "rslave" | "bind-propagation" => {
                let why =
                    format!("{option}: what is mounted later on the host does not show inside");
                self.lose(place, key, &why, "restart the pod after such a mount");
            }
            "cached" | "delegated" | "consistent" | "consistency" => {
                self.lose(place, key, &format!("{option} means nothing on Linux"), "");
            }
            _ => self.lose(place, key, &format!("the option {option:?} has no counterpart"), ""),
        }
    }
}

/// A managed volume begins with nothing, whatever there was elsewhere.
pub(in crate::import) fn begins_empty(
    sheet: &mut crate::import::sheet::Sheet,
    title: &str,
    name: &str,
    copies: bool,
    key: &str,
    place: &Place,
) {
    let pod = sheet.name.clone();
    let volume = title.trim_start_matches("volume.").to_owned();
    let why = if copies {
        "it begins empty: neither what the old volume holds nor what the image has there is copied"
    } else {
        "it begins empty: what the old volume holds is not copied"
    };
    let todo = format!(
        "copy the data of {name} to /var/lib/rocket/volumes/{pod}/{volume} before the first start"
    );
    sheet.lose(title, place, key, why, &todo);
}
