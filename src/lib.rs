//! placeholder map

pub mod config;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod key;
pub mod local;
pub mod okta;
pub mod process;
pub mod token;
