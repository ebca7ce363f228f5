//! The issuer: what is asked of it, and what its answers mean.

pub mod wire;
