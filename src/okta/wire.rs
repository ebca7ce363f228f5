//! What goes over the wire to the issuer and back, as data.
//!
//! Shapes are those of Okta Privileged Access, `POST /v1/teams/{team}/service_token` and its
//! neighbours. Structs only: a map would let a duplicate field pass (fault 11).

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

/// Asks for a token: the body of `POST service_token`.
#[derive(Deserialize, Serialize)]
pub struct MintRequest<S> {
    /// Id of the API key, a UUID.
    pub key_id: S,
    /// Secret of the API key, 1 to 512 characters.
    pub key_secret: S,
}

/// Grants a token: the body of a 200 from `service_token`.
#[derive(Deserialize, Serialize)]
pub struct MintResponse<S> {
    /// The token, opaque, up to 4096 characters.
    pub bearer_token: S,
    /// RFC 3339, UTC, none to nine digits of fraction.
    pub expires_at: S,
    /// The team the token is for; compares without case.
    pub team_name: S,
}

/// Tells what went wrong: the body of every error.
#[derive(Deserialize, Serialize)]
pub struct ErrorBody {
    /// The HTTP status again.
    pub code: u16,
    /// For people. Never printed: some issuers echo the request (fault 32).
    pub message: String,
    /// The kind, as `authentication_error`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Holds one page of a list.
#[derive(Deserialize)]
pub struct Page<T> {
    /// What is on it, in the issuer's order.
    pub list: Vec<T>,
}

/// Shows a service user.
#[derive(Deserialize, Serialize)]
pub struct ServiceUser {
    /// A UUID.
    pub id: String,
    /// 1 to 255 characters.
    pub name: String,
    /// `ACTIVE`, `DISABLED` or `DELETED`.
    pub status: String,
    /// The team.
    pub team_name: Option<String>,
    /// `service`.
    pub user_type: Option<String>,
    /// Nothing, as far as is known.
    pub details: Option<serde_json::Value>,
    /// RFC 3339; absent for those who are not deleted.
    pub deleted_at: Option<String>,
}

/// Shows an API key; never its secret.
#[derive(Deserialize, Serialize)]
pub struct ServiceKey {
    /// A UUID.
    pub id: String,
    /// RFC 3339.
    pub issued_at: Option<String>,
    /// RFC 3339; the year 1 means never (fault 276).
    pub expires_at: Option<String>,
    /// RFC 3339.
    pub last_used: Option<String>,
}

/// Names the service user that a token belongs to.
#[derive(Deserialize)]
pub struct CurrentUser {
    /// A UUID.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Tells what went wrong as far as can be read: unlike [`ErrorBody`], for people only.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct LenientError {
    /// For people; quotes what it likes (fault 32).
    pub message: String,
    /// The kind, as `authentication_error`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Gives the bearer token of a request.
///
/// Only of exactly one `Authorization` header, and with one space after the scheme, whose case does
/// not count: what can be read in two ways is no token (fault 145).
#[must_use]
pub fn bearer_of(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// Tells whether a body is announced as `application/json`, in any case, with any parameters.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    // fault 145
    #[test]
    fn one_line_of_one_scheme_carries_a_token() {
        for (values, expected) in [
            (&["Bearer a.b"][..], Some("a.b")),
            (&["bEARER a.b"], Some("a.b")),
            (&["Bearer "], Some("")),
            (&["Bearer  a"], Some(" a")),
            (&["Bearer"], None),
            (&["Basic a.b"], None),
            (&["Bearer\ta"], None),
            (&["Bearer a", "Bearer a"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(bearer_of(&headers), expected.map(str::as_bytes), "{values:?}");
        }
    }
}
