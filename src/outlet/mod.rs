//! What goes out without a request: a token for a child process, a file, a command that is told.

pub mod child;
pub mod command;
pub mod environment;
pub mod init;
pub mod relay;
pub mod sink;
