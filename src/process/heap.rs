//! The heap: whatever is given back is wiped first.
//!
//! Secrets of ours are wiped by their own types; the buffers of HTTP, TLS and JSON that they pass
//! through are not ours to wipe, so the allocator does it (faults 234, 236 and 237).

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static HEAP: ZeroAlloc<System> = ZeroAlloc(System);
