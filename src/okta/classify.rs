//! What an answer of `service_token` means: a table, free of I/O.

use std::{borrow::Cow, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::{
    retry_time,
    timestamp::{self, Timestamp},
    wire::{self, ErrorBody, MintResponse},
};
use crate::{
    process::secret::Secret,
    token::timing::{Skew, Wall},
};

/// Longest token that is taken: none longer fits into a header (fault 9).
const LONGEST_TOKEN: usize = 16 * 1024;
/// Clock difference that is no skew, besides the time that the call took.
const TOLERANCE: Duration = Duration::from_secs(2);
/// A `Date` before 2020 or after 2200 is some other machine's mistake.
const SANE_DATES: std::ops::Range<Wall> =
    Wall::from_seconds(1_577_836_800)..Wall::from_seconds(7_258_118_400);

/// Says why a mint failed; the label of `bearerd_token_refresh_failures_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// The issuer's name could not be looked up.
    #[error("the issuer's name could not be looked up in DNS")]
    Dns,
    /// No connection.
    #[error("the issuer could not be connected to")]
    Connect,
    /// No secure connection.
    #[error("no trusted TLS connection to the issuer: certificate, name or clock is wrong")]
    Tls,
    /// No answer in time.
    #[error("the issuer did not answer in time")]
    Timeout,
    /// 401.
    #[error(
        "the issuer does not accept this API key for this team (401): \
             correct team_name, or replace the key file"
    )]
    Unauthorized,
    /// 403.
    #[error("the issuer forbids this team or user a token (403)")]
    Forbidden,
    /// 404.
    #[error("the issuer does not know this team (404): check team_name and base_url")]
    NotFound,
    /// 400.
    #[error("the issuer finds the request wrong (400): check key_id and team_name")]
    BadRequest,
    /// 429.
    #[error("the issuer's rate limit is spent (429)")]
    RateLimited,
    /// 5xx.
    #[error("the issuer has an internal problem (5xx)")]
    ServerError,
    /// Anything that is not the documented shape.
    #[error(
        "the answer is not what an Okta issuer sends: check base_url, is something in between?"
    )]
    Malformed,
    /// A token that is already over.
    #[error("the issuer sent a token that has ended or is about to: compare the clocks")]
    Expired,
    /// A token of another team.
    #[error("the issuer sent a token of another team: check team_name and the key")]
    WrongTeam,
    /// 3xx.
    #[error("the issuer redirects, which is never followed: check base_url")]
    Redirect,
}

impl Reason {
    /// Lists every reason, for metrics that exist from the start.
    pub const ALL: [Self; 14] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::BadRequest,
        Self::RateLimited,
        Self::ServerError,
        Self::Malformed,
        Self::Expired,
        Self::WrongTeam,
        Self::Redirect,
    ];

    /// Tells the label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::BadRequest => "bad_request",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::WrongTeam => "wrong_team",
            Self::Redirect => "redirect",
        }
    }
}

/// Tells why no token came, and what the issuer asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MintError {
    /// Why.
    pub reason: Reason,
    /// The wait that the issuer asked for.
    pub retry_after: Option<Duration>,
    /// What the network or TLS had to say, for people.
    pub cause: Option<&'static str>,
}

impl From<Reason> for MintError {
    fn from(reason: Reason) -> Self {
        Self { reason, retry_after: None, cause: None }
    }
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)?;
        self.cause.map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

/// Holds a token that the issuer granted.
pub struct Grant {
    /// The token.
    pub token: Secret,
    /// Its life from the start of the attempt.
    pub lifetime: Duration,
    /// Its end by the issuer's clock.
    pub expires_at: Wall,
    /// The team as the issuer writes it.
    pub team_name: String,
}

/// Holds one answer of `service_token` as it came.
pub struct Answer<'a> {
    /// Status of the final response.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, up to the cap.
    pub body: &'a [u8],
    /// Local wall time when the attempt started.
    pub started: Wall,
    /// Time from there to the response.
    pub took: Duration,
}

/// Tells what an answer to a mint for `team` means.
///
/// # Errors
///
/// Returns why there is no token in it that could be served.
pub fn mint(answer: &Answer<'_>, team: &str) -> Result<Grant, MintError> {
    if answer.status == StatusCode::OK {
        return granted(answer, team).map_err(MintError::from);
    }
    let asked = retry_time::retry_after(answer.headers, answer.issuer_time());
    Err(MintError { retry_after: asked, ..refused(answer).into() })
}

/// Tells whether the body of a 401 says that the token is not valid, so that a new one helps.
#[must_use]
pub fn is_authentication_error(body: &[u8]) -> bool {
    serde_json::from_slice::<ErrorBody>(body).is_ok_and(|e| e.kind == "authentication_error")
}

