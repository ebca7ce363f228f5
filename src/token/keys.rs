//! Where a broker's keys come from.

use std::{future::Future, sync::Arc};

use crate::key::api_key::ApiKey;

/// Watches the place where a key lies.
pub trait Keys: Send + 'static {
    /// Waits for a key that differs from the last one given, or for news of trouble.
    ///
    /// Giving it up half-way loses nothing.
    fn next(&mut self) -> impl Future<Output = Result<Arc<ApiKey>, KeyTrouble>> + Send;

    /// Looks again now, for instance because the issuer has refused the key.
    fn look_again(&mut self);
}

/// Says why there is no key, or no new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTrouble {
    /// The kind, for logs.
    pub label: &'static str,
    /// What is wrong, where, and what to do.
    pub sentence: String,
}
