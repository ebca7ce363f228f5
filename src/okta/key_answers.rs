//! What the answers about API keys mean: a table, free of I/O.

use std::borrow::Cow;

use http::StatusCode;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    classify::{Answer, Reason, is_authentication_error, is_authorization_error},
    timestamp::{self, Timestamp},
    wire::{CurrentUser, ErrorBody, Page, ServiceKey},
};
use crate::{key::api_key::ApiKey, token::timing::Wall};

/// Holds a key as it was shown, this once.
pub struct NewKey {
    /// The key.
    pub key: ApiKey,
    /// When it ends by our clock; `None` for never, which is usual.
    pub ends: Option<Wall>,
}

/// Tells of a key in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// Its id.
    pub id: String,
    /// When it was issued by our clock, if that was told.
    pub issued: Option<Wall>,
    /// When it ends by our clock; `None` for never.
    pub ends: Option<Wall>,
}

/// Says why a call about keys brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing was sent.
    #[error("{0}")]
    Unsent(&'static str),
    /// Nothing was sent, as there was no connection.
    #[error("{0}")]
    NotReached(Reason),
    /// Whether it was carried out is not known.
    #[error("the issuer broke off, or did not answer in time")]
    Silence,
    /// It may have been carried out, and what came is of no use.
    #[error("the answer is not what an Okta issuer sends")]
    Malformed,
    /// The role is missing.
    #[error(
        "the service user of this token lacks the role for it (401 authorization_error): \
             it takes resource_admin"
    )]
    Role,
    /// The token is no good.
    #[error("the issuer does not accept the token that asked (401)")]
    Token,
    /// It was not carried out.
    #[error("the issuer refused it ({0})")]
    Refused(u16),
}

impl KeyError {
    /// Tells whether it may have been carried out, for all that is known.
    #[must_use]
    pub const fn may_be_done(self) -> bool {
        matches!(self, Self::Silence | Self::Malformed)
    }
}

/// Reads the answer to a rotation; what is odd about it leaves the new secret lost (fault 37).
///
/// # Errors
///
/// Says why there is no new key.
pub fn rotated(answer: &Answer<'_>) -> Result<NewKey, KeyError> {
    #[derive(Deserialize)]
    struct Rotated<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        expires_at: Option<Cow<'a, str>>,
        #[serde(borrow)]
        secret: Cow<'a, str>,
    }
    check(answer, StatusCode::OK)?;
    let told: Rotated<'_> = json(answer)?;
    let secret = match told.secret {
        Cow::Borrowed(secret) => Zeroizing::new(secret.to_owned()),
        Cow::Owned(secret) => Zeroizing::new(secret),
    };
    let key = ApiKey::new(&told.id, &secret, None).map_err(|_| KeyError::Malformed)?;
    let ends = moment(answer, told.expires_at.as_deref())?;
    let is_over = ends.is_some_and(|ends| ends <= answer.started + answer.took);
    if is_over { Err(KeyError::Malformed) } else { Ok(NewKey { key, ends }) }
}

/// Reads a list of keys.
///
/// # Errors
///
/// Says why there is none.
pub fn listed(answer: &Answer<'_>) -> Result<Vec<ListedKey>, KeyError> {
    check(answer, StatusCode::OK)?;
    let page: Page<ServiceKey> = json(answer)?;
    let key = |key: ServiceKey| {
        let ends = moment(answer, key.expires_at.as_deref())?;
        let issued = moment(answer, key.issued_at.as_deref())?;
        Ok(ListedKey { id: key.id, issued, ends })
    };
    page.list.into_iter().map(key).collect()
}

/// Reads name and id of the user that a token is of.
///
/// # Errors
///
/// Says why they are not known.
pub fn whose(answer: &Answer<'_>) -> Result<(String, String), KeyError> {
    check(answer, StatusCode::OK)?;
    let CurrentUser { id, name } = json(answer)?;
    Ok((name, id))
}

/// Reads the answer to a deletion; a key that is not there is deleted.
///
/// # Errors
///
/// Says why it is still there.
pub fn deleted(answer: &Answer<'_>) -> Result<(), KeyError> {
    match answer.status {
        StatusCode::OK | StatusCode::NOT_FOUND => Ok(()),
        _ => check(answer, StatusCode::NO_CONTENT),
    }
}

/// Lets only this status pass; a refusal has to be the issuer's own word to count as one.
fn check(answer: &Answer<'_>, wanted: StatusCode) -> Result<(), KeyError> {
    let has_error = serde_json::from_slice::<ErrorBody>(answer.body).is_ok();
    match answer.status {
        status if status == wanted => Ok(()),
        StatusCode::UNAUTHORIZED if is_authorization_error(answer.body) => Err(KeyError::Role),
        StatusCode::UNAUTHORIZED if is_authentication_error(answer.body) => Err(KeyError::Token),
        // A gateway's time-out tells nothing of what became of the call.
        StatusCode::GATEWAY_TIMEOUT | StatusCode::BAD_GATEWAY => Err(KeyError::Silence),
        status if status.is_client_error() || status.is_redirection() => {
            Err(KeyError::Refused(status.as_u16()))
        }
        status if status.is_server_error() && has_error => Err(KeyError::Refused(status.as_u16())),
        _ => Err(KeyError::Malformed),
    }
}

fn json<'a, T: Deserialize<'a>>(answer: &Answer<'a>) -> Result<T, KeyError> {
    serde_json::from_slice(answer.body).map_err(|_quotes_its_input| KeyError::Malformed)
}

