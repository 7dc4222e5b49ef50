//! What the ports of a pod file mean for its plan.

use rocket_plan::{AppPlan, Socket, feature};
use rocket_podfile::{Network, PodFile, Port};

/// The sockets of an app: its ports that systemd listens on. Which descriptors these are shows at
/// the start, so they have no name yet.
pub(super) fn sockets(pod: &PodFile, app: &str) -> Vec<Socket> {
    let ports = pod.ports.iter().filter(|port| port.activation && port.app == app);
    ports.map(|port| Socket { name: port.name.clone(), descriptor: String::new() }).collect()
}

/// The features that `apps` need for their sockets.
pub(super) fn features(apps: &[AppPlan]) -> Option<String> {
    apps.iter().any(|app| !app.sockets.is_empty()).then(|| feature::SOCKETS.to_owned())
}

/// Ports of the host's network that no app of the pod can bind: its user namespace has no say there.
pub(super) fn unbindable(pod: &PodFile) -> Vec<String> {
    if pod.network != Network::Host || !pod.security.user_namespace {
        return Vec::new();
    }
    let low = pod.ports.iter().filter(|port| !port.activation && port.port < 1024);
    let say = |port: &Port| {
        format!(
            "port {} (port.{}) of the host's network cannot be bound from the pod's user namespace; \
             activation = true has systemd bind it",
            port.port, port.name
        )
    };
    low.map(say).collect()
}
