//! The faults that can be injected, by name.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use clap::ValueEnum;

use super::{answer::Kind, limits::ThrottleForm};

/// Names one way in which the issuer can fail.
///
/// Its text form is `KIND` or `KIND=ARGUMENT`; [`UnknownFault`] lists the kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers with an Okta error: `400`, `401`, `401-authorization`, `403`, `404`, `500`…
    Refuse(Kind),
    /// Answers 429, in one of its forms: `429` or `429=retry-after`.
    Throttle(ThrottleForm),
    /// Answers with any status and an error body: `status=418`.
    Status(u16),
    /// Answers with a page for people: `html` (200) or `html=503`.
    Html(u16),
    /// Answers 200 with this text as JSON: `body=TEXT`, escaped as for `raw`.
    Body(Bytes),
    /// Sends elsewhere: `301=LOCATION`, and so 302, 303, 307, 308.
    Redirect(u16, String),
    /// Answers with an error that quotes the request's secrets: `echo` (401) or `echo=500`.
    Echo(u16),
    /// Answers well, with a `Date` that is wrong by so many seconds: `date=-300`.
    Date(i64),
    /// Grants with this token: `token=TEXT`.
    Token(String),
    /// Grants with this `expires_at`: `expiry=TEXT`.
    Expiry(String),
    /// Grants for this team: `team=NAME`.
    Team(String),
    /// Grants with something else wrong in the JSON.
    Grant(GrantFlaw),
    /// Answers well, with something wrong around the JSON.
    Answer(AnswerFlaw),
    /// Breaks HTTP or the connection.
    Connection(ConnectionFlaw),
    /// Sends these bytes and closes: `raw=BYTES`, with `\r`, `\n`, `\\` and `\x00`.
    Raw(Bytes),
}

/// Names what can be wrong in the body of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GrantFlaw {
    /// No `bearer_token`.
    NoToken,
    /// An empty one.
    EmptyToken,
    /// One with characters that no header may hold.
    BadToken,
    /// One of 1 MiB.
    HugeToken,
    /// Two of them, the second another.
    DuplicateToken,
    /// No `expires_at`.
    NoExpiry,
    /// `null` for it.
    NullExpiry,
    /// A number for it.
    NumberExpiry,
    /// One that is past by an hour.
    PastExpiry,
    /// One in the year 9999.
    FarExpiry,
    /// The zero time, which on keys means never.
    ZeroExpiry,
    /// No `team_name`.
    NoTeam,
}

/// Names what can be wrong around the body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AnswerFlaw {
    /// The same status and no body.
    Empty,
    /// 204.
    #[value(name = "204")]
    NoContent,
    /// JSON that is called HTML.
    ContentType,
    /// JSON that is said to be compressed.
    Gzip,
}

/// Names what can be wrong below HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConnectionFlaw {
    /// Reads the request and never answers.
    Hang,
    /// Closes without an answer, the request undone.
    Close,
    /// Resets without an answer, the request undone.
    Reset,
    /// Does what was asked and closes without an answer.
    Lost,
    /// Closes in the middle of the answer.
    CutOff,
    /// Sends the answer a byte at a time, ten in a second.
    Drip,
    /// Answers with 100 MiB, with an honest length.
    HugeBody,
    /// Answers with chunks that never end.
    Endless,
    /// Answers with a header of 1 MiB.
    HugeHeader,
    /// Answers after 10,000 times `100 Continue`.
    ContinueFlood,
}

impl Fault {
    /// Tells whether only a grant can have it.
    pub(super) const fn is_of_grants(&self) -> bool {
        matches!(self, Self::Token(_) | Self::Expiry(_) | Self::Team(_) | Self::Grant(_))
    }
}

/// Refuses the text form of a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no fault `{0}`: use one of {kinds}; or html[=STATUS], echo[=STATUS], status=STATUS, \
     429=FORM, 301=LOCATION (302, 303, 307, 308), date=SECONDS, token=TEXT, expiry=TEXT, \
     team=NAME, body=TEXT, raw=BYTES",
    kinds = plain_kinds()
)]
pub struct UnknownFault(pub(super) String);

fn plain_kinds() -> String {
    let answers = [names::<Kind>(), names::<GrantFlaw>(), names::<AnswerFlaw>()].concat();
    [answers, names::<ConnectionFlaw>(), vec!["429".to_owned()]].concat().join(", ")
}

