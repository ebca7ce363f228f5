//! What the issuer may answer: mints, retry times, moments, rotations and lists of keys.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::text::{NOW, Written, check_sentence, with_field};
use crate::{
    key::api_key::{ApiKey, is_key_id},
    okta::{
        classify::{self, Answer, Grant, MintError, Reason},
        key_answers::{self, KeyError},
        retry_time,
        timestamp::{self, Timestamp},
        wire::MintResponse,
    },
    token::{
        backoff::{Failure, Mend},
        policy::{Event, Policy},
        timing::{RefreshSettings, Skew, Tick, Wall},
    },
};

const TEAM: &str = "acme";
/// Longest rest that an issuer can ask for, however far its clock and its headers go.
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);
/// What chance adds to it after a first failure, at the most.
const SPREAD: Duration = Duration::from_secs(1);

// Rows that this is about (faults 3, 5, 9, 11, 12, 25, 29, 34, 35, 227).
pub(super) fn mint_answer(data: &[u8]) {
    let written = Written::read(data);
    let answer = written.answer();
    let first = classify::mint(&answer, TEAM);
    let again = classify::mint(&answer, TEAM);
    assert_eq!(shown(&first), shown(&again), "the same answer means the same");
    match &first {
        Ok(grant) => check_grant(&written, grant),
        Err(error) => check_refusal(&answer, error),
    }
    let is_of_token = classify::is_authentication_error(answer.body);
    assert!(!(is_of_token && classify::is_authorization_error(answer.body)), "one kind at most");
}

type Shown = Result<(Vec<u8>, Duration, Wall, String), MintError>;

fn shown(outcome: &Result<Grant, MintError>) -> Shown {
    outcome.as_ref().map_err(|error| *error).map(|grant| {
        let token = grant.token.expose().to_vec();
        (token, grant.lifetime, grant.expires_at, grant.team_name.clone())
    })
}

fn check_grant(written: &Written<'_>, grant: &Grant) {
    let answer = written.answer();
    assert_eq!(answer.status, StatusCode::OK);
    let told: MintResponse<String> = serde_json::from_slice(answer.body).expect("a whole document");
    let token = grant.token.expose();
    assert_eq!(token, told.bearer_token.as_bytes());
    assert!((1..=16 * 1024).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic));
    assert!(!token.iter().any(|byte| b"\"\\,;:".contains(byte)), "it fits behind Bearer");
    assert!(told.team_name.eq_ignore_ascii_case(TEAM) && grant.team_name == told.team_name);
    assert!(grant.expires_at <= said(&told.expires_at), "life is never extended");
    assert!(grant.lifetime > answer.took, "what has ended is not granted");
    if answer.skew() == Skew::None {
        assert!(grant.lifetime <= grant.expires_at.since(answer.started), "from the start on");
    }
    check_variants(written, grant);
}

fn said(expires_at: &str) -> Wall {
    match timestamp::parse(expires_at) {
        Some(Timestamp::At(seconds)) => Wall::from_seconds(seconds),
        never => panic!("granted until {never:?}"),
    }
}

/// What a grant becomes when a field is added to it.
fn check_variants(written: &Written<'_>, grant: &Grant) {
    let mint = |body: &[u8]| shown(&classify::mint(&written.with(body), TEAM));
    for field in ["bearer_token", "expires_at", "team_name"] {
        // A list of the three is taken, too, as it always was.
        let Some(twice) = with_field(written.body, &format!("\"{field}\":\"x\"")) else { return };
        assert_eq!(mint(&twice), Err(Reason::Malformed.into()), "{field} is there twice");
    }
    let more = with_field(written.body, "\"\\u0000more\":[1,{\"x\":null}]").expect("an object");
    assert!(mint(&more).is_ok_and(|it| it.0 == grant.token.expose()), "more fields are ignored");
    let longer = [written.body, b"x"].concat();
    assert_eq!(mint(&longer), Err(Reason::Malformed.into()), "something follows it");
}

