//! Chance that can be replayed: each part of a world has a stream of its own, drawn from the seed.

use std::time::Duration;

/// Draws numbers (splitmix64); the same seed and stream draw the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Starts a stream of a seed.
    pub(crate) fn new(seed: u64, stream: &str) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for byte in stream.bytes() {
            dice.0 = dice.next().wrapping_add(u64::from(byte));
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Draws from 0 to below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// Draws from 0 to below 1.
    pub(crate) fn part(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
    }

    /// Comes true that often.
    pub(crate) fn hits(&mut self, chance: f64) -> bool {
        self.part() < chance
    }

    /// Draws one of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let place = self.below(u64::try_from(from.len()).unwrap_or(1));
        from[usize::try_from(place).unwrap_or(0)]
    }

    /// Draws a time between two, small ones as often as great ones.
    pub(crate) fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let (low, high) = (least.as_secs_f64().max(0.001).ln(), most.as_secs_f64().max(0.001).ln());
        let drawn = Duration::from_secs_f64((low + (high - low) * self.part()).exp());
        // Whole milliseconds, as the timers of the runtime have them.
        Duration::from_millis(u64::try_from(drawn.as_millis()).unwrap_or(u64::MAX))
    }

    /// Draws the time to the next of events that are so far apart on average.
    pub(crate) fn wait(&mut self, mean: Duration) -> Duration {
        let drawn = -(1.0 - self.part()).ln() * mean.as_secs_f64();
        Duration::from_millis(1 + Duration::from_secs_f64(drawn).as_millis() as u64)
    }
}
