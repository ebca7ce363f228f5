//! The heart: what is served, how long, and when it is replaced.

pub mod timing;
