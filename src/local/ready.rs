//! Readiness and liveness, for probes: plain words, never a secret.

use std::fmt::Write;

use http::{Response, StatusCode};

use super::{body::Body, credentials::Credentials, problem::answer};
use crate::outlet::sink::Roster;

/// Answers whether every required credential holds a valid token.
#[must_use]
pub fn answer_ready(credentials: &Credentials) -> Response<Body> {
    respond(credentials.are_ready(), String::new())
}

/// Answers likewise, and names each credential and each sink with its reason.
#[must_use]
pub fn answer_ready_verbose(credentials: &Credentials, sinks: &Roster) -> Response<Body> {
    respond(credentials.are_ready(), list(credentials, sinks))
}

/// Answers that the event loop turns; with `verbose` it names each credential too.
#[must_use]
pub fn answer_live(credentials: &Credentials, sinks: &Roster, verbose: bool) -> Response<Body> {
    respond(true, if verbose { list(credentials, sinks) } else { String::new() })
}

fn list(credentials: &Credentials, sinks: &Roster) -> String {
    let mut lines = String::new();
    for standing in credentials.standings() {
        let mark = if standing.ready { "[+]" } else { "[-]" };
        let optional = if standing.required { "" } else { " (not required)" };
        // Writing to a string cannot fail.
        writeln!(lines, "{mark} {}{optional}: {}", standing.name, standing.reason).ok();
    }
    for sink in sinks.all().iter() {
        let (is_good, reason) = sink.report();
        let mark = if is_good { "[+]" } else { "[-]" };
        writeln!(lines, "{mark} sink {}: {reason}", sink.name()).ok();
    }
    lines
}

fn respond(good: bool, mut text: String) -> Response<Body> {
    text.push_str(if good { "ok\n" } else { "not ready\n" });
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, "text/plain; charset=utf-8", text.into())
}