fn check_refusal(answer: &Answer<'_>, error: &MintError) {
    check_sentence(&error.to_string());
    assert_eq!(error.to_string(), error.reason.to_string(), "a constant sentence");
    if answer.status == StatusCode::OK {
        assert_eq!(error.retry_after, None);
        let known = [Reason::Malformed, Reason::Expired, Reason::WrongTeam];
        assert!(known.contains(&error.reason), "{:?}", error.reason);
    } else {
        assert_ne!(error.reason, Reason::Expired);
    }
    let stops = [Reason::Unauthorized, Reason::Forbidden, Reason::NotFound, Reason::BadRequest];
    if stops.contains(&error.reason) {
        assert!(answer.status.is_client_error(), "only the issuer's own no stops the retries");
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(answer.body).is_ok());
    }
}

// Rows that this is about (faults 23, 24, 25).
pub(super) fn retry_headers(data: &[u8]) {
    let written = Written::read(data);
    let answer = written.answer();
    let asked = retry_time::retry_after(answer.headers, NOW);
    assert_eq!(asked, retry_time::retry_after(answer.headers, NOW));
    let after = only(answer.headers, header::RETRY_AFTER.as_str());
    let at = only(answer.headers, "x-ratelimit-retry-at");
    assert!(asked.is_none() || after.is_some() || at.is_some(), "nothing was asked");
    if let Some(seconds) = after.and_then(number) {
        assert!(asked >= Some(Duration::from_secs(seconds)));
    }
    if let Some(seconds) = at.and_then(number) {
        let moment = Wall::from_unix(Duration::from_secs(seconds));
        assert!(asked >= Some(moment.since(NOW)));
    }
    if let Some(allowance) = retry_time::allowance(answer.headers) {
        let told = only(answer.headers, "x-ratelimit-remaining").and_then(number);
        assert_eq!(Some(allowance.remaining), told);
    }
    check_rest(asked);
    check_skew(&answer);
}

/// A value that is there once and is not too long.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    match values.as_slice() {
        [value] => value.to_str().ok().filter(|value| value.len() <= 64),
        _ => None,
    }
}

fn number(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Whatever is asked, the policy comes again within a quarter of an hour, and not at once.
fn check_rest(retry_after: Option<Duration>) {
    let mut policy = Policy::new(RefreshSettings::default(), None);
    let now = Tick::from_boot(Duration::from_secs(1000));
    let mint = policy.step(now, Event::Wake, 0.5).mint.expect("the first step mints");
    let failure = Failure { mend: Mend::Retry, retry_after };
    let failed = Event::Failed { attempt: mint.attempt, failure };
    let wake = policy.step(now, failed, 0.5).wake_at.expect("nothing is in flight");
    assert!(
        wake > now && wake.since(now) <= LONGEST_REST + SPREAD,
        "it rests for {:?}",
        wake.since(now)
    );
    let wanted = retry_after.unwrap_or_default().min(LONGEST_REST);
    assert!(wake.since(now) >= wanted, "it comes again before it may");
}

fn check_skew(answer: &Answer<'_>) {
    let local = answer.started + answer.took;
    match answer.skew() {
        Skew::None => {}
        Skew::Ahead(by) => assert!(answer.skew().apply(local) == local + by && by > answer.took),
        Skew::Behind(by) => assert!(answer.skew().apply(local) == local - by && by > answer.took),
    }
}

// Rows that this is about (faults 4, 5, 276, 278).
pub(super) fn timestamp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(Timestamp::At(seconds)) = timestamp::parse(text) else { return };
    // The last moments of the year 9999 lie beyond what the other parser knows.
    if let Ok(other) = text.parse::<jiff::Timestamp>() {
        let nanoseconds = other.as_nanosecond().div_euclid(1_000_000_000);
        assert_eq!(i128::from(seconds), nanoseconds, "two parsers disagree about {text}");
    }
    if let Some(printed) = printed(seconds).filter(|it| it != "0001-01-01T00:00:00Z") {
        assert_eq!(timestamp::parse(&printed), Some(Timestamp::At(seconds)), "{printed}");
    }
    let fraction = text.chars().skip(20).take_while(char::is_ascii_digit).count();
    assert!(text.len() <= 35 && fraction <= 9, "it is on the accept list: {text}");
}

