//! What to do next about one credential's token: a state machine free of I/O.
//!
//! Time and chance are arguments, so every history can be replayed. The fourteen laws that it keeps
//! are listed in the crate's map and tested in [`laws`](self) over random histories; the scenarios
//! in `tests/scenarios` show them to a reader.

use std::time::Duration;

use super::{
    backoff::{Backoff, Failure, Mend},
    budget::RejectBudget,
    lease::{Lease, Serial},
    timing::{RefreshSettings, Tick},
};

/// Least age at which a client's report about a token is believed (fault 27).
const YOUNG: Duration = Duration::from_secs(3);
/// Least distance of two probes of a reported token.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Least distance of two trials of new keys.
const CANDIDATE_INTERVAL: Duration = Duration::from_secs(5);
/// Least distance of two mints that an operator asked for.
const ASKED_INTERVAL: Duration = Duration::from_secs(1);
/// Part of a lifetime that must have passed before `min_ttl` refreshes, as a divisor.
const WANTED_PART: u32 = 10;
/// Part of a lifetime that must have passed before a late refresh is made up for, as a divisor.
const MADE_UP_PART: u32 = 10;
/// How much shorter than the token at hand a new one may be and still replace it.
const SHORTER: Duration = Duration::from_secs(5);

/// Numbers the mints that the policy started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(u64);

/// Names the key that a mint uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The key that minted the token at hand, or the first one.
    Current,
    /// A newer key that has not minted yet.
    Candidate,
}

/// Says why a mint was started; the label of `bearerd_token_refreshes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// There has been no token yet.
    Startup,
    /// Its time had come, or an earlier attempt had failed.
    Scheduled,
    /// A client reported the token.
    Rejected,
    /// A client wanted more life than was left.
    MinTtl,
    /// The key was replaced.
    KeyChanged,
    /// An operator asked.
    Manual,
}

impl Trigger {
    /// Lists every trigger, for metrics that exist from the start.
    pub const ALL: [Self; 6] = [
        Self::Startup,
        Self::Scheduled,
        Self::Rejected,
        Self::MinTtl,
        Self::KeyChanged,
        Self::Manual,
    ];

    /// Tells the label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Scheduled => "scheduled",
            Self::Rejected => "rejected",
            Self::MinTtl => "min_ttl",
            Self::KeyChanged => "key_changed",
            Self::Manual => "manual",
        }
    }
}

/// Tells the policy what happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Time has passed.
    Wake,
    /// A client says that the upstream refused this token.
    Rejected(Serial),
    /// The issuer was seen to refuse this token as invalid.
    Witnessed(Serial),
    /// The issuer was asked about a reported token.
    Probed {
        /// The token that was tried.
        serial: Serial,
        /// Whether the issuer refused it.
        refused: bool,
    },
    /// A new key was read.
    KeyChanged,
    /// The new key is gone again: the file holds the current one.
    KeyReverted,
    /// A client wants a token with so much life left.
    Wanted(Duration),
    /// An operator wants a new token.
    Asked,
    /// The token was found past its end by another clock.
    Lapsed(Serial),
    /// A mint brought a token.
    Minted {
        /// The mint.
        attempt: Attempt,
        /// Life of the token from the start of the mint.
        lifetime: Duration,
    },
    /// A mint brought none.
    Failed {
        /// The mint.
        attempt: Attempt,
        /// How it failed.
        failure: Failure,
    },
}

/// Starts a mint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mint {
    /// Its number, to be given back with its outcome.
    pub attempt: Attempt,
    /// The key to use.
    pub key: Key,
    /// What started it.
    pub trigger: Trigger,
}

/// Publishes the token that the mint in hand brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Its life and number.
    pub lease: Lease,
    /// The key that minted it; a candidate becomes current by this.
    pub key: Key,
}

/// Answers a request that may have asked for a mint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The report is about another token than the current one.
    Stale,
    /// The token at hand has life enough, or a new one would have no more.
    Enough,
    /// Something newer is on its way: wait for a [`Release`] or a publication.
    Wait,
    /// The budget of such mints is spent for so long.
    Throttled(Duration),
    /// The key rests after a failure for so long.
    Resting(Duration),
}

/// Lets those go who were told to wait, without a newer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The mint failed, or brought nothing better.
    Failed,
    /// The issuer takes the reported token: the budget stays spent for so long.
    Throttled(Duration),
}

