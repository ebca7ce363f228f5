//! A key in a Kubernetes Secret: the real binary, as in a pod, before an API server made for it.
//!
//! Each daemon gets a mount namespace of its own in which the pod's account lies where the kubelet
//! puts it. Where that is not allowed the tests say so and are skipped.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy lets tests do so, but not the functions that tests share"
)]

#[path = "../daemon/bench/mod.rs"]
#[expect(dead_code, reason = "the bench of other tests, of which this one uses a part")]
mod bench;
mod cluster;
mod fleet;
mod pod;
mod reading;
