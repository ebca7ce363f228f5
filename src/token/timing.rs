//! Time as the policy sees it, and the windows and back-offs that are drawn from it.
//!
//! Pure: every function here takes the time and the chance it needs as arguments.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// Names a moment of boot time, which goes on while the machine sleeps.
///
/// Only differences mean anything (fault 76). Arithmetic saturates, so that no lifetime an issuer
/// can name overflows (fault 73).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(Duration);

impl Tick {
    /// Makes a moment from the time since boot.
    #[must_use]
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// Tells the time since boot.
    #[must_use]
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// Tells how long after `earlier` this moment is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Tick {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

/// Names a moment by wall clock, as the time since 1970 in UTC.
///
/// For people, for the issuer's own times and as a second opinion on expiry. Saturates like
/// [`Tick`]; a clock before 1970 reads as 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(Duration);

impl Wall {
    /// Makes a moment from the time since 1970.
    #[must_use]
    pub const fn from_unix(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// Makes a moment from whole seconds since 1970; earlier ones read as 1970.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        if seconds < 0 {
            return Self(Duration::ZERO);
        }
        Self(Duration::from_secs(seconds.unsigned_abs()))
    }

    /// Tells the time since 1970.
    #[must_use]
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// Tells how long after `earlier` this moment is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Wall {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl Sub<Duration> for Wall {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(earlier))
    }
}

/// Prints RFC 3339 in UTC, whole seconds: `2026-01-31T08:00:00Z`.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX);
        let last = jiff::Timestamp::MAX;
        let time = jiff::Timestamp::from_second(seconds.min(last.as_second())).unwrap_or(last);
        write!(f, "{time:.0}")
    }
}

/// Tells how far one clock is ahead of another, or behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skew {
    /// They agree as far as can be told.
    #[default]
    None,
    /// The other clock is ahead by so much.
    Ahead(Duration),
    /// The other clock is behind by so much.
    Behind(Duration),
}

impl Skew {
    /// Reads `local` time on the other clock.
    #[must_use]
    pub fn apply(self, local: Wall) -> Wall {
        match self {
            Self::None => local,
            Self::Ahead(by) => local + by,
            Self::Behind(by) => local - by,
        }
    }

    /// Tells the difference in seconds; positive when the other clock is ahead.
    #[must_use]
    pub const fn as_secs_f64(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Ahead(by) => by.as_secs_f64(),
            Self::Behind(by) => -by.as_secs_f64(),
        }
    }
}

/// Holds `[credentials.*.refresh]`: when a token is replaced, and how failures are spaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RefreshSettings {
    /// Part of the lifetime after which the token is refreshed, 0 to 1.
    pub at: f64,
    /// Part of the lifetime by which `at` varies either way, 0 to 1.
    pub jitter: f64,
    /// Least distance of two mints that nobody asked for.
    pub min_interval: Duration,
    /// First cap of the back-off after a failure worth retrying.
    pub retry_min: Duration,
    /// Last cap of that back-off, unless a valid token is left to live on.
    pub retry_max: Duration,
    /// Longest lifetime that is believed.
    pub max_lifetime: Duration,
}

impl Default for RefreshSettings {
    fn default() -> Self {
        Self {
            at: 0.5,
            jitter: 0.1,
            min_interval: Duration::from_secs(1),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            max_lifetime: Duration::from_secs(24 * 60 * 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    // fault 73
    #[test]
    fn moments_saturate_at_both_ends() {
        let last = Tick::from_boot(Duration::MAX);
        assert_eq!(last + SECOND, last);
        assert_eq!(Tick::default().since(last), Duration::ZERO);
        assert_eq!(Wall::from_seconds(0) - SECOND, Wall::default());
        assert_eq!(Wall::from_unix(Duration::MAX) + SECOND, Wall::from_unix(Duration::MAX));
    }

    // fault 68
    #[test]
    fn a_clock_before_1970_reads_as_1970() {
        assert_eq!(Wall::from_seconds(-5), Wall::default());
        assert_eq!(Wall::from_seconds(5).since_epoch(), 5 * SECOND);
    }

    // fault 70
    #[test]
    fn moments_are_printed_in_utc_and_whole_seconds() {
        let moment = Wall::from_seconds(1_769_846_400) + Duration::from_millis(999);
        assert_eq!(moment.to_string(), "2026-01-31T08:00:00Z");
        assert_eq!(Wall::from_unix(Duration::MAX).to_string(), "9999-12-30T22:00:00Z");
    }

    #[test]
    fn a_skew_moves_a_moment_and_has_a_sign() {
        let noon = Wall::from_seconds(43_200);
        let table = [
            (Skew::None, 43_200, 0.0),
            (Skew::Ahead(90 * SECOND), 43_290, 90.0),
            (Skew::Behind(90 * SECOND), 43_110, -90.0),
        ];
        for (skew, moved, sign) in table {
            assert_eq!(skew.apply(noon), Wall::from_seconds(moved));
            assert!((skew.as_secs_f64() - sign).abs() < f64::EPSILON);
        }
    }
}
