//! In the ns bed, whose kernel is the build machine's: only what would do no harm if it succeeded.

use crate::canaries::Canaries;
use crate::pod::{Trial, add_image};
use crate::uml::refused;
use rocket_escape::{Who, all};
use rocket_testkit::require_bed;

#[test]
fn a_default_pod_refuses_what_is_harmless_to_root_and_to_a_user() {
    require_bed("ns");
    add_image();
    let mut canaries = Canaries::new();
    let before = canaries.state();
    let told = canaries.told();
    let attempts: Vec<_> = all().filter(|attempt| attempt.harmless).collect();
    for who in [Who::Root, Who::User] {
        let trial = Trial { off: &[], who, attempts: &attempts, told: &told, limited: false };
        refused(&format!("a default pod, as {who:?}"), &attempts, &trial.run());
    }
    canaries.unharmed(&before);
}
