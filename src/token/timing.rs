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

impl Sub<Duration> for Tick {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(earlier))
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
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
