//! What the daemon tells of itself: metrics, logs, health.

pub mod audit;
pub mod logs;
pub mod metrics;
