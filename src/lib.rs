//! placeholder map

pub mod app;
pub mod cli;
pub mod config;
pub mod control;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod key;
pub mod local;
pub mod okta;
pub mod process;
pub mod telemetry;
pub mod token;
