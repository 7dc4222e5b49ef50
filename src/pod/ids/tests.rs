use super::*;
use crate::pod::directory::{Pod, Preparing};
use std::collections::BTreeSet;

/// Two ranges and a piece before and after.
const TWO: Pool = Pool { first: 1_000_000, last: 1_179_648 + 5 };
const MANY: Pool = Pool { first: 524_288, last: 1_879_048_191 };

fn pod(paths: &Paths) -> Pod<Preparing> {
    Pod::create(paths).unwrap()
}

fn take_one(paths: &Paths, pool: Pool, pod: &Pod<Preparing>) -> Result<IdMap, IdsError> {
    claim(paths, pool, pod.uuid(), pod.path(), None, false)
}

#[test]
fn a_pool_has_whole_ranges_and_each_once() {
    let bases = |pool: Pool, seed| pool.bases(seed).collect::<Vec<_>>();
    assert_eq!(bases(TWO, 0), [1_048_576, 1_114_112]);
    assert_eq!(bases(TWO, 7), [1_114_112, 1_048_576]);
    assert!(bases(Pool { first: 1, last: 65_535 }, 3).is_empty());
    assert!(bases(Pool { first: 9, last: 3 }, 3).is_empty());
    let all: BTreeSet<u32> = MANY.bases(u64::MAX).collect();
    assert_eq!(all.len(), 28_664);
    assert_eq!(all.first().copied(), Some(524_288));
    assert_eq!(all.last().map(|last| last + (COUNT - 1)), Some(1_879_048_191));
    let top = Pool { first: u32::MAX - COUNT, last: u32::MAX };
    assert_eq!(bases(top, 1), [] as [u32; 0], "the kernel maps none with the last id");
    assert_eq!(bases(Pool { first: 0, last: 3 * COUNT - 1 }, 0), [COUNT, 2 * COUNT]);
}

#[test]
fn what_a_pod_had_is_free_again_when_it_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(root.path());
    let pods = [pod(&paths), pod(&paths)];
    let bases: BTreeSet<u32> =
        pods.iter().map(|pod| take_one(&paths, TWO, pod).unwrap().base).collect();
    assert_eq!(bases.len(), 2);
    let third = pod(&paths);
    let full = take_one(&paths, TWO, &third).unwrap_err().to_string();
    assert!(full.contains("is free from 1000000 to 1179653"), "{full}");
    let [first, _second] = pods;
    assert_eq!(noted(first.path()), read(&first.path().join(NOTE)).unwrap().unwrap().parse().ok());
    let base = noted(first.path()).unwrap();
    first.delete(&paths).unwrap();
    assert_eq!(take_one(&paths, TWO, &third).unwrap().base, base);
    let none = take_one(&paths, Pool { first: 5, last: 6 }, &third).unwrap_err().to_string();
    assert!(none.contains("ids.first = 5 and ids.last = 6"), "{none}");
}

#[test]
fn a_name_keeps_its_range_until_it_has_neither_pod_nor_volume() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(root.path());
    let name = PodName::new("db").unwrap();
    let lock = NameLock::claim(&paths, &name).unwrap();
    let mut bases = BTreeSet::new();
    for state in [true, true, false] {
        let pod = pod(&paths);
        lock.assign(pod.uuid()).unwrap();
        let map = claim(&paths, MANY, pod.uuid(), pod.path(), Some(&name), state).unwrap();
        bases.insert(map.base);
        assert_eq!(noted(pod.path()), None);
        pod.delete(&paths).unwrap();
    }
    assert_eq!(bases.len(), 1);
    let base = bases.pop_first().unwrap();
    let volume = paths.volumes().join("db/data");
    std::fs::create_dir_all(&volume).unwrap();
    // A power cut that takes the entry does not take the range.
    std::fs::remove_file(entry(&paths, base)).unwrap();
    assert_eq!(remembered(&paths, MANY, &name).unwrap(), Some(base));
    // Held: nobody looks. With a volume: kept.
    assert!(sweep(&paths).unwrap().freed.is_empty());
    lock.forget().unwrap();
    assert!(sweep(&paths).unwrap().freed.is_empty());
    std::fs::remove_dir(&volume).unwrap();
    let held = NameLock::claim(&paths, &name).unwrap();
    assert!(sweep(&paths).unwrap().freed.is_empty());
    drop(held);
    assert_eq!(sweep(&paths).unwrap().freed, [base]);
    assert_eq!(std::fs::read_dir(paths.ids()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(paths.names()).unwrap().count(), 0);
}

#[test]
fn what_a_killed_rocket_left_is_found() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(root.path());
    let alive = pod(&paths);
    let kept = take_one(&paths, MANY, &alive).unwrap().base;
    let gone = pod(&paths);
    let lost = take_one(&paths, MANY, &gone).unwrap().base;
    std::fs::remove_dir_all(gone.path()).unwrap();
    // A name's entry that nothing points to.
    let name = PodName::new("x").unwrap();
    assert!(take(&paths, 131_072, &Owner::Name(name)).unwrap());
    let freed: BTreeSet<u32> = sweep(&paths).unwrap().freed.into_iter().collect();
    assert_eq!(freed, BTreeSet::from([lost, 131_072]));
    assert_eq!(read(&entry(&paths, kept)).unwrap(), Some(format!("pod:{}", alive.uuid())));
    // What is not an entry is left alone.
    std::fs::write(paths.ids().join("README"), "").unwrap();
    symlink("somebody", paths.ids().join("77")).unwrap();
    assert!(sweep(&paths).unwrap().freed.is_empty());
    assert_eq!(std::fs::read_dir(paths.ids()).unwrap().count(), 3);
}