/// Reads a time of the issuer's as one of ours; the year 1 means never (fault 276).
fn moment(answer: &Answer<'_>, text: Option<&str>) -> Result<Option<Wall>, KeyError> {
    let Some(text) = text else { return Ok(None) };
    match timestamp::parse(text) {
        Some(Timestamp::Never) => Ok(None),
        Some(Timestamp::At(seconds)) => Ok(Some(answer.ours(Wall::from_seconds(seconds)))),
        None => Err(KeyError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::*;

    const ID: &str = "0a1b2c3d-0000-4000-8000-00000000abcd";
    const NOW: Wall = Wall::from_seconds(1_769_846_400);

    fn at<T>(status: u16, body: &str, read: impl FnOnce(&Answer<'_>) -> T) -> T {
        let (status, headers) = (StatusCode::from_u16(status).unwrap(), HeaderMap::new());
        let took = Duration::from_secs(1);
        read(&Answer { status, headers: &headers, body: body.as_bytes(), started: NOW, took })
    }

    fn rotation(status: u16, body: &str) -> Result<(String, Option<Wall>), KeyError> {
        let read = at(status, body, rotated);
        read.map(|new| (new.key.expose_secret().to_owned(), new.ends))
    }

    fn body(id: &str, ends: &str, secret: &str) -> String {
        format!(
            r#"{{"id":"{id}","issued_at":"2026-01-31T08:00:00Z","expires_at":"{ends}","last_used":null,"secret":"{secret}"}}"#
        )
    }

    const NEVER: &str = "0001-01-01T00:00:00Z";

    // faults 276 and 277
    #[test]
    fn a_new_key_is_read_with_its_end() {
        let later = NOW + Duration::from_secs(3600);
        let table = [
            (body(ID, NEVER, "s3+/="), Ok(("s3+/=".to_owned(), None))),
            (body(ID, NEVER, r"s\u002B\/"), Ok(("s+/".to_owned(), None))),
            (body(ID, "2026-01-31T09:00:00.123456789Z", "s"), Ok(("s".to_owned(), Some(later)))),
            (
                body(ID, NEVER, "s").replace(r#","secret""#, r#","more":{},"secret""#),
                Ok(("s".to_owned(), None)),
            ),
        ];
        for (body, expected) in table {
            assert_eq!(rotation(200, &body), expected, "{body}");
        }
    }

    // fault 37
    #[test]
    fn an_answer_that_is_odd_leaves_the_key_lost() {
        let good = body(ID, NEVER, "s");
        let table = [
            good.replace(r#","secret":"s""#, ""),
            good.replace(r#""secret":"s""#, r#""secret":null"#),
            body(ID, NEVER, ""),
            body(ID, NEVER, r"a\r\nb"),
            body("", NEVER, "s"),
            body("robot", NEVER, "s"),
            body(ID, "2026-01-31T08:00:00Z", "s"),
            body(ID, "0001-01-01T00:00:01Z", "s"),
            body(ID, "soon", "s"),
            good.replace(r#""secret":"s""#, r#""secret":"s","secret":"t""#),
            "<html>".to_owned(),
            String::new(),
        ];
        for body in table {
            let error = rotation(200, &body).unwrap_err();
            assert!(error.may_be_done(), "{body}");
        }
    }

    // faults 118 and 281
    #[test]
    fn only_the_issuers_own_no_means_that_nothing_was_done() {
        let error = |kind: &str| format!(r#"{{"code":1,"message":"m","type":"{kind}"}}"#);
        let table = [
            (401, error("authorization_error"), KeyError::Role, false),
            (401, error("authentication_error"), KeyError::Token, false),
            (401, "<html>".to_owned(), KeyError::Refused(401), false),
            (403, error("forbidden_error"), KeyError::Refused(403), false),
            (404, error("not_found"), KeyError::Refused(404), false),
            (429, String::new(), KeyError::Refused(429), false),
            (307, String::new(), KeyError::Refused(307), false),
            (500, error("unknown_error"), KeyError::Refused(500), false),
            (503, error("service_offline"), KeyError::Refused(503), false),
            (500, "<html>".to_owned(), KeyError::Malformed, true),
            (502, error("unknown_error"), KeyError::Silence, true),
            (504, error("gateway_timeout"), KeyError::Silence, true),
            (201, body(ID, NEVER, "s"), KeyError::Malformed, true),
            (204, String::new(), KeyError::Malformed, true),
        ];
        for (status, body, expected, may_be_done) in table {
            assert_eq!(rotation(status, &body), Err(expected), "{status} {body}");
            assert_eq!(expected.may_be_done(), may_be_done, "{status}");
        }
    }

    #[test]
    fn a_list_tells_ends_and_begins() {
        let list = format!(
            r#"{{"list":[{{"id":"{ID}","issued_at":"2026-01-31T07:00:00Z","expires_at":"2026-01-31T09:00:00Z","last_used":null}},{{"id":"x","expires_at":"{NEVER}"}}]}}"#
        );
        let hour = Duration::from_secs(3600);
        let keys = at(200, &list, listed).unwrap();
        let first =
            ListedKey { id: ID.to_owned(), issued: Some(NOW - hour), ends: Some(NOW + hour) };
        assert_eq!(keys, [first, ListedKey { id: "x".to_owned(), issued: None, ends: None }]);
        assert_eq!(at(200, "{}", listed), Err(KeyError::Malformed));
    }

    #[test]
    fn a_key_that_is_gone_is_deleted() {
        for (status, expected) in [
            (204, Ok(())),
            (200, Ok(())),
            (404, Ok(())),
            (403, Err(KeyError::Refused(403))),
            (504, Err(KeyError::Silence)),
        ] {
            assert_eq!(at(status, "", deleted), expected, "{status}");
        }
    }
}
