//! Whole lives of pods in simulated time: what happens when, as lines of text.

use super::world::*;
use super::*;
use rocket_plan::{Restart, RestartRules};

/// db ← migrate (one-shot) ← api ← web; side is by itself.
fn five() -> Vec<Rules> {
    vec![
        app("db", &[], &[]),
        oneshot("migrate", &[0]),
        app("api", &[0, 1], &[]),
        app("web", &[2], &[]),
        app("side", &[], &[]),
    ]
}

#[test]
fn a_chain_starts_in_order_and_stops_in_reverse_order() {
    let mut programs = runs(&[("migrate", &[(50, 0)])]);
    programs.slow.insert("web", 30);
    programs.slow.insert("db", u64::MAX);
    check(
        World::new(five(), ExitPolicy::AnyFailure, programs),
        &[(1000, Hand::Stop), (1001, Hand::Stop)],
        &[
            "0 start db",
            "0 start side",
            "0 start migrate",
            "50 end migrate 0 Exited",
            "50 start api",
            "50 start web",
            "50 READY",
            "1000 signal side",
            "1000 end side 143 StopAsked",
            "1000 signal web",
            "1030 end web 143 StopAsked",
            "1030 signal api",
            "1030 end api 143 StopAsked",
            "1030 signal db",
            "1130 kill db",
            "1130 end db 137 Timeout",
            "1130 over 143",
        ],
    );
}

#[test]
fn a_crash_loop_backs_off_and_hits_its_limit() {
    let mut apps = vec![app("loop", &[], &[]), app("other", &[], &[])];
    apps[0].restart = ON_FAILURE;
    check(
        World::new(apps, ExitPolicy::AnyFailure, runs(&[("loop", &[(10, 7)])])),
        &[],
        &[
            "0 start loop",
            "0 start other",
            "0 READY",
            "10 end loop 7 Exited: starts again in 100ms",
            "110 start loop",
            "120 end loop 7 Exited: starts again in 200ms",
            "320 start loop",
            "330 end loop 7 Exited: starts again in 400ms",
            "730 start loop",
            "740 end loop 7 Exited: not started again: 3 restarts within 1min were the limit",
            "740 signal other",
            "740 end other 143 PodEnding",
            "740 over 7",
        ],
    );
}

#[test]
fn always_means_also_after_success_and_on_failure_does_not() {
    let mut apps = vec![app("always", &[], &[]), app("failing", &[], &[])];
    apps[0].restart = ALWAYS;
    apps[1].restart = ON_FAILURE;
    let programs =
        runs(&[("always", &[(10, 0), LASTING]), ("failing", &[(20, 1), (20, 0), (0, 9)])]);
    check(
        World::new(apps, ExitPolicy::AnyFailure, programs),
        &[],
        &[
            "0 start always",
            "0 start failing",
            "0 READY",
            "10 end always 0 Exited: starts again in 100ms",
            "20 end failing 1 Exited: starts again in 100ms",
            "110 start always",
            "120 start failing",
            "140 end failing 0 Exited",
        ],
    );
}

#[test]
fn a_limit_reached_by_success_only_is_a_failure_too() {
    let mut apps = vec![app("a", &[], &[])];
    apps[0].restart = Restart::Always(RestartRules { limit_count: 1, ..RULES });
    let world = World::new(apps, ExitPolicy::AnyFailure, runs(&[("a", &[(0, 0)])])).live(&[]);
    assert_eq!(world.log.last().unwrap(), "100 over 1");
}

#[test]
fn a_failed_one_shot_fails_what_requires_it_and_frees_what_is_only_after_it() {
    let apps = || {
        vec![
            oneshot("migrate", &[]),
            app("api", &[0], &[]),
            app("web", &[1], &[]),
            app("log", &[], &[0]),
        ]
    };
    let programs = || runs(&[("migrate", &[(50, 3)]), ("log", &[(20, 0)])]);
    check(
        World::new(apps(), ExitPolicy::AllDone, programs()),
        &[],
        &[
            "0 start migrate",
            "50 end migrate 3 Exited",
            "50 never api",
            "50 never web",
            "50 start log",
            "50 READY",
            "70 end log 0 Exited",
            "70 over 3",
        ],
    );
    for policy in [ExitPolicy::AnyFailure, ExitPolicy::App("web".to_owned())] {
        let never = ["50 never api", "50 never web", "50 never log", "50 over 3"];
        check(
            World::new(apps(), policy, programs()),
            &[],
            &[&["0 start migrate", "50 end migrate 3 Exited"][..], &never].concat(),
        );
    }
}

