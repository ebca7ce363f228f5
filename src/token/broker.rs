//! The one task that owns a policy: it carries out what the policy decides.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::{
    backoff::{Failure, Mend},
    handle::{Command, Handle, Heard, KeyEnd, Shared},
    keys::{KeyTrouble, Keys},
    lease::Lease,
    policy::{Event, Key, Mint, Policy, Publish, Release, Step, Trigger, Verdict},
    published::Published,
    state::{Failing, State},
    timing::{RefreshSettings, Tick},
};
use crate::{
    key::{api_key::ApiKey, refused::Refused},
    okta::{
        classify::{Grant, MintError, Reason},
        issuer::{Issuer, Outcome},
    },
    process::clock::{Clock, Sleep},
    telemetry::metrics::Metrics,
};

/// Draws a chance in 0..1.
pub type Chance = Box<dyn FnMut() -> f64 + Send>;

/// Work that goes on beside the broker's own.
type Errand<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How many failures in a row are worth a warning each; then only a change of the reason is.
const WARNED: u32 = 3;

/// Makes the brokers of one credential, one after the other, all on the same line.
pub struct BrokerSeat {
    shared: Arc<Shared>,
    line: Arc<Mutex<mpsc::Receiver<Command>>>,
}

impl BrokerSeat {
    /// Makes the seat and the handle that everybody else holds.
    #[must_use]
    pub fn new(name: &str, clock: Arc<dyn Clock>, metrics: &Metrics) -> (Self, Handle) {
        let triggers = Trigger::ALL.map(Trigger::label);
        let metrics = metrics.credential(name, &triggers, &Reason::ALL.map(Reason::label));
        let (handle, line) = Handle::new(name, clock, metrics);
        let shared = Arc::clone(handle.shared());
        (Self { shared, line: Arc::new(Mutex::new(line)) }, handle)
    }

    /// Tells the credential's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Runs a broker until it is dropped; what an earlier one published goes on being served.
    ///
    /// Of settings that change the latest hold, however fast they follow each other.
    pub async fn run<I: Issuer, K: Keys>(
        &self,
        settings: watch::Receiver<RefreshSettings>,
        issuer: Arc<I>,
        keys: K,
        chance: Chance,
    ) {
        let line = Arc::clone(&self.line).lock_owned().await;
        let shared = Arc::clone(&self.shared);
        let broker = Broker {
            desk: Desk { shared, chance, waiters: Vec::new(), state: State::default() },
            settings,
            issuer,
            keys,
            engine: None,
            refused: Refused::default(),
            key_end: None,
        };
        broker.run(line).await;
    }
}

struct Broker<I, K> {
    desk: Desk,
    settings: watch::Receiver<RefreshSettings>,
    issuer: Arc<I>,
    keys: K,
    /// There is none until a key could be read.
    engine: Option<Engine>,
    refused: Refused,
    key_end: Option<KeyEnd>,
}

/// The policy and what it has set going.
struct Engine {
    policy: Policy,
    current: Arc<ApiKey>,
    candidate: Option<Arc<ApiKey>>,
    flight: Option<(Mint, Errand<Outcome>)>,
    probe: Option<Errand<Event>>,
    alarm: Option<(Tick, Sleep)>,
}

/// Whom the broker answers, and what it tells of itself.
struct Desk {
    shared: Arc<Shared>,
    chance: Chance,
    waiters: Vec<oneshot::Sender<Heard>>,
    state: State,
}

impl<I: Issuer, K: Keys> Broker<I, K> {
    async fn run(mut self, mut line: tokio::sync::OwnedMutexGuard<mpsc::Receiver<Command>>) {
        loop {
            // What ends a wait goes first, so that a crowd at the line cannot delay it.
            tokio::select! {
                biased;
                happened = Engine::next(self.engine.as_mut()) => self.happened(happened),
                news = self.keys.next() => self.key_news(news),
                Ok(()) = self.settings.changed() => self.configure(),
                Some(command) = line.recv() => self.hear(command),
            }
        }
    }

    fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Landed(outcome) => self.landed(outcome),
            Happened::Event(event) => self.step(event, None),
        }
    }

    fn hear(&mut self, command: Command) {
        match command {
            Command::Reject(serial, reply) => self.step(Event::Rejected(serial), Some(reply)),
            Command::Witness(serial, reply) => self.step(Event::Witnessed(serial), Some(reply)),
            Command::Want(life, reply) => self.step(Event::Wanted(life), Some(reply)),
            Command::Ask(reply) => {
                self.keys.look_again();
                self.step(Event::Asked, Some(reply));
            }
            Command::Lapsed(serial) => self.step(Event::Lapsed(serial), None),
            Command::KeyEnds(end) => self.key_ends(end),
        }
    }

    fn configure(&mut self) {
        let settings = *self.settings.borrow_and_update();
        let chance = (self.desk.chance)();
        if let Some(engine) = &mut self.engine {
            engine.policy.reconfigure(settings, chance);
        }
        self.step(Event::Wake, None);
    }

    fn key_news(&mut self, news: Result<Arc<ApiKey>, KeyTrouble>) {
        self.desk.shared.metrics.count_key_reload(news.is_ok());
        match news {
            Ok(key) => {
                self.desk.state.key_trouble = None;
                self.key_read(key);
                self.desk.show(self.engine.as_ref());
            }
            Err(trouble) => self.key_unreadable(trouble),
        }
    }

    fn key_unreadable(&mut self, trouble: KeyTrouble) {
        tracing::warn!(
            credential = self.desk.shared.name,
            kind = trouble.label,
            problem = trouble.sentence,
            "the API key cannot be read"
        );
        self.desk.state.key_trouble = Some(trouble.sentence);
        self.desk.show(self.engine.as_ref());
    }

    fn key_read(&mut self, key: Arc<ApiKey>) {
        let Some(engine) = &mut self.engine else {
            return self.start(key);
        };
        let fingerprint = key.fingerprint();
        if fingerprint == engine.current.fingerprint() {
            tracing::info!(credential = self.desk.shared.name, "the key file holds the key in use");
            engine.candidate = None;
            // What was wrong with it is no trouble any more.
            self.desk.state.candidate_failing = None;
            return self.step(Event::KeyReverted, None);
        }
        if self.refused.contains(fingerprint, self.desk.now()) {
            tracing::warn!(
                credential = self.desk.shared.name,
                key_id = key.id(),
                "the key file holds a key that the issuer refused a moment ago"
            );
            return;
        }
        tracing::info!(credential = self.desk.shared.name, key_id = key.id(), "a new key is tried");
        engine.candidate = Some(key);
        self.desk.state.candidate_failing = None;
        self.step(Event::KeyChanged, None);
    }

    fn start(&mut self, key: Arc<ApiKey>) {
        tracing::info!(
            credential = self.desk.shared.name,
            key_id = key.id(),
            "the API key was read"
        );
        self.desk.state.key_id = Some(key.id().to_owned());
        self.desk.state.key_since = self.desk.shared.clock.wall();
        if let (None, Some((grant, lease))) = (self.desk.shared.last(), self.keys.recall()) {
            self.desk.go_on_with(grant, lease);
        }
        let last = self.desk.shared.last();
        let lease = last.as_ref().map(|published| published.lease());
        self.engine = Some(Engine {
            policy: Policy::new(*self.settings.borrow_and_update(), lease),
            current: key,
            candidate: None,
            flight: None,
            probe: None,
            alarm: None,
        });
        // An earlier broker may have been told of a lapse, and nobody tells it twice.
        let (tick, wall) = (self.desk.now(), self.desk.shared.clock.wall());
        let lapsed = last.filter(|published| !published.is_valid(tick, wall));
        let event = lapsed.map_or(Event::Wake, |published| Event::Lapsed(published.serial()));
        self.step(event, None);
    }

    fn landed(&mut self, outcome: Outcome) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let Some((mint, _)) = engine.flight.take() else {
            return;
        };
        if let Some(observed) = outcome.observed {
            self.desk.shared.metrics.set_skew(observed.skew.as_secs_f64());
            observed.allowance.into_iter().for_each(|told| self.desk.shared.note_allowance(told));
        }
        let failed = match outcome.result {
            Ok(grant) => self.minted(mint, grant, outcome.took),
            Err(error) => self.failed(mint, error),
        };
        let failed = failed.map(Reason::label);
        self.desk.shared.metrics.count_refresh(mint.trigger.label(), failed, outcome.took);
        self.desk.show(self.engine.as_ref());
    }

    fn minted(&mut self, mint: Mint, grant: Grant, took: Duration) -> Option<Reason> {
        let life = self.life_of_key(mint).map(|left| left.saturating_add(took));
        let engine = self.engine.as_mut()?;
        let lifetime = grant.lifetime.min(life.unwrap_or(Duration::MAX));
        let event = Event::Minted { attempt: mint.attempt, lifetime };
        let mut step = engine.policy.step(self.desk.now(), event, (self.desk.chance)());
        let failed = match step.publish.take() {
            Some(publish) => {
                engine.adopt(publish.key, &mut self.desk);
                self.desk.publish(grant, publish, mint, engine);
                if let Some(published) = self.desk.shared.last() {
                    self.keys.keep(&engine.current, &published);
                }
                None
            }
            None => Some(self.desk.note_failure(mint, MintError::from(Reason::Expired))),
        };
        self.act(step, None);
        failed
    }

    fn failed(&mut self, mint: Mint, error: MintError) -> Option<Reason> {
        let engine = self.engine.as_mut()?;
        let failure = Failure::from(&error);
        let event = Event::Failed { attempt: mint.attempt, failure };
        if failure.mend == Mend::Outside {
            // Somebody may have rotated it meanwhile (fault 20).
            self.keys.look_again();
            if let (Key::Candidate, Some(key)) = (mint.key, &engine.candidate) {
                self.refused.record(key.fingerprint(), self.desk.now());
            }
        }
        let step = engine.policy.step(self.desk.now(), event, (self.desk.chance)());
        let reason = self.desk.note_failure(mint, error);
        self.act(step, None);
        Some(reason)
    }

    fn step(&mut self, event: Event, reply: Option<oneshot::Sender<Heard>>) {
        let Some(engine) = &mut self.engine else {
            Desk::answer(reply, Heard::Nothing);
            return self.desk.show(None);
        };
        let step = engine.policy.step(self.desk.now(), event, (self.desk.chance)());
        self.act(step, reply);
    }

    /// Carries out a step; a token that it publishes has been published before.
    fn act(&mut self, step: Step, reply: Option<oneshot::Sender<Heard>>) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        if step.abandon.is_some() {
            engine.flight = None;
        }
        if let Some(mint) = step.mint {
            engine.mint(mint, &self.issuer);
        }
        if let (Some(serial), Some(published)) = (step.probe, self.desk.shared.last()) {
            let issuer = Arc::clone(&self.issuer);
            // A probe is optional: what is left of the user's calls is for others (fault 280).
            let can_ask = !self.desk.shared.is_allowance_low();
            engine.probe = Some(Box::pin(async move {
                let refused = can_ask && issuer.refuses(published.token()).await;
                Event::Probed { serial, refused }
            }));
        }
        let has_moved = step.mint.is_some() || step.abandon.is_some();
        self.desk.release(step.release);
        self.desk.reply(step.verdict, reply);
        if engine.set_alarm(step.wake_at, &*self.desk.shared.clock) || has_moved {
            self.desk.show(self.engine.as_ref());
        }
    }
}

