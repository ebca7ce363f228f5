//! The heart: what is served, how long, and when it is replaced.

pub mod backoff;
pub mod budget;
pub mod lease;
pub mod policy;
pub mod timing;