/// Says what to do now; nothing of it is done by the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Forget this mint, whatever it brings.
    pub abandon: Option<Attempt>,
    /// Start this mint.
    pub mint: Option<Mint>,
    /// Ask the issuer whether it takes this token.
    pub probe: Option<Serial>,
    /// Serve this token from now on.
    pub publish: Option<Publish>,
    /// Answer the request that this event was.
    pub verdict: Option<Verdict>,
    /// Let go of those who wait.
    pub release: Option<Release>,
    /// Send [`Event::Wake`] at this moment; `None` while a mint is in flight.
    pub wake_at: Option<Tick>,
}

/// How we know that a token was refused.
#[derive(Clone, Copy, Debug)]
enum Evidence {
    /// A client says so.
    Claim,
    /// We forwarded the call that was refused; no probe could tell more.
    Seen,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    attempt: Attempt,
    key: Key,
    trigger: Trigger,
    started: Tick,
    /// Whether somebody waits for what it brings.
    is_awaited: bool,
}

/// A mint of the current key that somebody asked for and that has not started yet.
#[derive(Clone, Copy, Debug)]
struct Prompt {
    due: Tick,
    trigger: Trigger,
}

/// Decides when one credential mints, what is published and what clients are told.
#[derive(Clone, Debug)]
pub struct Policy {
    settings: RefreshSettings,
    lease: Option<Lease>,
    /// The lease that another clock has found over.
    lapsed: Option<Serial>,
    /// The lease that somebody has reported: it is nothing to live on.
    doubted: Option<Serial>,
    flight: Option<Flight>,
    attempts: u64,
    /// When the current key mints by itself.
    refresh_at: Tick,
    /// When the refresh by schedule was planned for, if nothing else has come in between.
    planned: Option<Tick>,
    /// Before this, no mint that nobody asked for.
    spaced_until: Tick,
    current: Backoff,
    candidate: Option<Backoff>,
    candidate_spaced_until: Tick,
    prompt: Option<Prompt>,
    asked_spaced_until: Tick,
    budget: RejectBudget,
    probe: Option<Serial>,
    probe_spaced_until: Tick,
}

impl Policy {
    /// Starts with a key and no token, or with the token that an earlier policy published.
    #[must_use]
    pub fn new(settings: RefreshSettings, lease: Option<Lease>) -> Self {
        Self {
            settings,
            lease,
            lapsed: None,
            doubted: None,
            flight: None,
            attempts: 0,
            refresh_at: Tick::default(),
            planned: None,
            spaced_until: Tick::default(),
            current: Backoff::default(),
            candidate: None,
            candidate_spaced_until: Tick::default(),
            prompt: None,
            asked_spaced_until: Tick::default(),
            budget: RejectBudget::default(),
            probe: None,
            probe_spaced_until: Tick::default(),
        }
    }

    /// Takes one event and says what to do; `chance` is in 0..1 and used at most once.
    pub fn step(&mut self, now: Tick, event: Event, chance: f64) -> Step {
        let was_busy = self.is_busy();
        let mut step = Step::default();
        self.take(now, event, chance, &mut step);
        if let (Some(flight), Some(Verdict::Wait)) = (&mut self.flight, step.verdict) {
            flight.is_awaited = true;
        }
        self.start_what_is_due(now, &mut step);
        if was_busy && !self.is_busy() && step.publish.is_none() && step.release.is_none() {
            step.release = Some(Release::Failed);
        }
        step.wake_at = self.wake_at();
        step
    }

    /// Takes other settings, for the token at hand too.
    pub fn reconfigure(&mut self, settings: RefreshSettings, chance: f64) {
        self.settings = settings;
        self.current.hurry();
        if let Some(lease) = &mut self.lease {
            lease.expires = lease.expires.min(lease.issued + settings.max_lifetime);
            let lease = *lease;
            self.bring_forward(self.refresh_point(&lease, chance));
        }
    }

    /// Cuts the life of the lease at hand to the end of its key; tells the lease if that cut it.
    pub fn cut_life(&mut self, end: Tick, chance: f64) -> Option<Lease> {
        let lease = self.lease.as_mut().filter(|lease| lease.expires > end)?;
        lease.expires = end.max(lease.issued);
        let lease = *lease;
        self.bring_forward(self.refresh_point(&lease, chance));
        Some(lease)
    }

    /// Tells when the next mint starts by itself; `None` while one is in flight.
    #[must_use]
    pub fn wake_at(&self) -> Option<Tick> {
        self.flight.is_none().then(|| self.next_mint(Tick::default()).0)
    }