/// Tells whether the body of a 401 says that a role is missing, so that a new token is no help.
#[must_use]
pub fn is_authorization_error(body: &[u8]) -> bool {
    serde_json::from_slice::<ErrorBody>(body).is_ok_and(|e| e.kind == "authorization_error")
}

impl Answer<'_> {
    /// Tells how the issuer's clock differs from ours, as far as its `Date` shows.
    #[must_use]
    pub fn skew(&self) -> Skew {
        let Some(date) = retry_time::date(self.headers).filter(|date| SANE_DATES.contains(date))
        else {
            return Skew::None;
        };
        let local = self.started + self.took;
        let (ahead, behind) = (date.since(local), local.since(date));
        match self.took.saturating_add(TOLERANCE) {
            tolerated if ahead > tolerated => Skew::Ahead(ahead),
            tolerated if behind > tolerated => Skew::Behind(behind),
            _ => Skew::None,
        }
    }

    fn issuer_time(&self) -> Wall {
        self.skew().apply(self.started + self.took)
    }

    /// Reads a moment of the issuer's clock on ours.
    #[must_use]
    pub fn ours(&self, theirs: Wall) -> Wall {
        match self.skew() {
            Skew::None => theirs,
            Skew::Ahead(by) => theirs - by,
            Skew::Behind(by) => theirs + by,
        }
    }

    fn is_plain_json(&self) -> bool {
        let encoded = self.headers.get(header::CONTENT_ENCODING);
        wire::is_json(self.headers)
            && encoded.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    }
}

fn granted(answer: &Answer<'_>, team: &str) -> Result<Grant, Reason> {
    if !answer.is_plain_json() {
        return Err(Reason::Malformed);
    }
    let grant: MintResponse<Cow<'_, str>> =
        serde_json::from_slice(answer.body).map_err(|_quotes_its_input| Reason::Malformed)?;
    if !is_b64token(&grant.bearer_token) {
        return Err(Reason::Malformed);
    }
    if !grant.team_name.eq_ignore_ascii_case(team) {
        return Err(Reason::WrongTeam);
    }
    let expires_at = end(&grant).ok_or(Reason::Malformed)?;
    let lifetime = expires_at.since(answer.skew().apply(answer.started));
    if lifetime <= answer.took {
        return Err(Reason::Expired);
    }
    Ok(Grant {
        token: Secret::copy_of(grant.bearer_token.as_bytes()),
        lifetime,
        expires_at,
        team_name: grant.team_name.into_owned(),
    })
}

/// The earlier of `expires_at` and the token's own `exp` (fault 29).
fn end(grant: &MintResponse<Cow<'_, str>>) -> Option<Wall> {
    let Timestamp::At(seconds) = timestamp::parse(&grant.expires_at)? else {
        return None;
    };
    let said = Wall::from_seconds(seconds);
    Some(jwt_end(&grant.bearer_token).map_or(said, |exp| exp.min(said)))
}

/// The `exp` of a token that happens to be a JWT; any other token is opaque (fault 279).
fn jwt_end(token: &str) -> Option<Wall> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let mut parts = token.split('.');
    let (_header, payload) = (parts.next()?, parts.next()?);
    parts.next()?;
    let claims = zeroize::Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    // Before 1970 is over like any other past; what no clock reaches extends nothing.
    let since_epoch = Duration::try_from_secs_f64(exp.max(0.0).floor()).unwrap_or(Duration::MAX);
    Some(Wall::from_unix(since_epoch))
}

/// Tells whether a token can stand behind `Bearer` (RFC 6750 section 2.1).
#[must_use]
pub fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && token.len() <= LONGEST_TOKEN && body.bytes().all(fits)
}

fn refused(answer: &Answer<'_>) -> Reason {
    match answer.status.as_u16() {
        300..=399 => Reason::Redirect,
        429 => Reason::RateLimited,
        500..=599 => Reason::ServerError,
        400..=499 if has_error_body(answer) => match answer.status {
            StatusCode::UNAUTHORIZED => Reason::Unauthorized,
            StatusCode::FORBIDDEN => Reason::Forbidden,
            StatusCode::NOT_FOUND => Reason::NotFound,
            _ => Reason::BadRequest,
        },
        _ => Reason::Malformed,
    }
}

/// Only an issuer's own word stops the retries: a gateway's 404 page must not.
fn has_error_body(answer: &Answer<'_>) -> bool {
    answer.is_plain_json() && serde_json::from_slice::<ErrorBody>(answer.body).is_ok()
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
