//! The issuer: a capacity, a short queue, an hourly limit for each user, and its moods.

use std::time::Duration;

use bearerd::{
    okta::classify::{MintError, Reason},
    token::timing::Tick,
};

use crate::world::{at, secs};

/// Calls of one user in an hour.
pub(crate) const LIMIT: u64 = 10_000;
/// After this a client of it gives up: `okta.request_timeout`.
const PATIENCE: Duration = Duration::from_secs(10);
/// From a call to its answer, when nobody is before it.
const LATENCY: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);

/// What it is like at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers as well as it can.
    Well,
    /// Nobody listens.
    Gone,
    /// Each call gets a 503.
    Unavailable,
    /// Calls are taken and never answered.
    Hanging,
    /// Each answer takes this long.
    Slow(Duration),
}

/// One user's calls in the hour that runs.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    hour: u64,
    calls: u64,
}

/// Answers the fleet's calls.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    /// Calls that it can do in a second.
    pub(crate) capacity: f64,
    /// How long a call may wait for its turn; beyond that it is refused with a 503 at once.
    pub(crate) longest_queue: Duration,
    /// Calls that the applications of each user make in an hour, evenly, as long as they are let.
    pub(crate) apps_per_hour: f64,
    moods: Vec<(Tick, Mood)>,
    accounts: Vec<Account>,
    free_at: Tick,
    revoked: Option<Tick>,
}

/// What a call got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// When the client has it.
    pub(crate) at: Tick,
    /// The moment from which a token that was minted by it is good.
    pub(crate) result: Result<Tick, MintError>,
}

impl Issuer {
    pub(crate) fn new(users: usize) -> Self {
        Self {
            capacity: 20.0,
            longest_queue: secs(5),
            apps_per_hour: 0.0,
            moods: Vec::new(),
            accounts: vec![Account::default(); users],
            free_at: Tick::default(),
            revoked: None,
        }
    }

    /// Sets the mood from a moment on; moments have to come in order.
    pub(crate) fn feels(&mut self, from: Tick, mood: Mood) {
        self.moods.push((from, mood));
    }

    /// Takes every token back that there is.
    pub(crate) const fn revoke(&mut self, now: Tick) {
        self.revoked = Some(now);
    }

    /// Tells whether a token of that moment has been taken back.
    pub(crate) fn has_revoked(&self, minted: Tick) -> bool {
        self.revoked.is_some_and(|revoked| minted <= revoked)
    }

    fn mood(&self, now: Tick) -> Mood {
        let begun = self.moods.iter().rev().find(|(from, _)| *from <= now);
        begun.map_or(Mood::Well, |(_, mood)| *mood)
    }

    /// Takes a call of a user.
    pub(crate) fn call(&mut self, now: Tick, user: usize) -> Answer {
        let failed = |after, reason: Reason| Answer { at: now + after, result: Err(reason.into()) };
        let latency = match self.mood(now) {
            Mood::Well => LATENCY,
            Mood::Slow(latency) => latency,
            Mood::Gone => return failed(Duration::from_millis(5), Reason::Connect),
            Mood::Unavailable => return failed(LATENCY, Reason::ServerError),
            Mood::Hanging => return failed(PATIENCE, Reason::Timeout),
        };
        if let Some(reset) = self.limited_until(now, user) {
            let error = MintError {
                retry_after: Some(reset.since(now)),
                ..MintError::from(Reason::RateLimited)
            };
            return Answer { at: now + LATENCY, result: Err(error) };
        }
        if self.free_at.since(now) > self.longest_queue {
            return failed(LATENCY, Reason::ServerError);
        }
        // What nobody waits for any more is worked off all the same.
        self.free_at = self.free_at.max(now) + Duration::from_secs_f64(1.0 / self.capacity);
        let done = self.free_at + latency;
        if done.since(now) > PATIENCE {
            return failed(PATIENCE, Reason::Timeout);
        }
        Answer { at: done, result: Ok(self.free_at) }
    }

    /// Counts a call; tells the end of the hour if it is one too many.
    fn limited_until(&mut self, now: Tick, user: usize) -> Option<Tick> {
        let passed = now.since(at(0));
        let hour = passed.as_secs() / HOUR.as_secs();
        let begun = at(0) + HOUR * hour as u32;
        let account = &mut self.accounts[user];
        if account.hour != hour {
            *account = Account { hour, calls: 0 };
        }
        let part = now.since(begun).as_secs_f64() / HOUR.as_secs_f64();
        let apps = (self.apps_per_hour * part) as u64;
        if account.calls + apps >= LIMIT {
            return Some(begun + HOUR);
        }
        account.calls += 1;
        None
    }
}
