//! What is explained is what is done: `trust why` and what decides never differ.

use crate::setup::Setup;

/// Numbers that look random and are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn of(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn why_and_prepare_never_differ() {
    let setup = Setup::new();
    for key in ["a", "b"] {
        setup.desk.minisign_key(key);
    }
    let mut images = Vec::new();
    for (place, signers) in [(0, ""), (1, "a"), (2, "b")] {
        let name = format!("example.com/team/app{place}");
        let file = format!("{place}.aci");
        let image = setup.pack(&name, &file, &["--user", &place.to_string()]);
        for signer in signers.chars() {
            let key = setup.text(&format!("{signer}.key"));
            setup.rocket(&["image", "sign", &image, "--minisign", &key]).ok();
        }
        let args = ["fetch", "--insecure-options=image", &image];
        setup.rocket(&args).ok();
        images.push((name, image));
    }
    let mut dice = Dice(0x2026_1124);
    let (mut trusted, mut refused) = (0, 0);
    for _ in 0..12 {
        setup.distrust();
        for key in ["a.pub", "b.pub"] {
            let prefixes =
                [None, Some("example.com"), Some("example.com/team/app1"), Some("x.test")];
            match dice.of(5) {
                4 => {}
                place => setup.trust(key, prefixes[usize::try_from(place).unwrap()]),
            }
        }
        let mut rules = String::new();
        for prefix in ["", "example.com", "example.com/team/app2"] {
            let head = match prefix {
                "" => "[root]".to_owned(),
                prefix => format!("[prefix.\"{prefix}\"]"),
            };
            match dice.of(5) {
                0 => rules.push_str(&format!("{head}\nunsigned = \"warn\"\n")),
                1 => rules.push_str(&format!("{head}\nrequire = {{}}\n")),
                2 => rules.push_str(&format!("{head}\nrequire = {{ any = [\"openpgp\"] }}\n")),
                _ => {}
            }
        }
        setup.rules(&rules);
        for (name, image) in &images {
            let accepted = dice.of(4) == 0;
            if accepted {
                setup.rocket(&["trust", "accept", name]).ok();
            }
            // It sees what the store has seen, and the signatures again.
            let fetched = setup.rocket(&["fetch", image]);
            let (why, said) = setup.why(name);
            assert_eq!(fetched.code() == 0, why, "{rules}\n{said}\n{}", fetched.stderr);
            let prepared = setup.rocket(&["prepare", name]);
            assert_eq!(prepared.code() == 0, why, "{rules}\n{said}\n{}", prepared.stderr);
            match why {
                true => {
                    setup.rocket(&["rm", prepared.text()]).ok();
                    trusted += 1;
                }
                false => {
                    // The reason is the same one, word for word.
                    let line = said.lines().find_map(|line| line.strip_prefix("trusted    no: "));
                    let reason = line.unwrap();
                    assert!(prepared.stderr.contains(reason), "{reason}: {}", prepared.stderr);
                    refused += 1;
                }
            }
            if accepted {
                setup.rocket(&["trust", "accept", "--undo", name]).ok();
            }
        }
    }
    assert!(trusted > 5 && refused > 5, "{trusted} trusted, {refused} refused");
}
