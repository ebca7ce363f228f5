//! Okta's service-user API from the command line: one way to ask, one to list, one to complain.
//!
//! `users` and `keys` say what is asked ([`call`]); [`way`] finds who carries it ([`road`]): the running
//! daemon, or nobody but ourselves; [`list`] follows pages ([`pages`]) and shows rows ([`show`]); [`refused`]
//! says what an answer that is no answer means.

pub(super) mod call;
pub(super) mod list;
mod pages;
mod refused;
pub(super) mod rights;
mod road;
pub(super) mod show;
pub(super) mod way;
