//! How long a key rests after a mint with it has failed.

use std::time::Duration;

use super::timing::{RefreshSettings, Tick};
use crate::okta::classify::{MintError, Reason};

/// First rest after an answer that a retry does not mend.
const REFUSED_MIN: Duration = Duration::from_secs(30);
/// Last rest after such an answer.
const REFUSED_MAX: Duration = Duration::from_secs(15 * 60);
/// Part of that rest by which it is drawn out, so that a fleet does not march in step.
const REFUSED_SPREAD: f64 = 0.25;
/// Least and greatest wait that an issuer can ask for (fault 24).
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15 * 60));
/// Cap of a retry's back-off while a valid token is left.
const COMFORT_MAX: Duration = Duration::from_secs(5 * 60);
/// Part of the remaining life that a retry may wait, as a divisor.
const COMFORT_PART: u32 = 4;
/// Longest rest while a valid token is left and nobody waits for another one (fault 195).
const PATIENCE_MAX: Duration = Duration::from_secs(15 * 60);
/// The same together with a wait that the issuer asked for.
const WAIT_AND_PATIENCE_MAX: Duration = Duration::from_secs(20 * 60);
/// Part of the remaining life of that token, as a divisor.
const PATIENCE_PART: u32 = 2;
/// Least rest after any failure: a wake-up lies in the future (law 3).
const LEAST: Duration = Duration::from_millis(1);

/// Says whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Network, timeout, 5xx, 429, a malformed answer: the next attempt may succeed.
    Retry,
    /// 400, 401, 403, 404: somebody must do something first.
    Outside,
}

/// Remembers one key's failures since its last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    retries: u32,
    refusals: u32,
    until: Tick,
    /// The end of the rest for those who wait.
    hurried: Tick,
}

impl Backoff {
    /// Tells the moment before which this key does not mint by itself (law 6).
    #[must_use]
    pub const fn until(&self) -> Tick {
        self.until
    }

    /// Ends the patience, as somebody waits: what is left is the rest that the doubling cap drew.
    pub fn hurry(&mut self) {
        self.until = self.until.min(self.hurried);
    }

    /// Lets one mint through, as an operator asks; should it fail, too, the rests go on growing.
    pub fn let_through(&mut self) {
        (self.until, self.hurried) = (Tick::default(), Tick::default());
    }

    /// Notes a failure and draws the rest that follows; `chance` is in 0..1.
    ///
    /// `left` is the life of the valid token that can be served meanwhile, if there is one.
    pub fn fail(
        &mut self,
        settings: &RefreshSettings,
        now: Tick,
        failure: Failure,
        left: Duration,
        chance: f64,
    ) {
        let asked = clamped(failure.retry_after);
        let (rest, patience) = match failure.mend {
            Mend::Retry => {
                let rest = asked.saturating_add(self.retry(settings, left, chance));
                (rest, asked.saturating_add(patience(settings, asked, left).mul_f64(chance)))
            }
            Mend::Outside => (self.refuse(asked, chance), Duration::ZERO),
        };
        // An operator's attempt inside a rest must not shorten it.
        self.hurried = self.hurried.max(now + rest.max(LEAST));
        self.until = self.until.max(now + rest.max(patience).max(LEAST));
    }

    /// Full jitter below a doubling cap.
    fn retry(&mut self, settings: &RefreshSettings, left: Duration, chance: f64) -> Duration {
        let ceiling = settings.retry_max.max((left / COMFORT_PART).min(COMFORT_MAX));
        let cap = doubled(settings.retry_min, self.retries).min(ceiling);
        self.retries = self.retries.saturating_add(1);
        cap.mul_f64(chance)
    }

    fn refuse(&mut self, asked: Duration, chance: f64) -> Duration {
        let rest = doubled(REFUSED_MIN, self.refusals).min(REFUSED_MAX);
        self.refusals = self.refusals.saturating_add(1);
        rest.max(asked).mul_f64(1.0 + REFUSED_SPREAD * chance).min(REFUSED_MAX)
    }
}

/// Says how a mint failed, as far as the next attempt is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether trying again can help.
    pub mend: Mend,
    /// The wait that the issuer asked for.
    pub retry_after: Option<Duration>,
}

impl From<&MintError> for Failure {
    fn from(error: &MintError) -> Self {
        let mend = match error.reason {
            Reason::Unauthorized | Reason::Forbidden | Reason::NotFound | Reason::BadRequest => {
                Mend::Outside
            }
            Reason::Dns
            | Reason::Connect
            | Reason::Tls
            | Reason::Timeout
            | Reason::RateLimited
            | Reason::ServerError
            | Reason::Malformed
            | Reason::Expired
            | Reason::WrongTeam
            | Reason::Redirect => Mend::Retry,
        };
        Self { mend, retry_after: error.retry_after }
    }
}

/// The cap of a rest for which there is no hurry: most of a life is still there to try again in.
///
/// A fleet has to spread its retries as widely as its refreshes, or an issuer that is down gets many
/// times its load, and all of it when it comes back.
fn patience(settings: &RefreshSettings, asked: Duration, left: Duration) -> Duration {
    let longest = PATIENCE_MAX.min(WAIT_AND_PATIENCE_MAX.saturating_sub(asked));
    let part = (left.saturating_sub(asked) / PATIENCE_PART).min(longest);
    if part > settings.retry_max { part } else { Duration::ZERO }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times))
}