#[test]
fn a_one_shot_may_try_again_before_what_waits_for_it() {
    let mut apps = vec![oneshot("migrate", &[]), app("api", &[0], &[])];
    apps[0].restart = ON_FAILURE;
    check(
        World::new(apps, ExitPolicy::AnyFailure, runs(&[("migrate", &[(5, 1), (5, 0)])])),
        &[],
        &[
            "0 start migrate",
            "5 end migrate 1 Exited: starts again in 100ms",
            "105 start migrate",
            "110 end migrate 0 Exited",
            "110 start api",
            "110 READY",
        ],
    );
}

#[test]
fn what_loses_what_it_requires_stops_in_reverse_order() {
    let apps = || {
        vec![
            app("db", &[], &[]),
            app("api", &[0], &[]),
            app("web", &[1], &[]),
            app("side", &[], &[]),
        ]
    };
    let mut programs = runs(&[("db", &[(100, 4)])]);
    programs.slow.insert("web", 30);
    check(
        World::new(apps(), ExitPolicy::AllDone, programs),
        &[(500, Hand::Restart("web")), (600, Hand::Stop)],
        &[
            "0 start db",
            "0 start side",
            "0 start api",
            "0 start web",
            "0 READY",
            "100 end db 4 Exited",
            "100 signal web",
            "130 end web 143 Dependency",
            "130 signal api",
            "130 end api 143 Dependency",
            "500 refused web: it requires api, which has ended",
            "600 signal side",
            "600 end side 143 StopAsked",
            "600 over 143",
        ],
    );
    // The end of a service that ends well is one for those that require it, and no failure.
    check(
        World::new(apps(), ExitPolicy::AnyFailure, runs(&[("db", &[(100, 0)])])),
        &[],
        &[
            "0 start db",
            "0 start side",
            "0 start api",
            "0 start web",
            "0 READY",
            "100 end db 0 Exited",
            "100 signal web",
            "100 end web 143 Dependency",
            "100 signal api",
            "100 end api 143 Dependency",
        ],
    );
}

#[test]
fn a_restart_of_what_is_required_leaves_the_others_alone() {
    let mut apps = vec![app("db", &[], &[]), app("api", &[0], &[])];
    apps[0].restart = ON_FAILURE;
    check(
        World::new(apps, ExitPolicy::AnyFailure, runs(&[("db", &[(100, 4), LASTING])])),
        &[],
        &[
            "0 start db",
            "0 start api",
            "0 READY",
            "100 end db 4 Exited: starts again in 100ms",
            "200 start db",
        ],
    );
}

#[test]
fn one_app_is_restarted_when_somebody_asks() {
    let mut apps = vec![app("a", &[], &[]), app("b", &[], &[]), oneshot("job", &[1])];
    apps[0].restart = ON_FAILURE;
    let mut programs = runs(&[("job", &[(10, 0)]), ("b", &[LASTING, (50, 0)])]);
    programs.slow.insert("a", u64::MAX);
    let hands = [
        (5, Hand::Restart("job")),
        (1000, Hand::Restart("a")),
        (1050, Hand::Restart("a")),
        (2000, Hand::Restart("b")),
        (3000, Hand::Restart("b")),
        (3001, Hand::Stop),
        (3002, Hand::Restart("b")),
    ];
    let world = World::new(apps, ExitPolicy::AllDone, programs).live(&hands);
    let expected = [
        "0 start a",
        "0 start b",
        "0 start job",
        // A run that is not over yet: it is stopped and begins anew.
        "5 signal job",
        "5 end job 143 StopAsked",
        "5 start job",
        "15 end job 0 Exited",
        "15 READY",
        "1000 signal a",
        "1100 kill a",
        "1100 end a 137 Timeout",
        "1100 start a",
        "2000 signal b",
        "2000 end b 143 StopAsked",
        "2000 start b",
        "2050 end b 0 Exited",
        "3000 start b",
        "3001 signal b",
        "3001 end b 143 StopAsked",
        "3001 signal a",
        "3002 refused b: the pod is stopping",
        "3101 kill a",
        "3101 end a 137 Timeout",
        "3101 over 143",
    ];
    assert_eq!(world.log, expected, "\n{}", world.log.join("\n"));
    assert_eq!([0, 1, 2].map(|i| world.pod.restarts(i)), [1, 2, 1]);
}

