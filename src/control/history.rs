//! What happened in the last hour, minute by minute: a small ring that is filled at the daemon's tick.

use std::collections::VecDeque;

/// Minutes that are remembered.
pub const MINUTES: usize = 60;

/// Counts what happened: since the start, or within a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that the listeners answered.
    pub requests: u64,
    /// Mints that succeeded.
    pub refreshes: u64,
    /// Mints that failed.
    pub failures: u64,
}

/// Remembers the counts of each of the last minutes; bounded.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The newest last.
    minutes: VecDeque<Counts>,
    /// Number of the newest.
    newest: u64,
    totals: Counts,
}

impl History {
    /// Adds what has happened since the last look, in the minute that is now.
    pub fn look(&mut self, minute: u64, totals: Counts) {
        let passed = if self.minutes.is_empty() { 1 } else { minute.saturating_sub(self.newest) };
        let passed = usize::try_from(passed).unwrap_or(MINUTES).min(MINUTES);
        self.minutes.extend(std::iter::repeat_n(Counts::default(), passed));
        self.minutes.drain(..self.minutes.len().saturating_sub(MINUTES));
        self.newest = self.newest.max(minute);
        if let Some(now) = self.minutes.back_mut() {
            // A listener that is closed takes its count along.
            now.requests += totals.requests.saturating_sub(self.totals.requests);
            now.refreshes += totals.refreshes.saturating_sub(self.totals.refreshes);
            now.failures += totals.failures.saturating_sub(self.totals.failures);
        }
        self.totals = totals;
    }

    /// Gives the last minutes, the newest last; there are fewer while the daemon is younger.
    #[must_use]
    pub fn minutes(&self) -> Vec<Counts> {
        self.minutes.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(requests: u64) -> Counts {
        Counts { requests, refreshes: 1, failures: 0 }
    }

    fn seen(history: &History) -> Vec<u64> {
        history.minutes().iter().map(|minute| minute.requests).collect()
    }

    #[test]
    fn what_happened_between_two_looks_belongs_to_the_minute_of_the_second() {
        let mut history = History::default();
        let looks = [(500, 3), (500, 5), (501, 5), (501, 9), (504, 10)];
        looks.into_iter().for_each(|(minute, total)| history.look(minute, requests(total)));
        assert_eq!(seen(&history), [5, 4, 0, 0, 1]);
        assert_eq!(history.minutes()[0].refreshes, 1, "counted once");
    }

    #[test]
    fn an_hour_is_remembered_and_no_more() {
        let mut history = History::default();
        (0..500).for_each(|minute| history.look(minute, requests(minute + 1)));
        assert_eq!(seen(&history), [1; MINUTES]);
        history.look(u64::MAX, requests(502));
        assert_eq!(seen(&history).iter().sum::<u64>(), 2, "a long sleep leaves nothing but now");
        assert_eq!(history.minutes().len(), MINUTES);
    }

    #[test]
    fn counts_that_fall_are_no_negative_ones() {
        let mut history = History::default();
        history.look(7, requests(100));
        history.look(8, requests(20));
        history.look(6, requests(21));
        assert_eq!(seen(&history), [100, 1]);
    }
}
