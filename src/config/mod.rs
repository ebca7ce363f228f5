//! The configuration: one validated model, from files, environment and flags.

pub mod model;
