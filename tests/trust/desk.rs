//! The programs that people sign with, and the keys they make.

use rocket::image::trust::{Finding, Key, Kind, Ring, Signature, check};
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

/// A directory of keys and signatures, made by the programs people use.
pub struct Desk {
    pub dir: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(desk.path("gnupg")).unwrap();
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(desk.path("gnupg"), mode).unwrap();
        std::fs::write(desk.path("image"), "a line of the image\n".repeat(5000)).unwrap();
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> Vec<u8> {
        let output = Command::new(program)
            .args(args)
            .current_dir(self.dir.path())
            .env("GNUPGHOME", self.path("gnupg"))
            .output()
            .expect("the set-up of the tests installs it");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {errors}");
        output.stdout
    }

    pub fn gpg(&self, args: &[&str]) -> Vec<u8> {
        let mut all = vec!["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
        all.extend(args);
        self.run("gpg", &all)
    }

    /// A key of minisign's: `NAME.pub`.
    pub fn minisign_key(&self, name: &str) -> Key {
        let (public, secret) = (format!("{name}.pub"), format!("{name}.key"));
        self.run("minisign", &["-G", "-W", "-f", "-p", &public, "-s", &secret]);
        Key::parse(&self.read(&public)).unwrap()
    }

    /// `image.minisig` of a key, with more options.
    pub fn minisign(&self, key: &str, options: &[&str]) -> Signature {
        let secret = format!("{key}.key");
        let mut args = vec!["-S", "-s", &secret, "-m", "image"];
        args.extend(options);
        self.run("minisign", &args);
        Signature { kind: Kind::Minisign, bytes: self.read("image.minisig") }
    }

    /// A key of gpg's, exported with its armor.
    pub fn gpg_key(&self, user: &str, options: &[&str]) -> Key {
        let mut args = options.to_vec();
        args.extend(["--quick-generate-key", user, "ed25519", "sign", "1d"]);
        self.gpg(&args);
        self.export(user)
    }

    pub fn export(&self, user: &str) -> Key {
        Key::parse(&self.gpg(&["--armor", "--export", user])).unwrap()
    }

    pub fn gpg_sign(&self, user: &str, options: &[&str]) -> Signature {
        let mut args = options.to_vec();
        args.extend(["--yes", "-u", user, "--output", "image.asc", "--detach-sign", "image"]);
        self.gpg(&args);
        Signature { kind: Kind::OpenPgp, bytes: self.read("image.asc") }
    }

    pub fn findings(&self, signatures: &[Signature], ring: &Ring) -> Vec<Finding> {
        check(&File::open(self.path("image")).unwrap(), signatures, ring).unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Its agent would stay.
        let home = self.path("gnupg");
        let kill = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", home).output();
        drop(kill);
    }
}
