//! The process: its clocks, signals, files and confinement.

pub mod clock;
pub mod descriptors;
pub mod fingerprint;
pub mod harden;
pub mod notify;
pub mod secret;
pub mod signals;
