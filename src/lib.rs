//! `bearerd` turns an Okta Privileged Access API key into a local bearer token that is always
//! fresh: a sidecar that reads the key from disk, mints, refreshes, and hands the token out.
//!
//! This crate is the daemon's own library. It is no public interface: the contract is the command
//! line, the configuration, the HTTP API and the metrics (see the README).
//!
//! # The rooms
//!
//! | room | what lives there |
//! | --- | --- |
//! | [`app`] | composition: takes the addresses, starts the brokers, reloads, stops in order |
//! | [`cli`] | what people type and read, and the exit codes |
//! | [`config`] | one validated model from files, environment and flags; every finding at once |
//! | [`token`] | the heart: the pure policy, the broker that carries it out, the handle for all others |
//! | [`key`] | the API key: read with care, followed while it changes, rotated as data |
//! | [`rotator`] | the rotation of keys, carried out: on the disk and at the issuer |
//! | [`okta`] | the issuer: what answers mean (pure), and the client |
//! | [`proxy`] | Okta's own paths: the mint answered here, all else forwarded with the token put in |
//! | [`local`] | the listeners: bind, pace, guard, answer |
//! | [`outlet`] | what goes out without a request: to files, to commands, to a child process |
//! | [`control`] | the control socket, both ends; what `status` and the status page show |
//! | [`telemetry`] | metrics, logs, audit |
//! | [`process`] | clocks, signals, files, secrets in memory, the sandbox |
#![cfg_attr(
    feature = "kubernetes",
    doc = "| [`kubernetes`] | a Secret as the home of the API key: read, followed, rotated in turn |"
)]
#![cfg_attr(
    feature = "emulator",
    doc = "| [`emulator`] | the emulated issuer, a stranger to all others |"
)]
#![cfg_attr(
    feature = "fuzzing",
    doc = "| [`fuzzing`] | what has to hold whatever bytes come; not part of what is shipped |"
)]
//!
//! Arrows between rooms point one way; `tests/architecture` holds them to it.
//!
//! # The life of a token in ten steps
//!
//! 1. [`key::KeyFeed`] finds a key that two reads agree on and gives it to the broker.
//! 2. [`token::policy`] says: mint. It never does anything itself.
//! 3. [`token::broker`] starts the mint and owns it; whoever asked may leave.
//! 4. [`okta::client`] posts the key to `service_token`, within deadlines and caps.
//! 5. [`okta::classify`] says what the answer means: a grant, or one of fourteen reasons.
//! 6. The policy says: publish. Life counts from the start of the attempt, by the issuer's clock.
//! 7. [`token::published`] builds every answer that will carry the token, once.
//! 8. The broker stores it and then wakes those who wait ([`token::handle`]).
//! 9. [`local::server`] accepts, [`local::guard`] lets in, [`local::routes`] answers from what is
//!    stored, after both clocks have said that it is still valid.
//! 10. At half its life, or when a client reports a 401, it begins again at 2; the old token is
//!     served until a better one is there or its end has come.
//!
//! # The laws of the policy
//!
//! Each is a property test over random histories (`src/token/policy_laws.rs`) and a scenario that
//! a person can read (`tests/scenarios`).
//!
//! 1. At most one mint in flight.
//! 2. After every step exactly one of «in flight» and «wake-up set»: never a dead end.
//! 3. A wake-up lies in the future: never a spin.
//! 4. A failure or a rejection never removes a lease; only a better one replaces it.
//! 5. Published leases have growing serials, belong to the current key, are unexpired, and never
//!    come from an abandoned attempt.
//! 6. No mint inside a back-off or `Retry-After` of the same key, except when an operator asks.
//! 7. The first step starts a mint.
//! 8. Any number of rejections starts at most one mint per budget interval.
//! 9. A healthy issuer means never an expired lease, for any lifetime of at least four times
//!    `min_interval` and the mint's own latency together, also under a storm of rejections.
//! 10. A report about another serial changes nothing.
//! 11. Life counts from the start of the attempt; an already expired answer is a failure.
//! 12. A new key is tried at once; until it has minted the old lease stays and the old key goes on
//!     minting.
//! 13. Mints that no rejection, new key or operator asked for keep their distance.
//! 14. Success forgives earlier failures.

pub mod app;
pub mod cli;
pub mod config;
pub mod control;
#[cfg(feature = "emulator")]
pub mod emulator;
#[cfg(any(test, feature = "fuzzing"))]
#[expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an invariant that does not hold panics"
)]
pub mod fuzzing;
pub mod key;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod local;
pub mod okta;
pub mod outlet;
pub mod process;
pub mod proxy;
pub mod rotator;
pub mod telemetry;
pub mod token;
