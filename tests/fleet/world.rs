//! Simulated time: what happens next, and what was seen of it.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use bearerd::{
    okta::classify::MintError,
    token::{
        backoff::Failure,
        lease::Serial,
        policy::{Attempt, Event, Step},
        timing::Tick,
    },
};

use crate::{chance::Chance, issuer::Issuer, sidecar::Sidecar};

/// Life of each token.
pub(crate) const LIFE: Duration = Duration::from_secs(3600);

/// Tells a moment by the seconds since the beginning.
pub(crate) const fn at(seconds: u64) -> Tick {
    Tick::from_boot(Duration::from_secs(1_000_000 + seconds))
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What happens to one sidecar, or to all.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Start,
    Wake,
    Landed(Attempt, Result<Tick, MintError>),
    Probed(Serial, bool),
    /// The application calls its upstream.
    Use,
    NewKey,
    /// The daemon replaces its key: it lists, asks and tries before the new key lies there.
    Rotate,
}

/// What is seen of a fleet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Each call that the issuer got, or was to get.
    pub(crate) calls: Vec<Tick>,
    /// When an application got a token after it had none, and for how long it had none.
    pub(crate) waits: Vec<(Tick, Duration)>,
    /// When a daemon whose mints had failed had a new token, and for how long they had failed.
    pub(crate) recoveries: Vec<(Tick, Duration)>,
    pub(crate) failures: usize,
}

/// A fleet and its issuer.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) issuer: Issuer,
    pub(crate) seen: Seen,
    sidecars: Vec<Sidecar>,
    chance: Chance,
    now: Tick,
    coming: BinaryHeap<Reverse<Coming>>,
    order: u64,
    /// Pause between two calls of an application.
    use_every: Duration,
}

/// Sorted by time, then by when it was known of.
#[derive(Clone, Debug)]
struct Coming {
    at: Tick,
    order: u64,
    sidecar: usize,
    what: Happening,
}

impl World {
    /// Makes a fleet, evenly on so many users; nobody has started yet.
    pub(crate) fn new(sidecars: usize, users: usize, mut chance: Chance) -> Self {
        let sidecars = (0..sidecars).map(|n| Sidecar::new(n % users, chance.fork())).collect();
        Self {
            issuer: Issuer::new(users),
            seen: Seen::default(),
            sidecars,
            chance,
            now: at(0),
            coming: BinaryHeap::new(),
            order: 0,
            use_every: Duration::ZERO,
        }
    }

    /// Starts all of them within a time from now.
    pub(crate) fn deploy(&mut self, within: Duration) {
        self.each_within(within, Happening::Start);
    }

    /// Takes all tokens back; each application calls once in a while and sees it then.
    pub(crate) fn revoke(&mut self, use_every: Duration) {
        self.issuer.revoke(self.now);
        self.use_every = use_every;
        self.each_within(use_every, Happening::Use);
    }

    /// Puts a new key before each of them within a time from now.
    pub(crate) fn new_keys(&mut self, within: Duration) {
        self.each_within(within, Happening::NewKey);
    }

    /// Lets one of them replace its key at a moment.
    pub(crate) fn rotate(&mut self, sidecar: usize, at: Tick) {
        self.push(at, sidecar, Happening::Rotate);
    }

    /// Makes all of them copies of the first, with chances of their own or with its own.
    pub(crate) fn clone_first(&mut self, own_chances: bool) {
        self.coming.retain(|Reverse(coming)| coming.sidecar == 0);
        for n in 1..self.sidecars.len() {
            let mut clone = self.sidecars[0].clone();
            clone.user = self.sidecars[n].user;
            if own_chances {
                clone.chance = self.chance.fork();
            }
            let wake = clone.wake;
            self.sidecars[n] = clone;
            if let Some(wake) = wake {
                self.push(wake, n, Happening::Wake);
            }
        }
    }

    fn each_within(&mut self, within: Duration, what: Happening) {
        for n in 0..self.sidecars.len() {
            let after = within.mul_f64(self.chance.next());
            self.push(self.now + after, n, what);
        }
    }

