//! Credentials of a pod: which app is to have which, and where they come from. Never what is in
//! them: that is read when the pod starts, and nothing of it is written into the pod's directory.

use super::meta;
use rocket_plan::{AppPlan, Credential, Mount, MountSource, feature};
use rocket_podfile::{App, CredentialSource, PodFile};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// File in the pod directory; there only for a pod with credentials.
pub const FILE: &str = "credentials.json";
/// Version of that file.
pub const VERSION: u32 = 1;
/// What tells an app where its credentials are (systemd.exec(5)).
pub(super) const VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// `credentials.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// The pod file, for what is written in it.
    pub pod_file: Option<PodFileAt>,
    /// Those that apps have.
    pub credentials: Vec<Wanted>,
}

/// Where the pod file of a pod is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodFileAt {
    /// In the search path, under this name.
    Name(String),
    /// A file of its own.
    File(PathBuf),
}

/// A credential that an app has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub from: Origin,
}

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A file, or a name in systemd's stores.
    Load(String),
    /// The same, encrypted for this host.
    LoadEncrypted(String),
    /// It is in the pod file.
    PodFile,
}

/// Reads a pod's record; `None` = it has no credentials.
///
/// # Errors
/// A file of another version, or of none.
pub fn read(pod: &Path) -> Result<Option<Record>, meta::MetaError> {
    let path = pod.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let record: Record = meta::read(&path)?;
    match record.version {
        VERSION => Ok(Some(record)),
        found => Err(meta::MetaError::Version { path, found }),
    }
}

/// Writes the record of a pod that has credentials.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(
    dir: &Path,
    pod: &PodFile,
    pod_file: Option<&PodFileAt>,
) -> Result<(), meta::MetaError> {
    let credentials = wanted(pod);
    if credentials.is_empty() {
        return Ok(());
    }
    let record = Record { version: VERSION, pod_file: pod_file.cloned(), credentials };
    meta::write(&dir.join(FILE), &record)
}

/// Those that any app of the pod has.
fn wanted(pod: &PodFile) -> Vec<Wanted> {
    let used = |name: &String| pod.apps.iter().any(|app| app.credentials.contains(name));
    let used = pod.credentials.iter().filter(|credential| used(&credential.name));
    used.map(|credential| Wanted {
        name: credential.name.clone(),
        from: match &credential.source {
            CredentialSource::Load(from) => Origin::Load(from.clone()),
            CredentialSource::LoadEncrypted(from) => Origin::LoadEncrypted(from.clone()),
            CredentialSource::Set(_) => Origin::PodFile,
        },
    })
    .collect()
}

/// The directory of an app's credentials, inside its root; `None` = it has none.
pub(super) fn directory(app: &App) -> Option<String> {
    (!app.credentials.is_empty()).then(|| format!("/run/credentials/{}", app.name))
}

/// Name of the descriptor of a credential.
pub fn descriptor(name: &str) -> String {
    format!("credential:{name}")
}

/// The mount of an app's credentials.
pub(super) fn mount(app: &App) -> Option<Mount> {
    let list = app.credentials.iter();
    let list = list.map(|name| Credential { name: name.clone(), descriptor: descriptor(name) });
    Some(Mount {
        source: MountSource::Credentials(list.collect()),
        target: directory(app)?,
        read_only: true,
        nosuid: true,
        nodev: true,
        noexec: true,
        lent: false,
    })
}

/// Names of the credentials of an app.
pub fn names(app: &AppPlan) -> Vec<String> {
    let lists = app.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Credentials(list) => Some(list),
        _ => None,
    });
    lists.flatten().map(|credential| credential.name.clone()).collect()
}

/// The feature that `apps` need for their credentials.
pub(super) fn features(apps: &[AppPlan]) -> Option<String> {
    apps.iter().any(|app| !names(app).is_empty()).then(|| feature::CREDENTIALS.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> PodFile {
        let text = "network = \"none\"\n[app.a]\nimage = \"x\"\ncredentials = [\"key\", \"word\"]\n\
                    [app.b]\nimage = \"x\"\n[credentials]\nkey = { load = \"/etc/key\" }\n\
                    word = { set = \"hush\" }\nspare = { load-encrypted = \"spare\" }\n";
        rocket_podfile::parse(Path::new("x.toml"), text).unwrap()
    }

    #[test]
    fn an_app_has_what_its_list_names_and_an_app_without_a_list_nothing() {
        let pod = pod();
        let mount = mount(&pod.apps[0]).unwrap();
        assert_eq!(mount.target, "/run/credentials/a");
        let credential =
            |name: &str| Credential { name: name.into(), descriptor: descriptor(name) };
        let expected = vec![credential("key"), credential("word")];
        assert_eq!(mount.source, MountSource::Credentials(expected));
        assert!(mount.read_only && mount.nosuid && mount.nodev && mount.noexec);
        assert_eq!(super::mount(&pod.apps[1]), None);
    }

    #[test]
    fn the_record_has_what_is_used_and_never_what_is_in_it() {
        let wanted = wanted(&pod());
        let names: Vec<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
        assert_eq!(names, ["key", "word"]);
        assert_eq!(wanted[1].from, Origin::PodFile);
        assert!(!serde_json::to_string(&wanted).unwrap().contains("hush"));
    }
}
