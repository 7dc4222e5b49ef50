//! Imports that run: written by `rocket import` with an image of the bed in the place of the source's, and
//! started as they are.

use rocket_testkit::{Command, image, require_bed, rocket, run};
use std::fs;
use std::path::Path;

const SHELL: &str = "example.com/import-shell:1.0";

/// Writes files, imports them, and gives the directory with the pod files.
fn import(kind: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::create_dir(dir.path().join("out")).unwrap();
    let from = if kind == "quadlet" { "." } else { files[0].0 };
    let image = format!("busybox={SHELL}");
    let args = ["import", kind, from, "--output", "out", "--image", &image];
    let script = "cd \"$1\" && shift && exec \"$@\"";
    Command::new("/bin/sh")
        .args(["-c", script, "sh", dir.path().to_str().unwrap(), "rocket"])
        .args(args)
        .seconds(20)
        .run()
        .ok();
    dir
}

/// Runs a pod file to its end.
fn output(dir: &Path, pod: &str) -> String {
    let file = dir.join(format!("out/{pod}.toml"));
    rocket(["run", "--rm", "--name", pod, "--file", file.to_str().unwrap()]).ok().stdout
}

fn runs(kind: &str, pod: &str, files: &[(&str, &str)], expected: &str) {
    let dir = import(kind, files);
    assert_eq!(output(dir.path(), pod), expected);
}

#[test]
fn docker_run_environment_and_directory() {
    let text = "docker run --rm --name imp-env -e A=1 -e 'B=b c' -w /bin busybox sh -c 'echo $A \"$B\"; pwd'";
    runs("docker-run", "imp-env", &[("run.sh", text)], "1 b c\n/bin\n");
}

#[test]
fn docker_run_locked_down() {
    let text = "docker run --name imp-locked --read-only --cap-drop ALL -u 65534:65534 --tmpfs /run \\\n\
                busybox sh -c 'id -u; id -g; touch /x 2>/dev/null || echo read-only; touch /run/x && echo tmpfs; \
                grep -c \"CapBnd:.0000000000000000\" /proc/self/status'";
    runs("docker-run", "imp-locked", &[("run.sh", text)], "65534\n65534\nread-only\ntmpfs\n1\n");
}

#[test]
fn docker_run_volumes_are_kept() {
    let text = "docker run --name imp-vol -v ./data:/data:ro -v imp_kept:/kept busybox sh -c \
                'cat /data/f; touch /data/g 2>/dev/null || echo read-only; cat /kept/* 2>/dev/null; echo kept >/kept/x'";
    let dir = import("docker-run", &[("run.sh", text), ("data/f", "from the host\n")]);
    assert_eq!(output(dir.path(), "imp-vol"), "from the host\nread-only\n");
    assert_eq!(output(dir.path(), "imp-vol"), "from the host\nread-only\nkept\n");
}

#[test]
fn compose_waits_for_what_has_to_end() {
    let text = "name: imp-order\nservices:\n  web:\n    image: busybox\n    \
                entrypoint: [sh, -c, \"cat /data/made; grep -c migrate /etc/hosts\"]\n    volumes: [\"data:/data\"]\n    \
                depends_on: {migrate: {condition: service_completed_successfully}}\n  \
                migrate:\n    image: busybox\n    command: sh -c 'sleep 1; echo migrated >/data/made'\n    \
                volumes: [\"data:/data\"]\nvolumes: {data: {}}\n";
    runs("compose", "imp-order", &[("compose.yaml", text)], "migrated\n1\n");
}

#[test]
fn compose_fills_in_variables_and_reads_files() {
    let text = "name: imp-vars\nservices:\n  a:\n    image: busybox\n    env_file: a.env\n    \
                command: [\"sh\", \"-c\", \"echo $$FROM_FILE ${SAID} ${NOT:-default}\"]\n";
    let files =
        [("compose.yaml", text), (".env", "SAID='by .env'\n"), ("a.env", "FROM_FILE=file\n")];
    runs("compose", "imp-vars", &files, "file by .env default\n");
}

