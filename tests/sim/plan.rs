//! What kind of world a seed is: drawn once, before anything happens in it.

use std::time::Duration;

use bearerd::token::timing::RefreshSettings;

use super::dice::Dice;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Holds what does not change in one world.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Usual life of a token.
    pub(crate) life: Duration,
    /// Longest time that an answer takes in fine weather.
    pub(crate) latency: Duration,
    pub(crate) settings: RefreshSettings,
    /// How far the issuer's clock is ahead of ours at the start, in milliseconds.
    pub(crate) ahead: i64,
    /// How much faster it runs, in millionths.
    pub(crate) drift: i64,
    /// Time for which new tokens and keys are unknown to a part of the issuer.
    pub(crate) lag: Duration,
    /// Whether the daemon keeps its token over a restart.
    pub(crate) has_cache: bool,
    /// How often the key is rotated, if it is.
    pub(crate) every: Option<Duration>,
    /// Whether the role lets the daemon list keys.
    pub(crate) lists: bool,
    /// Whether a rotation sets a new end for keys that have one.
    pub(crate) moves_ends: bool,
    /// Mean times between the events of a kind; `None` for never.
    pub(crate) storms: Duration,
    pub(crate) clocks: Option<Duration>,
    pub(crate) crashes: Option<Duration>,
    pub(crate) people: Option<Duration>,
    pub(crate) reports: Option<Duration>,
    pub(crate) clients: Duration,
    /// How often a move on the disk fails, in a bad hour.
    pub(crate) disk_trouble: f64,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let life = dice.pick(&[60, 300, 900, 3600, 3600, 3600, 3600, 36_000, 36_000, 172_800]);
        let life = secs(life);
        let at = dice.pick(&[0.5, 0.5, 0.5, 0.3, 0.7]);
        let retry_max = secs(dice.pick(&[60, 60, 60, 15]));
        let settings = RefreshSettings { at, retry_max, ..RefreshSettings::default() };
        let maybe = |dice: &mut Dice, often: f64, least: u64, most: u64| {
            let mean = dice.span(secs(least * 3600), secs(most * 3600));
            dice.hits(often).then_some(mean)
        };
        let rotates = dice.hits(0.5);
        let offset = dice.pick(&[0, 0, 0, 700, 2_500, 20_000, 3_600_000, 90_000_000]);
        Self {
            life,
            latency: dice.span(Duration::from_millis(20), (life / 25).min(secs(4))),
            settings,
            ahead: if dice.hits(0.5) { offset } else { -offset },
            drift: dice.pick(&[0, 0, 20, -20, 200, -200]),
            lag: secs(dice.pick(&[0, 0, 0, 2, 10])),
            has_cache: dice.hits(0.5),
            every: rotates.then(|| secs(3600 * dice.pick(&[9, 24, 72]))),
            lists: dice.hits(0.7),
            moves_ends: dice.hits(0.5),
            storms: dice.span(secs(2 * 3600), secs(48 * 3600)),
            clocks: maybe(&mut dice, 0.6, 2, 48),
            crashes: maybe(&mut dice, 0.7, 3, 72),
            people: maybe(&mut dice, 0.4, 6, 72),
            reports: maybe(&mut dice, 0.7, 1, 24),
            clients: (life / 5).clamp(secs(20), secs(900)),
            disk_trouble: dice.pick(&[0.0, 0.0, 0.05, 0.3]),
        }
    }
}
