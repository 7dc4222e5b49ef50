//! `rocket wait`: until a pod has ended.

use crate::cli::error::Failure;
use crate::cli::target::PodArg;
use crate::config::paths::Paths;
use crate::pod::lookup::{self, Found};
use crate::pod::{list, wait};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Arguments of `rocket wait`.
#[derive(Debug, clap::Args)]
pub struct WaitArgs {
    #[command(flatten)]
    pod: PodArg,
    /// Give up after this time: 500ms, 90s, 5min.
    #[arg(long, value_name = "TIME")]
    timeout: Option<TimeArg>,
}

/// A time span in systemd's notation (systemd.time(7)); a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeArg(Option<Duration>);

impl TimeArg {
    /// The span itself; without an end, longer than anything lasts.
    pub fn span(self) -> Duration {
        self.0.unwrap_or(Duration::MAX)
    }
}

impl std::str::FromStr for TimeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<rocket_podfile::TimeSpan>()? {
            rocket_podfile::TimeSpan::Finite(time) => Ok(Self(Some(time))),
            rocket_podfile::TimeSpan::Infinity => Ok(Self(None)),
        }
    }
}

/// `rocket wait`: ends with the status of the pod.
pub fn run(paths: &Paths, args: &WaitArgs) -> Result<ExitCode, Failure> {
    let found = lookup::find(paths, &args.pod.word()?)?;
    until_dead(paths, found, args.timeout)?;
    let found = lookup::locate(paths, found.uuid)
        .ok_or_else(|| Failure::message(format!("pod {} ended and was removed", found.uuid)))?;
    let info = list::info(paths, found);
    let why = info.as_ref().and_then(list::Info::unrecorded_end);
    match info.and_then(|info| info.record.pod) {
        Some(exit) => Ok(ExitCode::from(u8::try_from(exit.status).unwrap_or(u8::MAX))),
        None => Err(Failure::message(format!(
            "pod {} ended without a record: {}",
            found.uuid,
            why.unwrap_or(list::LostEnd::InitKilled).words()
        ))),
    }
}

/// Waits for the end of a pod that runs.
///
/// # Errors
/// It does not run, or the time is over.
pub fn until_dead(paths: &Paths, found: Found, limit: Option<TimeArg>) -> Result<(), Failure> {
    use crate::pod::directory::State;
    if matches!(found.state, State::Embryo | State::Prepare | State::Prepared) {
        return Err(Failure::message(format!("pod {} has not been run yet", found.uuid)));
    }
    let end = limit.and_then(|TimeArg(limit)| limit).and_then(|t| Instant::now().checked_add(t));
    if wait::dead(paths, found.uuid, end)? {
        Ok(())
    } else {
        Err(Failure::message(format!("pod {} still runs", found.uuid)))
    }
}
