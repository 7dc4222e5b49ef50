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
    assert_eq!(bases(top, 1), [u32::MAX - (COUNT - 1)]);
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
    assert_eq!(remembered(&paths, &name).unwrap(), Some(base));
    // Held: nobody looks. With a volume: kept.
    assert!(sweep(&paths).unwrap().is_empty());
    lock.forget().unwrap();
    assert!(sweep(&paths).unwrap().is_empty());
    std::fs::remove_dir(&volume).unwrap();
    let held = NameLock::claim(&paths, &name).unwrap();
    assert!(sweep(&paths).unwrap().is_empty());
    drop(held);
    assert_eq!(sweep(&paths).unwrap(), [base]);
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
    let freed: BTreeSet<u32> = sweep(&paths).unwrap().into_iter().collect();
    assert_eq!(freed, BTreeSet::from([lost, 131_072]));
    assert_eq!(read(&entry(&paths, kept)).unwrap(), Some(format!("pod:{}", alive.uuid())));
    // What is not an entry is left alone.
    std::fs::write(paths.ids().join("README"), "").unwrap();
    symlink("somebody", paths.ids().join("77")).unwrap();
    assert!(sweep(&paths).unwrap().is_empty());
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
