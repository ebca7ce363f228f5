//! The issuer: keys, tokens, a clock of its own, and an eye on how it is asked.

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bearerd::{
    key::{api_key::ApiKey, journal::GRACE},
    okta::{
        classify::{self, Answer, Reason},
        issuer::{Issuer, Observed, Outcome},
        key_answers::{self, KeyError, ListedKey, NewKey},
        keys::{KeyIssuer, Told},
    },
    process::{clock::Clock, secret::Secret},
    token::{
        published::Published,
        timing::{Tick, Wall},
    },
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::sleep;

use super::{
    clock::{DAWN, SimClock},
    dice::Dice,
    disk::Disk,
    plan::Plan,
    story::Story,
    watch::Watch,
    weather::{Weather, error},
};

const TEAM: &str = "acme";
/// The service user whose key it is.
pub(crate) const USER: &str = "robot";
const USER_ID: &str = "0a1b2c3d-0000-4000-8000-0000000000ff";
/// What the tolerance for the clocks lets a token live too long, besides twice the time of the call.
const TOLERANCE: Duration = Duration::from_secs(3);

/// A key as the issuer knows it.
#[derive(Clone, Debug)]
struct Key {
    secret: String,
    issued: Wall,
    /// By its own clock.
    ends: Option<Wall>,
    known_from: Duration,
}

/// A token as the issuer knows it.
#[derive(Clone, Debug)]
struct Token {
    ends: Wall,
    known_from: Duration,
    is_revoked: bool,
    /// How long after its end it may be served, as the clocks are not the same.
    slack: Duration,
}

struct State {
    dice: Dice,
    weather: Weather,
    turned: Tick,
    keys: BTreeMap<String, Key>,
    tokens: HashMap<Vec<u8>, Token>,
    minted: u64,
    issued: u64,
    watch: Watch,
}

/// The issuer of one world.
pub(crate) struct SimIssuer {
    pub(crate) clock: Arc<SimClock>,
    pub(crate) story: Arc<Story>,
    plan: Plan,
    state: Mutex<State>,
}

impl SimIssuer {
    pub(crate) fn new(clock: Arc<SimClock>, story: Arc<Story>, plan: Plan, dice: Dice) -> Self {
        let state = State {
            dice,
            weather: Weather::Fine,
            turned: Tick::default(),
            keys: BTreeMap::new(),
            tokens: HashMap::new(),
            minted: 0,
            issued: 0,
            watch: Watch::new(plan.settings),
        };
        Self { clock, story, plan, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    /// Lets the watch take or tell something.
    pub(crate) fn watch<T>(&self, with: impl FnOnce(&mut Watch) -> T) -> T {
        with(&mut self.lock().watch)
    }

    /// Tells the time by its own clock.
    fn wall(&self) -> Wall {
        let passed = i64::try_from(self.clock.passed().as_millis()).unwrap_or(i64::MAX);
        let dawn = i64::try_from(DAWN.since_epoch().as_millis()).unwrap_or(0);
        let now = dawn + passed + passed / 1_000 * self.plan.drift / 1_000 + self.plan.ahead;
        Wall::from_unix(Duration::from_millis(u64::try_from(now).unwrap_or(0)))
    }

    pub(crate) fn weather(&self) -> Weather {
        self.lock().weather
    }

    pub(crate) fn turn(&self, weather: Weather) {
        let mut state = self.lock();
        (state.weather, state.turned) = (weather, self.clock.tick());
    }

    /// Tells when the weather changed last.
    pub(crate) fn fine_since(&self) -> Tick {
        self.lock().turned
    }

    /// Makes a key, as a person does; from then on the others are to end.
    pub(crate) fn new_key(&self, ends_others: bool) -> ApiKey {
        let (now, known_from) = (self.wall(), self.clock.passed() + self.plan.lag);
        self.lock().issue(now, known_from, ends_others, self.plan.moves_ends)
    }

    /// Tells whether a key has not ended; it may not be known everywhere yet.
    pub(crate) fn is_alive(&self, id: &str) -> bool {
        let now = self.wall();
        self.lock().keys.get(id).is_some_and(|key| key.is_alive(now))
    }

    /// Tells whether the upstream takes a token.
    pub(crate) fn accepts(&self, token: &[u8]) -> bool {
        let (now, passed) = (self.wall(), self.clock.passed());
        let state = self.lock();
        let known = state.tokens.get(token);
        known.is_some_and(|it| now < it.ends && !it.is_revoked && it.known_from <= passed)
    }

    pub(crate) fn is_revoked(&self, token: &[u8]) -> bool {
        self.lock().tokens.get(token).is_none_or(|token| token.is_revoked)
    }

    pub(crate) fn revoke(&self, token: &[u8]) {
        if let Some(token) = self.lock().tokens.get_mut(token) {
            token.is_revoked = true;
        }
    }

    /// Oracle: no token is served past its end by the issuer's own clock, but for what the clocks allow.
    pub(crate) fn judge_served(&self, served: &Published) {
        let now = self.wall();
        let state = self.lock();
        let Some(token) = state.tokens.get(served.token().expose()) else {
            return self.story.broken("a token is served that the issuer never made".to_owned());
        };
        let late = now.since(token.ends + token.slack);
        if !late.is_zero() {
            let slack = token.slack;
            self.story.broken(format!(
                "a token is served {late:?} after its end by the issuer's clock and {slack:?} that \
                 the clocks are allowed"
            ));
        }
    }

    /// Answers a mint as it arrives; `None` for silence.
    fn grant(&self, key: &ApiKey, weather: Weather) -> (u16, HeaderMap, Vec<u8>, Option<Vec<u8>>) {
        let (now, passed) = (self.wall(), self.clock.passed());
        let mut state = self.lock();
        let known = state.keys.get(key.id());
        let is_good = known.is_some_and(|known| {
            known.is_alive(now) && known.known_from <= passed && known.secret == key.expose_secret()
        });
        let mut headers = self.headers(now);
        if let Some((status, wait, body)) = weather.refusal() {
            if let Some(wait) = wait {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
            }
            if body.starts_with('<') {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            }
            return (status, headers, body.into_bytes(), None);
        }
        if !is_good {
            return (401, headers, error(401, "authentication_error").into_bytes(), None);
        }
        let usual = self.plan.life;
        let life = match weather {
            Weather::Short => Duration::from_secs(state.dice.below(30)),
            Weather::Stale => Duration::ZERO,
            _ => usual.mul_f64(state.dice.part().mul_add(0.3, 0.8)),
        };
        let ends = if weather == Weather::Stale {
            now - Duration::from_secs(state.dice.below(100))
        } else {
            now + life
        };
        let ends = Wall::from_seconds(i64::try_from(ends.since_epoch().as_secs()).unwrap_or(0));
        state.minted += 1;
        let token = format!("SNTL.sim.{}", state.minted).into_bytes();
        let lag = if state.dice.hits(0.2) { self.plan.lag } else { Duration::ZERO };
        // Looked through now and then: a world of short tokens has a hundred thousand of them.
        if state.minted.is_multiple_of(1000) {
            state.tokens.retain(|_, token| now.since(token.ends) < Duration::from_secs(7 * 86_400));
        }
        let made =
            Token { ends, known_from: passed + lag, is_revoked: false, slack: Duration::ZERO };
        state.tokens.insert(token.clone(), made);
        let team = if weather == Weather::OtherTeam { "globex" } else { TEAM };
        let text = String::from_utf8_lossy(&token);
        let body =
            format!(r#"{{"bearer_token":"{text}","expires_at":"{ends}","team_name":"{team}"}}"#);
        (200, headers, body.into_bytes(), Some(token))
    }

    fn headers(&self, now: Wall) -> HeaderMap {
        let date = std::time::UNIX_EPOCH + now.since_epoch();
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(date)).expect("a date");
        let json = HeaderValue::from_static("application/json");
        HeaderMap::from_iter([(header::DATE, date), (header::CONTENT_TYPE, json)])
    }

    /// Allows a token the time for which the clocks may disagree about its end.
    ///
    /// A difference of up to the time of the call and 2 s is taken for none, and `Date` has whole
    /// seconds; what the clocks drift apart while it lives comes on top.
    fn allow(&self, token: &[u8], took: Duration) {
        let mut state = self.lock();
        let drift = u64::from(self.plan.drift.unsigned_abs().min(1_000) as u32);
        if let Some(token) = state.tokens.get_mut(token) {
            let life = self.plan.settings.max_lifetime;
            let drifted = life.mul_f64(drift as f64 / 1e6);
            token.slack = 2 * took + TOLERANCE + drifted;
        }
    }

    fn draw(&self) -> (Weather, Duration, Duration) {
        let mut state = self.lock();
        let weather = state.weather;
        let weather = weather.of_request(&mut state.dice);
        let longest = self.plan.latency;
        let there = (longest / 2).mul_f64(state.dice.part());
        let back = (longest / 2).mul_f64(state.dice.part());
        (weather, there, back)
    }
}

impl Key {
    fn is_alive(&self, now: Wall) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }
}

impl State {
    fn issue(&mut self, now: Wall, known_from: Duration, ends_others: bool, moves: bool) -> ApiKey {
        let deadline = now + GRACE;
        for key in self.keys.values_mut().filter(|key| ends_others && key.is_alive(now)) {
            let earlier = key.ends.filter(|ends| !moves && *ends < deadline);
            key.ends = earlier.or(Some(deadline));
        }
        self.keys.retain(|_, key| key.ends.is_none_or(|ends| now.since(ends) < 2 * GRACE));
        self.issued += 1;
        let id = format!("0a1b2c3d-0000-4000-8000-{:012}", self.issued);
        let secret = format!("secret-{}", self.issued);
        let key = ApiKey::new(&id, &secret, None).expect("it is well-formed");
        self.keys.insert(id, Key { secret, issued: now, ends: None, known_from });
        key
    }
}

/// Who asks: the broker, or the rotation of its key.
pub(crate) struct Line {
    pub(crate) issuer: Arc<SimIssuer>,
    /// The process that the rotation is of.
    pub(crate) disk: Arc<Disk>,
    pub(crate) is_broker: bool,
}

/// Tells the watch when a mint ends, also if it is given up.
struct Flight<'l>(&'l Line);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.0.is_broker {
            self.0.issuer.watch(Watch::land);
        }
    }
}

