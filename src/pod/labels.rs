//! Labels of the host's security modules: what a pod file asks for has to be there, or the pod is
//! refused; nothing runs with less than it was to have.

use crate::host::lsm::Lsm;
use rocket_podfile::AppSecurity;
use thiserror::Error;

/// A label that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    /// The module is off or absent.
    #[error(
        "app {app:?}: security.{key} = {value:?} needs {module}, which this host's kernel has not on"
    )]
    NoModule {
        /// The app.
        app: String,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The module.
        module: &'static str,
    },
    /// AppArmor does not know the profile.
    #[error(
        "app {app:?}: security.apparmor = {profile:?}: no such profile is loaded (apparmor_parser -r loads one)"
    )]
    NoProfile {
        /// The app.
        app: String,
        /// The profile.
        profile: String,
    },
}

/// Whether an app can have its labels.
///
/// # Errors
/// [`LabelError`].
pub fn check(app: &str, security: &AppSecurity, host: &Lsm) -> Result<(), LabelError> {
    let missing = |key, value: &str, module| LabelError::NoModule {
        app: app.to_owned(),
        key,
        value: value.to_owned(),
        module,
    };
    if let Some(profile) = &security.apparmor {
        if !host.apparmor {
            return Err(missing("apparmor", profile, "AppArmor"));
        }
        // Where the kernel does not show them, it has the last word at the exec.
        let known = host.profiles.as_ref().is_none_or(|known| known.contains(profile));
        if !known && profile != "unconfined" {
            return Err(LabelError::NoProfile { app: app.to_owned(), profile: profile.clone() });
        }
    }
    match &security.selinux {
        Some(context) if !host.selinux => Err(missing("selinux", context, "SELinux")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_module_or_profile_refuses() {
        let security = |apparmor: Option<&str>, selinux: Option<&str>| AppSecurity {
            apparmor: apparmor.map(str::to_owned),
            selinux: selinux.map(str::to_owned),
            ..AppSecurity::default()
        };
        let none = Lsm::default();
        let with = |profiles: Option<Vec<String>>| Lsm { selinux: true, apparmor: true, profiles };
        let web = Some(vec!["web".to_owned()]);
        let context = Some("system_u:system_r:web_t:s0");
        assert_eq!(check("a", &security(None, None), &none), Ok(()));
        let why = check("a", &security(Some("web"), None), &none).unwrap_err().to_string();
        assert!(why.contains("security.apparmor = \"web\" needs AppArmor"), "{why}");
        let why = check("a", &security(None, context), &none).unwrap_err().to_string();
        assert!(why.contains("needs SELinux"), "{why}");
        assert_eq!(check("a", &security(Some("web"), context), &with(web.clone())), Ok(()));
        assert_eq!(check("a", &security(Some("web"), None), &with(None)), Ok(()));
        assert_eq!(check("a", &security(Some("unconfined"), None), &with(web.clone())), Ok(()));
        let why = check("a", &security(Some("wbe"), None), &with(web)).unwrap_err().to_string();
        assert!(why.contains("\"wbe\": no such profile is loaded"), "{why}");
    }
}
