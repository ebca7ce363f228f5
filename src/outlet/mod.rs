//! What goes out without a request: a token for a child process.

pub mod child;
pub mod environment;
