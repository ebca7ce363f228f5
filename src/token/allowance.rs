//! What the issuer has left for us: applications of the same user spend it, too (fault 280).

use std::time::Duration;

use super::timing::{Tick, Wall};
use crate::okta::issuer::Allowance;

/// Part of the budget below which only what has to be asked is asked, as a divisor.
const LOW_PART: u64 = 10;
/// Longest time for which an answer tells anything: budgets are of an hour.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Remembers the latest allowance and when it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latest(Option<(Allowance, Tick, Wall)>);

impl Latest {
    /// Takes what an answer told just now.
    pub const fn note(&mut self, allowance: Allowance, tick: Tick, wall: Wall) {
        self.0 = Some((allowance, tick, wall));
    }

    /// Tells whether optional calls should be left to those who need them.
    #[must_use]
    pub fn is_low(&self, now: Tick) -> bool {
        self.0.is_some_and(|(allowance, told, wall)| {
            let window = allowance.reset.map_or(HOUR, |reset| reset.since(wall).min(HOUR));
            let least = allowance.limit.map_or(0, |limit| limit / LOW_PART);
            allowance.remaining <= least && now.since(told) < window
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Wall = Wall::from_seconds(1_769_846_400);

    fn told(remaining: u64, limit: Option<u64>, reset_in: Option<u64>) -> Latest {
        let reset = reset_in.map(|seconds| WALL + Duration::from_secs(seconds));
        let mut budget = Latest::default();
        budget.note(Allowance { remaining, limit, reset }, Tick::default(), WALL);
        budget
    }

    fn after(seconds: u64) -> Tick {
        Tick::default() + Duration::from_secs(seconds)
    }

    // fault 280
    #[test]
    fn a_tenth_is_low_until_it_is_full_again() {
        let table = [
            (1001, Some(10_000), Some(60), 0, false),
            (1000, Some(10_000), Some(60), 0, true),
            (0, Some(10_000), Some(60), 59, true),
            (0, Some(10_000), Some(60), 60, false),
            (0, Some(10_000), Some(0), 0, false),
            (1, None, Some(60), 0, false),
            (0, None, Some(60), 0, true),
            (0, None, None, 3599, true),
            (0, None, None, 3600, false),
            // A clock that is wrong by days stops nothing for more than an hour.
            (0, None, Some(999_999), 3600, false),
        ];
        for (remaining, limit, reset_in, seconds, low) in table {
            let budget = told(remaining, limit, reset_in);
            let case = format!("{remaining} of {limit:?}, reset in {reset_in:?}, after {seconds}");
            assert_eq!(budget.is_low(after(seconds)), low, "{case}");
        }
        assert!(!Latest::default().is_low(after(0)));
    }
}
