//! `GET /v1/token` and `POST /v1/token/rejected`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    body::Body,
    busy::Busy,
    problem::{Kind, Problem},
    query::{self, Query},
    routes::Endpoint,
    served::Served,
};
use crate::{
    okta::wire::is_json,
    process::secret::Secret,
    token::{
        format::Format,
        handle::{Claim, Handle, Rejection},
        published::Published,
    },
};

/// Largest report that is read: the longest token and some room.
const LARGEST_REPORT: usize = 20 * 1024;
/// Longest time in which a report must have come.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Gives the whole answer with the current token to a request that makes no conditions.
pub(super) fn at_once(served: &Served, request: &Parts) -> Option<Bytes> {
    let known = Endpoint::Token.parameters()?;
    let query = query::parse(request.uri.query(), known).ok()?;
    if query.min_ttl.is_some()
        || query.wait.is_some()
        || request.headers.contains_key(header::IF_NONE_MATCH)
    {
        return None;
    }
    let handle = served.credential(query.credential.as_deref()).ok()?;
    let (published, remaining, wall) = handle.current_at()?;
    Some(published.whole(query.format, remaining, wall))
}

/// Answers with the current token, or 304 while it is the one that the client has.
pub(super) async fn current(
    served: &Served,
    query: &Query,
    request: &Request<Incoming>,
    closing: &CancellationToken,
    client: &Busy,
) -> Result<Response<Body>, Problem> {
    let handle = served.credential(query.credential.as_deref())?;
    let found = match query.min_ttl {
        Some(life) => handle.with_life(life).await,
        None => handle.current_within(served.first_token_wait).await,
    };
    let (published, remaining) = found.ok_or_else(|| no_token(handle))?;
    if !is_known(&published, request.headers()) {
        return Ok(token(&published, query.format, remaining));
    }
    // Behind a body that nobody reads it could not be seen that the client leaves.
    let Some(wait) = query.wait.filter(|_| request.body().is_end_stream()) else {
        return Ok(unchanged(&published));
    };
    let Ok(_place) = served.waits.try_acquire() else {
        return Ok(unchanged(&published));
    };
    tokio::select! {
        biased;
        () = closing.cancelled() => Ok(unchanged(&published)),
        () = client.left() => Ok(unchanged(&published)),
        answer = changed(handle, &published, query.format, wait) => answer,
    }
}

/// Waits until the token is another one than the client has.
async fn changed(
    handle: &Handle,
    seen: &Published,
    format: Format,
    wait: Duration,
) -> Result<Response<Body>, Problem> {
    if timeout(wait, handle.changed_from(seen.serial())).await.is_err() {
        return Ok(unchanged(seen));
    }
    let (published, remaining) = handle.current().ok_or_else(|| no_token(handle))?;
    Ok(token(&published, format, remaining))
}

/// Takes a report that the upstream refused a token.
pub(super) async fn rejected(
    served: &Served,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response<Body>, Problem> {
    let handle = served.credential(query.credential.as_deref())?;
    let report = read_report(request).await?;
    let claim = match (&report.token_id, &report.bearer_token) {
        (Some(id), None) => Claim::TokenId(id),
        (None, Some(token)) => Claim::Token(token.0.expose()),
        _ => return Err(Kind::BadRequest.because(REPORT_SHAPE)),
    };
    match handle.reject(claim).await {
        Rejection::Stale(token) | Rejection::Refreshed(token) => newest(handle, &token),
        Rejection::Throttled(wait) => Err(Problem {
            retry_after: Some(wait),
            ..Kind::TooManyRequests.because(
                "new tokens are reported as refused too often, and the issuer takes this one",
            )
        }),
        Rejection::Failed => Err(Problem {
            retry_after: Some(handle.next_try()),
            ..Kind::NoNewerToken.because(handle.state().trouble())
        }),
        Rejection::NoToken => Err(no_token(handle)),
    }
}

fn newest(handle: &Handle, published: &Arc<Published>) -> Result<Response<Body>, Problem> {
    let (tick, wall) = handle.now();
    let remaining = published.remaining(tick, wall);
    if remaining.is_zero() {
        return Err(no_token(handle));
    }
    Ok(token(published, Format::Json, remaining))
}

const REPORT_SHAPE: &str = r#"send {"token_id": "…"} or {"bearer_token": "…"}"#;

/// A report names the token by one of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    token_id: Option<String>,
    bearer_token: Option<Reported>,
}

/// A reported token, which may still be good elsewhere: wiped like any other.
struct Reported(Secret);

impl<'de> Deserialize<'de> for Reported {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(Secret::from(text.into_bytes())))
    }
}

async fn read_report(request: Request<Incoming>) -> Result<Report, Problem> {
    if !is_json(request.headers()) {
        return Err(Kind::UnsupportedMediaType.because("send Content-Type: application/json"));
    }
    let body = Limited::new(request.into_body(), LARGEST_REPORT).collect();
    let Ok(body) = timeout(REPORT_TIMEOUT, body).await else {
        return Err(Kind::RequestTimeout.because("the body did not come in time"));
    };
    let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Kind::TooLarge.because(format!("a report has at most {LARGEST_REPORT} bytes")),
        None => Kind::BadRequest.because("the body could not be read"),
    })?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|_quotes_its_input| Kind::BadRequest.because(REPORT_SHAPE))
}

fn token(published: &Published, format: Format, remaining: Duration) -> Response<Body> {
    let mut response = Response::new(Body::from(published.body(format, remaining)));
    response.headers_mut().clone_from(published.headers(format));
    response
}

fn unchanged(published: &Published) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::new()));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().clone_from(published.headers(Format::Json));
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

/// RFC 9110 section 13.1.2: a list of tags, compared weakly, or any.
fn is_known(published: &Published, headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter();
    lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',')).any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == published.etag().as_bytes()
    })
}

/// Says why there is no token, and when to come again.
pub(super) fn no_token(handle: &Handle) -> Problem {
    Problem {
        retry_after: Some(handle.next_try()),
        ..Kind::NoToken.because(handle.state().trouble())
    }
}
