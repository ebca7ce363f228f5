//! The rotation of keys, carried out: [`hands`] do what [`key::rotation`](crate::key::rotation) says.
//!
//! The daemon has a [`task`] for each credential that is to be rotated; a command without a daemon
//! does the same [`alone`], with the same lock and journal.

pub mod alone;
pub mod handle;
pub mod hands;
pub mod place;
pub mod task;
pub mod told;
mod work;