#[test]
fn a_restart_cuts_a_pause_short_and_forgets_the_past() {
    let mut apps = vec![app("a", &[], &[])];
    let rules = RestartRules { delay_ms: 500, max_delay_ms: 5000, limit_count: 1, ..RULES };
    apps[0].restart = Restart::OnFailure(rules);
    check(
        World::new(apps, ExitPolicy::AnyFailure, runs(&[("a", &[(10, 1), (10, 1), (100, 1)])])),
        &[(20, Hand::Restart("a"))],
        &[
            "0 start a",
            "0 READY",
            "10 end a 1 Exited: starts again in 500ms",
            "20 start a",
            "30 end a 1 Exited: starts again in 500ms",
            "530 start a",
            "630 end a 1 Exited: not started again: 1 restarts within 1min were the limit",
            "630 over 1",
        ],
    );
}

#[test]
fn stop_and_kill_during_a_pause_and_before_all_is_ready() {
    let mut apps = five();
    apps[4].restart = ON_FAILURE;
    let programs = || runs(&[("migrate", &[(500, 0)]), ("side", &[(10, 1)])]);
    let start = [
        "0 start db",
        "0 start side",
        "0 start migrate",
        "10 end side 1 Exited: starts again in 100ms",
    ];
    let never = ["50 never api", "50 never web"];
    let stopped = ["50 signal migrate", "50 end migrate 143 StopAsked", "50 signal db"];
    check(
        World::new(apps.clone(), ExitPolicy::AnyFailure, programs()),
        &[(50, Hand::Stop)],
        &[&start[..], &never, &stopped, &["50 end db 143 StopAsked", "50 over 143"]].concat(),
    );
    check(
        World::new(apps, ExitPolicy::AnyFailure, programs()),
        &[(50, Hand::Kill)],
        &[
            &start[..],
            &never,
            &["50 signal migrate", "50 kill db", "50 kill migrate"],
            &["50 end db 137 StopAsked", "50 end migrate 137 StopAsked", "50 over 137"],
        ]
        .concat(),
    );
}

#[test]
fn what_cannot_be_executed_ends_a_pod_that_was_never_ready() {
    let programs = Programs { broken: vec!["migrate"], ..Programs::default() };
    check(
        World::new(five(), ExitPolicy::AllDone, programs),
        &[],
        &[
            "0 start db",
            "0 start side",
            "0 broken migrate",
            "0 never api",
            "0 never web",
            "0 signal side",
            "0 end side 143 PodEnding",
            "0 signal db",
            "0 end db 143 PodEnding",
            "0 over 127",
        ],
    );
}

#[test]
fn what_cannot_be_executed_any_more_is_a_failure_like_others() {
    let mut pod = Pod::new(
        vec![Rules { restart: ON_FAILURE, ..app("a", &[], &[]) }],
        ExitPolicy::AnyFailure,
        1000,
    );
    assert_eq!(pod.begin(), [(0, Action::Start)]);
    pod.started(0, 0);
    pod.ended(0, Exit::Code(1), 10);
    assert_eq!(pod.tick(110), [(0, Action::Start)]);
    let end = pod.failed_to_start(0, 126, 111);
    assert_eq!(end.message.as_deref(), Some("starts again in 200ms"));
    assert_eq!((pod.state(0), pod.next_deadline()), (State::Backoff, Some(311)));
}

#[test]
fn exit_policies() {
    let apps = || vec![app("a", &[], &[]), app("b", &[], &[]), app("c", &[], &[])];
    let programs = || runs(&[("a", &[(10, 0)]), ("b", &[(20, 3)]), ("c", &[(30, 4)])]);
    let head = ["0 start a", "0 start b", "0 start c", "0 READY"];
    let cases: [(ExitPolicy, &[&str]); 4] = [
        (
            ExitPolicy::AnyFailure,
            &[
                "10 end a 0 Exited",
                "20 end b 3 Exited",
                "20 signal c",
                "20 end c 143 PodEnding",
                "20 over 3",
            ],
        ),
        (
            ExitPolicy::AllDone,
            &["10 end a 0 Exited", "20 end b 3 Exited", "30 end c 4 Exited", "30 over 3"],
        ),
        (
            ExitPolicy::App("a".to_owned()),
            &[
                "10 end a 0 Exited",
                "10 signal c",
                "10 end c 143 PodEnding",
                "10 signal b",
                "10 end b 143 PodEnding",
                "10 over 0",
            ],
        ),
        (
            ExitPolicy::App("c".to_owned()),
            &["10 end a 0 Exited", "20 end b 3 Exited", "30 end c 4 Exited", "30 over 4"],
        ),
    ];
    for (policy, expected) in cases {
        let world = World::new(apps(), policy, programs());
        check(world, &[], &[&head[..], expected].concat());
    }
}

