//! Descriptors that the runtime waits on.

use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

/// Lets the runtime wait until a descriptor can be read; call it inside the runtime.
///
/// # Errors
///
/// Fails when the kernel does not watch one more descriptor.
#[expect(
    deprecated,
    reason = "the replacement is unsafe for types that could change their descriptor; an \
              OwnedFd cannot"
)]
pub fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, tokio::io::Interest::READABLE)
}
