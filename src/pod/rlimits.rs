//! Resource limits of an app as this host can give them.

use super::plan::{Input, PlanError};
use rocket_plan::Rlimit;
use rocket_podfile as file;

/// The limits of one app. The kernel knows no endless number of descriptors: that is as many as it
/// lets a process have.
pub(super) fn of_app(input: &Input<'_>, app: &file::App) -> Result<Vec<Rlimit>, PlanError> {
    let give = |limit: &file::Rlimit| {
        let most = input.most_descriptors.filter(|_| limit.resource == "nofile");
        let (soft, hard) = bounded((limit.soft, limit.hard), most).map_err(|(asked, most)| {
            PlanError::Descriptors { app: app.name.clone(), asked, most }
        })?;
        Ok(Rlimit { resource: limit.resource.clone(), soft, hard })
    };
    app.security.rlimits.iter().map(give).collect()
}

type Bounds = (Option<u64>, Option<u64>);

/// Soft and hard limit below `most`; else what was asked for and `most`.
fn bounded((soft, hard): Bounds, most: Option<u64>) -> Result<Bounds, (u64, u64)> {
    let Some(most) = most else { return Ok((soft, hard)) };
    match hard.max(soft) {
        Some(asked) if asked > most => Err((asked, most)),
        _ => Ok((soft.or(Some(most)), hard.or(Some(most)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_process_has_endless_descriptors() {
        let most = Some(1000);
        assert_eq!(bounded((None, None), most), Ok((Some(1000), Some(1000))));
        assert_eq!(bounded((Some(10), None), most), Ok((Some(10), Some(1000))));
        assert_eq!(bounded((Some(10), Some(1000)), most), Ok((Some(10), Some(1000))));
        assert_eq!(bounded((Some(10), Some(1001)), most), Err((1001, 1000)));
        assert_eq!(bounded((Some(5000), None), most), Err((5000, 1000)));
        assert_eq!(bounded((None, None), None), Ok((None, None)));
    }
}
