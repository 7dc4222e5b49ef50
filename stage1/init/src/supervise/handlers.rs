//! Apps with handlers, in simulated time.

use super::world::*;
use super::*;
use rocket_plan::{Restart, RestartRules};

fn both(name: &str) -> Rules {
    Rules { pre_start: true, post_stop: true, ..app(name, &[], &[]) }
}

fn world(apps: Vec<Rules>, programs: Programs) -> World {
    World::new(apps, ExitPolicy::AnyFailure, programs)
}

fn after(list: &[(&'static str, Run)]) -> Programs {
    Programs { after: list.iter().copied().collect(), ..Programs::default() }
}

fn before(list: &[(&'static str, Run)]) -> Programs {
    Programs { before: list.iter().copied().collect(), ..Programs::default() }
}

#[test]
fn handlers_run_before_and_after_and_ready_comes_when_the_app_runs() {
    let expected = [
        "0 prepare a",
        "5 start a",
        "5 READY",
        "25 clean a",
        "30 cleaned a 0",
        "30 end a 0 Exited",
        "30 over 0",
    ];
    check(world(vec![both("a")], runs(&[("a", &[(20, 0)])])), &[], &expected);
}

#[test]
fn a_failing_pre_start_handler_keeps_the_app_from_starting() {
    let apps = vec![both("a"), app("b", &[0], &[])];
    let expected = ["0 prepare a", "7 end a 3 Exited", "7 never b", "7 over 3"];
    check(world(apps, before(&[("a", (7, 3))])), &[], &expected);
}

#[test]
fn restarts_run_both_handlers_again() {
    let apps = vec![Rules { restart: ON_FAILURE, ..both("a") }];
    let expected = [
        "0 prepare a",
        "5 start a",
        "5 READY",
        "15 clean a",
        "20 cleaned a 0",
        "20 end a 1 Exited: starts again in 100ms",
        "120 prepare a",
        "125 start a",
        "135 clean a",
        "140 cleaned a 0",
        "140 end a 0 Exited",
        "140 over 0",
    ];
    check(world(apps, runs(&[("a", &[(10, 1), (10, 0)])])), &[], &expected);
    // A pre-start handler that fails is such an end, too.
    let apps = vec![Rules {
        restart: Restart::OnFailure(RestartRules { limit_count: 1, ..RULES }),
        ..both("a")
    }];
    let expected = [
        "0 prepare a",
        "7 end a 3 Exited: starts again in 100ms",
        "107 prepare a",
        "114 end a 3 Exited: not started again: 1 restarts within 1min were the limit",
        "114 over 3",
    ];
    check(world(apps, before(&[("a", (7, 3))])), &[], &expected);
}

#[test]
fn a_stop_during_the_pre_start_handler_ends_that_and_nothing_starts() {
    let expected = ["0 prepare a", "50 signal a", "50 end a 143 StopAsked", "50 over 143"];
    check(world(vec![both("a")], before(&[("a", (90, 0))])), &[(50, Hand::Stop)], &expected);
    let expected = ["0 prepare a", "50 kill a", "50 end a 137 StopAsked", "50 over 137"];
    let programs = Programs { slow: [("a", 500)].into(), ..before(&[("a", (90, 0))]) };
    let got = world(vec![both("a")], programs).live(&[(50, Hand::Kill)]);
    assert!(got.log.contains(&expected[1].to_owned()), "{:?}", got.log);
    assert_eq!(got.log.last().unwrap(), "50 over 137");
}

#[test]
fn a_stop_waits_for_each_post_stop_handler_in_turn() {
    let apps = vec![both("a"), both("b")];
    let expected = [
        "0 prepare a",
        "0 prepare b",
        "5 start a",
        "5 start b",
        "5 READY",
        "50 signal b",
        "50 clean b",
        "80 cleaned b 1",
        "80 end b 143 StopAsked",
        "80 signal a",
        "80 clean a",
        "85 cleaned a 0",
        "85 end a 143 StopAsked",
        "85 over 143",
    ];
    check(world(apps, after(&[("b", (30, 1))])), &[(50, Hand::Stop)], &expected);
}

#[test]
fn a_post_stop_handler_has_the_stop_timeout_and_can_be_killed() {
    let expected = [
        "0 prepare a",
        "5 start a",
        "5 READY",
        "50 signal a",
        "50 clean a",
        "150 kill a",
        "150 cleaned a 137",
        "150 end a 143 StopAsked",
        "150 over 143",
    ];
    check(world(vec![both("a")], after(&[("a", LASTING)])), &[(50, Hand::Stop)], &expected);
    let hands = [(50, Hand::Stop), (60, Hand::Kill)];
    let got = world(vec![both("a")], after(&[("a", LASTING)])).live(&hands);
    assert_eq!(got.log.last().unwrap(), "60 over 143", "{:?}", got.log);
}

#[test]
fn another_run_can_be_asked_for_while_a_handler_runs() {
    let hands = [(2, Hand::Restart("a")), (200, Hand::Restart("a")), (210, Hand::Restart("a"))];
    let got = world(vec![both("a")], after(&[("a", (30, 0))])).live(&hands);
    let expected = [
        "0 prepare a",
        "2 signal a",
        "2 end a 143 StopAsked",
        "2 prepare a",
        "7 start a",
        "7 READY",
        "200 signal a",
        "200 clean a",
        "230 cleaned a 0",
        "230 end a 143 StopAsked",
        "230 prepare a",
        "235 start a",
    ];
    assert_eq!(got.log, expected);
}

#[test]
fn what_an_app_requires_ends_while_its_handler_runs() {
    let apps = vec![app("a", &[], &[]), Rules { requires: vec![0], ..both("b") }];
    let policy = ExitPolicy::AllDone;
    let mut programs = runs(&[("a", &[(20, 0)])]);
    programs.before.insert("b", (60, 0));
    let expected = [
        "0 start a",
        "0 prepare b",
        "20 end a 0 Exited",
        "20 signal b",
        "20 end b 143 Dependency",
        "20 READY",
        "20 over 0",
    ];
    check(World::new(apps, policy, programs), &[], &expected);
}
