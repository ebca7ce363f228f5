//! The oracle at the issuer's door: how often it may be asked, and how long an outage is excused.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bearerd::{
    key::{
        journal::{DAY, GRACE},
        rotation::MOST_ASKS,
    },
    okta::classify::MintError,
    token::{
        backoff::{Failure, Mend},
        handle::Handle,
        timing::{RefreshSettings, Tick, Wall},
    },
};

const HOUR: Duration = Duration::from_secs(3600);
/// What an issuer may ask for at the most.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// First rest of a key that was refused.
const REFUSED: Duration = Duration::from_secs(30);
/// Longest rest after a failure that a retry may mend, while a token is left.
const COMFORT: Duration = Duration::from_secs(15 * 60);
/// Attempts in an hour of failures, besides those that the back-off has on average.
const SPARE: f64 = 80.0;
/// Tokens whose ends are remembered: more than come between two looks.
const RECENT: usize = 32;
/// Attempts that a success allows in a row, as the back-off begins anew.
const PER_SUCCESS: f64 = 8.0;

/// Watches how one daemon asks.
pub(crate) struct Watch {
    pub(crate) settings: RefreshSettings,
    handle: Option<Handle>,
    in_flight: u32,
    /// When the last mint began, from which its life counts.
    started: Tick,
    refusals: BTreeMap<String, u32>,
    rests: BTreeMap<String, Tick>,
    is_failing: bool,
    prompted_until: Tick,
    asked_until: Tick,
    attempts: BTreeMap<String, VecDeque<Tick>>,
    successes: VecDeque<Tick>,
    /// When each mint that succeeded of late landed, and when what it brought ends.
    lives: VecDeque<(Tick, Tick)>,
    succeeded: Tick,
    excused_until: Tick,
    storm: u64,
    began: Tick,
    asks: Vec<Wall>,
    done: Vec<(Duration, String)>,
}