impl Line {
    async fn exchange(&self, key: &ApiKey) -> Outcome {
        let issuer = &*self.issuer;
        let (started, wall) = (issuer.clock.tick(), issuer.clock.wall());
        let (weather, there, back) = issuer.draw();
        if weather != Weather::Fine {
            issuer.story.count(fault(weather));
        }
        let silent = |reason| Outcome {
            result: Err(Reason::into(reason)),
            observed: None,
            took: issuer.clock.tick().since(started),
        };
        if weather.is_unsent() {
            sleep(Duration::from_millis(5)).await;
            return silent(weather.silence().map_or(Reason::Connect, |(reason, _)| reason));
        }
        sleep(there).await;
        let (status, headers, body, token) = match weather.silence() {
            Some((reason, is_done)) => {
                if is_done {
                    issuer.grant(key, Weather::Fine);
                }
                sleep(weather.patience()).await;
                return silent(reason);
            }
            None => issuer.grant(key, weather),
        };
        sleep(back).await;
        let took = issuer.clock.tick().since(started);
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = Answer { status, headers: &headers, body: &body, started: wall, took };
        token.iter().for_each(|token| issuer.allow(token, took));
        let observed = Some(Observed { skew: answer.skew(), allowance: None });
        Outcome { result: classify::mint(&answer, TEAM), observed, took }
    }

