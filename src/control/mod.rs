//! The control socket, both ends; and how the daemon stands, for people.

pub mod client;
pub mod history;
pub mod overview;
pub mod page;
pub mod routes;
pub mod span;
pub mod status;
mod tls;
