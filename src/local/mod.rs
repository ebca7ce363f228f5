//! The listeners of the local API.

pub mod bind;
