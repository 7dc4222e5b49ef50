//! Restarts that somebody asks for: what is shown until they come, and which cannot be had.

use super::world::{ALWAYS, app};
use super::*;

#[test]
fn what_waits_for_its_turn_to_stop_is_not_restarted() {
    let apps =
        vec![app("a", &[], &[]), app("b", &[0], &[]), app("c", &[1], &[]), app("d", &[2], &[])];
    let mut pod = Pod::new(apps, ExitPolicy::AllDone, 1000);
    pod.begin();
    (0..4).for_each(|i| drop(pod.started(i, 0)));
    // d stops first; c runs until that is over, and b, which it requires, does too.
    assert_eq!(pod.ended(0, Exit::Code(0), 10).todo.last(), Some(&(3, Action::Signal)));
    assert_eq!(pod.state(2), State::Running);
    let refused = pod.restart(2, 10).unwrap_err();
    assert_eq!(refused, "it is to stop, since b, which it requires, has ended");
}

#[test]
fn between_the_runs_of_a_restart_by_hand_the_old_end_is_not_shown() {
    let mut pod =
        Pod::new(vec![Rules { restart: ALWAYS, ..app("a", &[], &[]) }], ExitPolicy::AllDone, 1000);
    pod.begin();
    pod.started(0, 0);
    assert_eq!(pod.word(0), "running");
    pod.restart(0, 10).unwrap();
    assert_eq!(pod.word(0), "stopping");
    pod.ended(0, Exit::Signal(15), 11);
    assert_eq!((pod.state(0), pod.word(0)), (State::Backoff, "waiting"));
    pod.tick(11);
    pod.started(0, 11);
    assert_eq!(pod.word(0), "running");
    // A run that ends by itself pauses, and says so.
    pod.ended(0, Exit::Code(1), 12);
    assert_eq!(pod.word(0), "backoff");
}
