//! What everybody else holds of a broker: a cheap clone that gives tokens and takes reports.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    allowance::Latest,
    lease::Serial,
    published::{self, Published},
    state::State,
    timing::{Tick, Wall},
};
use crate::{
    okta::issuer::Allowance, process::clock::Clock, telemetry::metrics::CredentialMetrics,
};

/// Longest wait of a request for a mint.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a client is told to wait when nothing better is known.
const RETRY_SOON: Duration = Duration::from_secs(1);
/// What a client is told to wait at the most.
const RETRY_LATE: Duration = Duration::from_secs(30);
/// Requests that may stand in line for a broker; more wait to enter it.
const LINE: usize = 1024;
/// How many tokens of the past are remembered by their fingerprints.
const REMEMBERED: usize = 16;

/// Gives one credential's tokens and takes what clients say of them.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// What a broker and its handles share; the broker alone writes.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: CredentialMetrics,
    published: ArcSwapOption<Published>,
    serial: watch::Sender<Serial>,
    past: ArcSwap<Vec<String>>,
    allowance: Mutex<Latest>,
    pub(super) state: ArcSwap<State>,
}

/// Asks something of a broker.
pub(super) enum Command {
    Reject(Serial, oneshot::Sender<Heard>),
    Witness(Serial, oneshot::Sender<Heard>),
    Want(Duration, oneshot::Sender<Heard>),
    Ask(oneshot::Sender<Heard>),
    Lapsed(Serial),
    KeyEnds(KeyEnd),
}

/// Tells when a key ends, and with it every token that it has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEnd {
    /// Id of the key.
    pub key_id: String,
    /// Its end by our clock; `None` for never.
    pub ends: Option<Wall>,
}

/// Answers a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Take what is published now.
    Served,
    /// There is nothing newer, and will not be for now.
    Nothing,
    /// Not now, but after so long.
    Throttled(Duration),
}

