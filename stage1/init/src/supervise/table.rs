//! The state table: what happens to an app in each state, and what is to be done then.

/// Where an app is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started yet: what it comes after is not ready.
    Waiting,
    /// Its pre-start handler runs.
    Preparing,
    /// To be executed at once.
    Starting,
    /// Its program runs.
    Running,
    /// Has got its stop signal.
    Stopping,
    /// Has got SIGKILL.
    Killed,
    /// Has ended; its post-stop handler runs.
    Cleaning,
    /// Has ended, and starts again after a pause.
    Backoff,
    /// Over for good, and well; or ended because it was to.
    Ended,
    /// Over for good, and not well.
    Failed,
}

/// What happens to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// All it waits for is there; its pause is over; or somebody asks for another run.
    Go,
    /// The same, and its pre-start handler comes first.
    Prepare,
    /// Its exec succeeded.
    Started,
    /// Its main process ended, and its post-stop handler comes next.
    Clean,
    /// Its main process ended, well or as it was to, and it stays so.
    Done,
    /// Its main process failed or could not be started, or an app it requires failed, for good.
    Failed,
    /// Its main process ended, and it is to start again.
    Again,
    /// Its turn to stop has come.
    Turn,
    /// It has not stopped in time, or everything is to be killed.
    Kill,
}

/// What is to be done to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Run its pre-start handler.
    Prepare,
    /// Execute it.
    Start,
    /// Send its stop signal.
    Signal,
    /// Kill it and all it has started.
    Kill,
    /// Kill what it has left behind, and run its post-stop handler.
    Clean,
    /// Kill what it has left behind.
    Sweep,
    /// Put on record that it will not be started.
    Note,
}

impl State {
    /// The word of the control protocol.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting | Self::Starting => "waiting",
            Self::Preparing => "preparing",
            Self::Cleaning => "cleaning",
            Self::Running => "running",
            Self::Stopping | Self::Killed => "stopping",
            Self::Backoff => "backoff",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more happens to it by itself.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Failed)
    }

    /// Whether it has been told to go and has not gone yet.
    pub fn is_leaving(self) -> bool {
        matches!(self, Self::Stopping | Self::Killed)
    }

    /// Whether a process of it runs: the app itself, or one of its handlers.
    pub fn has_process(self) -> bool {
        let stopping = self.is_leaving() || self == Self::Cleaning;
        stopping || matches!(self, Self::Running | Self::Preparing)
    }
}

