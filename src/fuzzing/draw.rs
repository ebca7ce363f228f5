//! Choices made from bytes, so that a small change of the input is a small change of the case.

/// Draws from bytes until there are none; then everything is zero.
pub(super) struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number whose size is drawn, too: small ones are as frequent as large ones.
    pub(super) fn number(&mut self) -> u64 {
        let bits = u32::from(self.byte() % 65);
        let full = (0..bits.div_ceil(8)).fold(0, |sum, _| sum << 8 | u64::from(self.byte()));
        full & 1_u64.checked_shl(bits).map_or(u64::MAX, |top| top - 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    /// Of 0 to 1, both included.
    pub(super) fn chance(&mut self) -> f64 {
        f64::from(self.byte()) / 255.0
    }

    pub(super) const fn rest(self) -> &'a [u8] {
        self.0
    }
}