    fn take(&mut self, now: Tick, event: Event, chance: f64, step: &mut Step) {
        match event {
            Event::Wake => {}
            Event::Rejected(serial) => {
                step.verdict = Some(self.rejected(now, serial, Evidence::Claim, step));
            }
            Event::Witnessed(serial) => {
                step.verdict = Some(self.rejected(now, serial, Evidence::Seen, step));
            }
            Event::Probed { serial, refused } => self.probed(now, serial, refused, step),
            Event::KeyChanged => self.key_changed(now, step),
            Event::KeyReverted => self.key_reverted(step),
            Event::Wanted(min_ttl) => step.verdict = Some(self.wanted(now, min_ttl)),
            Event::Asked => step.verdict = Some(self.asked(now)),
            Event::Lapsed(serial) => self.lapsed(now, serial),
            Event::Minted { attempt, lifetime } => {
                if let Some(flight) = self.land(now, attempt) {
                    self.minted(now, flight, lifetime, chance, step);
                }
            }
            Event::Failed { attempt, failure } => {
                if let Some(flight) = self.land(now, attempt) {
                    self.failed(now, flight, failure, chance);
                }
            }
        }
    }

    /// Law 10: a report about another token changes nothing.
    fn rejected(
        &mut self,
        now: Tick,
        serial: Serial,
        evidence: Evidence,
        step: &mut Step,
    ) -> Verdict {
        let Some(lease) = self.lease.filter(|lease| lease.serial == serial) else {
            return Verdict::Stale;
        };
        self.budget.report(now);
        self.doubted = Some(serial);
        if self.is_minting_with_current() || self.prompt.is_some() || self.probe.is_some() {
            return Verdict::Wait;
        }
        self.current.hurry();
        if let Some(rest) = positive(self.current.until().since(now)) {
            return Verdict::Resting(rest);
        }
        let due = now.max(lease.published + YOUNG);
        if self.budget.free_at() <= due {
            self.budget.spend(due);
            self.prompt = Some(Prompt { due, trigger: Trigger::Rejected });
            return Verdict::Wait;
        }
        if self.flight.is_some() {
            // A new key is being tried: what it brings is newer, too, and costs no budget.
            return Verdict::Wait;
        }
        if due > now || self.probe_spaced_until > now {
            return Verdict::Throttled(self.spent_for(now, due));
        }
        self.probe_spaced_until = now + PROBE_INTERVAL;
        match evidence {
            Evidence::Claim => {
                self.probe = Some(serial);
                step.probe = self.probe;
            }
            Evidence::Seen => self.prompt = Some(Prompt { due, trigger: Trigger::Rejected }),
        }
        Verdict::Wait
    }

    fn probed(&mut self, now: Tick, serial: Serial, refused: bool, step: &mut Step) {
        if self.probe.take_if(|probe| *probe == serial).is_none() {
            return;
        }
        let is_current = self.lease.is_some_and(|lease| lease.serial == serial);
        self.doubted = self.doubted.filter(|_| refused);
        if refused && is_current && !self.is_minting_with_current() {
            self.prompt = self.prompt.or(Some(Prompt { due: now, trigger: Trigger::Rejected }));
        } else if !self.is_busy() {
            step.release = Some(Release::Throttled(self.spent_for(now, now)));
        }
    }

    /// Law 12: a new key is tried at once, whatever is in flight.
    fn key_changed(&mut self, now: Tick, step: &mut Step) {
        let can_start = self.candidate_spaced_until <= now;
        let superseded = |flight: &mut Flight| can_start || flight.key == Key::Candidate;
        step.abandon = self.flight.take_if(superseded).map(|flight| flight.attempt);
        self.candidate = Some(Backoff::default());
    }

    fn key_reverted(&mut self, step: &mut Step) {
        self.candidate = None;
        let flight = self.flight.take_if(|flight| flight.key == Key::Candidate);
        step.abandon = flight.map(|flight| flight.attempt);
    }

    fn wanted(&mut self, now: Tick, min_ttl: Duration) -> Verdict {
        if let Some(lease) = self.valid(now) {
            let enough = lease.remaining(now) >= min_ttl
                || lease.lifetime() <= min_ttl
                || now.since(lease.issued) < lease.lifetime() / WANTED_PART;
            if enough {
                return Verdict::Enough;
            }
        }
        if self.is_busy() {
            return Verdict::Wait;
        }
        self.current.hurry();
        let rests_until = self.current.until().max(self.spaced_until);
        if let Some(rest) = positive(rests_until.since(now)) {
            return Verdict::Resting(rest);
        }
        self.prompt = Some(Prompt { due: now, trigger: Trigger::MinTtl });
        Verdict::Wait
    }

