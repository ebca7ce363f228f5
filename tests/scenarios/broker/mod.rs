//! What a broker does that no story can tell: crowds, restarts, counters, keys.

mod counters;
mod crowds;
mod keys;
mod restart;

use std::time::Duration;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
