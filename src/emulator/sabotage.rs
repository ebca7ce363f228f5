//! What each fault makes of an answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use super::{
    answer::{Answer, Refusal, bare, error, json},
    call::Call,
    clock,
    fault::{AnswerFlaw, ConnectionFlaw, Fault, GrantFlaw},
    script::{Act, Script},
};

/// Says how a request ends.
pub(super) enum Outcome {
    /// With an answer that hyper can send.
    Answer(Answer),
    /// With the connection in our own hands.
    Takeover(Script),
}

impl Fault {
    /// Ends a request in place of the API; `None` for a fault that spoils what the API answered.
    pub(super) fn instead(&self, call: &Call) -> Option<Outcome> {
        let now = call.now;
        let answer = match self {
            Self::Refuse(kind) => Refusal::new(*kind, "Injected fault").into(),
            Self::Throttle(form) => form.answer(now.as_second().saturating_add(30), now),
            Self::Status(code) => error(status(*code), "unknown_error", "Injected fault"),
            Self::Html(code) => html(*code),
            Self::Body(text) => with_body(text),
            Self::Redirect(code, location) => redirect(*code, location),
            Self::Echo(code) => error(status(*code), "authentication_error", &call.quote()),
            Self::Raw(bytes) => return Some(Outcome::Takeover(vec![Act::Send(bytes.clone())])),
            Self::Connection(flaw) => return flaw.instead().map(Outcome::Takeover),
            Self::Date(_)
            | Self::Token(_)
            | Self::Expiry(_)
            | Self::Team(_)
            | Self::Grant(_)
            | Self::Answer(_) => return None,
        };
        Some(Outcome::Answer(answer))
    }

    /// Spoils what the API answered to `call`.
    pub(super) fn spoil(&self, mut answer: Answer, call: &Call) -> Outcome {
        match self {
            Self::Date(seconds) => {
                let date = clock::http_date(clock::shifted(call.now, *seconds));
                set(&mut answer, header::DATE, &date);
            }
            Self::Token(token) => edit(&mut answer, "bearer_token", token.as_str().into()),
            Self::Expiry(expiry) => edit(&mut answer, "expires_at", expiry.as_str().into()),
            Self::Team(team) => edit(&mut answer, "team_name", team.as_str().into()),
            Self::Grant(flaw) => flaw.spoil(&mut answer, call),
            Self::Answer(flaw) => flaw.spoil(&mut answer),
            Self::Connection(flaw) => return Outcome::Takeover(flaw.spoil(&answer)),
            Self::Refuse(_)
            | Self::Throttle(_)
            | Self::Status(_)
            | Self::Html(_)
            | Self::Body(_)
            | Self::Redirect(..)
            | Self::Echo(_)
            | Self::Raw(_) => {}
        }
        Outcome::Answer(answer)
    }
}

impl GrantFlaw {
    fn spoil(self, answer: &mut Answer, call: &Call) {
        const ZERO: &str = "0001-01-01T00:00:00Z";
        match self {
            Self::NoToken => change(answer, |grant| drop(grant.remove("bearer_token"))),
            Self::EmptyToken => edit(answer, "bearer_token", "".into()),
            Self::BadToken => edit(answer, "bearer_token", "a b\r\nX-Evil: 1\u{e9}".into()),
            Self::HugeToken => edit(answer, "bearer_token", "a".repeat(1 << 20).into()),
            Self::DuplicateToken => duplicate_token(answer),
            Self::NoExpiry => change(answer, |grant| drop(grant.remove("expires_at"))),
            Self::NullExpiry => edit(answer, "expires_at", Value::Null),
            Self::NumberExpiry => edit(answer, "expires_at", call.now.as_second().into()),
            Self::PastExpiry => {
                edit(answer, "expires_at", clock::shifted(call.now, -3600).to_string().into());
            }
            Self::FarExpiry => edit(answer, "expires_at", "9999-12-31T23:59:59Z".into()),
            Self::ZeroExpiry => edit(answer, "expires_at", ZERO.into()),
            Self::NoTeam => change(answer, |grant| drop(grant.remove("team_name"))),
        }
    }
}