#[test]
fn a_prepared_pod_has_its_own_range_or_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(root.path());
    let pod = pod(&paths);
    let map = take_one(&paths, MANY, &pod).unwrap();
    confirm(&paths, map, pod.uuid(), None).unwrap();
    std::fs::remove_file(entry(&paths, map.base)).unwrap();
    confirm(&paths, map, pod.uuid(), None).unwrap();
    std::fs::remove_file(entry(&paths, map.base)).unwrap();
    let other = Owner::Pod(Uuid::nil());
    assert!(take(&paths, map.base, &other).unwrap());
    let error = confirm(&paths, map, pod.uuid(), None).unwrap_err().to_string();
    assert!(error.contains("belong to pod:00000000-"), "{error}");
}

#[test]
fn many_at_once_never_share_a_range() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(root.path());
    // As many ranges as takers, so that each has to look at many.
    let pool = Pool { first: 65_536, last: 65_536 * 65 - 1 };
    let bases: Vec<u32> = std::thread::scope(|scope| {
        let run = || {
            let (mut mine, pods): (Vec<u32>, Vec<_>) = (Vec::new(), vec![(); 8]);
            for () in pods {
                let pod = pod(&paths);
                mine.push(take_one(&paths, pool, &pod).unwrap().base);
            }
            mine
        };
        let takers: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
    });
    assert_eq!(bases.len(), 64);
    assert_eq!(bases.iter().collect::<BTreeSet<_>>().len(), 64);
}

#[test]
fn a_damaged_entry_is_named_and_never_becomes_a_range() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(root.path());
    let name = PodName::new("db").unwrap();
    let _lock = NameLock::claim(&paths, &name).unwrap();
    let pod = pod(&paths);
    let again = || {
        for state in [true, false] {
            let claimed = claim(&paths, MANY, pod.uuid(), pod.path(), Some(&name), state);
            let error = claimed.unwrap_err().to_string();
            assert!(error.contains("ids/name.db is damaged: "), "{error}");
            assert!(error.contains("remove it: the next start takes another range"), "{error}");
        }
    };
    std::fs::create_dir_all(paths.ids()).unwrap();
    let path = pointer(&paths, &name);
    for target in ["0", "1", "65535", "524289", "4294901760", "-1", "junk", "524288x"] {
        symlink(target, &path).unwrap();
        again();
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::write(&path, "524288").unwrap();
    again();
    std::fs::remove_file(&path).unwrap();
    // No entry was made for any of them.
    assert_eq!(std::fs::read_dir(paths.ids()).unwrap().count(), 0);
    // Nor is a range's own entry believed that says nothing.
    symlink("524288", &path).unwrap();
    std::fs::write(entry(&paths, 524_288), "").unwrap();
    let error = remembered(&paths, MANY, &name).unwrap_err().to_string();
    assert!(error.contains("ids/524288 is damaged: no symbolic link"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert_ne!(claim(&paths, MANY, pod.uuid(), pod.path(), Some(&name), true).unwrap().base, 0);
}

#[test]
fn a_range_that_the_host_has_meanwhile_is_refused_by_name() {
    let etc = tempfile::tempdir().unwrap();
    let name = PodName::new("db").unwrap();
    let at = Path::new("/state/ids/name.db");
    let base = 65_536 * 20;
    let of_name = |base, pool| check::of_name(&name, base, at, pool, etc.path());
    let map = IdMap { base, count: COUNT };
    let of_pod = |map| check::of_pod(Uuid::nil(), map, at, etc.path());
    of_name(base, MANY).unwrap();
    of_pod(map).unwrap();
    for bad in [IdMap { base: 0, ..map }, IdMap { base: 524_289, ..map }, IdMap { count: 9, ..map }]
    {
        let error = of_pod(bad).unwrap_err().to_string();
        assert!(error.contains("has the ids from") && error.contains("rocket rm"), "{error}");
    }
    let error = of_name(base, TWO).unwrap_err().to_string();
    assert!(error.contains("not among ids.first = 1000000 to ids.last = 1179653"), "{error}");
    std::fs::write(etc.path().join("subuid"), format!("me:{}:10\n", base + 9)).unwrap();
    for (error, next) in [
        (
            of_name(base, MANY).unwrap_err(),
            "remove /state/ids/name.db: the next start takes another",
        ),
        (of_pod(map).unwrap_err(), "(rocket rm 00000000-"),
    ] {
        let error = error.to_string();
        assert!(error.contains("has the ids from 1310720 on (see /state/ids/name.db)"), "{error}");
        assert!(error.contains("accounts of the host have some of them by now"), "{error}");
        assert!(error.contains(next), "{error}");
    }
}

#[test]
fn damaged_entries_keep_no_other_from_being_freed() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(root.path());
    let gone = pod(&paths);
    let lost = take_one(&paths, MANY, &gone).unwrap().base;
    std::fs::remove_dir_all(gone.path()).unwrap();
    std::fs::write(paths.ids().join("0"), "").unwrap();
    std::fs::write(paths.ids().join("name.plain"), "").unwrap();
    symlink("somebody", paths.ids().join("65536")).unwrap();
    symlink("0", paths.ids().join("name.zero")).unwrap();
    // Perhaps this one's: what its pointer said is not known.
    symlink("name:zero", paths.ids().join("131072")).unwrap();
    let swept = sweep(&paths).unwrap();
    assert_eq!(swept.freed, [lost]);
    let said: Vec<String> = swept.damaged.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(std::fs::read_dir(paths.ids()).unwrap().count(), 5);
}
