//! Restarts that cannot be had.

use super::world::app;
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
