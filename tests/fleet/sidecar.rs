//! One daemon with its application, as far as an issuer can tell.

use std::time::Duration;

use bearerd::token::{
    lease::Lease,
    policy::{Event, Policy, Step},
    timing::{RefreshSettings, Tick},
};

use crate::chance::Chance;

/// A policy, its own chances, and the application that uses its token.
#[derive(Clone, Debug)]
pub(crate) struct Sidecar {
    policy: Policy,
    pub(crate) chance: Chance,
    /// Whose key it has.
    pub(crate) user: usize,
    /// When it wakes, if nothing else happens.
    pub(crate) wake: Option<Tick>,
    /// What it serves, and from when that was good.
    pub(crate) token: Option<(Lease, Tick)>,
    /// Since when its application is without a good token.
    pub(crate) in_need: Option<Tick>,
    /// Since when its mints fail.
    pub(crate) failing: Option<Tick>,
}

impl Sidecar {
    pub(crate) fn new(user: usize, chance: Chance) -> Self {
        Self {
            policy: Policy::new(RefreshSettings::default(), None),
            chance,
            user,
            wake: None,
            token: None,
            in_need: None,
            failing: None,
        }
    }

    pub(crate) fn step(&mut self, now: Tick, event: Event) -> Step {
        self.policy.step(now, event, self.chance.next())
    }

    /// Takes a new token; tells how long the application has been without one.
    pub(crate) fn serve(&mut self, now: Tick, lease: Lease, good_from: Tick) -> Option<Duration> {
        let ended = self.token.map(|(old, _)| old.expires).filter(|ended| *ended < now);
        let need = self.in_need.take().into_iter().chain(ended).min();
        self.token = Some((lease, good_from));
        need.map(|since| now.since(since))
    }
}
