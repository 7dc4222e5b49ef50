//! What `rocket explain` says outside, before the start, is what an app sees inside.
//!
//! Each pod is explained from its pod file, prepared, explained from its own plan, and run; its app is a
//! probe (`src/main.rs`) that tells all it can see of itself, and asks for every system call there is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod compare;
mod pods;

mod ns {
    use crate::pods::{self, Case};
    use rocket_testkit::require_bed;

    #[test]
    fn a_default_pod_is_what_explain_said() {
        require_bed("ns");
        Case::new("same-default", "").check();
    }

    #[test]
    fn a_users_pod_is_what_explain_said() {
        require_bed("ns");
        let app = "user = 1000\ngroup = 1001\nsupplementary-groups = [\"7\", \"9\"]\n\
                   environment = { SECRET = \"hunter2\" }\n";
        let explained = Case::new("same-user", app).check();
        assert!(!explained.contains("hunter2"), "a value is shown: {explained}");
    }

    #[test]
    fn a_users_capabilities_are_what_explain_said() {
        require_bed("ns");
        let app = "user = 1000\nsecurity = { capabilities = [\"net-bind-service\", \"kill\"] }\n";
        Case::new("same-ambient", app).check();
    }

    #[test]
    fn fewer_capabilities_and_a_read_only_root_are_what_explain_said() {
        require_bed("ns");
        let app = "security = { capabilities = [\"chown\", \"mknod\"], read-only = true }\n";
        Case::new("same-less", app).check();
        Case::new("same-nothing", "security = { capabilities = [] }\n").check();
    }

    #[test]
    fn a_weakened_pod_is_what_explain_said() {
        require_bed("ns");
        let app = "security = { no-new-privileges = false, seccomp = \"none\" }\n";
        let mut case = Case::new("same-weak", app);
        case.pod = "network = \"host\"\n[security]\nuser-namespace = false\n".to_owned();
        case.check();
        let app = "security = { no-new-privileges = false }\n";
        Case::new("same-setuid", app).check();
    }

    #[test]
    fn devices_rlimits_and_the_oom_score_are_what_explain_said() {
        require_bed("ns");
        let app = "security = { devices = [\"/dev/net/tun\"], oom-score-adj = 321, \
                   rlimits = { nofile = \"100:200\", core = \"0\" } }\n";
        let mut case = Case::new("same-devices", app);
        case.pod.push_str("[security]\nuser-namespace = false\n");
        if !std::path::Path::new("/dev/net/tun").exists() {
            std::fs::create_dir_all("/dev/net").unwrap();
            rocket_testkit::run("mknod", ["/dev/net/tun", "c", "10", "200"]).ok();
        }
        case.check();
    }

    #[test]
    fn volumes_of_each_kind_are_what_explain_said() {
        require_bed("ns");
        pods::volumes("same-volumes").check();
    }

    #[test]
    fn a_pod_on_the_hosts_network_is_what_explain_said() {
        require_bed("ns");
        let mut case = Case::new("same-host", "");
        case.pod = "network = \"host\"\nhostname = \"other\"\n".to_owned();
        case.check();
    }

    #[test]
    fn what_is_not_root_explains_from_the_pod_file_alone() {
        require_bed("ns");
        pods::unprivileged();
    }

    #[test]
    fn a_running_pod_is_explained_from_its_own_plan() {
        require_bed("ns");
        pods::running();
    }

    #[test]
    fn thresholds_and_refusals_are_exit_statuses() {
        require_bed("ns");
        pods::statuses();
    }

    #[test]
    fn figures_have_systemds_words() {
        require_bed("ns");
        pods::words();
    }
}

mod uml {
    use crate::pods::{self, Case};
    use rocket_testkit::require_bed;

    #[test]
    fn what_explain_said_holds_on_an_older_kernel_with_limits() {
        require_bed("uml");
        let app = "limits = { memory-max = \"64M\", tasks-max = 50, cpu-weight = 50 }\n";
        Case::new("same-limits", app).check();
        let app = "user = 1000\nsecurity = { capabilities = [\"kill\"], read-only = true }\n";
        Case::new("same-user", app).check();
        pods::volumes("same-volumes").check();
    }
}