/// What an engine has to report.
enum Happened {
    Landed(Outcome),
    Event(Event),
}

impl Engine {
    /// Waits for whatever was set going; for ever if nothing was.
    async fn next(engine: Option<&mut Self>) -> Happened {
        let Some(engine) = engine else {
            return std::future::pending().await;
        };
        let flight = engine.flight.as_mut().map(|(_, flight)| flight);
        tokio::select! {
            biased;
            outcome = or_never(flight) => Happened::Landed(outcome),
            event = or_never(engine.probe.as_mut()) => {
                engine.probe = None;
                Happened::Event(event)
            }
            () = or_never(engine.alarm.as_mut().map(|(_, sleep)| sleep)) => {
                engine.alarm = None;
                Happened::Event(Event::Wake)
            }
        }
    }

    fn mint(&mut self, mint: Mint, issuer: &Arc<impl Issuer>) {
        let key = Arc::clone(self.key(mint.key));
        let issuer = Arc::clone(issuer);
        self.flight = Some((mint, Box::pin(async move { issuer.mint(&key).await })));
    }

    fn key(&self, key: Key) -> &Arc<ApiKey> {
        let candidate = self.candidate.as_ref().filter(|_| key == Key::Candidate);
        candidate.unwrap_or(&self.current)
    }

    fn adopt(&mut self, key: Key, desk: &mut Desk) {
        if key == Key::Candidate
            && let Some(candidate) = self.candidate.take()
        {
            tracing::info!(
                credential = desk.shared.name,
                key_id = candidate.id(),
                "the new key is in use"
            );
            desk.state.key_id = Some(candidate.id().to_owned());
            desk.state.key_since = desk.shared.clock.wall();
            self.current = candidate;
        }
    }

    /// Sets the alarm unless it is set to this moment already; tells whether it was not.
    fn set_alarm(&mut self, wake_at: Option<Tick>, clock: &dyn Clock) -> bool {
        let is_set = self.alarm.as_ref().map(|(at, _)| *at);
        if is_set == wake_at {
            return false;
        }
        self.alarm = wake_at.map(|at| (at, clock.sleep_until(at)));
        true
    }
}

