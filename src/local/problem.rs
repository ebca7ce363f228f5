//! Errors of the local API: RFC 9457 problem documents with stable types.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::body::Body;
use crate::token::{broker::whole_seconds, format::headers};

/// Says what is wrong with a request, or with us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind: status, stable slug and title.
    pub kind: Kind,
    /// What is wrong here, and what to do; never a byte of the request.
    pub detail: String,
    /// When to come again.
    pub retry_after: Option<Duration>,
    /// The methods that would do.
    pub allow: Option<&'static str>,
}

/// Names the kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A query parameter or the body is wrong.
    BadRequest,
    /// The access token is missing or wrong.
    Unauthorized,
    /// The request is not let in.
    Refused,
    /// There is no such path or credential.
    NotFound,
    /// The path has other methods.
    MethodNotAllowed,
    /// The request came too slowly.
    RequestTimeout,
    /// The body is too large.
    TooLarge,
    /// The body is of another type than asked for.
    UnsupportedMediaType,
    /// The `Host` is none of ours.
    WrongHost,
    /// Too often.
    TooManyRequests,
    /// There is no valid token.
    NoToken,
    /// There is no newer token than the one that was reported.
    NoNewerToken,
}

impl Kind {
    /// Lists every kind.
    pub const ALL: [Self; 12] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Refused,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::WrongHost,
        Self::TooManyRequests,
        Self::NoToken,
        Self::NoNewerToken,
    ];

    /// Tells status, stable slug and title.
    pub(super) const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as Status;
        match self {
            Self::BadRequest => (Status::BAD_REQUEST, "bad-request", "The request is not valid"),
            Self::Unauthorized => {
                (Status::UNAUTHORIZED, "unauthorized", "The access token is missing or wrong")
            }
            Self::Refused => (Status::FORBIDDEN, "refused", "The request is not let in"),
            Self::NotFound => (Status::NOT_FOUND, "not-found", "There is nothing here"),
            Self::MethodNotAllowed => {
                (Status::METHOD_NOT_ALLOWED, "method-not-allowed", "The path has other methods")
            }
            Self::RequestTimeout => {
                (Status::REQUEST_TIMEOUT, "request-timeout", "The request came too slowly")
            }
            Self::TooLarge => (Status::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::UnsupportedMediaType => (
                Status::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body is not application/json",
            ),
            Self::WrongHost => {
                (Status::MISDIRECTED_REQUEST, "wrong-host", "The Host is none of this listener's")
            }
            Self::TooManyRequests => {
                (Status::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests")
            }
            Self::NoToken => (Status::SERVICE_UNAVAILABLE, "no-token", "There is no valid token"),
            Self::NoNewerToken => {
                (Status::SERVICE_UNAVAILABLE, "no-newer-token", "There is no newer token")
            }
        }
    }

    /// Tells the HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.parts().0
    }

    /// Makes a problem of this kind.
    #[must_use]
    pub fn because(self, detail: impl Into<String>) -> Problem {
        Problem { kind: self, detail: detail.into(), retry_after: None, allow: None }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// Makes the answer.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let (status, slug, title) = self.kind.parts();
        let document = Document {
            r#type: format!("urn:bearerd:problem:{slug}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = answer(status, "application/problem+json", body.into());
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, whole_seconds(wait).into());
        }
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if self.kind == Kind::Unauthorized {
            // RFC 9110 section 15.5.2: a 401 says what would do.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Makes any answer of ours, with the headers that each of them carries.
#[must_use]
pub fn answer(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers(media_type);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_problem_has_the_documented_shape() {
        let problem = Problem {
            retry_after: Some(Duration::from_millis(1500)),
            allow: Some("GET"),
            ..Kind::NoToken.because("the issuer is down")
        };
        let response = problem.into_response();
        assert_eq!(response.status(), 503);
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok());
        assert_eq!(header("content-type"), Some("application/problem+json"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-content-type-options"), Some("nosniff"));
        assert_eq!((header("retry-after"), header("allow")), (Some("2"), Some("GET")));
        let body = response.into_body().collect().await.expect("full").to_bytes();
        let document: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let expected = serde_json::json!({"type": "urn:bearerd:problem:no-token",
            "title": "There is no valid token", "status": 503, "detail": "the issuer is down"});
        assert_eq!(document, expected);
    }

    #[test]
    fn only_a_401_says_what_would_do() {
        let challenge = |kind: Kind| {
            let response = kind.because("x").into_response();
            response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().into())
        };
        assert_eq!(challenge(Kind::Unauthorized), Some("Bearer".to_owned()));
        assert_eq!(challenge(Kind::Refused), None);
    }
}