fn names<T: ValueEnum + 'static>() -> Vec<String> {
    T::value_variants().iter().map(name).collect()
}

fn name<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let parsed = match text.split_once('=') {
            Some((kind, argument)) => with_argument(kind, argument),
            None => plain(text),
        };
        parsed.ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

fn plain(kind: &str) -> Option<Fault> {
    match kind {
        "html" => Some(Fault::Html(200)),
        "echo" => Some(Fault::Echo(401)),
        "429" => Some(Fault::Throttle(ThrottleForm::RetryAt)),
        _ => value(kind)
            .map(Fault::Refuse)
            .or_else(|| value(kind).map(Fault::Grant))
            .or_else(|| value(kind).map(Fault::Answer))
            .or_else(|| value(kind).map(Fault::Connection)),
    }
}

fn with_argument(kind: &str, argument: &str) -> Option<Fault> {
    match kind {
        "html" => status(argument).map(Fault::Html),
        "echo" => status(argument).map(Fault::Echo),
        "status" => status(argument).map(Fault::Status),
        "429" => value(argument).map(Fault::Throttle),
        "301" | "302" | "303" | "307" | "308" => {
            Some(Fault::Redirect(status(kind)?, argument.to_owned()))
        }
        "date" => argument.parse().ok().map(Fault::Date),
        "token" => Some(Fault::Token(argument.to_owned())),
        "expiry" => Some(Fault::Expiry(argument.to_owned())),
        "team" => Some(Fault::Team(argument.to_owned())),
        "body" => unescape(argument).map(Fault::Body),
        "raw" => unescape(argument).map(Fault::Raw),
        _ => None,
    }
}

fn value<T: ValueEnum>(name: &str) -> Option<T> {
    T::from_str(name, false).ok()
}

/// Reads a status that hyper may send as a final one.
fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|status| (200..=599).contains(status))
}

/// Undoes what [`slice::escape_ascii`] does.
fn unescape(text: &str) -> Option<Bytes> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'x' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
                quoted @ (b'\\' | b'\'' | b'"') => quoted,
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(plain.into())
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(kind) => f.write_str(&name(kind)),
            Self::Throttle(form) => write!(f, "429={}", name(form)),
            Self::Status(status) => write!(f, "status={status}"),
            Self::Html(status) => write!(f, "html={status}"),
            Self::Body(text) => write!(f, "body={}", text.escape_ascii()),
            Self::Redirect(status, location) => write!(f, "{status}={location}"),
            Self::Echo(status) => write!(f, "echo={status}"),
            Self::Date(seconds) => write!(f, "date={seconds}"),
            Self::Token(token) => write!(f, "token={token}"),
            Self::Expiry(expiry) => write!(f, "expiry={expiry}"),
            Self::Team(team) => write!(f, "team={team}"),
            Self::Grant(flaw) => f.write_str(&name(flaw)),
            Self::Answer(flaw) => f.write_str(&name(flaw)),
            Self::Connection(flaw) => f.write_str(&name(flaw)),
            Self::Raw(bytes) => write!(f, "raw={}", bytes.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reads_back_as_it_is_written() {
        let plain = plain_kinds();
        let with_arguments = [
            "html=503",
            "echo=500",
            "status=418",
            "429=retry-after-date",
            "307=http://127.0.0.1:1/x?y=z",
            "date=-300",
            "token=a.b.c",
            "expiry=2026-01-01T00:00:00",
            "team=globex",
            r#"body={\"a\":1}\xff"#,
            r"raw=HTTP/1.1 200 OK\r\n\r\n",
        ];
        for text in plain.split(", ").chain(with_arguments) {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string().parse(), Ok(fault), "{text}");
        }
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for text in
            ["", "earthquake", "html=99", "status=abc", "429=never", "raw=\\q", "raw=\\x1", "401=x"]
        {
            assert_eq!(text.parse::<Fault>(), Err(UnknownFault(text.to_owned())));
        }
    }

    #[test]
    fn escapes_name_any_byte() {
        assert_eq!(unescape(r"a\r\n\t\\\x00\xFF").as_deref(), Some(&b"a\r\n\t\\\x00\xff"[..]));
    }
}
