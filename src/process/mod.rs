//! The process: its clocks, signals and files.

pub mod clock;
pub mod descriptors;
pub mod fingerprint;
pub mod secret;