    async fn call<T>(
        &self,
        token: &Secret,
        act: impl FnOnce(&mut State, Wall, Duration) -> (u16, String) + Send,
        read: impl FnOnce(&Answer<'_>) -> Result<T, KeyError> + Send,
    ) -> Told<T> {
        let told = |result| Told { result, allowance: None };
        let issuer = &*self.issuer;
        if !self.disk.burn() {
            return pending().await;
        }
        let (started, wall) = (issuer.clock.tick(), issuer.clock.wall());
        let (weather, there, back) = issuer.draw();
        if weather.is_unsent() {
            return told(Err(KeyError::NotReached(Reason::Connect)));
        }
        sleep(there).await;
        let silence = weather.silence();
        let is_done = silence.is_none_or(|(_, done)| done) || weather == Weather::Gateway;
        let is_known = issuer.accepts(token.expose());
        let now = issuer.wall();
        let mut answer = (401, error(401, "authentication_error"));
        if is_known && is_done && (weather.refusal().is_none() || weather == Weather::Gateway) {
            answer = act(&mut issuer.lock(), now, issuer.clock.passed());
        }
        if !self.disk.burn() {
            return pending().await;
        }
        if silence.is_some() {
            sleep(weather.patience()).await;
            return told(Err(KeyError::Silence));
        }
        if let Some((status, _, body)) = weather.refusal() {
            answer = (status, body);
        }
        sleep(back).await;
        let headers = issuer.headers(now);
        let status = StatusCode::from_u16(answer.0).expect("a status");
        let took = issuer.clock.tick().since(started);
        let answer =
            Answer { status, headers: &headers, body: answer.1.as_bytes(), started: wall, took };
        told(read(&answer))
    }
}

impl Issuer for Line {
    async fn mint(&self, key: &ApiKey) -> Outcome {
        let issuer = &*self.issuer;
        if !self.is_broker {
            if !self.disk.burn() {
                return pending().await;
            }
            issuer.story.count("mints of rotations");
            return self.exchange(key).await;
        }
        let now = issuer.clock.tick();
        if let Err(law) = issuer.watch(|watch| watch.start(now, key.id())) {
            issuer.story.broken(law);
        }
        let _flight = Flight(self);
        let outcome = self.exchange(key).await;
        let (now, end) = (issuer.clock.tick(), outcome.result.as_ref().map(|grant| grant.lifetime));
        let said = match &outcome.result {
            Ok(grant) => format!("key {} got {:?}", short(key.id()), grant.lifetime),
            Err(error) => format!("key {} got none: {}", short(key.id()), error.reason.label()),
        };
        issuer.story.tell("mint", &said);
        issuer.watch(|watch| watch.note(now, key.id(), end.map_err(|error| *error)));
        outcome
    }

