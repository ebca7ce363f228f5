//! The API key.
