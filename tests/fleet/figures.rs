//! What a history looks like in numbers: load in bins of five minutes, in units of the steady load.

use std::time::Duration;

use crate::{
    cases::{Case, Span},
    chance::Chance,
    world::at,
};

/// Width of a bin in seconds.
pub(crate) const BIN: u64 = 300;

/// One case, played with several seeds.
pub(crate) struct Figures {
    pub(crate) case: Case,
    /// By seed: the load of each bin from the beginning.
    loads: Vec<Vec<f64>>,
    /// By seed: seconds at which a wait ended, and its length.
    waits: Vec<(f64, f64)>,
    recoveries: Vec<(f64, f64)>,
    /// Sidecars with a good token at the end, in the worst seed.
    pub(crate) served: usize,
    pub(crate) failures: usize,
}

impl Figures {
    /// Plays a case once for each seed.
    pub(crate) fn of(case: Case, seeds: u64) -> Self {
        Self::with(case, (1..=seeds).map(Chance::new))
    }

    /// Plays a case once for each chance.
    pub(crate) fn with(case: Case, chances: impl Iterator<Item = Chance>) -> Self {
        let mut figures = Self {
            case,
            loads: Vec::new(),
            waits: Vec::new(),
            recoveries: Vec::new(),
            served: usize::MAX,
            failures: 0,
        };
        for chance in chances {
            let world = case.play(chance);
            let mut load = vec![0.0; case.shown.to.div_ceil(BIN) as usize];
            for call in &world.seen.calls {
                load[(call.since(at(0)).as_secs() / BIN) as usize] +=
                    1.0 / (case.steady() * BIN as f64);
            }
            figures.loads.push(load);
            let relative = |(ended, length): &(_, Duration)| (seconds(ended), length.as_secs_f64());
            figures.waits.extend(world.seen.waits.iter().map(relative));
            figures.recoveries.extend(world.seen.recoveries.iter().map(relative));
            figures.served = figures.served.min(world.served());
            figures.failures += world.seen.failures;
        }
        figures
    }

    /// The load of each bin of a time, as the mean of all seeds.
    pub(crate) fn load(&self, span: Span) -> Vec<f64> {
        let mean = |bin| self.loads.iter().map(|load| load[bin]).sum::<f64>() / self.seeds();
        bins(span).map(mean).collect()
    }

    /// The greatest load of a bin, as the mean of all seeds.
    pub(crate) fn peak(&self, span: Span) -> f64 {
        self.load(span).into_iter().fold(0.0, f64::max)
    }

    /// The greatest load of a bin in any seed.
    pub(crate) fn worst_peak(&self, span: Span) -> f64 {
        let all = self.loads.iter().flat_map(|load| bins(span).map(|bin| load[bin]));
        all.fold(0.0, f64::max)
    }

    /// The mean load.
    pub(crate) fn mean(&self, span: Span) -> f64 {
        let load = self.load(span);
        load.iter().sum::<f64>() / load.len() as f64
    }

    /// The longest time without a good token, in seconds, among those that ended in this time.
    pub(crate) fn worst_wait(&self, span: Span) -> f64 {
        worst(&self.waits, span, |(_, length)| length)
    }

    /// How many times an application has waited for a token, in the mean.
    pub(crate) fn waited(&self, span: Span) -> f64 {
        self.waits.iter().filter(|(end, _)| is_in(*end, span)).count() as f64 / self.seeds()
    }

    /// When the last of those whose mints had failed had a new token, in seconds after a moment.
    pub(crate) fn recovered_after(&self, moment: u64, span: Span) -> f64 {
        worst(&self.recoveries, span, |(end, _)| end - moment as f64)
    }

    fn seeds(&self) -> f64 {
        self.loads.len() as f64
    }
}

fn seconds(tick: &bearerd::token::timing::Tick) -> f64 {
    tick.since(at(0)).as_secs_f64()
}

fn bins(span: Span) -> std::ops::Range<usize> {
    (span.from / BIN) as usize..span.to.div_ceil(BIN) as usize
}

fn is_in(moment: f64, span: Span) -> bool {
    (span.from as f64..span.to as f64).contains(&moment)
}

fn worst(all: &[(f64, f64)], span: Span, measure: impl Fn((f64, f64)) -> f64) -> f64 {
    let inside = all.iter().filter(|(end, _)| is_in(*end, span));
    inside.map(|one| measure(*one)).fold(0.0, f64::max)
}
