//! What an answer that is no answer means, in one line: what came, why, what to do.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};

use super::{call::Call, way::Way};
use crate::{
    cli::{exit::Exit, span::span, text, token},
    okta::{classify::MintError, retry_time, wire::LenientError},
    token::timing::Wall,
};

/// A budget is of an hour: what is longer is a mistake.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Says that nobody knows whether a call was carried out, and how to find out.
pub(super) fn unknown(what: &str, look: &str) -> Exit {
    Exit::failed(format!("{what}: whether it was done is not known, so look with '{look}'"))
}

/// Says why a call has no answer, though it may have been sent.
pub(super) fn lost(call: &Call, what: &str) -> Exit {
    call.look.as_ref().map_or_else(|| Exit::unreachable(what), |look| unknown(what, look))
}

/// Says why there is no token to ask with.
pub(super) fn unminted(credential: &str, error: MintError) -> Exit {
    Exit::unminted(format!("credential {credential}: {error}"), error.reason)
}

/// Lets an answer pass that is one.
pub(super) fn check(
    answer: Response<Bytes>,
    call: &Call,
    way: &Way,
    now: Wall,
) -> Result<Response<Bytes>, Exit> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    if is_problem(&answer) {
        return Err(token::refused(&answer));
    }
    let error: LenientError = serde_json::from_slice(answer.body()).unwrap_or_default();
    let said = said(answer.status(), &error);
    Err(match answer.status().as_u16() {
        401 | 403 => Exit::denied(format!("{said}: {}", denied(&error.kind, call, way))),
        400..=499 => refused(&said, &answer, way, now),
        500..=599 => lost(call, &said),
        _ => Exit::unreachable(format!("{said}: that is not Okta's API, check base_url")),
    })
}

/// A problem document is the daemon's own word.
fn is_problem(answer: &Response<Bytes>) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"))
}

fn said(status: StatusCode, error: &LenientError) -> String {
    let mut said = format!("the answer is {}", status.as_u16());
    if !error.kind.is_empty() {
        said.push(' ');
        said.push_str(&text::message(&error.kind));
    }
    if !error.message.is_empty() {
        said.push_str(&format!(" ({})", text::message(&error.message)));
    }
    said
}

fn denied(kind: &str, call: &Call, way: &Way) -> String {
    let credential = &way.credential;
    match kind {
        "authentication_error" => format!(
            "the token of credential {credential} was not accepted: try again, then look at its \
             key with 'bearerd status'"
        ),
        "disabled_team" => format!("the team {} is disabled: ask its administrator", way.team_name),
        "quota_exceeded" => "the team may not have more of these".to_owned(),
        _ => format!(
            "this needs the role {}, which the service user of credential {credential} lacks: \
             ask an administrator of the team for it",
            call.roles()
        ),
    }
}

fn refused(said: &str, answer: &Response<Bytes>, way: &Way, now: Wall) -> Exit {
    match answer.status().as_u16() {
        404 => Exit::failed(format!(
            "{said}: team {} has no such service user or key, see 'bearerd users list' and \
             'bearerd keys list USER'",
            way.team_name
        )),
        409 => Exit::failed(format!(
            "{said}: the name is in use, perhaps by a deleted user, see \
             'bearerd users list --status deleted'"
        )),
        429 => {
            let wait = retry_time::retry_after(answer.headers(), now).filter(|wait| *wait < DAY);
            let wait = wait.map(|wait| format!(" in {}", span(wait.as_secs().max(1))));
            let wait = wait.unwrap_or_else(|| " later".to_owned());
            Exit::unreachable(format!("{said}: the hourly budget is spent, come again{wait}"))
        }
        _ => Exit::failed(format!("{said}: correct the command")),
    }
}