    /// An operator is heard inside a back-off too, for both keys.
    fn asked(&mut self, now: Tick) -> Verdict {
        if self.flight.is_some() {
            return Verdict::Wait;
        }
        if let Some(rest) = positive(self.asked_spaced_until.since(now)) {
            return Verdict::Throttled(rest);
        }
        self.asked_spaced_until = now + ASKED_INTERVAL;
        self.prompt = Some(Prompt { due: now, trigger: Trigger::Manual });
        if let Some(candidate) = &mut self.candidate {
            candidate.let_through();
        }
        Verdict::Wait
    }

    fn lapsed(&mut self, now: Tick, serial: Serial) {
        if self.lease.is_some_and(|lease| lease.serial == serial) {
            self.lapsed = Some(serial);
            self.bring_forward(now);
        }
    }

    /// Plans the refresh for an earlier moment; a patience that was measured by a longer life ends.
    fn bring_forward(&mut self, to: Tick) {
        self.current.hurry();
        if to < self.refresh_at {
            (self.refresh_at, self.planned) = (to, None);
        }
    }

    fn minted(
        &mut self,
        now: Tick,
        flight: Flight,
        lifetime: Duration,
        chance: f64,
        step: &mut Step,
    ) {
        let lease = Lease {
            serial: self.lease.map_or(Serial::NONE, |lease| lease.serial).next(),
            issued: flight.started,
            published: now,
            expires: flight.started + lifetime.min(self.settings.max_lifetime),
        };
        if !lease.is_valid(now) {
            let failure = Failure { mend: Mend::Retry, retry_after: None };
            return self.failed(now, flight, failure, chance);
        }
        self.current = Backoff::default();
        if let Some(better) = self.better_than(&lease, flight, now) {
            (self.refresh_at, self.planned) = (now + better.remaining(now) / 2, None);
            return;
        }
        self.publish(flight, lease, chance, step);
    }

    /// The token at hand, if it outlives the new one and nobody doubts it (law 4, fault 2).
    fn better_than(&self, lease: &Lease, flight: Flight, now: Tick) -> Option<Lease> {
        let unprompted = matches!(flight.trigger, Trigger::Scheduled | Trigger::MinTtl);
        let held = self.valid(now).filter(|held| self.doubted != Some(held.serial));
        held.filter(|held| unprompted && held.expires > lease.expires + SHORTER)
    }

    fn publish(&mut self, flight: Flight, lease: Lease, chance: f64, step: &mut Step) {
        if flight.key == Key::Candidate {
            self.candidate = None;
        }
        self.prompt = None;
        self.refresh_at = match self.planned.filter(|_| flight.trigger == Trigger::Scheduled) {
            Some(planned) => self.next_in_step(&lease, planned, chance),
            None => self.any_point(&lease, chance),
        };
        self.planned = Some(self.refresh_at);
        self.lease = Some(lease);
        step.publish = Some(Publish { lease, key: flight.key });
    }

    fn refresh_point(&self, lease: &Lease, chance: f64) -> Tick {
        let part = self.settings.at + self.settings.jitter * (2.0 * chance - 1.0);
        lease.issued + lease.lifetime().mul_f64(part.clamp(0.0, 1.0))
    }

    /// The point after one that was kept, or kept late: the time lost is made up for.
    ///
    /// Else a fleet whose refreshes an outage has held up would go on in step (fault 195).
    fn next_in_step(&self, lease: &Lease, planned: Tick, chance: f64) -> Tick {
        let wait = self.refresh_point(lease, chance).since(lease.issued);
        let wait = wait.saturating_sub(lease.issued.since(planned));
        if wait < lease.lifetime() / MADE_UP_PART {
            return self.any_point(lease, chance);
        }
        lease.issued + wait
    }

    /// A point of a whole period around `at`, where what would come too late comes a period earlier.
    ///
    /// After a mint that no schedule brought a fleet may be in step, by a deployment, a revocation
    /// or a new key: this spreads it evenly at once (fault 194).
    fn any_point(&self, lease: &Lease, chance: f64) -> Tick {
        let RefreshSettings { at, jitter, .. } = self.settings;
        if jitter <= 0.0 {
            return self.refresh_point(lease, chance);
        }
        let part = at * (chance + 0.5);
        let part = if part > at + jitter { part - at } else { part };
        lease.issued + lease.lifetime().mul_f64(part.clamp(0.0, 1.0))
    }