fn clamped(retry_after: Option<Duration>) -> Duration {
    retry_after.map_or(Duration::ZERO, |asked| asked.clamp(RETRY_AFTER.0, RETRY_AFTER.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Tick = Tick::from_boot(Duration::from_secs(1000));
    const RETRY: Failure = Failure { mend: Mend::Retry, retry_after: None };
    const OUTSIDE: Failure = Failure { mend: Mend::Outside, retry_after: None };

    /// The rests, in seconds, of `n` failures in a row with the same chance, for those who wait.
    fn rests(n: usize, failure: Failure, left: u64, chance: f64) -> Vec<f64> {
        all_rests(n, failure, left, chance).into_iter().map(|(hurried, _)| hurried).collect()
    }

    /// The same, and beside each the rest while nobody waits.
    fn all_rests(n: usize, failure: Failure, left: u64, chance: f64) -> Vec<(f64, f64)> {
        let mut backoff = Backoff::default();
        let settings = RefreshSettings::default();
        (0..n)
            .map(|_| {
                backoff.fail(&settings, NOW, failure, Duration::from_secs(left), chance);
                let patient = backoff.until().since(NOW).as_secs_f64();
                let mut hurried = backoff;
                hurried.hurry();
                (hurried.until().since(NOW).as_secs_f64(), patient)
            })
            .collect()
    }

    #[test]
    fn a_retry_doubles_its_cap_to_retry_max() {
        let halves: Vec<f64> = [1, 2, 4, 8, 16, 32, 60, 60].map(|cap| f64::from(cap) / 2.0).into();
        assert_eq!(rests(8, RETRY, 0, 0.5), halves);
    }

    #[test]
    fn no_failure_is_followed_by_no_rest() {
        assert_eq!(rests(3, RETRY, 0, 0.0), [0.001; 3]);
    }

    #[test]
    fn a_valid_token_lets_the_cap_grow_to_a_quarter_of_its_life() {
        assert_eq!(rests(10, RETRY, 800, 1.0).last(), Some(&200.0));
        assert_eq!(rests(12, RETRY, 36_000, 1.0).last(), Some(&300.0));
        assert_eq!(rests(10, RETRY, 100, 1.0).last(), Some(&60.0));
    }

    // fault 195
    #[test]
    fn with_life_left_and_nobody_waiting_a_retry_is_drawn_from_half_of_that_life() {
        for (left, patient) in [(36_000, 450.0), (1800, 450.0), (800, 200.0), (122, 30.5)] {
            assert_eq!(all_rests(1, RETRY, left, 0.5), [(0.5, patient)], "{left}");
        }
        for left in [120, 60, 0] {
            assert_eq!(all_rests(1, RETRY, left, 0.5), [(0.5, 0.5)], "the end is near: {left}");
        }
        assert_eq!(all_rests(1, OUTSIDE, 36_000, 0.0), [(30.0, 30.0)]);
    }

    // fault 195
    #[test]
    fn the_wait_that_was_asked_for_is_no_part_of_the_life_left() {
        let busy = |seconds| Failure { retry_after: Some(Duration::from_secs(seconds)), ..RETRY };
        assert_eq!(all_rests(1, busy(600), 1600, 0.5), [(600.5, 850.0)]);
        assert_eq!(all_rests(1, busy(900), 36_000, 1.0), [(901.0, 1200.0)], "20 min in all");
        assert_eq!(all_rests(1, busy(600), 700, 0.5), [(600.5, 600.5)]);
    }

    // faults 20, 21
    #[test]
    fn a_refusal_rests_30_s_doubling_to_15_min() {
        assert_eq!(rests(7, OUTSIDE, 0, 0.0), [30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0]);
        assert_eq!(rests(1, OUTSIDE, 0, 1.0), [37.5]);
        assert_eq!(rests(6, OUTSIDE, 0, 1.0).last(), Some(&900.0), "never longer");
    }

    // faults 23, 24
    #[test]
    fn a_wait_that_the_issuer_asks_for_is_clamped_and_spread() {
        let asked = |seconds| Failure { retry_after: Some(Duration::from_secs(seconds)), ..RETRY };
        assert_eq!(rests(1, asked(30), 0, 0.0), [30.0]);
        assert_eq!(rests(1, asked(30), 0, 0.5), [30.5]);
        assert_eq!(rests(1, asked(0), 0, 0.0), [1.0]);
        assert_eq!(rests(1, asked(1_000_000), 0, 0.0), [900.0]);
        let refused = Failure { mend: Mend::Outside, ..asked(45) };
        assert_eq!(rests(2, refused, 0, 0.0), [45.0, 60.0]);
    }

    // faults 20, 21, 22
    #[test]
    fn only_the_issuers_own_no_is_not_retried() {
        let outside = Reason::ALL
            .into_iter()
            .filter(|reason| Failure::from(&MintError::from(*reason)).mend == Mend::Outside);
        let labels: Vec<_> = outside.map(Reason::label).collect();
        assert_eq!(labels, ["unauthorized", "forbidden", "not_found", "bad_request"]);
    }

    // fault 73
    #[test]
    fn a_thousand_failures_do_not_overflow() {
        assert_eq!(rests(1000, RETRY, u64::MAX, 1.0).last(), Some(&300.0));
        assert_eq!(rests(1000, OUTSIDE, u64::MAX, 0.0).last(), Some(&900.0));
    }
}
