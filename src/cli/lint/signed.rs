//! Signatures of pod files, as `rocket lint` tells of them.

use crate::image::believe::Trust;
use crate::image::reference::Reference;
use crate::image::signed_text::is_pinned;
use crate::image::trust::{Beside, signature};
use crate::lint::{Finding, Pod, Severity};
use rocket_podfile::Diagnostic;
use std::path::Path;

/// What is wrong with the signatures of a pod's files, and with the images of a signed one.
pub fn check(trust: &Trust, pod: &Pod) -> Vec<Finding> {
    let mut found = Vec::new();
    let required = trust.policy().signed_pods();
    for (path, text) in pod.loaded.sources.iter().zip(&pod.loaded.texts) {
        if required.is_none() && !has_signature(path) {
            continue;
        }
        let Err(why) = trust.vouchers(path, text) else { continue };
        let (severity, message) = match required {
            Some(rule) => {
                let rule = rule.display();
                let text = format!(
                    "the file is not trusted: {why}; the pod does not start (rule: {rule}, pods = \
                     \"signed\")"
                );
                (Severity::Error, text)
            }
            None => {
                let text = format!("the signature of the file does not count: {why}");
                (Severity::Warning, text)
            }
        };
        let (file, hint) = (path.clone(), Some(why.hint(path)));
        let diagnostic = Diagnostic { file, line: 1, column: 1, message, hint };
        found.push(Finding { severity, rule: "pod-file-signature", diagnostic });
    }
    if required.is_some() {
        let pinned = |image: &str| image.parse::<Reference>().map_or(true, |it| is_pinned(&it));
        for app in pod.loaded.pod.apps.iter().filter(|app| !pinned(&app.image)) {
            let text = format!(
                "{} names no digest: this host starts signed pod files only, and a name may come \
                 to mean another image; the pod does not start",
                app.image
            );
            let hint = "NAME@DIGEST; rocket image list shows the digests".to_owned();
            let path = format!("app.{}.image", app.name);
            let diagnostic = pod.places.diagnostic(&path, text, Some(hint));
            found.push(Finding { severity: Severity::Error, rule: "image-unpinned", diagnostic });
        }
    }
    found
}

fn has_signature(path: &Path) -> bool {
    Beside::KINDS
        .iter()
        .any(|kind| signature::longer(path, signature::Signature::extension(*kind)).exists())
}
