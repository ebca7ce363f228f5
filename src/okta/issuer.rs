//! The two questions that a broker asks an issuer.

use std::{future::Future, time::Duration};

use super::classify::{Grant, MintError};
use crate::{
    key::api_key::ApiKey,
    process::secret::Secret,
    token::timing::{Skew, Wall},
};

/// Exchanges keys for tokens; the daemon's own is [`IssuerClient`](super::client::IssuerClient).
pub trait Issuer: Send + Sync + 'static {
    /// Mints one token; never retries, ends within its own deadline.
    fn mint(&self, key: &ApiKey) -> impl Future<Output = Outcome> + Send;

    /// Asks whether the issuer refuses a token as invalid; `false` when it cannot tell.
    fn refuses(&self, token: &Secret) -> impl Future<Output = bool> + Send;
}

/// Tells how one mint went.
pub struct Outcome {
    /// The token, or why there is none.
    pub result: Result<Grant, MintError>,
    /// What else the answer showed; `None` when there was no answer.
    pub observed: Option<Observed>,
    /// From the start of the attempt to its end.
    pub took: Duration,
}

/// Tells what is left of the user's budget of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Calls that are left.
    pub remaining: u64,
    /// All calls of the budget, if that was told.
    pub limit: Option<u64>,
    /// When it is full again by the issuer's clock, if that was told.
    pub reset: Option<Wall>,
}

/// Tells what any answer of the issuer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How the issuer's clock differs from ours.
    pub skew: Skew,
    /// What it told of the user's budget, if anything.
    pub allowance: Option<Allowance>,
}