#[test]
fn the_deadline_of_the_pod_bounds_all() {
    let mut pod =
        Pod::new(vec![app("a", &[], &[]), app("b", &[], &[])], ExitPolicy::AnyFailure, 50);
    pod.begin();
    (0..2).for_each(|i| drop(pod.started(i, 0)));
    assert_eq!(pod.stop(0), [(1, Action::Signal)]);
    assert_eq!(pod.next_deadline(), Some(50));
    assert_eq!(pod.tick(50), [(0, Action::Kill), (1, Action::Kill)]);
    assert_eq!(pod.next_deadline(), None);
    assert_eq!(pod.ended(0, Exit::Signal(9), 51).cause, Cause::Timeout);
}

/// `kill -9` of each app of the chain at each moment of its life: the pod always ends, in order,
/// and with the status of the victim.
#[test]
fn a_murder_of_each_app_at_each_stage() {
    for victim in ["db", "migrate", "api", "web", "side"] {
        for at in (0..120).step_by(10) {
            let mut programs = runs(&[("migrate", &[(50, 0)])]);
            programs.slow.insert("web", 20);
            let world = World::new(five(), ExitPolicy::AnyFailure, programs);
            let world = world.live(&[(at, Hand::Murder(victim)), (100, Hand::Stop)]);
            let log = world.log.join("\n");
            let last = world.log.last().unwrap();
            assert!(last.contains("over"), "{victim} {at}: {log}");
            let murdered = log.contains(&format!("end {victim} 137 Exited"));
            if murdered {
                assert!(last.ends_with("over 137"), "{victim} {at}: {log}");
            }
            // Stops are in reverse order.
            let order = ["db", "migrate", "api", "web", "side"];
            let signals: Vec<usize> = world
                .log
                .iter()
                .filter_map(|l| l.split_once(" signal "))
                .map(|(_, name)| order.iter().position(|n| *n == name).unwrap())
                .collect();
            assert!(signals.is_sorted_by(|a, b| a > b), "{victim} {at}: {log}");
            assert!(world.pod.apps.iter().all(|a| a.state.is_over()));
        }
    }
}

/// Whatever happens in whatever order: no panic, no process lost, and in the end all is over.
#[test]
fn random_lives_end() {
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..2000 {
        let mut apps = five();
        for app in &mut apps {
            app.restart = [Restart::No, ON_FAILURE, ALWAYS][usize::try_from(random(3)).unwrap()];
            if app.kind == Kind::Oneshot {
                app.restart = ON_FAILURE;
            }
        }
        let policy = match random(3) {
            0 => ExitPolicy::AnyFailure,
            1 => ExitPolicy::AllDone,
            _ => ExitPolicy::App("api".to_owned()),
        };
        let mut programs = Programs::default();
        for name in ["db", "migrate", "api", "web", "side"] {
            let list = (0..4).map(|_| (random(300), i32::try_from(random(2)).unwrap())).collect();
            programs.runs.insert(name, list);
            programs.slow.insert(name, random(200));
        }
        let names = ["db", "migrate", "api", "web", "side"];
        let mut hands: Vec<(u64, Hand)> = (0..random(6))
            .map(|_| {
                let name = names[usize::try_from(random(5)).unwrap()];
                let hand = if random(2) == 0 { Hand::Restart(name) } else { Hand::Murder(name) };
                (random(2000), hand)
            })
            .collect();
        hands.push((5000, Hand::Stop));
        hands.sort_by_key(|(at, _)| *at);
        let world = World::new(apps, policy, programs).live(&hands);
        assert!(world.log.last().unwrap().contains("over"), "{}", world.log.join("\n"));
        assert!(world.ends.iter().all(Option::is_none), "{}", world.log.join("\n"));
    }
}
