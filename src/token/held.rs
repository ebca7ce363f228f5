//! A handle without a broker: what it gives is given from the start, and nobody mints.

use std::sync::Arc;

use super::{handle::Handle, published::Published};
use crate::{process::clock::Clock, telemetry::metrics::CredentialMetrics};

/// Makes a handle that gives this token until its end.
pub(crate) fn holding(
    name: &str,
    clock: Arc<dyn Clock>,
    metrics: CredentialMetrics,
    published: Published,
) -> Handle {
    let (handle, _nobody) = Handle::new(name, clock, metrics);
    handle.shared().publish(published);
    handle
}
