//! The API key.

pub mod api_key;
mod grammar;
pub mod refused;