/// Names the token that a client reports.
#[derive(Clone, Copy, Debug)]
pub enum Claim<'a> {
    /// By our fingerprint.
    TokenId(&'a str),
    /// By itself.
    Token(&'a [u8]),
}

/// Answers a client's report of a 401.
pub enum Rejection {
    /// Another token is current, and was before the report.
    Stale(Arc<Published>),
    /// The report brought a newer token.
    Refreshed(Arc<Published>),
    /// The budget of such mints is spent for so long.
    Throttled(Duration),
    /// No newer token could be had.
    Failed,
    /// There is no token at all.
    NoToken,
}

/// Answers an operator's wish for a new token.
pub enum Refreshed {
    /// Here it is.
    New(Arc<Published>),
    /// One was asked for a moment ago; again after so long.
    Throttled(Duration),
    /// The mint failed; the state says why.
    Failed,
}

impl Handle {
    /// Makes the two ends of a line to a broker that has nothing published yet.
    pub(super) fn new(
        name: &str,
        clock: Arc<dyn Clock>,
        metrics: CredentialMetrics,
    ) -> (Self, mpsc::Receiver<Command>) {
        let (commands, line) = mpsc::channel(LINE);
        let shared = Shared {
            name: name.to_owned(),
            clock,
            metrics,
            published: ArcSwapOption::empty(),
            serial: watch::Sender::new(Serial::NONE),
            past: ArcSwap::default(),
            allowance: Mutex::default(),
            state: ArcSwap::default(),
        };
        (Self { shared: Arc::new(shared), commands }, line)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Tells the credential's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Gives the metrics of the credential.
    #[must_use]
    pub fn metrics(&self) -> &CredentialMetrics {
        &self.shared.metrics
    }

    /// Tells how the broker is getting on.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.shared.state.load_full()
    }

    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> (Tick, Wall) {
        (self.shared.clock.tick(), self.shared.clock.wall())
    }

    /// Takes what an answer to a forwarded call told of the user's budget.
    pub fn note_allowance(&self, told: Allowance) {
        self.shared.note_allowance(told);
    }

    /// Says when to come again for a token: when the broker tries again, within reason.
    #[must_use]
    pub fn next_try(&self) -> Duration {
        let next = self.state().next_refresh;
        let wait = next.map_or(RETRY_SOON, |next| next.since(self.shared.clock.tick()));
        wait.clamp(RETRY_SOON, RETRY_LATE)
    }

    /// Gives the token that is valid now, and the life that is left.
    #[must_use]
    pub fn current(&self) -> Option<(Arc<Published>, Duration)> {
        self.current_at().map(|(published, remaining, _)| (published, remaining))
    }

    /// Gives the same, and the moment by the wall clock for which it was looked up.
    #[must_use]
    pub fn current_at(&self) -> Option<(Arc<Published>, Duration, Wall)> {
        let published = self.shared.published.load_full()?;
        let (tick, wall) = self.now();
        let remaining = published.remaining(tick, wall);
        if remaining.is_zero() {
            self.tell_lapse(&published, tick, wall);
            return None;
        }
        Some((published, remaining, wall))
    }

    /// An answer that finds the clocks apart wakes the refresh.
    fn tell_lapse(&self, published: &Published, tick: Tick, wall: Wall) {
        if published.has_just_lapsed(tick, wall) {
            // A line so full that this is lost is being worked on anyway.
            self.commands.try_send(Command::Lapsed(published.serial())).ok();
        }
    }

    /// Gives the valid token, waiting for one at most so long.
    pub async fn current_within(&self, wait: Duration) -> Option<(Arc<Published>, Duration)> {
        if let Some(current) = self.current() {
            return Some(current);
        }
        let mut serial = self.shared.serial.subscribe();
        // One may have come since.
        serial.mark_changed();
        let first = async {
            while serial.changed().await.is_ok() {
                if let Some(current) = self.current() {
                    return Some(current);
                }
            }
            None
        };
        timeout(wait, first).await.ok().flatten()
    }

    /// Waits until a newer token than `seen` is current, and tells its place; for ever if none comes.
    ///
    /// Newer, not other: who has read a token before the word of it went out is not woken by that.
    pub async fn changed_from(&self, seen: Serial) -> Serial {
        let mut serial = self.shared.serial.subscribe();
        if let Ok(newer) = serial.wait_for(|serial| *serial > seen).await {
            return *newer;
        }
        std::future::pending().await
    }

    /// Tells the place of the token that was published last, valid or not.
    #[must_use]
    pub fn latest(&self) -> Serial {
        *self.shared.serial.borrow()
    }

    /// Tells whether another handle is one of the same broker.
    #[must_use]
    pub fn is_of_same_broker(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Gives a token with at least so much life if that can be had, else the valid one there is.
    pub async fn with_life(&self, min_ttl: Duration) -> Option<(Arc<Published>, Duration)> {
        if let Some(current) = self.current().filter(|(_, remaining)| *remaining >= min_ttl) {
            return Some(current);
        }
        self.ask(|reply| Command::Want(min_ttl, reply)).await;
        self.current()
    }

    /// Takes a report that the upstream refused a token with a 401.
    pub async fn reject(&self, claim: Claim<'_>) -> Rejection {
        let rejection = self.judge(claim).await;
        let outcome = match &rejection {
            Rejection::Stale(_) if !self.is_known(claim) => "unknown",
            Rejection::Stale(_) => "stale",
            Rejection::Refreshed(_) => "refreshed",
            Rejection::Throttled(_) => "throttled",
            Rejection::Failed | Rejection::NoToken => "failed",
        };
        self.shared.metrics.count_rejection(outcome);
        rejection
    }

    async fn judge(&self, claim: Claim<'_>) -> Rejection {
        // Who reports a token when there is none needs one as much as anybody.
        let Some((current, _)) = self.with_life(Duration::ZERO).await else {
            return Rejection::NoToken;
        };
        if claim.id() != current.token_id() {
            return Rejection::Stale(current);
        }
        let reported = current.serial();
        let heard = self.ask(|reply| Command::Reject(reported, reply)).await;
        let newer = self.current().filter(|(current, _)| current.serial() > reported);
        match (newer, heard) {
            (Some((newer, _)), _) => Rejection::Refreshed(newer),
            (None, Heard::Throttled(wait)) => Rejection::Throttled(wait),
            (None, Heard::Served | Heard::Nothing) => Rejection::Failed,
        }
    }

    /// Takes the word of our own proxy that the issuer refused a token; gives a newer one.
    pub async fn witness(&self, refused: Serial) -> Option<Arc<Published>> {
        let newer = || self.current().map(|(token, _)| token).filter(|t| t.serial() > refused);
        if let Some(newer) = newer() {
            self.shared.metrics.count_rejection("stale");
            return Some(newer);
        }
        let heard = self.ask(|reply| Command::Witness(refused, reply)).await;
        let newer = newer();
        let outcome = match (&newer, heard) {
            (Some(_), _) => "refreshed",
            (None, Heard::Throttled(_)) => "throttled",
            (None, Heard::Served | Heard::Nothing) => "failed",
        };
        self.shared.metrics.count_rejection(outcome);
        newer
    }

    fn is_known(&self, claim: Claim<'_>) -> bool {
        let id = claim.id();
        self.shared.past.load().iter().any(|past| **past == *id)
    }

    /// Mints now because an operator says so.
    pub async fn refresh(&self) -> Refreshed {
        let before = self.latest();
        let heard = self.ask(Command::Ask).await;
        match (self.current(), heard) {
            (Some((newer, _)), _) if newer.serial() > before => Refreshed::New(newer),
            (_, Heard::Throttled(wait)) => Refreshed::Throttled(wait),
            (_, Heard::Served | Heard::Nothing) => Refreshed::Failed,
        }
    }

    /// Tells when a key ends: no token of it is served after that.
    pub async fn key_ends(&self, end: KeyEnd) {
        // A broker that has ended serves none.
        self.commands.send(Command::KeyEnds(end)).await.ok();
    }

    /// Tells whether optional calls should be left to those who need them (fault 280).
    #[must_use]
    pub fn is_allowance_low(&self) -> bool {
        self.shared.is_allowance_low()
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Heard>) -> Command) -> Heard {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.commands.send(command(reply)).await.ok()?;
            answer.await.ok()
        };
        timeout(PATIENCE, exchange).await.ok().flatten().unwrap_or(Heard::Nothing)
    }
}

