//! The issuer: what is asked of it, and what its answers mean.

pub mod brief;
pub mod certificate;
mod chunks;
pub mod classify;
pub mod client;
pub mod forwarder;
pub mod issuer;
pub mod key_answers;
pub mod keys;
mod line;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod machine;
pub mod mask;
pub mod probe;
pub mod retry_time;
mod rewound;
pub mod timestamp;
pub mod transport;
pub mod wire;
