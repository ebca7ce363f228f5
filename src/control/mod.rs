//! The control socket: what operators ask of a running daemon, both ends.

pub mod client;
pub mod routes;
pub mod status;
mod tls;