impl AnswerFlaw {
    fn spoil(self, answer: &mut Answer) {
        match self {
            Self::Empty => *answer.body_mut() = Bytes::new(),
            Self::NoContent => {
                *answer.status_mut() = StatusCode::NO_CONTENT;
                *answer.body_mut() = Bytes::new();
            }
            Self::ContentType => set(answer, header::CONTENT_TYPE, "text/html; charset=utf-8"),
            Self::Gzip => set(answer, header::CONTENT_ENCODING, "gzip"),
        }
    }
}

impl ConnectionFlaw {
    fn instead(self) -> Option<Script> {
        const MIB: usize = 1 << 20;
        let ok = |rest: &str| Act::Send(format!("HTTP/1.1 200 OK\r\n{JSON}{rest}").into());
        match self {
            Self::Hang => Some(vec![Act::Hang]),
            Self::Close => Some(vec![]),
            Self::Reset => Some(vec![Act::Reset]),
            Self::HugeBody => Some(vec![
                ok("content-length: 104857600\r\n\r\n"),
                Act::Repeat(vec![b' '; MIB].into(), 100),
            ]),
            Self::Endless => Some(vec![
                ok("transfer-encoding: chunked\r\n\r\n"),
                Act::Repeat(Bytes::from_static(b"10\r\n                \r\n"), u64::MAX),
            ]),
            Self::HugeHeader => Some(vec![
                ok("x-padding: "),
                Act::Send("a".repeat(MIB).into()),
                Act::Send(Bytes::from_static(b"\r\ncontent-length: 2\r\n\r\n{}")),
            ]),
            Self::Lost | Self::CutOff | Self::Drip | Self::ContinueFlood => None,
        }
    }

    fn spoil(self, answer: &Answer) -> Script {
        let whole = written(answer);
        match self {
            Self::CutOff => vec![Act::Send(whole.slice(..whole.len() - answer.body().len() / 2))],
            Self::Drip => vec![Act::Drip(whole, Duration::from_millis(100))],
            Self::ContinueFlood => {
                let interim = Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n");
                vec![Act::Repeat(interim, 10_000), Act::Send(whole)]
            }
            // The first says nothing; the others end the request before there is an answer.
            Self::Lost
            | Self::Hang
            | Self::Close
            | Self::Reset
            | Self::HugeBody
            | Self::Endless
            | Self::HugeHeader => vec![],
        }
    }
}

const JSON: &str = "content-type: application/json\r\n";

fn html(code: u16) -> Answer {
    let page = "<!DOCTYPE html><title>Sign in</title><p>Sign in to go on.</p>";
    let mut answer = bare(status(code));
    *answer.body_mut() = Bytes::from_static(page.as_bytes());
    set(&mut answer, header::CONTENT_TYPE, "text/html");
    answer
}

fn with_body(text: &Bytes) -> Answer {
    let mut answer = json(StatusCode::OK, &());
    *answer.body_mut() = text.clone();
    answer
}

fn redirect(code: u16, location: &str) -> Answer {
    let mut answer = bare(status(code));
    set(&mut answer, header::LOCATION, location);
    answer
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Sets a header, unless the text cannot be one.
fn set(answer: &mut Answer, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn edit(answer: &mut Answer, field: &str, value: Value) {
    change(answer, |grant| drop(grant.insert(field.to_owned(), value)));
}

/// Changes the JSON object of a grant; leaves a refusal alone.
fn change(answer: &mut Answer, change: impl FnOnce(&mut Map<String, Value>)) {
    if answer.status() != StatusCode::OK {
        return;
    }
    if let Ok(mut grant) = serde_json::from_slice(answer.body()) {
        change(&mut grant);
        *answer.body_mut() = Value::Object(grant).to_string().into();
    }
}

fn duplicate_token(answer: &mut Answer) {
    if answer.status() == StatusCode::OK {
        let body = String::from_utf8_lossy(answer.body());
        let doubled = body.trim_end_matches('}').to_owned() + r#","bearer_token":"second"}"#;
        *answer.body_mut() = doubled.into();
    }
}

/// Writes an answer as HTTP/1.1 does.
fn written(answer: &Answer) -> Bytes {
    let mut text = format!("HTTP/1.1 {}\r\n", answer.status()).into_bytes();
    for (name, value) in answer.headers() {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend(format!("content-length: {}\r\n\r\n", answer.body().len()).into_bytes());
    text.extend(answer.body());
    text.into()
}