    async fn refuses(&self, token: &Secret) -> bool {
        let issuer = &*self.issuer;
        let (weather, there, back) = issuer.draw();
        sleep(there + back + weather.patience()).await;
        let refused = weather == Weather::Fine && !issuer.accepts(token.expose());
        issuer.story.tell(
            "probe",
            &format!("the token is {}", if refused { "refused" } else { "not refused" }),
        );
        refused
    }
}

impl KeyIssuer for Line {
    async fn whose(&self, token: &Secret) -> Told<(String, String)> {
        let who = format!(r#"{{"id":"{USER_ID}","name":"{USER}"}}"#);
        self.call(token, |_, _, _| (200, who), key_answers::whose).await
    }

    async fn list_keys(&self, token: &Secret, _user: &str) -> Told<Vec<ListedKey>> {
        let lists = self.issuer.plan.lists;
        let list = move |state: &mut State, now: Wall, _| {
            if !lists {
                return (401, error(401, "authorization_error"));
            }
            let never = "0001-01-01T00:00:00Z".to_owned();
            let alive = state.keys.iter().filter(|(_, key)| key.is_alive(now));
            let lines: Vec<_> = alive
                .map(|(id, key)| {
                    let (issued, ends) = (key.issued, key.ends.map(|ends| ends.to_string()));
                    let ends = ends.unwrap_or_else(|| never.clone());
                    format!(r#"{{"id":"{id}","issued_at":"{issued}","expires_at":"{ends}","last_used":null}}"#)
                })
                .collect();
            (200, format!(r#"{{"list":[{}]}}"#, lines.join(",")))
        };
        self.call(token, list, key_answers::listed).await
    }

    async fn rotate_key(&self, token: &Secret, _user: &str) -> Told<NewKey> {
        let issuer = &*self.issuer;
        issuer
            .watch(|watch| watch.ask(issuer.clock.wall()))
            .map_or_else(|law| issuer.story.broken(law), |()| {});
        let (lag, moves) = (issuer.plan.lag, issuer.plan.moves_ends);
        let by = self.disk.key_ids().first().cloned().unwrap_or_default();
        let story = &issuer.story;
        let rotate = |state: &mut State, now: Wall, passed: Duration| {
            let key = state.issue(now, passed + lag, true, moves);
            state.watch.rotated(passed, by);
            story.tell("rotation", &format!("the issuer has made key {}", short(key.id())));
            let body = format!(
                r#"{{"id":"{}","issued_at":"{now}","expires_at":"0001-01-01T00:00:00Z","last_used":null,"secret":"{}"}}"#,
                key.id(),
                key.expose_secret()
            );
            (200, body)
        };
        let told = self.call(token, rotate, key_answers::rotated).await;
        if let Err(error) = &told.result {
            story.tell("rotation", &format!("no new key: {error}"));
        }
        told
    }

    async fn delete_key(&self, token: &Secret, _user: &str, key: &str) -> Told<()> {
        let delete = |state: &mut State, _, _| match state.keys.remove(key) {
            Some(_) => (204, String::new()),
            None => (404, error(404, "not_found")),
        };
        self.call(token, delete, key_answers::deleted).await
    }
}

/// Tells the last digits of an id.
pub(crate) fn short(id: &str) -> &str {
    id.trim_start_matches("0a1b2c3d-0000-4000-8000-").trim_start_matches('0')
}

fn fault(weather: Weather) -> &'static str {
    match weather {
        Weather::Fine | Weather::Changing => "fault: none",
        Weather::Refused => "fault: connection refused",
        Weather::NoName => "fault: no name",
        Weather::BadTls => "fault: bad TLS",
        Weather::Blackhole => "fault: blackhole",
        Weather::Hangs => "fault: hangs after it was done",
        Weather::ResetBefore => "fault: reset before it was done",
        Weather::ResetAfter => "fault: reset after it was done",
        Weather::Offline(_) => "fault: 503",
        Weather::Busy(_) => "fault: 429",
        Weather::Broken => "fault: 500",
        Weather::Gateway => "fault: 502",
        Weather::Portal => "fault: a page of HTML",
        Weather::Nonsense => "fault: JSON of another shape",
        Weather::Short => "fault: a token of seconds",
        Weather::Stale => "fault: a token that has ended",
        Weather::OtherTeam => "fault: another team",
        Weather::Redirect => "fault: 302",
        Weather::Forbidden => "fault: 403",
        Weather::Unknown => "fault: 404",
    }
}
