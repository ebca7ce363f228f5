//! The real binary against issuers good and bad, over both kinds of socket.
//!
//! Each test starts daemons of its own; all waits are bounded, and none compares two clocks at a
//! boundary. A comment `// fault N` names the rows of the fault table that a test covers.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy lets tests do so, but not the functions that tests share"
)]

mod access;
mod activation;
mod answers;
mod api;
mod audit;
mod auth;
mod bench;
mod cache;
mod clocks;
mod commands;
mod deadlines;
mod descriptors;
mod doctor;
mod exec;
mod guard;
mod hostile;
mod init;
mod intruders;
mod jobs;
mod key_ends;
mod keyfile;
mod kills;
mod life;
mod load;
mod network;
mod notify;
mod outage;
mod peers;
mod proxies;
mod reload;
mod reports;
mod restarts;
mod rotating;
mod rotation;
mod sandbox;
mod secrets;
mod sinks;
mod steady;
mod telemetry;
mod tls;
mod trust;
mod users;
mod waits;
mod watch;
mod wires;
