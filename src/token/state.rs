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
    /// The failures of that key, which say nothing of the one in use.
    pub candidate_failing: Option<Failing>,
    /// What is wrong with the key file, if something is.
    pub key_trouble: Option<String>,
    /// The failures of the key in use since its last success.
    pub failing: Option<Failing>,
    /// When the next mint is due; `None` while one is in flight or there is no key.
    pub next_refresh: Option<Tick>,
    /// Whether a mint is in flight.
    pub minting: bool,
}

/// Tells of the failures of one key since its last success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Why the last one failed.
    pub error: MintError,
    /// When.
    pub at: Wall,
    /// How many there have been in a row.
    pub times: u32,
}

impl State {
    /// Says why there is no token, in one sentence.
    #[must_use]
    pub fn trouble(&self) -> String {
        match (&self.failing, &self.key_trouble, self.candidate_trouble()) {
            (Some(failing), ..) => failing.error.to_string(),
            (None, Some(trouble), _) => trouble.clone(),
            (None, None, Some(trouble)) => trouble,
            (None, None, None) => "no token has been minted yet".to_owned(),
        }
    }

    /// Says why a newer key is not in use, in one sentence.
    #[must_use]
    pub fn candidate_trouble(&self) -> Option<String> {
        let (id, failing) = (self.candidate_key_id.as_ref()?, self.candidate_failing?);
        Some(format!("the newer key {id} is not in use: {}", failing.error))
    }

    /// Tells whether something should be looked at, whether there is a token or not.
    #[must_use]
    pub const fn has_trouble(&self) -> bool {
        self.failing.is_some() || self.key_trouble.is_some() || self.candidate_failing.is_some()
    }
}
