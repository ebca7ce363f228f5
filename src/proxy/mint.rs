//! `service_token`, answered here: the client mints, and Okta never hears of it.

use std::{borrow::Cow, time::Duration};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    Download,
    local_token::LocalToken,
    refusal::{Refusal, json},
};
use crate::{
    key::api_key::is_key_id,
    okta::wire::{MintRequest, MintResponse, is_json},
    token::timing::Wall,
};

/// Largest request that is read.
const LARGEST: usize = 64 * 1024;
/// Longest time in which it must have come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest secret, in characters.
const LONGEST_SECRET: usize = 512;
/// Life that is promised for the local token: longer than any client's own idea of «soon».
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Answers a mint for `team` with the local token.
pub(super) async fn answer(
    request: Request<Incoming>,
    team: &str,
    local: &LocalToken,
    now: Wall,
) -> Result<Response<Download>, Refusal> {
    if !is_json(request.headers()) {
        return Err(Refusal::MediaType);
    }
    let body = Limited::new(request.into_body(), LARGEST).collect();
    let body = timeout(PATIENCE, body).await.map_err(|_| Refusal::Timeout)?;
    let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Refusal::TooLarge,
        None => Refusal::BadRequest,
    })?;
    check(&body.to_bytes(), local)?;
    let secret = local.current();
    let token = std::str::from_utf8(secret.expose()).map_err(|_| Refusal::Unauthorized)?;
    let expires_at = nine_digits(now + LIFE);
    let answer = MintResponse { bearer_token: token, expires_at: &expires_at, team_name: team };
    Ok(json(StatusCode::OK, serde_json::to_vec(&answer).unwrap_or_default().into()))
}

/// Any well-formed pair will do, unless the listener has an access token: that is the secret then.
fn check(body: &[u8], local: &LocalToken) -> Result<(), Refusal> {
    let pair: MintRequest<Cow<'_, str>> =
        serde_json::from_slice(body).map_err(|_quotes_its_input| Refusal::BadPair)?;
    let has_secret = (1..=LONGEST_SECRET).contains(&pair.key_secret.chars().count());
    if !is_key_id(&pair.key_id) || !has_secret {
        return Err(Refusal::BadPair);
    }
    if local.is_for(&pair.key_secret) { Ok(()) } else { Err(Refusal::WrongSecret) }
}

/// The issuer's own form of a moment.
fn nine_digits(moment: Wall) -> String {
    let nanos = i128::try_from(moment.since_epoch().as_nanos()).unwrap_or(i128::MAX);
    let last = jiff::Timestamp::MAX;
    let time = jiff::Timestamp::from_nanosecond(nanos.min(last.as_nanosecond())).unwrap_or(last);
    format!("{time:.9}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::secret::Secret;

    const ID: &str = "6ac84721-a7ba-4034-9c39-41ef7b38819d";

    #[test]
    fn moments_have_nine_digits() {
        let moment = Wall::from_seconds(1_769_846_400) + Duration::from_nanos(5);
        assert_eq!(nine_digits(moment), "2026-01-31T08:00:00.000000005Z");
        assert_eq!(nine_digits(Wall::from_seconds(0)), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn any_well_formed_pair_will_do() {
        let local = LocalToken::random(Secret::copy_of(b"local"));
        let pair = |id: &str, secret: &str, more: &str| {
            let pair = format!(r#"{{"key_id":"{id}","key_secret":"{secret}"{more}}}"#);
            check(pair.as_bytes(), &local)
        };
        assert_eq!(pair(ID, "placeholder", ""), Ok(()));
        assert_eq!(pair(ID, &"s".repeat(512), r#","roles":null"#), Ok(()));
        for (id, secret, more) in [
            ("robot", "s", ""),
            (ID, "", ""),
            (ID, &"s".repeat(513), ""),
            (ID, "s", r#","key_secret":"t""#),
            (ID, "s", ","),
        ] {
            assert_eq!(pair(id, secret, more), Err(Refusal::BadPair), "{id} {secret} {more}");
        }
        assert_eq!(check(b"{}", &local), Err(Refusal::BadPair));
    }

    // fault 283
    #[test]
    fn an_access_token_is_the_secret() {
        let local = LocalToken::access(Secret::copy_of(b"pass\"word"));
        let pair = |id: &str, secret: &str| {
            check(format!(r#"{{"key_id":"{id}","key_secret":"{secret}"}}"#).as_bytes(), &local)
        };
        for good in [r#"pass\"word"#, r#"\u0070ass\"word"#] {
            assert_eq!(pair(ID, good), Ok(()), "{good}");
        }
        for wrong in [r#"pass\"wor"#, r#"pass\"word "#, r#"PASS\"WORD"#, "x"] {
            assert_eq!(pair(ID, wrong), Err(Refusal::WrongSecret), "{wrong}");
        }
        for malformed in ["", "\n"] {
            assert_eq!(pair(ID, malformed), Err(Refusal::BadPair), "{malformed:?}");
        }
        assert_eq!(pair("robot", r#"pass\"word"#), Err(Refusal::BadPair));
    }
}
