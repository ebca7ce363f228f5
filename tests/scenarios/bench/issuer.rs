//! An issuer that answers by a script, each key by its own.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bearerd::{
    key::api_key::ApiKey,
    okta::{
        classify::{Grant, MintError, Reason},
        issuer::{Issuer, Outcome},
    },
    process::secret::Secret,
};
use serde::Deserialize;

use super::{
    clock::DAWN,
    keys::{Letter, letter},
};

/// What one mint brings, and after how long.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Answer {
    /// The life of the token from the start of the mint, or why there is none.
    pub(crate) result: Result<Duration, MintError>,
    /// The time that the mint takes.
    pub(crate) latency: Duration,
    /// How often this is said before the next.
    times: u32,
}

/// What a probe of a reported token says, and after how long; `accepts`, `refuses in 2s`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ProbeAnswer {
    /// Whether the token is refused.
    pub(crate) refused: bool,
    /// The time that the probe takes.
    pub(crate) latency: Duration,
}

/// Longest time that the real client waits for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads `1h`, `unavailable`, `busy, retry after 30s`, `1h in 8s`, `hangs x3`.
impl TryFrom<String> for Answer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (what, times) = match text.split_once(" x") {
            Some((what, times)) => (what, times.parse().map_err(|_| unknown(&text))?),
            None => (text.as_str(), 1),
        };
        let (what, latency) = match what.split_once(" in ") {
            Some((what, latency)) => (what, span(latency)?),
            None if what == "hangs" => (what, REQUEST_TIMEOUT),
            None => (what, Duration::ZERO),
        };
        let (what, retry_after) = match what.split_once(", retry after ") {
            Some((what, wait)) => (what, Some(span(wait)?)),
            None => (what, None),
        };
        let failed = |reason| Err(MintError { retry_after, ..Reason::into(reason) });
        let result = match what {
            "hangs" => failed(Reason::Timeout),
            "unreachable" => failed(Reason::Connect),
            "unavailable" => failed(Reason::ServerError),
            "busy" => failed(Reason::RateLimited),
            "nonsense" => failed(Reason::Malformed),
            "bad request" => failed(Reason::BadRequest),
            "unauthorized" => failed(Reason::Unauthorized),
            "forbidden" => failed(Reason::Forbidden),
            "not found" => failed(Reason::NotFound),
            "other team" => failed(Reason::WrongTeam),
            life => Ok(span(life)?),
        };
        Ok(Self { result, latency, times })
    }
}

impl TryFrom<String> for ProbeAnswer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (what, latency) = match text.split_once(" in ") {
            Some((what, latency)) => (what, span(latency)?),
            None => (text.as_str(), Duration::ZERO),
        };
        let refused = match what {
            "accepts" => false,
            "refuses" => true,
            _ => return Err(unknown(&text)),
        };
        Ok(Self { refused, latency })
    }
}

fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| unknown(text))
}

fn unknown(text: &str) -> String {
    format!("«{text}» is no answer and no duration")
}

/// Holds what is still to be said; the last of a list is said again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    mints: BTreeMap<Letter, Vec<Answer>>,
    probes: Vec<ProbeAnswer>,
}

impl Script {
    /// Says these, in order.
    pub(crate) fn new(mints: BTreeMap<Letter, Vec<Answer>>, probes: Vec<ProbeAnswer>) -> Self {
        Self { mints, probes }
    }

    /// Tells what the next mint with a key brings; a key without a script hangs.
    pub(crate) fn mint(&mut self, key: Letter) -> Answer {
        let hangs = Answer {
            result: Err(MintError::from(Reason::Timeout)),
            latency: REQUEST_TIMEOUT,
            times: 1,
        };
        let answers = self.mints.get_mut(&key);
        answers.and_then(next_answer).unwrap_or(hangs)
    }

    /// Tells whether the next reported token is refused.
    pub(crate) fn probe(&mut self) -> ProbeAnswer {
        next_of(&mut self.probes).unwrap_or_default()
    }
}

fn next_answer(answers: &mut Vec<Answer>) -> Option<Answer> {
    match answers.first_mut() {
        Some(first) if first.times > 1 => {
            first.times -= 1;
            Some(*first)
        }
        _ => next_of(answers),
    }
}

fn next_of<T: Copy>(list: &mut Vec<T>) -> Option<T> {
    match list.len() {
        0 | 1 => list.first().copied(),
        _ => Some(list.remove(0)),
    }
}

/// Follows a script and counts what it is asked.
pub(crate) struct FakeIssuer {
    script: Mutex<Script>,
    mints: Mutex<Vec<Letter>>,
    granted: AtomicUsize,
    probes: AtomicUsize,
}

impl FakeIssuer {
    /// Follows this script.
    pub(crate) fn new(script: Script) -> Self {
        Self {
            script: Mutex::new(script),
            mints: Mutex::default(),
            granted: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
        }
    }

    /// Answers key `A` with these, in order; see [`Answer`] for the words.
    pub(crate) fn says<const N: usize>(answers: [&str; N]) -> Self {
        Self::says_to([('A', answers.as_slice())], Vec::new())
    }

    /// Answers each key with its own words, and probes as told.
    pub(crate) fn says_to<const N: usize>(
        answers: [(Letter, &[&str]); N],
        probes: Vec<ProbeAnswer>,
    ) -> Self {
        let read = |text: &&str| Answer::try_from((*text).to_owned()).expect("known words");
        let mints = answers.map(|(key, list)| (key, list.iter().map(read).collect()));
        Self::new(Script::new(mints.into(), probes))
    }

    /// Lists the keys of all mints that were started.
    pub(crate) fn mints(&self) -> Vec<Letter> {
        self.mints.lock().expect("nobody panics with it").clone()
    }

    /// Counts the probes.
    pub(crate) fn probes(&self) -> usize {
        self.probes.load(Ordering::Relaxed)
    }
}

/// Writes the text of the `n`th token that is granted, from 1.
pub(crate) fn token(n: usize) -> String {
    format!("SNTL.token.{n}")
}

impl Issuer for FakeIssuer {
    async fn mint(&self, key: &ApiKey) -> Outcome {
        let answer = {
            let key = letter(key);
            self.mints.lock().expect("nobody panics with it").push(key);
            self.script.lock().expect("nobody panics with it").mint(key)
        };
        tokio::time::sleep(answer.latency).await;
        Outcome {
            result: answer.result.map(|life| self.grant(life)),
            observed: None,
            took: answer.latency,
        }
    }

    async fn refuses(&self, _token: &Secret) -> bool {
        self.probes.fetch_add(1, Ordering::Relaxed);
        let answer = self.script.lock().expect("nobody panics with it").probe();
        tokio::time::sleep(answer.latency).await;
        answer.refused
    }
}

impl FakeIssuer {
    fn grant(&self, lifetime: Duration) -> Grant {
        let n = self.granted.fetch_add(1, Ordering::Relaxed) + 1;
        Grant {
            token: Secret::copy_of(token(n).as_bytes()),
            lifetime,
            expires_at: DAWN + lifetime,
            team_name: "acme".to_owned(),
        }
    }
}
