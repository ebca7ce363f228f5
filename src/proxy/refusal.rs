//! Our own errors on Okta's paths, in Okta's shape: existing clients know how to read them.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};

use super::Download;
use crate::okta::wire::ErrorBody;

/// Says why a call is not forwarded, or has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The path can be read in two ways, or the body cannot be read at all.
    BadRequest,
    /// The local token is missing or wrong.
    Unauthorized,
    /// The secret of a mint is not the listener's access token.
    WrongSecret,
    /// `proxy.allow` does not let it pass, or the guard did not.
    Forbidden,
    /// There is no such team here.
    NotFound,
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
    /// The `Host` is none of ours.
    WrongHost,
    /// Too often.
    TooMany,
    /// There is no token to put in.
    NoToken,
    /// The issuer cannot be reached.
    Unreachable,
    /// The issuer broke off.
    Broken,
    /// The issuer did not answer in time.
    Late,
    /// The issuer answered 401, and nobody could read why.
    Unreadable,
}

impl Refusal {
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as Status;
        match self {
            Self::BadRequest => {
                (Status::BAD_REQUEST, "invalid_request", "bearerd cannot read this request")
            }
            Self::Unauthorized => (
                Status::UNAUTHORIZED,
                "authentication_error",
                "not the local token of this bearerd listener: ask its service_token",
            ),
            Self::WrongSecret => (
                Status::UNAUTHORIZED,
                "authentication_error",
                "key_secret must be what the access_token_file of this bearerd listener holds",
            ),
            Self::Forbidden => {
                (Status::FORBIDDEN, "forbidden_error", "bearerd does not let this call pass")
            }
            Self::NotFound => {
                (Status::NOT_FOUND, "not_found", "this bearerd listener has no such team")
            }
            Self::Method => {
                (Status::METHOD_NOT_ALLOWED, "invalid_request", "bearerd forwards no such method")
            }
            Self::MintMethod => {
                (Status::METHOD_NOT_ALLOWED, "invalid_request", "service_token takes POST only")
            }
            Self::Timeout => {
                (Status::REQUEST_TIMEOUT, "invalid_request", "the request came too slowly")
            }
            Self::TooLarge => {
                (Status::PAYLOAD_TOO_LARGE, "invalid_request", "the body is too large")
            }
            Self::MediaType => (
                Status::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_type",
                "send Content-Type: application/json",
            ),
            Self::WrongHost => {
                (Status::MISDIRECTED_REQUEST, "invalid_request", "the Host is none of bearerd's")
            }
            Self::TooMany => (Status::TOO_MANY_REQUESTS, "too_many_requests", "too many requests"),
            Self::NoToken => {
                (Status::SERVICE_UNAVAILABLE, "service_offline", "bearerd has no valid token")
            }
            Self::Unreachable => {
                (Status::BAD_GATEWAY, "service_offline", "bearerd cannot reach the issuer")
            }
            Self::Broken => {
                (Status::BAD_GATEWAY, "service_offline", "the issuer broke off its answer")
            }
            Self::Late => {
                (Status::GATEWAY_TIMEOUT, "gateway_timeout", "the issuer did not answer in time")
            }
            Self::Unreadable => (
                Status::UNAUTHORIZED,
                "authentication_error",
                "the issuer refused bearerd's token in an answer that cannot be read",
            ),
        }
    }

    const fn allowed(self) -> Option<&'static str> {
        match self {
            Self::Method => Some("GET, HEAD, POST, PUT, PATCH, DELETE"),
            Self::MintMethod => Some("POST"),
            _ => None,
        }
    }

    /// Makes the answer.
    #[must_use]
    pub fn into_response(self) -> Response<Download> {
        let (status, kind, message) = self.parts();
        let body = ErrorBody { code: status.as_u16(), message: message.into(), kind: kind.into() };
        let mut response = json(status, serde_json::to_vec(&body).unwrap_or_default().into());
        let headers = response.headers_mut();
        if let Some(methods) = self.allowed() {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if matches!(self, Self::NoToken | Self::TooMany) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
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
