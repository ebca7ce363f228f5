//! What the policy knows of a token: its number and its life, never the token itself.

use std::{fmt, time::Duration};

use super::timing::Tick;

/// Numbers the leases of one credential in the order of their publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(u64);

impl Serial {
    /// Comes before every lease.
    pub const NONE: Self = Self(0);

    /// Makes the serial of the `n`th lease.
    #[must_use]
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// Tells the serial that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bounds the life of one token by boot time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Place in the order of publications.
    pub serial: Serial,
    /// Start of the attempt that brought it: life counts from here (law 11).
    pub issued: Tick,
    /// When it was first served: a client's doubts count from here.
    pub published: Tick,
    /// End of its life; at this moment it is no longer valid.
    pub expires: Tick,
}

impl Lease {
    /// Tells the whole life, from the start of the attempt to the end.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.expires.since(self.issued)
    }

    /// Tells the life that is left; zero when it is over.
    #[must_use]
    pub const fn remaining(&self, now: Tick) -> Duration {
        self.expires.since(now)
    }

    /// Tells whether any life is left.
    #[must_use]
    pub fn is_valid(&self, now: Tick) -> bool {
        now < self.expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_its_end_a_lease_is_over() {
        let at = |seconds| Tick::from_boot(Duration::from_secs(seconds));
        let lease =
            Lease { serial: Serial::new(1), issued: at(10), published: at(12), expires: at(70) };
        assert_eq!(lease.lifetime(), Duration::from_secs(60));
        for (now, left) in [(0, 70), (12, 58), (69, 1), (70, 0), (71, 0)] {
            assert_eq!(lease.remaining(at(now)), Duration::from_secs(left), "{now}");
            assert_eq!(lease.is_valid(at(now)), left > 0, "{now}");
        }
    }

    #[test]
    fn serials_count_up_from_none() {
        assert_eq!(Serial::NONE.next(), Serial::new(1));
        assert!(Serial::new(2) > Serial::new(1));
        assert_eq!(Serial::new(12).to_string(), "12");
    }
}