    fn failed(&mut self, now: Tick, flight: Flight, failure: Failure, chance: f64) {
        let held = self.valid(now).filter(|lease| self.doubted != Some(lease.serial));
        let left = held.map_or(Duration::ZERO, |lease| lease.remaining(now));
        let backoff = match flight.key {
            Key::Current => &mut self.current,
            Key::Candidate => self.candidate.get_or_insert_default(),
        };
        backoff.fail(&self.settings, now, failure, left, chance);
        if flight.is_awaited {
            backoff.hurry();
        }
    }

    /// Takes the flight that this outcome belongs to; an abandoned one has none (law 5).
    fn land(&mut self, now: Tick, attempt: Attempt) -> Option<Flight> {
        let landed = self.flight.take_if(|flight| flight.attempt == attempt);
        if landed.is_some_and(|flight| flight.trigger == Trigger::Rejected) {
            self.budget.landed(now);
        }
        landed
    }

    /// Law 1: at most one mint in flight.
    fn start_what_is_due(&mut self, now: Tick, step: &mut Step) {
        if self.flight.is_some() {
            return;
        }
        let (due, key, trigger) = self.next_mint(now);
        if due <= now {
            step.mint = Some(self.start(now, key, trigger));
        }
    }

    fn start(&mut self, now: Tick, key: Key, trigger: Trigger) -> Mint {
        self.attempts = self.attempts.saturating_add(1);
        let attempt = Attempt(self.attempts);
        let is_awaited = trigger != Trigger::Scheduled;
        self.flight = Some(Flight { attempt, key, trigger, started: now, is_awaited });
        self.spaced_until = now + self.settings.min_interval;
        match key {
            Key::Candidate => self.candidate_spaced_until = now + CANDIDATE_INTERVAL,
            Key::Current => {
                // Should it fail or be abandoned, the next one is due as soon as the key has rested.
                self.refresh_at = self.refresh_at.min(now);
                self.planned = self.planned.filter(|_| trigger == Trigger::Scheduled);
                self.prompt = None;
            }
        }
        Mint { attempt, key, trigger }
    }

    /// The next mint that will start if nothing else happens; of two that are due, the new key's.
    fn next_mint(&self, now: Tick) -> (Tick, Key, Trigger) {
        let own = self.next_of_current(now);
        match self.candidate.map(|backoff| backoff.until().max(self.candidate_spaced_until)) {
            Some(due) if due <= own.0.max(now) => (due, Key::Candidate, Trigger::KeyChanged),
            _ => own,
        }
    }

    /// Of a plan and somebody's request that are both due, the request's: it is why there is no patience.
    fn next_of_current(&self, now: Tick) -> (Tick, Key, Trigger) {
        let trigger = if self.lease.is_none() { Trigger::Startup } else { Trigger::Scheduled };
        let rested = self.refresh_at.max(self.current.until()).max(self.spaced_until);
        let prompted = self.prompt.map(|prompt| (self.prompt_due(prompt), prompt.trigger));
        match prompted {
            Some((due, trigger)) if due <= rested.max(now) => (due, Key::Current, trigger),
            _ => (rested, Key::Current, trigger),
        }
    }

    /// Law 6: only an operator is heard inside a back-off.
    fn prompt_due(&self, prompt: Prompt) -> Tick {
        match prompt.trigger {
            Trigger::Manual => prompt.due,
            _ => prompt.due.max(self.current.until()),
        }
    }

    /// The lease at hand, if it can be served as far as any clock is known to say.
    fn valid(&self, now: Tick) -> Option<Lease> {
        self.lease.filter(|lease| lease.is_valid(now) && self.lapsed != Some(lease.serial))
    }

    /// Whether anything is under way that those who wait can hope for.
    fn is_busy(&self) -> bool {
        self.flight.is_some() || self.prompt.is_some() || self.probe.is_some()
    }

    fn is_minting_with_current(&self) -> bool {
        self.flight.is_some_and(|flight| flight.key == Key::Current)
    }

    /// How long it is until a report can bring a mint, or a probe of a token that is old enough.
    fn spent_for(&self, now: Tick, old_enough: Tick) -> Duration {
        self.budget.free_at().min(self.probe_spaced_until.max(old_enough)).since(now)
    }
}

fn positive(rest: Duration) -> Option<Duration> {
    (!rest.is_zero()).then_some(rest)
}

#[cfg(test)]
#[path = "policy_laws.rs"]
mod laws;
#[cfg(any(test, feature = "fuzzing"))]
#[path = "policy_world.rs"]
#[expect(clippy::panic, clippy::indexing_slicing, reason = "what breaks a law panics")]
pub(crate) mod world;
