//! The process and what it shares with its neighbours: memory, files, directories.

pub mod owned_file;
pub mod path_error;
pub mod secret;
pub mod trusted_dir;
