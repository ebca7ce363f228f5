//! The listeners: who may come in, and what is served there.

pub mod access_token;
mod auth;
pub mod bind;
pub mod body;
pub mod busy;
pub mod credentials;
pub mod framing;
pub mod guard;
#[cfg(test)]
mod openapi_tests;
pub mod paced;
pub mod problem;
pub mod query;
pub mod ready;
pub mod routes;
mod served;
pub mod server;
pub mod telemetry;
pub mod tls;
mod token;
pub mod users;
mod visit;
pub mod watch;
