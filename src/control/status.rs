//! The state of the daemon as `bearerd status` shows it; holds no secret.

use serde::{Deserialize, Serialize};

use crate::rotator::handle::Rotated;

/// Tells how the whole daemon stands.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Whole seconds since it started.
    pub uptime: u64,
    /// Whether every required credential has a valid token.
    pub ready: bool,
    /// The last reload, if it was refused.
    pub refused_reload: Option<RefusedReload>,
    /// The credentials, by name.
    pub credentials: Vec<Credential>,
    /// The listeners, by name.
    pub listeners: Vec<Listener>,
    /// The sinks, by name.
    pub sinks: Vec<Sink>,
}

/// Tells why the configuration in force is not the one on the disk.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RefusedReload {
    /// RFC 3339, by our clock.
    pub at: String,
    /// For people.
    pub problem: String,
}

/// Tells how one credential stands; times in whole seconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Credential {
    /// Its name in the configuration.
    pub name: String,
    /// Its team.
    pub team_name: String,
    /// Whether readiness needs it.
    pub required: bool,
    /// One word for people.
    pub state: State,
    /// Fingerprint of the token that is served.
    pub token_id: Option<String>,
    /// Since the start of the attempt that brought the token.
    pub token_age: Option<u64>,
    /// RFC 3339, by the issuer's clock.
    pub expires_at: Option<String>,
    /// Life that is left.
    pub expires_in: Option<u64>,
    /// Whole life.
    pub lifetime: Option<u64>,
    /// Until the next mint.
    pub next_refresh_in: Option<u64>,
    /// Mints that have succeeded since the start.
    pub refreshes: u64,
    /// Mints that have failed since the start.
    pub failures: u64,
    /// Id of the key in use.
    pub key_id: Option<String>,
    /// How long it has been in use.
    pub key_age: Option<u64>,
    /// Id of a newer key that has not minted yet.
    pub candidate_key_id: Option<String>,
    /// The failures of that newer key.
    pub candidate_error: Option<LastError>,
    /// What is wrong with the key's file.
    pub key_trouble: Option<String>,
    /// RFC 3339, by our clock: when the key in use ends, as far as is known.
    pub key_expires_at: Option<String>,
    /// Until the key is rotated.
    pub next_rotation_in: Option<u64>,
    /// What is wrong with the rotation of the key.
    pub rotation_trouble: Option<String>,
    /// The failures of the key in use since its last success.
    pub last_error: Option<LastError>,
}

impl Credential {
    /// Says what people should look at, a sentence each.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let failing = self.last_error.as_ref().map(LastError::sentence);
        let candidate = self.candidate_key_id.as_ref().map(|id| match &self.candidate_error {
            None => format!("the newer key {id} has not minted yet"),
            Some(error) => format!("the newer key {id} is not in use: {}", error.sentence()),
        });
        let troubles = [self.key_trouble.clone(), self.rotation_trouble.clone()];
        [failing, candidate].into_iter().chain(troubles).flatten().collect()
    }
}

/// Names the states of a credential.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A valid token, and all is well.
    Valid,
    /// A valid token that could not be renewed.
    Failing,
    /// No valid token.
    NoToken,
    /// No key that could be read.
    NoKey,
}

impl State {
    /// Says it in a word or two.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Failing => "failing",
            Self::NoToken => "no token",
            Self::NoKey => "no key",
        }
    }
}

/// Tells of the failures of one key since its last success.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LastError {
    /// The label of the metric.
    pub reason: String,
    /// For people.
    pub problem: String,
    /// RFC 3339, by our clock.
    pub at: String,
    /// How many in a row.
    pub times: u32,
}

impl LastError {
    fn sentence(&self) -> String {
        let times = if self.times == 1 { "once" } else { &format!("{} times", self.times) };
        format!("{} ({times}, last at {})", self.problem, self.at)
    }
}

/// Tells how one listener stands.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Listener {
    /// Its name in the configuration.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Open connections.
    pub connections: u64,
    /// Requests answered since the start.
    pub requests: u64,
    /// Requests refused since the start.
    pub denied: u64,
}

/// Tells how one sink stands.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Sink {
    /// Its name in the configuration.
    pub name: String,
    /// The file.
    pub path: String,
    /// Whether it holds the valid token, and its command knows.
    pub good: bool,
    /// In one sentence: what there is, or what is wrong.
    pub reason: String,
}

/// Answers `refresh` for one credential.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RefreshAnswer {
    /// Name of the credential.
    pub credential: String,
    /// Fingerprint of the new token.
    pub token_id: Option<String>,
    /// Life that is left.
    pub expires_in: Option<u64>,
    /// Why there is none.
    pub problem: Option<String>,
}

/// Answers `rotate` for one credential.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RotateAnswer {
    /// Name of the credential.
    pub credential: String,
    /// Id of the key in use.
    pub key_id: Option<String>,
    /// Id of the key before it.
    pub old_key_id: Option<String>,
    /// RFC 3339: when that one ends, as far as is known.
    pub old_ends_at: Option<String>,
    /// Why the key is the same as before, or not known to be another.
    pub problem: Option<String>,
}

impl RotateAnswer {
    /// Tells of a rotation that is done.
    #[must_use]
    pub fn done(credential: &str, rotated: &Rotated) -> Self {
        Self {
            credential: credential.to_owned(),
            key_id: Some(rotated.key_id.clone()),
            old_key_id: Some(rotated.old_key_id.clone()),
            old_ends_at: Some(rotated.old_ends.to_string()),
            problem: None,
        }
    }

    /// Tells why there was none.
    #[must_use]
    pub fn not(credential: &str, problem: String) -> Self {
        Self {
            credential: credential.to_owned(),
            key_id: None,
            old_key_id: None,
            old_ends_at: None,
            problem: Some(problem),
        }
    }
}

/// Answers `quit`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct QuitAnswer {
    /// Whether the daemon has begun to stop.
    pub stopping: bool,
}
