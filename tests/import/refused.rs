//! What cannot be imported: an error with its place, exit status 125, and nothing written.

use crate::rocket_in;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const GOOD: &str = "services:\n  a:\n    image: busybox\n";

#[test]
fn bad_input_has_its_place_and_writes_nothing() {
    let deep = "[".repeat(5000);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    for (kind, file, text, place, says) in [
        ("compose", "c.yaml", "services:\n  a: [\n  b: c\n", "c.yaml:", "not YAML"),
        (
            "compose",
            "c.yaml",
            "services:\n  a: {image: x}\n  a: {image: y}\n",
            "c.yaml:3:3: ",
            "duplicate",
        ),
        ("compose", "c.yaml", "services:\n  a:\n    restart: always\n", "c.yaml:2:3: ", "no image"),
        ("compose", "c.yaml", "services: 5\n", "c.yaml:1:11: ", "has to be a map"),
        (
            "compose",
            "c.yaml",
            "services: {a: {image: \"x:${T:?needed}\"}}\n",
            "c.yaml:1:23: ",
            "T is required",
        ),
        (
            "compose",
            "c.yaml",
            "services:\n  a:\n    image: x\n    user: \"a b\"\n",
            "c.yaml:4:11: ",
            "user",
        ),
        ("compose", "c.yaml", bomb, "c.yaml:", "not YAML"),
        ("compose", "c.yaml", &deep, "c.yaml:1:", "not YAML"),
        ("compose", "c.yaml", "", "c.yaml:1:1: ", "there is no pod"),
        ("kube", "k.yaml", "a: 1\n", "k.yaml:1:1: ", "without a kind"),
        ("kube", "k.yaml", "kind: Pod\nmetadata: {name: x}\n", "k.yaml:1:1: ", "no pod in it"),
        ("docker-run", "r.sh", "docker run -p 80:80\n", "r.sh:1:1: ", "names no image"),
        ("docker-run", "r.sh", "docker run 'x\n", "r.sh:1:12: ", "not closed"),
        ("docker-run", "r.sh", "docker run -Z nginx\n", "r.sh:1:12: ", "no flag"),
        (
            "quadlet",
            "q.container",
            "[Container\n",
            "q.container:1:1: ",
            "not the name of a section",
        ),
        ("quadlet", "q.container", "[Container]\nImage=%H/x\n", "q.container:2:1: ", "%H"),
        (
            "quadlet",
            "q.container",
            "[Container]\nImage=x\nPod=no.pod\n",
            "q.container:1:1: ",
            "no.pod",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(file), text).unwrap();
        let done = rocket_in(dir.path(), &["import", kind, file, "--output", "."]);
        assert_eq!(done.code(), 125, "{text:?}: {done}");
        assert!(done.stderr.starts_with(&format!("rocket: {place}")), "{text:?}: {done}");
        assert!(done.stderr.contains(says), "{text:?}: {done}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{text:?}");
    }
}

#[test]
fn nothing_is_overwritten_without_force() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("compose.yaml"), GOOD).unwrap();
    let name = ["import", "compose", "--name", "mine"];
    let printed = rocket_in(dir.path(), &name).ok();
    assert!(printed.stdout.starts_with("# Imported from compose.yaml (compose)."), "{printed}");
    assert!(printed.stderr.starts_with("compose.yaml:2:3: not carried: network: "), "{printed}");

    let write =
        |more: &[&str]| rocket_in(dir.path(), &[&name[..], &["--output", "."], more].concat());
    write(&[]).ok();
    let path = dir.path().join("mine.toml");
    assert_eq!(fs::read_to_string(&path).unwrap(), printed.stdout);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&path, "mine").unwrap();
    write(&[]).ends_with(125).says(&["exists: nothing was written", "--force"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    write(&["--force"]).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), printed.stdout);
}

#[test]
fn several_pods_want_a_directory_and_are_written_together() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("run.sh"), "docker run --name a x\ndocker run --name b y\n").unwrap();
    let import = |more: &[&str]| {
        rocket_in(dir.path(), &[&["import", "docker-run", "run.sh"][..], more].concat())
    };
    import(&[]).ends_with(125).says(&["a.toml, b.toml", "--output DIR"]);
    fs::write(dir.path().join("b.toml"), "").unwrap();
    import(&["--output", "."]).ends_with(125).says(&["b.toml exists"]);
    assert!(!dir.path().join("a.toml").exists(), "all or none");
    import(&["--output", "x.toml"]).ends_with(125).says(&["not a directory"]);
    import(&["--name", "c"]).ends_with(125).says(&["--name is for one pod"]);
}

#[test]
fn commands_images_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["--", "docker", "run", "--name", "it's", "nginx:1.27", "sh", "-c", "echo \"a b\""];
    let done = rocket_in(dir.path(), &[&["import", "docker-run"][..], &words[..]].concat()).ok();
    assert!(done.stdout.contains("image = \"docker://docker.io/library/nginx:1.27\""), "{done}");
    assert!(done.stdout.contains("exec = [\"sh\", \"-c\", \"echo \\\"a b\\\"\"]"), "{done}");
    let mapped = ["import", "docker-run", "--image", "nginx:1.27=example.com/nginx:1.27"];
    let done = rocket_in(dir.path(), &[&mapped[..], &words[..]].concat()).ok();
    assert!(done.stdout.contains("image = \"example.com/nginx:1.27\""), "{done}");
    let done = rocket_testkit::Command::new(env!("CARGO_BIN_EXE_rocket"))
        .args(["import", "compose", "-", "--name", "x"])
        .input(GOOD)
        .seconds(20)
        .run()
        .ok();
    assert!(done.stdout.contains("[app.a]"), "{done}");
}
