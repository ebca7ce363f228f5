//! Where a broker's keys come from.

use std::{future::Future, sync::Arc};

use super::{lease::Lease, published::Published};
use crate::{key::api_key::ApiKey, okta::classify::Grant};

/// Watches the place where a key lies.
pub trait Keys: Send + 'static {
    /// Waits for a key that differs from the last one given, or for news of trouble.
    ///
    /// Giving it up half-way loses nothing.
    fn next(&mut self) -> impl Future<Output = Result<Arc<ApiKey>, KeyTrouble>> + Send;

    /// Looks again now, for instance because the issuer has refused the key.
    fn look_again(&mut self);

    /// Keeps a token that this key has made, for the next start of the process.
    fn keep(&mut self, _key: &Arc<ApiKey>, _published: &Arc<Published>) {}

    /// Gives, once, what an earlier process has kept for the first key.
    fn recall(&mut self) -> Option<(Grant, Lease)> {
        None
    }
}

/// Says why there is no key, or no new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTrouble {
    /// The kind, for logs.
    pub label: &'static str,
    /// What is wrong, where, and what to do.
    pub sentence: String,
}