async fn or_never<T>(future: Option<&mut Errand<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

impl Desk {
    fn now(&self) -> Tick {
        self.shared.clock.tick()
    }

    fn publish(&mut self, grant: Grant, publish: Publish, mint: Mint, engine: &Engine) {
        let wall = self.shared.clock.wall();
        let lease = publish.lease;
        let published = Published::new(grant, lease, wall);
        let lived = lease.published.since(lease.issued);
        self.shared.metrics.set_token(wall - lived, published.wall_end());
        self.log_refresh(&published, mint);
        self.state.failing = None;
        if publish.key == Key::Candidate {
            self.state.candidate_failing = None;
        }
        // Whoever is woken by the word of the token may look at this, too.
        self.show(Some(engine));
        self.shared.publish(published);
        for waiter in self.waiters.drain(..) {
            Self::answer(Some(waiter), Heard::Served);
        }
    }

    /// Serves a token that an earlier process has kept.
    fn go_on_with(&self, grant: Grant, lease: Lease) {
        let (wall, lived) = (self.shared.clock.wall(), lease.published.since(lease.issued));
        let published = Published::new(grant, lease, wall);
        self.shared.metrics.set_token(wall - lived, published.wall_end());
        tracing::info!(
            credential = self.shared.name,
            token_id = published.token_id(),
            expires_at = %published.expires_at(),
            "a token that was kept is served"
        );
        self.shared.publish(published);
    }

    fn log_refresh(&self, published: &Published, mint: Mint) {
        tracing::info!(
            credential = self.shared.name,
            token_id = published.token_id(),
            trigger = mint.trigger.label(),
            expires_at = %published.expires_at(),
            failures_before = self.state.failing.map_or(0, |failing| failing.times),
            "a token was minted"
        );
    }

    fn note_failure(&mut self, mint: Mint, error: MintError) -> Reason {
        let failing = match mint.key {
            Key::Current => &mut self.state.failing,
            Key::Candidate => &mut self.state.candidate_failing,
        };
        let before = *failing;
        let times = before.map_or(0, |failing| failing.times).saturating_add(1);
        let is_news = before.is_none_or(|failing| failing.error.reason != error.reason);
        let name = self.shared.name.as_str();
        let (trigger, reason) = (mint.trigger.label(), error.reason.label());
        let retry_after = error.retry_after.map(|wait| wait.as_secs());
        if is_news || times <= WARNED {
            tracing::warn!(credential = name, trigger, reason, times, retry_after,
                problem = %error, "a mint failed");
        } else {
            tracing::debug!(credential = name, trigger, reason, times, "a mint failed again");
        }
        *failing = Some(Failing { error, at: self.shared.clock.wall(), times });
        error.reason
    }

    fn release(&mut self, release: Option<Release>) {
        let heard = match release {
            None => return,
            Some(Release::Failed) => Heard::Nothing,
            Some(Release::Throttled(wait)) => Heard::Throttled(wait),
        };
        for waiter in self.waiters.drain(..) {
            Self::answer(Some(waiter), heard);
        }
    }

    fn reply(&mut self, verdict: Option<Verdict>, reply: Option<oneshot::Sender<Heard>>) {
        match verdict {
            None => {}
            Some(Verdict::Wait) => self.waiters.extend(reply),
            Some(Verdict::Stale | Verdict::Enough) => Self::answer(reply, Heard::Served),
            Some(Verdict::Throttled(wait)) => Self::answer(reply, Heard::Throttled(wait)),
            Some(Verdict::Resting(_)) => Self::answer(reply, Heard::Nothing),
        }
    }

    fn answer(reply: Option<oneshot::Sender<Heard>>, heard: Heard) {
        if let Some(reply) = reply {
            // A client that has left does not need it.
            reply.send(heard).ok();
        }
    }

    /// Shows the state of things to people and probes.
    fn show(&mut self, engine: Option<&Engine>) {
        self.state.next_refresh = engine.and_then(|engine| engine.policy.wake_at());
        self.state.minting = engine.is_some_and(|engine| engine.flight.is_some());
        self.state.candidate_key_id = engine
            .and_then(|engine| engine.candidate.as_ref())
            .map(|candidate| candidate.id().to_owned());
        if let Some(at) = self.state.next_refresh {
            let wait = at.since(self.now());
            self.shared.metrics.set_next_refresh(self.shared.clock.wall() + wait);
        }
        self.shared.state.store(Arc::new(self.state.clone()));
    }
}

/// Draws chances from the operating system, so that clones of a machine differ (fault 75).
#[must_use]
pub fn system_chance() -> Chance {
    Box::new(|| {
        let mut bytes = [0; 4];
        match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
            Ok(_) => f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
            Err(_) => 0.5,
        }
    })
}

/// The smallest number of seconds that a client can be told to wait.
#[must_use]
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[path = "broker_key_end.rs"]
mod key_end;

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;
