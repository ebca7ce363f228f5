//! A story: what is given, what happens step by step, and what is then expected.
//!
//! One TOML file each. Everything starts with a broker that has just read key `A`, at time zero;
//! chance is always 0.5, so a refresh is due in the very middle and a back-off is half its cap.
//! Expectations are read right after the step, when all that needs no time has happened.

use std::{collections::BTreeMap, fmt, fs, path::Path, time::Duration};

use bearerd::token::timing::RefreshSettings;
use serde::{Deserialize, Deserializer, de::Error};

use crate::bench::{
    issuer::{Answer, ProbeAnswer, Script},
    keys::Letter,
};

/// Holds one file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Story {
    /// One sentence.
    pub(crate) about: String,
    /// Laws, fault rows and sections of the contract: `law 4`, `fault 26`, `product 7`.
    pub(crate) covers: Vec<String>,
    /// What the issuer says to each key, in order; the last is said again and again.
    issuer: BTreeMap<Letter, Vec<Answer>>,
    /// What the issuer says of reported tokens, likewise; it takes them if nothing is said.
    #[serde(default)]
    probes: Vec<ProbeAnswer>,
    #[serde(default)]
    settings: Settings,
    #[serde(rename = "step")]
    pub(crate) steps: Vec<Step>,
}

/// Overrides `[credentials.*.refresh]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    at: Option<f64>,
    jitter: Option<f64>,
    min_interval: Option<Span>,
    retry_min: Option<Span>,
    retry_max: Option<Span>,
    max_lifetime: Option<Span>,
}

/// Says what happens at one moment, or again and again from then on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Boot time since the start, the machine's sleep included.
    pub(crate) at: Span,
    /// Repeats the act at this distance …
    #[serde(default)]
    pub(crate) every: Span,
    /// … so many times in all.
    #[serde(default = "once")]
    pub(crate) times: u32,
    #[serde(default, rename = "do")]
    pub(crate) act: Act,
    #[serde(default)]
    pub(crate) expect: Expect,
}

const fn once() -> u32 {
    1
}

/// What somebody does.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Act {
    /// Nothing: somebody looks at what there is.
    #[default]
    Look,
    /// A client reports the token that is served: `report`.
    Report,
    /// A client reports the first token of all: `report first`.
    ReportFirst,
    /// A client reports a token that nobody knows: `report unknown`.
    ReportUnknown,
    /// A client wants so much life: `want 5m`.
    Want(Duration),
    /// An operator wants a new token: `ask`.
    Ask,
    /// Another key lies there: `key B`.
    Key(Letter),
    /// The key file is spoilt: `no key`.
    NoKey,
    /// The machine sleeps: `suspend 8h`.
    Suspend(Duration),
    /// Somebody sets the wall clock forward: `wall +1h`.
    Forward(Duration),
    /// Somebody sets the wall clock back: `wall -1h`.
    Back(Duration),
}

impl TryFrom<String> for Act {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unknown = || format!("«{text}» is nothing that anybody can do");
        let span = |text: &str| humantime::parse_duration(text).map_err(|_| unknown());
        Ok(match text.as_str() {
            "report" => Self::Report,
            "report first" => Self::ReportFirst,
            "report unknown" => Self::ReportUnknown,
            "ask" => Self::Ask,
            "no key" => Self::NoKey,
            other => match other.split_once(' ').ok_or_else(unknown)? {
                ("want", life) => Self::Want(span(life)?),
                ("key", letter) => Self::Key(letter.parse().map_err(|_| unknown())?),
                ("suspend", time) => Self::Suspend(span(time)?),
                ("wall", by) => match by.split_at_checked(1).ok_or_else(unknown)? {
                    ("+", by) => Self::Forward(span(by)?),
                    ("-", by) => Self::Back(span(by)?),
                    _ => return Err(unknown()),
                },
                _ => return Err(unknown()),
            },
        })
    }
}

/// What is expected; whatever is not named is not looked at.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// Mints started since the beginning.
    mints: Option<usize>,
    /// The same by key; keys with none are left out.
    mints_with: Option<BTreeMap<Letter, usize>>,
    /// Mints that brought a token that was taken, by trigger.
    refreshed: Option<BTreeMap<String, u64>>,
    /// Mints that did not, by trigger.
    failed: Option<BTreeMap<String, u64>>,
    /// Questions to the issuer whether it takes a reported token.
    probes: Option<usize>,
    /// The number of the token that is served, from 1, or `nothing`.
    serves: Option<Served>,
    /// When the next mint is due, since the start, or `minting`.
    next: Option<Due>,
    /// What the last request of all has heard by now: `newer`, `same`, `stale`, `throttled 3s`,
    /// `no newer`, `no token`, or `waits`.
    hears: Option<String>,
}

