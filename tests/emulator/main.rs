//! The emulated issuer against its page: every conformance case that concerns the issuer alone.
//!
//! Each test is named by its case; time passes by the issuer's own clock, so none waits.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy lets tests do so, but not the functions that tests share"
)]

mod client;
mod control;
mod faults;
mod keys;
mod limits;
mod lists;
mod mint;
mod server;
mod tokens;
mod users;
