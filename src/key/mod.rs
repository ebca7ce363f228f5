//! The API key: read with care, compared by fingerprint, watched for a successor.

pub mod api_key;
pub mod feed;
pub mod file;
mod grammar;
pub mod refused;

pub use api_key::ApiKey;
pub use feed::{KeyFeed, KeyNews};
pub use file::{KeyError, KeyReading, KeyWarning};
