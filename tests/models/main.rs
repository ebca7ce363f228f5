//! The real broker, its handles and its clients in many orders of their steps; each order can be replayed.
//!
//! Broker, clients, issuer, reload and stop are tasks of an executor that is stepped by hand
//! ([`cores`]): of all tasks that could go on a schedule picks the next. Another one may also take over
//! in the middle of a step, as if on another core: wherever a clock is read, and right after the word
//! that wakes somebody. Small numbers of such turns are gone through one after the other, then
//! schedules are drawn by seeds ([`explore`]). Time stands still unless nobody can go on.
//!
//! What tokio and arc-swap do within one call is theirs, and is not taken apart here.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy lets tests do so, but not the functions that tests share"
)]
#![expect(
    clippy::disallowed_macros,
    reason = "what is printed is the harness's to show or to keep"
)]

mod cores;
mod explore;
mod leaving;
mod reload;
mod rotate;
mod schedule;
mod shelf;
mod stillness;
mod stop;
mod together;
mod word;
mod world;
