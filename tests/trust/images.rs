//! Which images are taken, which are refused, and what is said of it.

use crate::setup::Setup;

const ETC: &str = "example.com/etc";

/// With each program: keys `mine` and `other`, as files, and how to sign.
fn programs(setup: &Setup) -> [(&'static str, [String; 2]); 2] {
    setup.desk.minisign_key("mine");
    setup.desk.minisign_key("other");
    for user in ["mine", "other"] {
        let address = format!("{user}@a.test");
        setup.desk.gpg_key(&format!("{user} <{address}>"), &[]);
        let armored = setup.desk.gpg(&["--armor", "--export", &address]);
        std::fs::write(setup.path(&format!("{user}.asc")), armored).unwrap();
    }
    [
        ("--minisign", ["mine.pub", "other.pub"].map(str::to_owned)),
        ("--gpg", ["mine.asc", "other.asc"].map(str::to_owned)),
    ]
}

fn signer(setup: &Setup, option: &str) -> String {
    match option {
        "--gpg" => "mine@a.test".to_owned(),
        _ => setup.text("mine.key"),
    }
}

/// From an image that nobody signed to a key for every name (each of the formats, each of the programs).
#[test]
fn the_steps_from_unsigned_to_a_root_key() {
    let setup = Setup::new();
    let programs = programs(&setup);
    let mut user = 0;
    for (format, suffix) in [("", ".aci"), ("oci:", ""), ("oci-archive:", ".tar")] {
        for (option, [mine, other]) in &programs {
            let word = option.trim_start_matches('-').replace("gpg", "openpgp");
            let base = format!("{word}{}", format.trim_end_matches(':'));
            let place = |name: &str| format!("{format}{base}-{name}{suffix}");
            // Each is another image.
            user += 1;
            let number = user.to_string();
            let image = setup.pack(&format!("{ETC}:1"), &place("etc"), &["--user", &number]);
            let outside = setup.pack("example.com/etcd:1", &place("etcd"), &["--user", &number]);
            let name = |reference: &str| -> Vec<String> {
                // A layout does not say what its image is called.
                let name = if reference == image { ETC } else { "example.com/etcd" };
                match format {
                    "" => vec![],
                    _ => vec!["--name".to_owned(), format!("{name}:1")],
                }
            };
            let fetch = |reference: &str| -> Vec<String> {
                [vec![reference.to_owned()], name(reference)].concat()
            };
            let refuses = |reference: &str, words: &[&str]| {
                let args = fetch(reference);
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                setup.refuses(&args, words);
            };
            setup.distrust();
            refuses(&image, &["no signature was found", "built in", "trust accept sha"]);
            let secret = signer(&setup, option);
            for reference in [&image, &outside] {
                let name = name(reference);
                let mut args = vec!["image", "sign", reference, option, &secret];
                args.extend(name.iter().map(String::as_str));
                setup.rocket(&args).ok();
            }
            refuses(&image, &["does not have", &word, "rocket trust add --prefix example.com/etc"]);
            setup.trust(mine, Some("example.com/other"));
            refuses(&image, &["trusts for example.com/other only", "trust add"]);
            setup.distrust();
            setup.trust(other, Some(ETC));
            refuses(&image, &["does not have"]);
            setup.distrust();
            setup.trust(mine, Some(ETC));
            refuses(&outside, &["trusts for example.com/etc only"]);
            let args = fetch(&image);
            let mut all = vec!["fetch"];
            all.extend(args.iter().map(String::as_str));
            let done = setup.rocket(&all).ok();
            assert!(done.stderr.contains("signed by the"), "{}", done.stderr);
            let (trusted, said) = setup.why(done.text());
            assert!(trusted && said.contains("trusted for example.com/etc"), "{said}");
            setup.distrust();
            setup.trust(mine, None);
            let args = fetch(&outside);
            let mut all = vec!["fetch", "--quiet"];
            all.extend(args.iter().map(String::as_str));
            setup.rocket(&all).ok();
            // Without its key a stored image makes no pod any more.
            setup.distrust();
            let id = done.text();
            let (trusted, said) = setup.why(id);
            assert!(!trusted && said.contains("does not have"), "{said}");
            let refused = setup.rocket(&["prepare", id]).ends_with(125);
            refused.says(&["is not taken as example.com/etc", "trust add"]);
            setup.rocket(&["image", "rm", id]).ok();
        }
    }
}

#[test]
fn signatures_made_here_verify_elsewhere_and_those_made_elsewhere_here() {
    let setup = Setup::new();
    let [(_, [mini, _]), (_, [pgp, _])] = programs(&setup);
    let ours = setup.pack("example.com/ours", "ours.aci", &[]);
    let key = setup.text("mine.key");
    setup.rocket(&["image", "sign", &ours, "--minisign", &key]).ok();
    setup.rocket(&["image", "sign", &ours, "--gpg", "mine@a.test"]).ok();
    setup.desk.run("minisign", &["-V", "-p", &mini, "-m", "ours.aci"]);
    setup.desk.run("gpg", &["--verify", "ours.aci.asc", "ours.aci"]);
    let layout = setup.pack("example.com/ours", "oci:layout:1", &[]);
    let name = ["--name", "example.com/ours:1"];
    let sign = |with: [&str; 2]| {
        setup.rocket(&["image", "sign", &layout, with[0], with[1], name[0], name[1]]).ok();
    };
    sign(["--minisign", &key]);
    // The statement stays what it was, so both signatures are good.
    sign(["--gpg", "mine@a.test"]);
    setup.desk.run("minisign", &["-V", "-p", &mini, "-m", "layout.statement"]);
    setup.desk.run("gpg", &["--verify", "layout.statement.asc", "layout.statement"]);
    let theirs = setup.pack("example.com/theirs", "theirs.aci", &["--user", "1"]);
    setup.desk.run("minisign", &["-S", "-s", "mine.key", "-m", "theirs.aci"]);
    setup.desk.gpg(&["-u", "mine@a.test", "--armor", "--detach-sign", "theirs.aci"]);
    setup.rules("[root]\nrequire = { any = [\"minisign\", \"openpgp\"], threshold = 2 }\n");
    setup.trust(&mini, None);
    setup.refuses(&[&theirs], &["1 of 2 keys", "10-test.toml"]);
    setup.trust(&pgp, None);
    setup.rocket(&["fetch", &theirs]).ok();
    setup.rocket(&["fetch", &layout, name[0], name[1]]).ok();
}

#[test]
fn an_image_is_not_another_one() {
    let setup = Setup::new();
    let programs = programs(&setup);
    setup.trust(&programs[0].1[0], None);
    let key = setup.text("mine.key");
    let db = setup.pack("example.com/db:1", "db.aci", &[]);
    setup.rocket(&["image", "sign", &db, "--minisign", &key]).ok();
    setup.refuses(&[&db, "--name", "example.com/web:1"], &["is called example.com/db"]);
    // The same image compressed otherwise is another file.
    setup.desk.run("gzip", &["-k", "db.aci"]);
    std::fs::rename(setup.path("db.aci.gz"), setup.path("small.aci")).unwrap();
    std::fs::copy(setup.path("db.aci.minisig"), setup.path("small.aci.minisig")).unwrap();
    setup.refuses(&[&setup.text("small.aci")], &["does not fit the bytes"]);
    let layout = setup.pack("example.com/db", "oci:l", &[]);
    let sign = ["image", "sign", &layout, "--minisign", &key, "--name", "example.com/db:1"];
    setup.rocket(&sign).ok();
    setup.refuses(&[&layout, "--name", "example.com/web:1"], &["is called example.com/db"]);
    setup.refuses(&[&layout, "--name", "example.com/db:2"], &["version 1, and 2 was asked for"]);
    // A statement about another image.
    let other = setup.pack("example.com/db", "oci:other", &["--user", "7"]);
    for end in [".statement", ".statement.minisig"] {
        std::fs::copy(setup.path(&format!("l{end}")), setup.path(&format!("other{end}"))).unwrap();
    }
    setup.refuses(&[&other, "--name", "example.com/db:1"], &["about another image"]);
    std::fs::write(setup.path("other.statement"), "{}").unwrap();
    setup.refuses(&[&other, "--name", "example.com/db:1"], &["statement cannot be read"]);
    std::fs::write(setup.path("other.statement"), vec![b' '; 70_000]).unwrap();
    setup.refuses(&[&other, "--name", "example.com/db:1"], &["larger than"]);
}

#[test]
fn a_name_does_not_come_to_mean_something_older_and_statements_end() {
    let setup = Setup::new();
    let programs = programs(&setup);
    setup.trust(&programs[0].1[0], None);
    let key = setup.text("mine.key");
    let layout = |name: &str, user: &str, created: &str, expires: Option<&str>| {
        let out = setup.pack("example.com/app", &format!("oci:{name}"), &["--user", user]);
        let mut args = vec!["image", "sign", &out, "--minisign", &key];
        args.extend(["--name", "example.com/app:latest"]);
        args.extend(expires.map(|end| ["--expires", end]).into_iter().flatten());
        setup.rocket(&args).ok();
        let path = setup.path(&format!("{name}.statement"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut statement: serde_json::Value = serde_json::from_str(&text).unwrap();
        statement["created"] = created.into();
        std::fs::write(&path, statement.to_string()).unwrap();
        let file = format!("{name}.statement");
        setup.desk.run("minisign", &["-S", "-s", "mine.key", "-m", &file]);
        out
    };
    let new = layout("new", "1", "2026-06-01T00:00:00Z", None);
    let old = layout("old", "2", "2025-06-01T00:00:00Z", None);
    let name = ["--name", "example.com/app:latest"];
    let first = setup.rocket(&["fetch", &new, name[0], name[1]]).ok().stdout;
    setup.refuses(&[&old, name[0], name[1]], &["2025-06-01", "2026-06-01", "--allow-downgrade"]);
    assert_eq!(setup.rocket(&["fetch", &new, name[0], name[1]]).ok().stdout, first);
    let second = setup.rocket(&["fetch", "--allow-downgrade", &old, name[0], name[1]]).ok().stdout;
    assert_ne!(first, second);
    let over = layout("over", "3", "2026-07-01T00:00:00Z", Some("2026-08-01T00:00:00Z"));
    setup.refuses(&[&over, name[0], name[1]], &["expired", "2026-08-01"]);
    let args = ["image", "sign", &new, "--minisign", &key, name[0], name[1], "--expires", "soon"];
    setup.rocket(&args).ends_with(125).says(&["soon", "2027-01-31"]);
}

#[test]
fn what_this_host_says_counts_where_nothing_is_required() {
    let setup = Setup::new();
    let image = setup.pack("example.com/app:1", "app.aci", &[]);
    setup.refuses(&[&image], &["no signature"]);
    let id = setup.rocket(&["trust", "accept", &image]).ok().text().to_owned();
    assert_eq!(setup.rocket(&["fetch", &image]).ok().text(), id);
    let (trusted, said) = setup.why("example.com/app");
    assert!(trusted && said.contains("accepted on this host"), "{said}");
    setup.rules("[prefix.\"example.com\"]\nrequire = {}\nunsigned = \"warn\"\n");
    let (trusted, said) = setup.why("example.com/app");
    assert!(!trusted && said.contains("no signature") && said.contains("10-test.toml"), "{said}");
    setup.rocket(&["prepare", "example.com/app"]).ends_with(125).says(&["no signature"]);
    setup.rules("");
    setup.rocket(&["trust", "accept", "--undo", "example.com/app"]).ok();
    assert!(!setup.why("example.com/app").0);
    setup.rocket(&["trust", "accept", "--undo", "example.com/app"]).ends_with(125);
    // Loud, and once.
    setup.rocket(&["prepare", "example.com/app"]).ends_with(125);
    let option = "--insecure-options=image";
    let pod = setup.rocket(&["prepare", option, "example.com/app"]).ok().text().to_owned();
    let shown = setup.rocket(&["explain", &pod]).ok().stdout;
    assert!(shown.contains("without asking who vouches"), "{shown}");
    setup.rocket(&["rm", &pod]).ok();
    // A digest can be accepted before its image is here.
    setup.rocket(&["image", "rm", &id]).ok();
    setup.refuses(&[&image], &["no signature", &id]);
    setup.rocket(&["trust", "accept", &id]).ok();
    setup.rocket(&["fetch", &image]).ok();
    // What root packs here needs no more, until something is required.
    let root = setup.text("root");
    let out = setup.text("mine.aci");
    let args = ["image", "pack", &root, "--name", "example.com/mine", "-o", &out];
    setup.rocket(&args).ok();
    setup.rocket(&["fetch", &out]).ok();
    assert!(setup.why("example.com/mine").1.contains("packed here"));
    setup.rules("[prefix.\"example.com/mine\"]\nrequire = {}\n");
    assert!(!setup.why("example.com/mine").0);
    setup.refuses(&[&out], &["no signature"]);
}

#[test]
fn a_broken_rule_believes_nobody_and_says_where_it_is_broken() {
    let setup = Setup::new();
    let image = setup.pack("example.com/app:1", "app.aci", &[]);
    setup.rules("[root]\nunsinged = \"warn\"\n");
    setup.rocket(&["fetch", &image]).ends_with(125).says(&["10-test.toml:3", "unsinged"]);
}

#[test]
fn lint_says_which_images_a_start_would_refuse_and_which_nobody_vouches_for() {
    let setup = Setup::new();
    let image = setup.pack("example.com/app:1", "app.aci", &[]);
    setup.rocket(&["fetch", "--insecure-options=image", &image]).ok();
    let file = setup.text("web.toml");
    let text = "version = 1\nnetwork = \"none\"\n[app.a]\nimage = \"example.com/app:1\"\n";
    std::fs::write(&file, text).unwrap();
    let lint = || setup.rocket(&["lint", &file]);
    let refused = lint().ends_with(1).stdout;
    assert!(refused.contains("web.toml:4:9: error: example.com/app:1 is not trusted"), "{refused}");
    assert!(refused.contains("rocket trust why example.com/app:1"), "{refused}");
    setup.rules("[root]\nunsigned = \"warn\"\n");
    let warned = lint().ok().stdout;
    assert!(warned.contains("web.toml:4:9: warning: example.com/app:1"), "{warned}");
    assert!(warned.contains("no signature vouches for it"), "{warned}");
    setup.rules("");
    setup.rocket(&["trust", "accept", "example.com/app:1"]).ok();
    let clean = lint().ok().stdout;
    assert!(!clean.contains("example.com/app:1"), "{clean}");
}

#[test]
fn the_latest_by_name_is_never_older_than_any_version_that_is_here() {
    let setup = Setup::new();
    let programs = programs(&setup);
    setup.trust(&programs[0].1[0], None);
    let key = setup.text("mine.key");
    let place = setup.path("place/images/example.com/app");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::create_dir_all(setup.path("config/mirrors.d")).unwrap();
    let mirrors = format!("version = 1\n[prefix.\"\"]\nplaces = [\"{}\"]\n", setup.text("place"));
    std::fs::write(setup.path("config/mirrors.d/a.toml"), mirrors).unwrap();
    let publish = |version: &str, created: &str| {
        let name = format!("example.com/app:{version}");
        let created = format!("created={created}");
        let image =
            setup.pack(&name, "app.aci", &["--annotation", &created, "--user", &version[..1]]);
        setup.rocket(&["image", "sign", &image, "--minisign", &key]).ok();
        for end in ["", ".minisig"] {
            let to = place.join(format!("latest-linux-amd64.aci{end}"));
            std::fs::copy(format!("{image}{end}"), to).unwrap();
        }
    };
    let update = ["fetch", "--pull=update", "example.com/app"];
    publish("2.0", "2026-06-01T00:00:00Z");
    setup.rocket(&update).ok();
    publish("1.0", "2025-06-01T00:00:00Z");
    setup.refuses(&update[1..], &["2025-06-01", "2026-06-01", "--allow-downgrade"]);
    publish("3.0", "2026-07-01T00:00:00Z");
    setup.rocket(&update).ok();
}
