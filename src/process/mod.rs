//! The process and what it shares with its neighbours: clocks, signals, memory, files.

pub mod activation;
#[cfg(test)]
pub(crate) mod apart;
pub mod clock;
pub mod companion;
pub mod descriptors;
pub mod durable_file;
pub mod feed;
pub mod fingerprint;
pub mod harden;
mod heap;
pub mod notify;
pub mod owned_file;
pub mod path_error;
pub mod peer;
pub mod private_dir;
mod random;
pub mod sandbox;
pub mod secret;
pub mod secret_file;
pub mod shares;
pub mod signals;
pub mod tcp_owner;
pub mod terminal;
pub mod trust;
pub mod trusted_dir;
mod watch;