fn printed(seconds: i64) -> Option<String> {
    let epoch = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let moment = epoch.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()?;
    (1..=9999)
        .contains(&moment.year())
        .then(|| format!("{}Z", moment.strftime("%Y-%m-%dT%H:%M:%S")))
}

/// The payload of a token that looks like a JWT (faults 29, 279).
pub(super) fn jwt_exp(data: &[u8]) {
    const SAID: &str = "2026-01-31T09:00:00Z";
    let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(data));
    let body =
        format!(r#"{{"bearer_token":"{token}","expires_at":"{SAID}","team_name":"{TEAM}"}}"#);
    let headers = [(header::CONTENT_TYPE, "application/json".parse().expect("a value"))];
    let headers = HeaderMap::from_iter(headers);
    let (status, took) = (StatusCode::OK, Duration::from_secs(1));
    let answer = Answer { status, headers: &headers, body: body.as_bytes(), started: NOW, took };
    let outcome = classify::mint(&answer, TEAM);
    match &outcome {
        _ if token.len() > 16 * 1024 => assert!(outcome.is_err()),
        Ok(grant) => assert!(grant.expires_at <= said(SAID), "exp extends nothing"),
        Err(error) => assert_eq!(error.reason, Reason::Expired, "a token is opaque"),
    }
    if let (Some(exp), Ok(grant)) = (exp(data), outcome) {
        let end = grant.expires_at.since_epoch().as_secs_f64();
        assert!(end <= exp, "it outlives its exp of {exp}");
    }
}

fn exp(payload: &[u8]) -> Option<f64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: serde_json::Number,
    }
    serde_json::from_slice::<Claims>(payload).ok()?.exp.as_f64()
}

// Rows that this is about (faults 11, 34, 37, 118, 227, 276, 281).
pub(super) fn rotation_answer(data: &[u8]) {
    let written = Written::read(data);
    let answer = written.answer();
    match key_answers::rotated(&answer) {
        Ok(new) => {
            assert_eq!(answer.status, StatusCode::OK);
            check_key(&new.key);
            let now = answer.started + answer.took;
            assert!(new.ends.is_none_or(|ends| ends > now), "it has ended before it came");
            for field in ["id", "secret"] {
                let twice = with_field(answer.body, &format!("\"{field}\":\"x\""));
                let Some(twice) = twice else { return };
                let twice = key_answers::rotated(&written.with(&twice));
                assert_eq!(twice.err(), Some(KeyError::Malformed), "{field} is there twice");
            }
        }
        Err(error) => check_key_error(&answer, error),
    }
    match key_answers::listed(&answer) {
        Ok(keys) => assert!(keys.len() <= answer.body.len()),
        Err(error) => check_key_error(&answer, error),
    }
    assert_eq!(key_answers::listed(&answer), key_answers::listed(&answer));
    key_answers::whose(&answer).err().into_iter().for_each(|it| check_key_error(&answer, it));
    let deleted = key_answers::deleted(&answer);
    assert!(deleted.is_err() || matches!(answer.status.as_u16(), 200 | 204 | 404));
}

/// Holds a key to what every reader of one relies on.
pub(super) fn check_key(key: &ApiKey) {
    assert!(is_key_id(key.id()));
    let is_printable = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    assert!(is_printable(key.expose_secret()) && key.expose_secret().chars().count() <= 512);
    assert!(key.team_name().is_none_or(is_printable));
    let read = ApiKey::from_json(&key.to_json(key.team_name())).expect("what we write");
    assert_eq!(read.fingerprint(), key.fingerprint(), "it is read back as it was");
}

fn check_key_error(answer: &Answer<'_>, error: KeyError) {
    check_sentence(&error.to_string());
    if answer.status.is_success() {
        assert!(error.may_be_done(), "a success may have made a key");
    }
    if matches!(error, KeyError::Role | KeyError::Token) {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
}
