//! Answers in Okta's shape, the good and the bad.

use std::borrow::Cow;

use bytes::Bytes;
use clap::ValueEnum;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::okta::wire::ErrorBody;

/// Holds a whole answer before it goes out.
pub(super) type Answer = Response<Bytes>;

/// Names what went wrong, as Okta sorts it; as a fault it goes by its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Kind {
    /// The request makes no sense.
    #[value(name = "400")]
    InvalidRequest,
    /// No valid token or key: a new token helps.
    #[value(name = "401")]
    Authentication,
    /// The role lacks a capability: a new token does not help.
    #[value(name = "401-authorization")]
    Authorization,
    /// Forbidden to everybody, as disabling oneself.
    #[value(name = "403")]
    Forbidden,
    /// The team is disabled.
    #[value(name = "403-disabled-team")]
    DisabledTeam,
    /// There is no such thing.
    #[value(name = "404")]
    NotFound,
    /// The name is taken.
    #[value(name = "409")]
    Conflict,
    /// The body is not JSON by its type.
    #[value(name = "415")]
    UnsupportedContentType,
    /// The user has used up the hour's requests.
    #[value(skip)]
    TooManyRequests,
    /// The issuer broke.
    #[value(name = "500")]
    Unknown,
    /// The issuer is offline.
    #[value(name = "503")]
    Offline,
    /// Something behind the issuer was too slow.
    #[value(name = "504")]
    GatewayTimeout,
}

impl Kind {
    /// Tells the HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Authentication | Self::Authorization => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::DisabledTeam => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::UnsupportedContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Offline => StatusCode::SERVICE_UNAVAILABLE,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Tells the `type` that the error's body carries.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Authentication => "authentication_error",
            Self::Authorization => "authorization_error",
            Self::Forbidden => "forbidden_error",
            Self::DisabledTeam => "disabled_team",
            Self::NotFound => "resource_does_not_exist",
            Self::Conflict => "resource_already_exists",
            Self::UnsupportedContentType => "unsupported_content_type",
            Self::TooManyRequests => "too_many_requests",
            Self::Unknown => "unknown_error",
            Self::Offline => "service_offline",
            Self::GatewayTimeout => "gateway_timeout",
        }
    }
}

/// Says no, in Okta's words.
pub(super) struct Refusal {
    pub(super) kind: Kind,
    pub(super) message: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        error(refusal.kind.status(), refusal.kind.label(), &refusal.message)
    }
}

/// Answers with an error body of any status and type.
pub(super) fn error(status: StatusCode, kind: &str, message: &str) -> Answer {
    let body =
        ErrorBody { code: status.as_u16(), message: message.to_owned(), kind: kind.to_owned() };
    json(status, &body)
}

/// Answers with `body` as JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(body).expect("these bodies have string keys and finite numbers");
    let mut answer = bare(status);
    *answer.body_mut() = text.into();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Answers with a status and nothing else.
pub(super) fn bare(status: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = status;
    answer
}
