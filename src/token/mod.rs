//! The heart: what is served, how long, and when it is replaced.
//!
//! Pure: [`policy`], [`backoff`], [`budget`], [`allowance`], [`lease`], [`timing`]. Around them the [`broker`], the
//! one task that owns a policy, and the [`handle`] that everybody else holds.

pub mod allowance;
pub mod backoff;
pub mod broker;
pub mod budget;
pub mod cache;
pub mod format;
pub mod handle;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod held;
pub mod keys;
pub mod lease;
pub mod policy;
pub mod published;
pub mod state;
pub mod timing;
