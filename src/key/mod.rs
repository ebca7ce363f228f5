//! The API key: read with care, compared by fingerprint, followed to a successor.

pub mod api_key;
pub mod feed;
pub mod file;
mod grammar;
pub mod journal;
pub mod refused;
pub mod rotation;
pub mod shelf;
pub mod step;
pub mod superseded;

pub use api_key::ApiKey;
pub use feed::{KeyFeed, KeyNews, KeyPlace};
pub use file::{KeyError, KeyReading, KeyWarning};
