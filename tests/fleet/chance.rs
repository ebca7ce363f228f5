//! Chances that are the same in every run: `SplitMix64`.

/// Draws numbers from a seed.
#[derive(Clone, Debug)]
pub(crate) enum Chance {
    /// Always the middle: what a daemon without chance would do.
    Middle,
    /// From this state on.
    Drawn(u64),
}

impl Chance {
    /// Begins a history.
    pub(crate) const fn new(seed: u64) -> Self {
        Self::Drawn(seed)
    }

    /// Draws a number in 0..1.
    pub(crate) const fn next(&mut self) -> f64 {
        let Self::Drawn(state) = self else {
            return 0.5;
        };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ (mixed >> 31);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Begins another history that has nothing in common with this one.
    pub(crate) fn fork(&mut self) -> Self {
        match self {
            Self::Middle => Self::Middle,
            Self::Drawn(_) => Self::Drawn((self.next() * (1_u64 << 53) as f64) as u64),
        }
    }
}
