//! How a broker is getting on, for people and probes.

use super::timing::{Tick, Wall};
use crate::okta::classify::MintError;

/// Tells what a broker is doing and what went wrong last; holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Id of the key that mints; `None` while none could be read.
    pub key_id: Option<String>,
    /// When that key was taken up.
    pub key_since: Wall,
    /// Id of a newer key that has not minted yet.
    pub candidate_key_id: Option<String>,
    /// What is wrong with the key file, if something is.
    pub key_trouble: Option<String>,
    /// The failures since the last success.
    pub failing: Option<Failing>,
    /// When the next mint is due; `None` while one is in flight or there is no key.
    pub next_refresh: Option<Tick>,
    /// Whether a mint is in flight.
    pub minting: bool,
}

/// Tells of the failures since the last success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Why the last one failed.
    pub error: MintError,
    /// When.
    pub at: Wall,
    /// How many there have been in a row.
    pub times: u32,
    /// Whether the last one was a trial of a new key.
    pub with_candidate: bool,
}

impl State {
    /// Says why there is no token, in one sentence.
    #[must_use]
    pub fn trouble(&self) -> String {
        match (&self.failing, &self.key_trouble) {
            (Some(failing), _) => failing.error.to_string(),
            (None, Some(trouble)) => trouble.clone(),
            (None, None) => "no token has been minted yet".to_owned(),
        }
    }
}
