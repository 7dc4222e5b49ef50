//! Images: what a short name means where it comes from.

use std::collections::BTreeMap;

/// The reference for a pod file; the second is whether only the machine that built it has the image.
///
/// Docker, Compose and Kubernetes take a name without a registry for one of Docker Hub, and one without a tag
/// for `latest`. rocket's own references have no such default, so it is written out.
pub(super) fn reference(image: &str, mapped: &BTreeMap<String, String>) -> (String, bool) {
    let full = full_name(image);
    let keys = [image, full.as_str(), full.strip_prefix("docker://").unwrap_or(&full)];
    if let Some(other) = keys.iter().find_map(|key| mapped.get(*key)) {
        return (other.clone(), false);
    }
    let local = full.starts_with("docker://localhost/");
    (full, local)
}

fn full_name(image: &str) -> String {
    for scheme in ["oci:", "oci-archive:", "docker-archive:"] {
        if image.starts_with(scheme) {
            return image.to_owned();
        }
    }
    let image = image.strip_prefix("docker://").unwrap_or(image);
    let (registry, path) = match image.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (first, rest.to_owned())
        }
        Some(_) => ("docker.io", image.to_owned()),
        None => ("docker.io", format!("library/{image}")),
    };
    let path = match (registry, path.contains('/')) {
        ("docker.io", false) => format!("library/{path}"),
        _ => path,
    };
    let last = path.rsplit('/').next().unwrap_or_default();
    let tag = if last.contains([':', '@']) { "" } else { ":latest" };
    format!("docker://{registry}/{path}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_written_out() {
        for (image, full) in [
            ("nginx", "docker://docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker://docker.io/library/nginx:1.27"),
            ("grafana/grafana", "docker://docker.io/grafana/grafana:latest"),
            ("docker.io/redis:7", "docker://docker.io/library/redis:7"),
            ("ghcr.io/a/b@sha256:00", "docker://ghcr.io/a/b@sha256:00"),
            ("registry:5000/x", "docker://registry:5000/x:latest"),
            ("oci:/srv/x:1", "oci:/srv/x:1"),
            ("docker://quay.io/a/b:1", "docker://quay.io/a/b:1"),
        ] {
            assert_eq!(reference(image, &BTreeMap::new()), (full.to_owned(), false));
        }
        assert!(reference("localhost/mine", &BTreeMap::new()).1);
        let mapped =
            BTreeMap::from([("docker.io/library/nginx:latest".to_owned(), "x".to_owned())]);
        assert_eq!(reference("nginx", &mapped).0, "x");
    }
}
