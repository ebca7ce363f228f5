//! The classification table.

use super::*;

/// 2026-01-31T08:00:00Z
const START: Wall = Wall::from_seconds(1_769_846_400);
const GOOD: &str =
    r#"{"bearer_token":"SNTL.t-._~+/==","expires_at":"2026-01-31T09:00:00.5Z","team_name":"acme"}"#;
const ERROR: &str = r#"{"code":401,"message":"SNTL","type":"authentication_error"}"#;

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
        map.append(name, value.parse().expect("a value"));
    }
    map
}

/// An answer that took half a second.
fn answer<'a>(status: u16, headers: &'a HeaderMap, body: &'a str) -> Answer<'a> {
    Answer {
        status: StatusCode::from_u16(status).expect("a status"),
        headers,
        body: body.as_bytes(),
        started: START,
        took: Duration::from_millis(500),
    }
}

fn classify(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Grant, MintError> {
    mint(&answer(status, &map(headers), body), "Acme")
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn reason(status: u16, headers: &[(&str, &str)], body: &str) -> Option<Reason> {
    classify(status, headers, body).err().map(|error| error.reason)
}

fn grant(body: &str) -> Grant {
    classify(200, &[JSON], body).unwrap_or_else(|error| panic!("{:?}: {body}", error.reason))
}

#[test]
fn a_good_answer_is_granted() {
    let grant = grant(GOOD);
    assert_eq!(grant.token.expose(), b"SNTL.t-._~+/==");
    assert_eq!(grant.lifetime, Duration::from_secs(3600), "the fraction extends no life");
    assert_eq!(grant.expires_at.to_string(), "2026-01-31T09:00:00Z");
    assert_eq!(grant.team_name, "acme");
}

// faults 17, 19, 20, 21, 22, 26
#[test]
fn every_status() {
    use Reason::{
        BadRequest, Forbidden, Malformed, NotFound, RateLimited, Redirect, ServerError,
        Unauthorized,
    };
    for status in 100..=599 {
        let with_body = match status {
            200 => Malformed,
            300..=399 => Redirect,
            401 => Unauthorized,
            403 => Forbidden,
            404 => NotFound,
            429 => RateLimited,
            400..=499 => BadRequest,
            500..=599 => ServerError,
            _ => Malformed,
        };
        assert_eq!(reason(status, &[JSON], ERROR), Some(with_body), "{status}");
        let by_word = matches!(with_body, BadRequest | Unauthorized | Forbidden | NotFound);
        let without = if by_word { Malformed } else { with_body };
        assert_eq!(reason(status, &[JSON], "{}"), Some(without), "{status} and no error body");
        let page = reason(status, &[("content-type", "text/html")], ERROR);
        assert_eq!(page, Some(without), "{status} and a page");
    }
}

// faults 1, 4, 6, 7, 9, 10, 11, 12, 34, 276
#[test]
fn every_bad_body_of_a_200() {
    use Reason::{Expired, Malformed, WrongTeam};
    let with = |from: &str, to: &str| GOOD.replace(from, to);
    let expires = |to: &str| with("\"2026-01-31T09:00:00.5Z\"", to);
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let table = [
        (String::new(), Malformed),
        ("null".into(), Malformed),
        ("[]".into(), Malformed),
        (GOOD[..60].into(), Malformed),
        (format!("{GOOD}{GOOD}"), Malformed),
        (format!("\u{feff}{GOOD}"), Malformed),
        (deep, Malformed),
        (with("bearer_token", "access_token"), Malformed),
        (with("SNTL.t-._~+/==", ""), Malformed),
        (with("SNTL.t-._~+/==", "  "), Malformed),
        (with("SNTL.t-._~+/==", "===="), Malformed),
        (with("SNTL.t-._~+/==", "a=b"), Malformed),
        (with("SNTL.t-._~+/==", "a\\r\\nX-Evil: 1"), Malformed),
        (with("SNTL.t-._~+/==", "a\\u0000"), Malformed),
        (with("SNTL.t-._~+/==", "\\ud800"), Malformed),
        (with("SNTL.t-._~+/==", &"a".repeat(LONGEST_TOKEN + 1)), Malformed),
        (with("\"SNTL.t-._~+/==\"", "7"), Malformed),
        (with("{", r#"{"bearer_token":"first","#), Malformed),
        (with("{", r#"{"expires_at":"2026-01-31T09:00:00Z","#), Malformed),
        (expires("null"), Malformed),
        (expires("1769850000"), Malformed),
        (expires("\"\""), Malformed),
        (expires("\"2026-01-31T09:00:00\""), Malformed),
        (expires("\"0001-01-01T00:00:00Z\""), Malformed),
        (expires("\"0001-01-01T00:00:01Z\""), Expired),
        (expires("\"2026-01-31T07:59:59Z\""), Expired),
        (expires("\"2026-01-31T08:00:00.9Z\""), Expired),
        (with("acme", "other"), WrongTeam),
        (with("acme", ""), WrongTeam),
    ];
    for (body, expected) in table {
        assert_eq!(reason(200, &[JSON], &body), Some(expected), "{body:.120}");
    }
}

// faults 12, 9
#[test]
fn unknown_fields_and_the_longest_token_pass() {
    grant(&GOOD.replace('{', r#"{"roles":null,"more":{"a":[1,2]},"#));
    grant(&GOOD.replace("SNTL.t-._~+/==", &"a".repeat(LONGEST_TOKEN)));
    grant(&GOOD.replace("SNTL.t", "SNTL\\u002et"));
}

// faults 16, 31
#[test]
fn only_plain_json_is_read() {
    let accepted = ["application/json", "Application/JSON; charset=utf-8", "application/json ;x"];
    for value in accepted {
        assert_eq!(reason(200, &[("content-type", value)], GOOD), None, "{value}");
    }
    assert_eq!(reason(200, &[JSON, ("content-encoding", "Identity")], GOOD), None);
    let refused: [&[(&str, &str)]; 5] = [
        &[],
        &[("content-type", "text/html")],
        &[("content-type", "application/jsonp")],
        &[JSON, ("content-encoding", "gzip")],
        &[JSON, ("content-encoding", "br")],
    ];
    for headers in refused {
        assert_eq!(reason(200, headers, GOOD), Some(Reason::Malformed), "{headers:?}");
    }
}

// fault 3
#[test]
fn a_far_end_is_granted_and_left_to_the_clamp() {
    let far = grant(&GOOD.replace("2026-01-31T09:00:00.5Z", "9999-12-31T23:59:59Z"));
    assert!(far.lifetime > Duration::from_secs(250_000_000_000));
}

// faults 29, 279
#[test]
fn the_earlier_of_expires_at_and_exp_counts() {
    let lifetime = |claims: &str| {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        grant(&GOOD.replace("SNTL.t-._~+/==", &token)).lifetime.as_secs()
    };
    assert_eq!(lifetime(r#"{"exp":1769847000,"sub":"x"}"#), 600);
    assert_eq!(lifetime(r#"{"exp":1769847000.9}"#), 600);
    assert_eq!(lifetime(r#"{"exp":1769990000}"#), 3600);
    assert_eq!(lifetime(r#"{"exp":"soon"}"#), 3600);
    assert_eq!(lifetime(r#"{"exp":1e300}"#), 3600);
    assert_eq!(lifetime("no json"), 3600);
    let token = format!("e30.{}", URL_SAFE_NO_PAD.encode(r#"{"exp":1769847000}"#));
    assert_eq!(grant(&GOOD.replace("SNTL.t-._~+/==", &token)).lifetime.as_secs(), 3600);
    for before in ["-1", "-1e300", "1769846400"] {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{before}}}")));
        let body = GOOD.replace("SNTL.t-._~+/==", &token);
        assert_eq!(reason(200, &[JSON], &body), Some(Reason::Expired), "{before}");
    }
}

// faults 30, 66, 68
#[test]
fn life_is_counted_by_the_issuers_clock() {
    let lifetime = |date: &str| {
        let result = classify(200, &[JSON, ("date", date)], GOOD);
        result.map(|grant| grant.lifetime.as_secs_f64()).map_err(|error| error.reason)
    };
    assert_eq!(lifetime("Sat, 31 Jan 2026 08:00:02 GMT"), Ok(3600.0), "no skew");
    assert_eq!(lifetime("Sat, 31 Jan 2026 07:59:58 GMT"), Ok(3600.0), "no skew");
    assert_eq!(lifetime("Sat, 31 Jan 2026 08:00:03 GMT"), Ok(3600.0), "just no skew");
    assert_eq!(lifetime("Sat, 31 Jan 2026 08:00:04 GMT"), Ok(3596.5));
    assert_eq!(lifetime("Sat, 31 Jan 2026 07:59:57 GMT"), Ok(3603.5));
    assert_eq!(lifetime("Sat, 31 Jan 2026 08:30:00 GMT"), Ok(1800.5));
    assert_eq!(lifetime("Sat, 31 Jan 2026 07:30:00 GMT"), Ok(5400.5));
    assert_eq!(lifetime("Sat, 31 Jan 2026 09:30:00 GMT"), Err(Reason::Expired));
    assert_eq!(lifetime("Thu, 01 Jan 1970 00:00:00 GMT"), Ok(3600.0), "not sane");
    assert_eq!(lifetime("Sat, 01 Jan 9999 00:00:00 GMT"), Ok(3600.0), "not sane");
    assert_eq!(lifetime("yesterday"), Ok(3600.0));
}

// faults 66, 68
#[test]
fn a_moment_of_the_issuers_clock_is_told_by_ours() {
    let ours = |date: &str| {
        let headers = map(&[("date", date)]);
        answer(200, &headers, GOOD).ours(Wall::from_seconds(1_769_850_000)).to_string()
    };
    assert_eq!(ours("Sat, 31 Jan 2026 08:00:02 GMT"), "2026-01-31T09:00:00Z", "no skew");
    assert_eq!(ours("Sat, 31 Jan 2026 08:10:00 GMT"), "2026-01-31T08:50:00Z");
    assert_eq!(ours("Sat, 31 Jan 2026 07:50:00 GMT"), "2026-01-31T09:10:00Z");
}

#[test]
fn a_failure_says_why_and_what_the_network_had_to_say() {
    let plain = MintError::from(Reason::Connect);
    assert_eq!(plain.to_string(), Reason::Connect.to_string());
    let more = MintError { cause: Some("nobody listens"), ..plain };
    assert_eq!(more.to_string(), format!("{}: nobody listens", Reason::Connect));
}

// faults 23, 24
#[test]
fn a_retry_time_is_read_by_the_issuers_clock() {
    let asked = |headers: &[(&str, &str)]| {
        classify(429, headers, "").err().expect("refused").retry_after.map(|wait| wait.as_secs())
    };
    assert_eq!(asked(&[("x-ratelimit-retry-at", "1769846461")]), Some(60));
    let skewed =
        [("x-ratelimit-retry-at", "1769850061"), ("date", "Sat, 31 Jan 2026 09:00:00 GMT")];
    assert_eq!(asked(&skewed), Some(61));
    assert_eq!(asked(&[]), None);
}

#[test]
fn labels_are_unique_and_sentences_quote_nothing() {
    let labels: std::collections::HashSet<_> = Reason::ALL.iter().map(|r| r.label()).collect();
    assert_eq!(labels.len(), Reason::ALL.len());
    assert!(Reason::ALL.iter().all(|reason| !reason.to_string().contains("SNTL")));
}

// fault 9
#[test]
fn sixteen_kib_are_the_longest_token() {
    let with = |length| GOOD.replace("SNTL.t-._~+/==", &"a".repeat(length));
    assert_eq!(reason(200, &[JSON], &with(16_384)), None);
    assert_eq!(reason(200, &[JSON], &with(16_385)), Some(Reason::Malformed));
}

// fault 275
#[test]
fn the_two_kinds_of_401_are_told_apart() {
    let body = |kind: &str| format!(r#"{{"code":401,"message":"x","type":"{kind}","errors":[]}}"#);
    let table = [
        (body("authentication_error"), true, false),
        (body("authorization_error"), false, true),
        (body("unknown_error"), false, false),
        ("<html>".to_owned(), false, false),
        (String::new(), false, false),
    ];
    for (body, token, role) in table {
        assert_eq!(is_authentication_error(body.as_bytes()), token, "{body}");
        assert_eq!(is_authorization_error(body.as_bytes()), role, "{body}");
    }
}