impl Watch {
    pub(crate) fn new(settings: RefreshSettings) -> Self {
        Self {
            settings,
            handle: None,
            in_flight: 0,
            started: Tick::default(),
            refusals: BTreeMap::new(),
            rests: BTreeMap::new(),
            is_failing: false,
            prompted_until: Tick::default(),
            asked_until: Tick::default(),
            attempts: BTreeMap::new(),
            successes: VecDeque::new(),
            lives: VecDeque::new(),
            succeeded: Tick::default(),
            excused_until: Tick::default(),
            storm: 0,
            began: Tick::default(),
            asks: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Takes note that a broker begins, which remembers nothing of the one before.
    pub(crate) fn begin(&mut self, handle: Handle, now: Tick) {
        (self.handle, self.began) = (Some(handle), now);
        (self.in_flight, self.is_failing) = (0, false);
        self.attempts.clear();
        self.refusals.clear();
        self.rests.clear();
        self.prompt(now, Duration::from_secs(60));
    }

    /// Takes note that the process has ended.
    pub(crate) fn end(&mut self) {
        self.handle = None;
    }

    /// Tells whether a broker that began then is still there.
    pub(crate) fn is_there(&self, since: Tick) -> bool {
        self.handle.is_some() && self.began <= since
    }

    /// Takes note that somebody has given cause for a mint, which may come within this time.
    pub(crate) fn prompt(&mut self, now: Tick, within: Duration) {
        self.prompted_until = self.prompted_until.max(now + within);
    }

    /// Takes note that the machine sleeps: who is giving cause for mints goes on afterwards.
    pub(crate) fn sleeps(&mut self, now: Tick, by: Duration) {
        if now < self.prompted_until {
            self.prompted_until = self.prompted_until + by;
        }
    }

    /// Takes note of news about the key: it is tried at once, and the one in use goes on resting.
    pub(crate) fn key_news(&mut self, now: Tick, used: Option<&str>) {
        self.rests.retain(|key, _| used == Some(key));
        self.refusals.retain(|key, _| used == Some(key));
        self.prompt(now, Duration::from_secs(60));
    }

    /// Takes note that an operator has asked, who is heard at any time.
    pub(crate) fn asked(&mut self, now: Tick) {
        self.asked_until = now + Duration::from_secs(20);
        self.prompt(now, Duration::from_secs(60));
    }

    /// Begins to count mints anew.
    pub(crate) fn begin_storm(&mut self) {
        self.storm = 0;
    }

    /// Tells how many mints there were since then.
    pub(crate) fn storm(&self) -> u64 {
        self.storm
    }

    /// Judges a mint that begins.
    pub(crate) fn start(&mut self, now: Tick, key: &str) -> Result<(), String> {
        self.storm += 1;
        self.in_flight += 1;
        self.started = now;
        if self.in_flight > 1 {
            return Err("law 1: two mints are in flight".to_owned());
        }
        if now > self.asked_until
            && let Some(until) = self.rests.get(key).filter(|until| now < **until)
        {
            return Err(format!("law 6: a mint {:?} before the rest is over", until.since(now)));
        }
        self.attempts.entry(key.to_owned()).or_default().push_back(now);
        self.attempts.values_mut().for_each(|of_key| forget(of_key, now));
        self.attempts.retain(|_, of_key| !of_key.is_empty());
        forget(&mut self.successes, now);
        let attempts = self.attempts.values().map(VecDeque::len).sum::<usize>();
        // A new key and the one before it are tried side by side, each with a back-off of its own.
        let keys = self.attempts.len().min(2) as f64;
        let mean = self.settings.retry_max.as_secs_f64() / 2.0;
        let retries = keys * HOUR.as_secs_f64() / mean;
        let most = (self.successes.len() as f64).mul_add(PER_SUCCESS, retries);
        let is_calm = now > self.prompted_until + HOUR;
        if is_calm && attempts as f64 > most + SPARE {
            return Err(format!("{attempts} mints in an hour"));
        }
        if now > self.prompted_until && !self.is_failing {
            self.judge_need(now, key)?;
        }
        Ok(())
    }

    /// Without a cause nothing is minted before the time of the refresh has come.
    fn judge_need(&self, now: Tick, key: &str) -> Result<(), String> {
        let Some(handle) = &self.handle else { return Ok(()) };
        let is_current = handle.state().key_id.as_deref() == Some(key);
        let Some((published, _)) = handle.current().filter(|_| is_current) else { return Ok(()) };
        let lease = published.lease();
        // A shorter token does not replace a longer one, and the next try is halfway to its end.
        if self.succeeded > lease.published {
            return Ok(());
        }
        let due = lease.issued + lease.lifetime().mul_f64(self.least_part());
        if now + Duration::from_secs(1) < due {
            return Err(format!("a needless mint, {:?} before its time", due.since(now)));
        }
        Ok(())
    }

    /// The part of a life that passes at the least: a refresh may lie at any point of a whole period
    /// that does not reach beyond `at + jitter`, and one that makes up for lost time a little sooner.
    fn least_part(&self) -> f64 {
        const MADE_UP: f64 = 0.1;
        let RefreshSettings { at, jitter, .. } = self.settings;
        if jitter > 0.0 { (at - jitter).min(jitter).clamp(0.0, MADE_UP) } else { at.min(MADE_UP) }
    }

    /// Takes note that a mint has ended or was given up.
    pub(crate) fn land(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Takes note of what a mint has brought: for how long it excuses that there is no token.
    pub(crate) fn note(&mut self, now: Tick, key: &str, result: Result<Duration, MintError>) {
        let error = match result {
            Err(error) => error,
            Ok(life) => return self.note_success(now, key, life),
        };
        self.note_failure(now, key, &error);
    }

    fn note_success(&mut self, now: Tick, key: &str, life: Duration) {
        self.refusals.remove(key);
        self.rests.remove(key);
        self.successes.push_back(now);
        self.lives.push_back((now, self.started + life));
        self.lives.drain(..self.lives.len().saturating_sub(RECENT));
        self.succeeded = now;
        self.is_failing = false;
    }

    fn note_failure(&mut self, now: Tick, key: &str, error: &MintError) {
        self.is_failing = true;
        let asked = error.retry_after.map(|wait| wait.clamp(Duration::from_secs(1), LONGEST_WAIT));
        let (least, most) = match Failure::from(error).mend {
            Mend::Outside => {
                let times = self.refusals.entry(key.to_owned()).or_default();
                let rest = REFUSED.saturating_mul(2_u32.saturating_pow(*times)).min(LONGEST_WAIT);
                *times += 1;
                let rest = rest.max(asked.unwrap_or_default());
                (rest, rest.mul_f64(1.25).min(LONGEST_WAIT))
            }
            Mend::Retry => {
                let left = self.handle.as_ref().and_then(Handle::current);
                let left = left.map_or(Duration::ZERO, |(_, left)| left / 2);
                let cap = self.settings.retry_max.max(left.min(COMFORT));
                let asked = asked.unwrap_or_default();
                (asked, asked + cap)
            }
        };
        let until = self.rests.entry(key.to_owned()).or_default();
        *until = (*until).max(now + least);
        self.excused_until = self.excused_until.max(now + most);
    }

    /// Tells whether a token came after this moment whose end has come, too.
    pub(crate) fn came_and_ended(&self, after: Tick, now: Tick) -> bool {
        self.lives.iter().any(|(at, end)| *at >= after && *end <= now)
    }

    /// Tells until when an outage is excused by what the issuer said.
    pub(crate) fn excused_until(&self) -> Tick {
        self.excused_until
    }

    /// Judges that a new key is asked for.
    pub(crate) fn ask(&mut self, wall: Wall) -> Result<(), String> {
        // People may set the wall clock, by which the days are told, a little each time.
        let of_a_day = self.asks.iter().filter(|at| wall.since(**at) < DAY - 3 * HOUR).count();
        self.asks.push(wall);
        if of_a_day >= MOST_ASKS {
            return Err(format!("law 3 of a rotation: {} asks in a day", of_a_day + 1));
        }
        Ok(())
    }

    /// Takes note that a key was made while the file held this one.
    pub(crate) fn rotated(&mut self, passed: Duration, by: String) {
        self.done.push((passed, by));
    }

    /// Tells whether an answer about the successor of one of these keys was lost long ago.
    pub(crate) fn has_lost(&self, passed: Duration, ids: &[String]) -> bool {
        self.done.iter().any(|(at, by)| ids.contains(by) && *at + GRACE <= passed)
    }

    /// Tells how many keys were made while the file held one of these.
    pub(crate) fn made_by(&self, ids: &[String]) -> usize {
        self.done.iter().filter(|(_, by)| ids.contains(by)).count()
    }
}

fn forget(times: &mut VecDeque<Tick>, now: Tick) {
    while times.front().is_some_and(|at| now.since(*at) > HOUR) {
        times.pop_front();
    }
}
