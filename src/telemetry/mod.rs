//! What the daemon tells of itself: metrics, logs, health.

pub mod metrics;
