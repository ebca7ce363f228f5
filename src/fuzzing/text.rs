//! Inputs that a person can read and write, and the secrets that no sentence may quote.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{okta::classify::Answer, token::timing::Wall};

/// Stands for what must never be quoted; the dictionaries have it.
pub(super) const SENTINEL: &str = "SNTL";

/// 2026-01-31T08:00:00Z
pub(super) const NOW: Wall = Wall::from_seconds(1_769_846_400);

/// Holds an answer of the issuer, written as status, headers, an empty line, and the body.
pub(super) struct Written<'a> {
    status: StatusCode,
    headers: HeaderMap,
    pub(super) body: &'a [u8],
    took: Duration,
}

impl<'a> Written<'a> {
    /// Reads one; the status may be followed by the milliseconds that the call took.
    pub(super) fn read(data: &'a [u8]) -> Self {
        let end = memchr::memmem::find(data, b"\n\n");
        let head = data.get(..end.unwrap_or(data.len())).unwrap_or_default();
        let body = end.and_then(|end| data.get(end + 2..)).unwrap_or_default();
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default());
        let mut numbers = first.split(' ');
        let status = numbers.next().and_then(|text| text.parse().ok());
        let took = numbers.next().and_then(|text| text.parse::<u32>().ok());
        Self {
            status: status.and_then(|it| StatusCode::from_u16(it).ok()).unwrap_or(StatusCode::OK),
            headers: lines.filter_map(header).collect(),
            body,
            took: Duration::from_millis(took.unwrap_or(500).into()),
        }
    }

    pub(super) const fn answer(&self) -> Answer<'_> {
        self.with(self.body)
    }

    /// The same answer with another body.
    pub(super) const fn with<'b>(&'b self, body: &'b [u8]) -> Answer<'b> {
        let Self { status, headers, took, .. } = self;
        Answer { status: *status, headers, body, started: NOW, took: *took }
    }
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = line.split_at(colon);
    let value = value.get(1..)?.trim_ascii();
    Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
}

/// Puts a field before all others of a JSON object; `None` for what does not begin as one.
pub(super) fn with_field(body: &[u8], field: &str) -> Option<Vec<u8>> {
    let brace = body.iter().position(|byte| !b" \t\r\n".contains(byte))?;
    let (before, after) = body.split_at(brace);
    let fields = after.strip_prefix(b"{")?;
    let comma: &[u8] = if fields.trim_ascii_start().starts_with(b"}") { b"" } else { b"," };
    Some([before, b"{", field.as_bytes(), comma, fields].concat())
}

/// Holds a sentence for people to what every sentence is: one line that quotes no secret.
#[track_caller]
pub(super) fn check_sentence(sentence: &str) {
    assert!(!sentence.contains(SENTINEL), "it quotes: {sentence}");
    assert!(!sentence.chars().any(char::is_control), "it is no single line: {sentence:?}");
    assert!(!sentence.is_empty() && sentence.len() < 4096, "{} bytes", sentence.len());
}