impl Shared {
    /// Publishes: first the token, then the word of it.
    pub(super) fn publish(&self, published: Published) {
        let serial = published.serial();
        let mut past = self.past.load().iter().cloned().collect::<Vec<_>>();
        past.insert(0, published.token_id().to_owned());
        past.truncate(REMEMBERED);
        self.past.store(Arc::new(past));
        self.published.store(Some(Arc::new(published)));
        self.serial.send_replace(serial);
    }

    /// Takes what an answer of the issuer told of the user's budget.
    pub(super) fn note_allowance(&self, told: Allowance) {
        self.metrics.set_rate_limit_remaining(told.remaining);
        let (tick, wall) = (self.clock.tick(), self.clock.wall());
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner).note(told, tick, wall);
    }

    /// Tells whether optional calls should be left out.
    pub(super) fn is_allowance_low(&self) -> bool {
        let latest = *self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        latest.is_low(self.clock.tick())
    }

    /// Puts a shorter life of the same token in its place.
    pub(super) fn shorten(&self, published: Published) {
        self.published.store(Some(Arc::new(published)));
    }

    /// Gives what was published last, valid or not.
    pub(super) fn last(&self) -> Option<Arc<Published>> {
        self.published.load_full()
    }
}

impl Claim<'_> {
    fn id(self) -> String {
        match self {
            Self::TokenId(id) => id.to_owned(),
            Self::Token(token) => published::token_id(token),
        }
    }
}
