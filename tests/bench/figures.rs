//! Figures: what was found in each round, their medians, and the ratios that count.

use crate::contenders::Contender;

/// Names what a row is counted in; its figures are in seconds, bytes or pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    PerSecond,
    Micros,
    Millis,
    KiB,
    MiB,
    Pieces,
}

impl Unit {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::PerSecond => "1/s",
            Self::Micros => "µs",
            Self::Millis => "ms",
            Self::KiB => "KiB",
            Self::MiB => "MiB",
            Self::Pieces => "",
        }
    }

    /// Tells how many of them a second, a byte or a piece is.
    pub(crate) const fn scale(self) -> f64 {
        match self {
            Self::PerSecond | Self::Pieces => 1.0,
            Self::Micros => 1e6,
            Self::Millis => 1e3,
            Self::KiB => 1.0 / 1024.0,
            Self::MiB => 1.0 / (1024.0 * 1024.0),
        }
    }
}

/// Holds the figures of one measure, round by round, for each contender.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    found: Vec<(Contender, f64)>,
}

/// Tells how the first contender compares with another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Self {
        Self { name: name.into(), unit, found: Vec::new() }
    }

    /// Adds what one round found.
    pub(crate) fn push(&mut self, contender: Contender, figure: f64) {
        self.found.push((contender, figure));
    }

    /// Tells a contender's median; none if it was not measured.
    pub(crate) fn median(&self, contender: Contender) -> Option<f64> {
        let mut sorted = self.of(contender);
        sorted.sort_unstable_by(f64::total_cmp);
        median(&sorted)
    }

    /// Divides the daemon's figure of each round by the other's of the same round.
    pub(crate) fn ratio(&self, to: Contender) -> Option<Ratio> {
        let (ours, theirs) = (self.of(Contender::Bearerd), self.of(to));
        let ratios = ours.iter().zip(theirs).map(|(a, b)| a / b);
        // There is none to what is nothing.
        let mut ratios = ratios.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>();
        ratios.sort_unstable_by(f64::total_cmp);
        let (low, high) = (*ratios.first()?, *ratios.last()?);
        Some(Ratio { low, median: median(&ratios)?, high })
    }

    /// Takes one contender's figures away from the others', round by round.
    pub(crate) fn beyond(&self, base: Contender, name: impl Into<String>) -> Self {
        let mut row = Self::new(name, self.unit);
        for contender in Contender::ALL.into_iter().filter(|other| *other != base) {
            for (found, least) in self.of(contender).iter().zip(self.of(base)) {
                row.push(contender, found - least);
            }
        }
        row
    }

    fn of(&self, contender: Contender) -> Vec<f64> {
        let own = self.found.iter().filter(|(of, _)| *of == contender);
        own.map(|(_, figure)| *figure).collect()
    }
}

/// Makes a number to calculate with of a number of things.
#[expect(clippy::cast_precision_loss, reason = "nothing here is counted beyond 2^52")]
pub(crate) const fn count(things: usize) -> f64 {
    things as f64
}

fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some(lower.midpoint(upper))
}