    fn push(&mut self, at: Tick, sidecar: usize, what: Happening) {
        self.order += 1;
        self.coming.push(Reverse(Coming { at, order: self.order, sidecar, what }));
    }

    /// Lets everything happen until then.
    pub(crate) fn run_to(&mut self, end: Tick) {
        while let Some(Reverse(coming)) = self.coming.pop() {
            if coming.at >= end {
                self.coming.push(Reverse(coming));
                break;
            }
            self.now = coming.at;
            self.happen(coming.sidecar, coming.what);
        }
        self.now = end;
    }

    /// Tells how many applications could be given a good token now.
    pub(crate) fn served(&self) -> usize {
        let is_good = |sidecar: &&Sidecar| {
            sidecar.token.is_some_and(|(lease, good_from)| {
                lease.is_valid(self.now) && !self.issuer.has_revoked(good_from)
            })
        };
        self.sidecars.iter().filter(is_good).count()
    }

    fn happen(&mut self, n: usize, what: Happening) {
        match what {
            Happening::Start => {
                self.sidecars[n].in_need = Some(self.now);
                self.tell(n, Event::Wake, None);
            }
            Happening::Wake => {
                // One that was put off has been told anew.
                if self.sidecars[n].wake == Some(self.now) {
                    self.tell(n, Event::Wake, None);
                }
            }
            Happening::Landed(attempt, Ok(good_from)) => {
                self.tell(n, Event::Minted { attempt, lifetime: LIFE }, Some(good_from));
            }
            Happening::Landed(attempt, Err(error)) => {
                self.seen.failures += 1;
                self.sidecars[n].failing.get_or_insert(self.now);
                self.tell(n, Event::Failed { attempt, failure: Failure::from(&error) }, None);
            }
            Happening::Probed(serial, refused) => {
                self.tell(n, Event::Probed { serial, refused }, None);
            }
            Happening::Use => self.use_token(n),
            Happening::NewKey => self.tell(n, Event::KeyChanged, None),
            Happening::Rotate => {
                for _ in ["list", "ask", "try"] {
                    self.call(n);
                }
                self.push(self.now + secs(1), n, Happening::NewKey);
            }
        }
    }

    /// An application goes on calling, and reporting, until its token is taken.
    fn use_token(&mut self, n: usize) {
        let Some((lease, good_from)) = self.sidecars[n].token else { return };
        if !self.issuer.has_revoked(good_from) {
            return;
        }
        self.sidecars[n].in_need.get_or_insert(self.now);
        self.push(self.now + self.use_every, n, Happening::Use);
        self.tell(n, Event::Rejected(lease.serial), None);
    }

    fn tell(&mut self, n: usize, event: Event, good_from: Option<Tick>) {
        let step = self.sidecars[n].step(self.now, event);
        if let (Some(publish), Some(good_from)) = (step.publish, good_from) {
            let sidecar = &mut self.sidecars[n];
            let wait = sidecar.serve(self.now, publish.lease, good_from);
            self.seen.waits.extend(wait.map(|wait| (self.now, wait)));
            let failing = sidecar.failing.take();
            self.seen.recoveries.extend(failing.map(|since| (self.now, self.now.since(since))));
        }
        self.carry_out(n, step);
    }

    fn carry_out(&mut self, n: usize, step: Step) {
        if let Some(mint) = step.mint {
            let answer = self.call(n);
            self.push(answer.at, n, Happening::Landed(mint.attempt, answer.result));
        }
        if let (Some(serial), Some((_, good_from))) = (step.probe, self.sidecars[n].token) {
            let answer = self.call(n);
            let refused = answer.result.is_ok() && self.issuer.has_revoked(good_from);
            self.push(answer.at, n, Happening::Probed(serial, refused));
        }
        if self.sidecars[n].wake != step.wake_at {
            self.sidecars[n].wake = step.wake_at;
            if let Some(wake) = step.wake_at {
                self.push(wake, n, Happening::Wake);
            }
        }
    }

    fn call(&mut self, n: usize) -> crate::issuer::Answer {
        self.seen.calls.push(self.now);
        self.issuer.call(self.now, self.sidecars[n].user)
    }
}

impl Ord for Coming {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Coming {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Coming {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Coming {}
