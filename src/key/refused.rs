//! Keys that the issuer refused a while ago: the same content is not worth another try.

use std::{collections::VecDeque, time::Duration};

use crate::{process::fingerprint::Fingerprint, token::timing::Tick};

/// Time for which refused content is not new.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// As many as can be tried within that time, one in 5 s: none is forgotten early.
const MOST: usize = 180;

/// Remembers which contents were refused in the last 15 minutes; bounded.
#[derive(Clone, Debug, Default)]
pub struct Refused(VecDeque<(Fingerprint, Tick)>);

impl Refused {
    /// Takes note that the issuer refused this content at `now`.
    pub fn record(&mut self, content: Fingerprint, now: Tick) {
        self.0.retain(|(known, at)| *known != content && now.since(*at) < MEMORY);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((content, now));
    }

    /// Tells whether this content was refused less than 15 minutes before `now`.
    #[must_use]
    pub fn contains(&self, content: Fingerprint, now: Tick) -> bool {
        self.0.iter().any(|(known, at)| *known == content && now.since(*at) < MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(number: usize) -> Fingerprint {
        Fingerprint::of([number.to_string().as_bytes()])
    }

    fn at(seconds: u64) -> Tick {
        Tick::from_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn refused_content_is_new_again_after_fifteen_minutes() {
        let mut refused = Refused::default();
        refused.record(content(1), at(100));
        for (seconds, known) in [(100, true), (999, true), (1001, false)] {
            assert_eq!(refused.contains(content(1), at(seconds)), known, "{seconds}");
            assert!(!refused.contains(content(2), at(seconds)));
        }
    }

    #[test]
    fn a_second_refusal_counts_from_then_on() {
        let mut refused = Refused::default();
        refused.record(content(1), at(0));
        refused.record(content(1), at(800));
        assert!(refused.contains(content(1), at(1500)));
        assert!(!refused.contains(content(1), at(1701)));
    }

    #[test]
    fn at_the_highest_rate_of_tries_none_is_forgotten_early() {
        let mut refused = Refused::default();
        for number in 0..MOST {
            refused.record(content(number), at(number as u64 * 5));
        }
        let last = at(MOST as u64 * 5 - 1);
        assert!((0..MOST).all(|number| refused.contains(content(number), last)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut refused = Refused::default();
        (0..10 * MOST).for_each(|number| refused.record(content(number), at(1)));
        assert_eq!(refused.0.len(), MOST);
        assert!(refused.contains(content(10 * MOST - 1), at(1)));
    }
}