/// The table: state × event → state and action.
pub fn step(state: State, event: Event) -> (State, Action) {
    use {Action as A, Event as E, State as S};
    match (state, event) {
        (S::Waiting | S::Backoff | S::Ended | S::Failed, E::Go) => (S::Starting, A::Start),
        (S::Waiting | S::Backoff | S::Ended | S::Failed, E::Prepare) => (S::Preparing, A::Prepare),
        (S::Preparing, E::Go) => (S::Starting, A::Start),
        (S::Starting, E::Started) => (S::Running, A::None),
        // What never ran leaves nothing but a word.
        (S::Waiting, E::Done) => (S::Ended, A::Note),
        (S::Waiting, E::Failed) => (S::Failed, A::Note),
        (S::Waiting | S::Starting, E::Turn | E::Kill) => (S::Ended, A::Note),
        (S::Backoff, E::Turn | E::Kill | E::Done) => (S::Ended, A::None),
        (S::Starting, E::Done) => (S::Ended, A::None),
        (S::Starting | S::Backoff, E::Failed) => (S::Failed, A::None),
        (S::Starting, E::Again) => (S::Backoff, A::None),
        (S::Preparing | S::Running, E::Turn) => (S::Stopping, A::Signal),
        (S::Preparing | S::Running | S::Stopping, E::Kill) => (S::Killed, A::Kill),
        (S::Running | S::Stopping | S::Killed, E::Clean) => (S::Cleaning, A::Clean),
        // Its handler goes; what it cleans up after has gone.
        (S::Cleaning, E::Kill) => (S::Cleaning, A::Kill),
        (S::Preparing | S::Running | S::Stopping | S::Killed | S::Cleaning, E::Done) => {
            (S::Ended, A::Sweep)
        }
        (S::Preparing | S::Running | S::Stopping | S::Killed | S::Cleaning, E::Failed) => {
            (S::Failed, A::Sweep)
        }
        (S::Preparing | S::Running | S::Stopping | S::Killed | S::Cleaning, E::Again) => {
            (S::Backoff, A::Sweep)
        }
        // Too late, or for another state: nothing.
        (S::Starting | S::Running | S::Stopping | S::Killed | S::Cleaning, E::Go)
        | (
            S::Preparing | S::Starting | S::Running | S::Stopping | S::Killed | S::Cleaning,
            E::Prepare,
        )
        | (
            S::Waiting
            | S::Preparing
            | S::Running
            | S::Stopping
            | S::Killed
            | S::Cleaning
            | S::Backoff,
            E::Started,
        )
        | (S::Waiting | S::Preparing | S::Starting | S::Cleaning | S::Backoff, E::Clean)
        | (S::Waiting | S::Backoff, E::Again)
        | (S::Stopping | S::Killed | S::Cleaning, E::Turn)
        | (S::Killed, E::Kill)
        | (
            S::Ended | S::Failed,
            E::Started | E::Clean | E::Done | E::Failed | E::Again | E::Turn | E::Kill,
        ) => (state, A::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use {Action as A, Event as E, State as S};

    const EVENTS: [Event; 9] =
        [E::Go, E::Prepare, E::Started, E::Clean, E::Done, E::Failed, E::Again, E::Turn, E::Kill];

    /// Every state with every event, in the order of `EVENTS`.
    #[test]
    fn every_transition() {
        let same = |state| (state, A::None);
        #[rustfmt::skip]
        let table = [
            (S::Waiting, [
                (S::Starting, A::Start), (S::Preparing, A::Prepare), same(S::Waiting),
                same(S::Waiting), (S::Ended, A::Note), (S::Failed, A::Note), same(S::Waiting),
                (S::Ended, A::Note), (S::Ended, A::Note),
            ]),
            (S::Preparing, [
                (S::Starting, A::Start), same(S::Preparing), same(S::Preparing),
                same(S::Preparing), (S::Ended, A::Sweep), (S::Failed, A::Sweep),
                (S::Backoff, A::Sweep), (S::Stopping, A::Signal), (S::Killed, A::Kill),
            ]),
            (S::Starting, [
                same(S::Starting), same(S::Starting), same(S::Running), same(S::Starting),
                same(S::Ended), same(S::Failed), same(S::Backoff), (S::Ended, A::Note),
                (S::Ended, A::Note),
            ]),
            (S::Running, [
                same(S::Running), same(S::Running), same(S::Running), (S::Cleaning, A::Clean),
                (S::Ended, A::Sweep), (S::Failed, A::Sweep), (S::Backoff, A::Sweep),
                (S::Stopping, A::Signal), (S::Killed, A::Kill),
            ]),
            (S::Stopping, [
                same(S::Stopping), same(S::Stopping), same(S::Stopping), (S::Cleaning, A::Clean),
                (S::Ended, A::Sweep), (S::Failed, A::Sweep), (S::Backoff, A::Sweep),
                same(S::Stopping), (S::Killed, A::Kill),
            ]),
            (S::Killed, [
                same(S::Killed), same(S::Killed), same(S::Killed), (S::Cleaning, A::Clean),
                (S::Ended, A::Sweep), (S::Failed, A::Sweep), (S::Backoff, A::Sweep),
                same(S::Killed), same(S::Killed),
            ]),
            (S::Cleaning, [
                same(S::Cleaning), same(S::Cleaning), same(S::Cleaning), same(S::Cleaning),
                (S::Ended, A::Sweep), (S::Failed, A::Sweep), (S::Backoff, A::Sweep),
                same(S::Cleaning), (S::Cleaning, A::Kill),
            ]),
            (S::Backoff, [
                (S::Starting, A::Start), (S::Preparing, A::Prepare), same(S::Backoff),
                same(S::Backoff), same(S::Ended), same(S::Failed), same(S::Backoff),
                same(S::Ended), same(S::Ended),
            ]),
            (S::Ended, [
                (S::Starting, A::Start), (S::Preparing, A::Prepare), same(S::Ended),
                same(S::Ended), same(S::Ended), same(S::Ended), same(S::Ended), same(S::Ended),
                same(S::Ended),
            ]),
            (S::Failed, [
                (S::Starting, A::Start), (S::Preparing, A::Prepare), same(S::Failed),
                same(S::Failed), same(S::Failed), same(S::Failed), same(S::Failed),
                same(S::Failed), same(S::Failed),
            ]),
        ];
        for (state, row) in table {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                assert_eq!(step(state, event), expected, "{state:?} × {event:?}");
            }
        }
    }

    /// A process is never lost: one that runs is left only by its end, and what has ended is swept.
    #[test]
    fn a_process_is_left_only_by_its_end() {
        for state in [S::Preparing, S::Running, S::Stopping, S::Killed, S::Cleaning] {
            for event in EVENTS {
                let (next, action) = step(state, event);
                let end = matches!(event, E::Done | E::Failed | E::Again);
                let prepared = state == S::Preparing && event == E::Go;
                assert_eq!(next.has_process(), !end && !prepared, "{state:?} × {event:?}");
                assert_eq!(action == A::Sweep, end, "{state:?} × {event:?}");
            }
        }
    }
}
