//! Okta's own paths on the real binary, before the emulated issuer and one that notes every byte.
//!
//! All waits are bounded, and none compares two clocks at a boundary. A comment `// fault N` names
//! the rows of the fault table that a test covers, `// case N` the conformance cases.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy lets tests do so, but not the functions that tests share"
)]

mod access;
mod bench;
mod brief;
mod clients;
mod endings;
mod failures;
mod framing;
mod headers;
mod links;
mod mint;
mod paths;
mod rules;
mod streaming;
mod unauthorized;
