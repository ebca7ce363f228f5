//! A fleet before one issuer: a thousand real policies in simulated time, and what the issuer sees of them.
//!
//! Policy, back-off, lease and the due time of a rotation are the daemon's own code. The issuer has a
//! capacity, a short queue, the rate limit of each user and a few moods; applications call it and
//! notice a token that was taken from them. Each seed is one history, the same on every machine.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clippy lets tests do so, but not the functions that tests share"
)]

mod campaign;
mod cases;
mod chance;
mod figures;
mod goals;
mod issuer;
mod plot;
mod sidecar;
mod world;
