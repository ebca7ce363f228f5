//! A Kubernetes Secret as the home of an API key: read, followed, and rotated by one daemon of a fleet.
//!
//! Five calls are all that it takes, so they are made here and not by a client library: of a Secret
//! that it cannot read, the one that most programs use puts every byte into the log.
//!
//! [`client`] speaks to the API server with the pod's own account; `wire` says what is sent and what
//! comes back; [`feed`] follows a key; [`shelf`] keeps what a rotation needs in the same Secret;
//! [`lease`] sees to it that only one daemon rotates.

pub mod client;
pub mod feed;
pub mod lease;
pub mod secret;
pub mod shelf;
mod wire;
