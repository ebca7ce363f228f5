//! The descriptors of the process, shared out: connections never take what the daemon needs itself.

use rustix::process::{Resource, getrlimit};

/// Says how many descriptors the connections of each kind of socket may take.
///
/// What is left is kept back: for sockets and files that stay open, the refresh, the key, a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// All listeners of the local API together.
    pub listeners: usize,
    /// Scrapers and probes.
    pub telemetry: usize,
    /// Operators.
    pub control: usize,
    /// Connections to issuers that rest between two forwarded calls: half of what is kept back.
    pub resting: usize,
}

/// More connections at rest spare nobody anything.
const MOST_RESTING: usize = 64;

/// More than any connections of ours need, where there is no limit.
const PLENTY: u64 = 1 << 20;

impl Shares {
    /// Shares out what this process may open; call it when the limit has been raised.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of(getrlimit(Resource::Nofile).current)
    }

    fn of(limit: Option<u64>) -> Self {
        let limit = limit.map_or(PLENTY, |limit| limit.min(PLENTY));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // More descriptors are for more of everything, so for more credentials, too.
        let kept = (limit / 8).max(64).min(limit / 2);
        let telemetry = (limit / 16).clamp(2, 128);
        let control = (limit / 16).clamp(2, 32);
        let listeners = limit.saturating_sub(kept + telemetry + control).max(2);
        let resting = (kept / 2).min(MOST_RESTING);
        Self { listeners, telemetry, control, resting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // fault 93
    #[test]
    fn enough_is_kept_back_however_many_there_are() {
        for limit in 0..70_000 {
            let Shares { listeners, telemetry, control, resting } = Shares::of(Some(limit));
            let taken = u64::try_from(listeners + telemetry + control).unwrap();
            assert!(listeners >= 2 && telemetry >= 2 && control >= 2, "{limit}");
            if limit >= 64 {
                assert!(limit - taken >= 32, "{limit}");
                assert!(u64::try_from(listeners).unwrap() * 3 >= limit, "{limit}");
            }
            if limit >= 128 {
                assert!(limit - taken >= 64, "{limit}");
                assert!(limit - taken - u64::try_from(resting).unwrap() >= 32, "{limit}");
            }
        }
    }

    #[test]
    fn no_limit_is_plenty() {
        let shares = Shares::of(None);
        assert_eq!(shares, Shares::of(Some(u64::MAX)));
        assert!(shares.listeners > 900_000);
        assert_eq!((shares.telemetry, shares.control, shares.resting), (128, 32, 64));
    }
}
