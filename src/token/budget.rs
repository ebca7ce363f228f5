//! How often clients' reports of a 401 may cause a mint.

use std::time::Duration;

use super::timing::Tick;

/// First interval between two mints that reports caused.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Last interval.
const INTERVAL_MAX: Duration = Duration::from_secs(5 * 60);

/// Spaces the mints that reports cause, the further apart the more reports keep coming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RejectBudget {
    /// Zero while nothing has been reported for long enough.
    interval: Duration,
    spent_at: Option<Tick>,
    quiet_since: Tick,
}

impl RejectBudget {
    /// Notes a report of the current token: the interval stops shrinking.
    pub fn report(&mut self, now: Tick) {
        while !self.interval.is_zero() && now.since(self.quiet_since) > self.interval {
            self.quiet_since = self.quiet_since + self.interval;
            self.interval = shrunk(self.interval);
        }
        self.quiet_since = self.quiet_since.max(now);
    }

    /// Tells the moment from which one more mint is within the budget.
    #[must_use]
    pub fn free_at(&self) -> Tick {
        self.spent_at.map_or(Tick::default(), |spent| spent + self.interval)
    }

    /// Spends one mint, which starts at `at`; the next one is further off.
    ///
    /// Whoever reported waits until then and cannot report again, which is no silence.
    pub fn spend(&mut self, at: Tick) {
        self.spent_at = Some(at);
        self.quiet_since = self.quiet_since.max(at);
        self.interval = (self.interval * 2).clamp(INTERVAL_MIN, INTERVAL_MAX);
    }

    /// Notes that a mint which was spent has ended: until now nobody had anything new to report.
    pub fn landed(&mut self, now: Tick) {
        self.quiet_since = self.quiet_since.max(now);
    }
}

fn shrunk(interval: Duration) -> Duration {
    let half = interval / 2;
    if half < INTERVAL_MIN { Duration::ZERO } else { half }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::from_boot(Duration::from_secs(seconds))
    }

    /// Spends whatever is free at each second of a storm and tells when that was.
    fn storm(budget: &mut RejectBudget, seconds: std::ops::Range<u64>) -> Vec<u64> {
        seconds
            .filter(|&second| {
                budget.report(at(second));
                let free = budget.free_at() <= at(second);
                if free {
                    budget.spend(at(second));
                }
                free
            })
            .collect()
    }

    // fault 175
    #[test]
    fn the_interval_doubles_from_1_s_to_5_min() {
        let mints = storm(&mut RejectBudget::default(), 0..1500);
        assert_eq!(mints, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111, 1411]);
    }

    // fault 175
    #[test]
    fn a_client_that_reports_each_new_token_and_waits_for_the_next_is_held_back_too() {
        let mut budget = RejectBudget::default();
        let mut reports = 0;
        // Tokens are 3 s old when a report of them is heard.
        while budget.free_at() <= at(3 * reports + 3) {
            budget.report(at(3 * reports));
            budget.spend(at(3 * reports + 3));
            reports += 1;
        }
        assert_eq!(reports, 3, "the interval is 4 s by then");
    }

    // fault 175
    #[test]
    fn a_slow_issuer_gives_a_client_that_reports_each_new_token_no_more() {
        let mut budget = RejectBudget::default();
        // Each mint takes 4 s, and each new token is reported at once.
        let mints = (0..100).filter(|round| {
            let now = at(7 * round);
            budget.report(now);
            let free = budget.free_at() <= now + Duration::from_secs(3);
            if free {
                budget.spend(now + Duration::from_secs(3));
                budget.landed(now + Duration::from_secs(7));
            }
            free
        });
        assert!(mints.count() < 12);
    }

    #[test]
    fn each_quiet_interval_halves_it() {
        let mut budget = RejectBudget::default();
        storm(&mut budget, 0..8); // the last mint at 7 s leaves an interval of 8 s
        assert_eq!(budget.free_at(), at(15));
        let mut rested = budget;
        rested.report(at(15)); // 8 s of silence: nothing
        assert_eq!(rested.free_at(), at(15));
        let mut rested = budget;
        rested.report(at(16)); // more than 8 s: halved
        assert_eq!(rested.free_at(), at(11));
        let mut rested = budget;
        rested.report(at(7 + 8 + 4 + 2 + 1 + 1));
        assert_eq!(rested.free_at(), at(7), "all forgotten");
    }

    #[test]
    fn the_interval_shrinks_by_a_second_one_before_it_is_forgotten() {
        let mut budget = RejectBudget::default();
        storm(&mut budget, 0..2); // an interval of 2 s from 1 s on
        budget.report(at(4));
        assert_eq!(budget.free_at(), at(2));
        budget.report(at(6));
        assert_eq!(budget.free_at(), at(1));
    }

    #[test]
    fn a_long_silence_is_forgotten_in_few_steps() {
        let mut budget = RejectBudget::default();
        storm(&mut budget, 0..10_000);
        budget.report(at(u64::MAX / 2));
        assert!(budget.free_at() <= at(10_000));
    }
}