// Limits of control groups are read in the corpus only: this bed has no controllers that could hold them.
#[test]
fn compose_anchors_and_ulimits() {
    let text = "name: imp-anchor\nx-a: &a\n  image: busybox\n  ulimits: {nofile: 512}\n  \
                environment: &env {MODE: 0755, TZ: UTC}\nservices:\n  a:\n    <<: *a\n    \
                environment: {<<: *env, TZ: X}\n    command: sh -c 'echo $$MODE $$TZ; ulimit -n'\n";
    runs("compose", "imp-anchor", &[("compose.yaml", text)], "0755 X\n512\n");
}

#[test]
fn quadlet_with_drop_in() {
    let unit = "[Unit]\nDescription=Job at 100%%\n[Container]\nImage=busybox\nEnvironment=\"A=a b\" C=c\n\
                Exec=sh -c 'echo old'\n[Service]\nType=oneshot\n";
    let drop_in = "[Container]\nExec=sh -c 'echo \"$A\" $C; \\\n  echo $AC_APP_NAME'\n";
    let files = [("imp-quad.container", unit), ("imp-quad.container.d/10.conf", drop_in)];
    runs("quadlet", "imp-quad", &files, "a b c\nimp-quad\n");
}

#[test]
fn quadlet_pod_of_two() {
    let first = "[Container]\nPod=imp-two.pod\nImage=busybox\nExec=sh -c 'echo hello >/shared/x'\n\
                 Volume=shared.volume:/shared\n[Service]\nType=oneshot\n";
    let second = "[Unit]\nAfter=first.service\n[Container]\nPod=imp-two.pod\nImage=busybox\n\
                  Exec=sh -c 'cat /shared/x; grep -c first /etc/hosts'\nVolume=shared.volume:/shared\n";
    let files = [
        ("imp-two.pod", "[Pod]\nNetwork=none\n"),
        ("first.container", first),
        ("second.container", second),
        ("shared.volume", "[Volume]\nType=tmpfs\nDevice=tmpfs\n"),
    ];
    runs("quadlet", "imp-two", &files, "hello\n1\n");
}

#[test]
fn kube_pod_with_init_container() {
    let text = "kind: ConfigMap\nmetadata: {name: words}\ndata: {GREETING: hello}\n---\nkind: Pod\n\
                metadata: {name: imp-kube}\nspec:\n  restartPolicy: Never\n  initContainers:\n    \
                - {name: first, image: busybox, command: [sh, -c, 'echo $GREETING >/s/x'], \
                envFrom: [{configMapRef: {name: words}}], volumeMounts: [{name: s, mountPath: /s}]}\n  containers:\n    \
                - {name: main, image: busybox, command: [sh, -c, 'cat /s/x; id -u'], \
                securityContext: {runAsUser: 1000}, volumeMounts: [{name: s, mountPath: /s, readOnly: true}]}\n  \
                volumes: [{name: s, emptyDir: {}}]\n";
    runs("kube", "imp-kube", &[("objects.yaml", text)], "hello\n1000\n");
}

#[test]
fn kube_deployment_is_a_template() {
    let text = "kind: Deployment\nmetadata: {name: imp-deploy}\nspec:\n  replicas: 2\n  template:\n    spec:\n      \
                containers:\n        - {name: web, image: busybox, command: [sleep, '1000']}\n";
    let dir = import("kube", &[("objects.yaml", text)]);
    fs::create_dir_all("/etc/rocket/pods").unwrap();
    let file = "/etc/rocket/pods/imp-deploy@.toml";
    fs::copy(dir.path().join("out/imp-deploy@.toml"), file).unwrap();
    run("systemctl", ["enable", "rocket@imp-deploy@1", "rocket@imp-deploy@2"]).ok();
    run("systemctl", ["daemon-reload"]).ok();
    for instance in ["1", "2"] {
        let unit = format!("rocket@imp-deploy@{instance}");
        run("systemctl", ["start", &unit]).ok();
        assert_eq!(run("systemctl", ["is-active", &unit]).text(), "active");
    }
    run("systemctl", ["disable", "--now", "rocket@imp-deploy@1", "rocket@imp-deploy@2"]).ok();
    fs::remove_file(file).unwrap();
}
