//! The emulated issuer: Okta Privileged Access's token and service-user API, in memory.
//!
//! It stands where the real issuer would: for `bearerd dev` and `bearerd emulator`, and in-process
//! for the tests. It is a stranger to the rest of the crate and shares the wire types of a mint at
//! most, so that a mistake there is not made here too. Its secrets are worth nothing.
//!
//! A request goes through it in one direction: `server` reads a `call`; a fault of the `schedule`
//! answers in place of the `api`, or spoils what that answered (`sabotage`); what HTTP cannot say
//! is played on the bare connection (`script`).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use bearerd::emulator::{Emulator, FaultPlan, Options};
//!
//! let issuer = Emulator::start(Options::default()).await?;
//! let (key_id, key_secret) = issuer.key();
//! issuer.inject("mint@503:2".parse::<FaultPlan>()?);
//! // … point the client at issuer.base_url() …
//! assert_eq!(issuer.mint_calls(), 0);
//! issuer.stop().await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod api;
mod call;
mod chance;
mod clock;
mod control;
mod fault;
mod handle;
mod initial_key;
mod keys;
mod limits;
mod options;
mod pages;
mod sabotage;
mod schedule;
mod script;
mod server;
mod service_users;
mod state;
mod tokens;
mod traffic;
mod users;

pub use answer::Kind;
pub use fault::{AnswerFlaw, ConnectionFlaw, Fault, GrantFlaw, UnknownFault};
pub use handle::Emulator;
pub use limits::ThrottleForm;
pub use options::{DeletedKeyTokens, LinkForm, Options, RotationEnd, UnknownTeam};
pub use schedule::{FaultPlan, Scope};

pub use traffic::Seen;
pub use users::{Role, Status};
