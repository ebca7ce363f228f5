//! Our own errors on Okta's paths, in Okta's shape: existing clients know how to read them.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};

use super::Download;
use crate::{
    okta::{classify::Reason, wire::ErrorBody},
    token::broker::whole_seconds,
};

/// Says why a call is not forwarded, or has no answer.
///
/// Its message tells what to do, and holds no byte of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The path is none of Okta's.
    Elsewhere,
    /// The path can be read in two ways.
    Unclean,
    /// The body broke off, or the target is no request target.
    BadRequest,
    /// The body of a local mint is no key pair.
    BadPair,
    /// The local token is missing or wrong.
    Unauthorized,
    /// The secret of a mint is not the listener's access token.
    WrongSecret,
    /// `proxy.allow` does not let it pass.
    Forbidden,
    /// The guard did not let it in, and says why, and perhaps when to come again.
    Guard(StatusCode, String, Option<Duration>),
    /// There is no such team here.
    NoTeam,
    /// The method is not forwarded.
    Method,
    /// A mint is asked for by another method than POST.
    MintMethod,
    /// The client was too slow.
    Timeout,
    /// The body of a local mint is too large.
    TooLarge,
    /// A local mint is not `application/json`.
    MediaType,
    /// There is no token to put in: why, and when one may be there.
    NoToken(String, Duration),
    /// The issuer cannot be reached, and why.
    Unreachable(Reason),
    /// The issuer closed the connection before its answer.
    Closed,
    /// What the issuer sent is no answer.
    Garbled,
    /// The issuer did not answer in time.
    Late,
    /// The issuer answered 401, and nobody could read why.
    Unreadable,
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        use StatusCode as Status;
        match self {
            Self::Elsewhere | Self::NoTeam => Status::NOT_FOUND,
            Self::Unclean | Self::BadRequest | Self::BadPair => Status::BAD_REQUEST,
            Self::Unauthorized | Self::WrongSecret | Self::Unreadable => Status::UNAUTHORIZED,
            Self::Forbidden => Status::FORBIDDEN,
            Self::Guard(status, ..) => *status,
            Self::Method | Self::MintMethod => Status::METHOD_NOT_ALLOWED,
            Self::Timeout => Status::REQUEST_TIMEOUT,
            Self::TooLarge => Status::PAYLOAD_TOO_LARGE,
            Self::MediaType => Status::UNSUPPORTED_MEDIA_TYPE,
            Self::NoToken(..) => Status::SERVICE_UNAVAILABLE,
            Self::Unreachable(_) | Self::Closed | Self::Garbled => Status::BAD_GATEWAY,
            Self::Late => Status::GATEWAY_TIMEOUT,
        }
    }

    /// Okta's own names, by the status.
    fn kind(&self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "forbidden_error",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_content_type",
            StatusCode::TOO_MANY_REQUESTS => "too_many_requests",
            StatusCode::GATEWAY_TIMEOUT => "gateway_timeout",
            status if status.is_server_error() => "service_offline",
            _ => "invalid_request",
        }
    }

    fn message(&self) -> Cow<'_, str> {
        let message = match self {
            Self::Guard(_, why, _) => return why.into(),
            Self::NoToken(why, _) => return format!("bearerd has no valid token: {why}").into(),
            Self::Unreachable(why) => return format!("bearerd: {why}").into(),
            Self::Elsewhere => "Okta's paths begin with /v1/teams/{team}/ and go on",
            Self::Unclean => {
                "bearerd forwards no path with a segment that is empty, a dot segment, encoded \
                 twice, or with a slash, backslash or control character in it"
            }
            Self::BadRequest => "bearerd cannot read this request: its body or target is broken",
            Self::BadPair => {
                "bearerd answers this call itself and wants JSON of the shape \
                 {\"key_id\": \"<a UUID>\", \"key_secret\": \"<1 to 512 characters>\"}"
            }
            Self::Unauthorized => {
                "not the local token of this bearerd listener: ask its service_token"
            }
            Self::WrongSecret => {
                "key_secret must be what the access_token_file of this bearerd listener holds"
            }
            Self::Forbidden => {
                "proxy.allow of this bearerd listener lets no such call pass; keys and \
                 service_token match no wildcard, a rule has to spell them"
            }
            Self::NoTeam => "no credential of this bearerd listener has that team_name",
            Self::Method => "bearerd forwards GET, HEAD, POST, PUT, PATCH and DELETE",
            Self::MintMethod => "bearerd answers service_token itself, and POST only",
            Self::Timeout => "the request came too slowly",
            Self::TooLarge => "a request for a service_token has at most 64 KiB",
            Self::MediaType => "send Content-Type: application/json",
            Self::Closed => {
                "the issuer closed the connection before it answered: the call may be done or not"
            }
            Self::Garbled => {
                "what the issuer sent is no plain HTTP answer: the call may be done or not"
            }
            Self::Late => "the issuer did not answer in time: the call may be done or not",
            Self::Unreadable => {
                "the issuer refused bearerd's token in an answer that cannot be read"
            }
        };
        message.into()
    }

    const fn allowed(&self) -> Option<&'static str> {
        match self {
            Self::Method => Some("GET, HEAD, POST, PUT, PATCH, DELETE"),
            Self::MintMethod => Some("POST"),
            _ => None,
        }
    }

    /// Names a failure that is not the client's, for the log.
    #[must_use]
    pub const fn failure(&self) -> Option<&'static str> {
        match self {
            Self::NoToken(..) => Some("no_token"),
            Self::Unreachable(reason) => Some(reason.label()),
            Self::Closed => Some("closed"),
            Self::Late => Some("timeout"),
            Self::Garbled | Self::Unreadable => Some("malformed"),
            _ => None,
        }
    }

    /// Makes the answer.
    #[must_use]
    pub fn into_response(self) -> Response<Download> {
        let (status, message) = (self.status(), self.message());
        let body = ErrorBody {
            code: status.as_u16(),
            message: message.into_owned(),
            kind: self.kind().into(),
        };
        let mut response = json(status, serde_json::to_vec(&body).unwrap_or_default().into());
        let headers = response.headers_mut();
        if let Some(methods) = self.allowed() {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if let Self::NoToken(_, wait) | Self::Guard(_, _, Some(wait)) = &self {
            headers.insert(header::RETRY_AFTER, whole_seconds(*wait).into());
        }
        response
    }
}

/// Makes an answer of ours with a JSON body.
pub(super) fn json(status: StatusCode, body: Bytes) -> Response<Download> {
    let body = Full::new(body).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