/// What a stage shows after a step.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) mints: Vec<Letter>,
    pub(crate) refreshed: BTreeMap<String, u64>,
    pub(crate) failed: BTreeMap<String, u64>,
    pub(crate) probes: usize,
    pub(crate) serves: Served,
    pub(crate) next: Due,
    pub(crate) hears: String,
}

/// What is served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    Token(u64),
    Nothing,
}

/// When the next mint starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    At(Duration),
    Minting,
}

/// A duration that is written as `1h 30m`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Span(pub(crate) Duration);

impl Story {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let story: Self = toml::from_str(&text).map_err(|error| error.to_string())?;
        story.check()?;
        Ok(story)
    }

    /// Tells what the issuer will say.
    pub(crate) fn script(&self) -> Script {
        Script::new(self.issuer.clone(), self.probes.clone())
    }

    /// Tells the settings in force.
    pub(crate) fn settings(&self) -> RefreshSettings {
        let (given, default) = (&self.settings, RefreshSettings::default());
        let span = |given: Option<Span>, default| given.map_or(default, |Span(span)| span);
        RefreshSettings {
            at: given.at.unwrap_or(default.at),
            jitter: given.jitter.unwrap_or(default.jitter),
            min_interval: span(given.min_interval, default.min_interval),
            retry_min: span(given.retry_min, default.retry_min),
            retry_max: span(given.retry_max, default.retry_max),
            max_lifetime: span(given.max_lifetime, default.max_lifetime),
        }
    }

    fn check(&self) -> Result<(), String> {
        let ordered = self.steps.is_sorted_by(|one, next| one.end() < next.at.0);
        if self.about.is_empty() || self.covers.is_empty() || self.steps.is_empty() {
            return Err("a story is about something, covers something and has steps".to_owned());
        }
        ordered.then_some(()).ok_or_else(|| "each step is later than the one before".to_owned())
    }
}

impl Step {
    /// Lists the moments of the act.
    pub(crate) fn moments(&self) -> impl Iterator<Item = Duration> {
        (0..self.times).map(|n| self.at.0 + self.every.0 * n)
    }

    fn end(&self) -> Duration {
        self.moments().last().unwrap_or_default()
    }
}

impl Expect {
    /// Lists what is not as expected.
    pub(crate) fn differences(&self, seen: &Seen) -> Vec<String> {
        let mut by_key = BTreeMap::new();
        for key in &seen.mints {
            *by_key.entry(*key).or_insert(0) += 1;
        }
        let compared = [
            differs("mints", self.mints.as_ref(), &seen.mints.len()),
            differs("mints_with", self.mints_with.as_ref(), &by_key),
            differs("refreshed", self.refreshed.as_ref(), &seen.refreshed),
            differs("failed", self.failed.as_ref(), &seen.failed),
            differs("probes", self.probes.as_ref(), &seen.probes),
            differs("serves", self.serves.as_ref(), &seen.serves),
            differs("next", self.next.as_ref(), &seen.next),
            differs("hears", self.hears.as_ref(), &seen.hears),
        ];
        compared.into_iter().flatten().collect()
    }
}

fn differs<T: PartialEq + fmt::Debug>(
    name: &str,
    expected: Option<&T>,
    seen: &T,
) -> Option<String> {
    let expected = expected.filter(|expected| *expected != seen)?;
    Some(format!("{name}: expected {expected:?}, saw {seen:?}"))
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(serial) => serial.fmt(f),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => write!(f, "{}", humantime::format_duration(*at)),
            Self::Minting => f.write_str("minting"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        humantime::parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Due {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        if text == "minting" {
            return Ok(Self::Minting);
        }
        humantime::parse_duration(&text).map(Self::At).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Served {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a token's number or \"nothing\"")]
        enum Written {
            Number(u64),
            Word(Nothing),
        }
        #[derive(Deserialize)]
        enum Nothing {
            #[serde(rename = "nothing")]
            Nothing,
        }
        Ok(match Written::deserialize(input)? {
            Written::Number(serial) => Self::Token(serial),
            Written::Word(Nothing::Nothing) => Self::Nothing,
        })
    }
}
