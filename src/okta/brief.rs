//! HTTP as nearly every call has it: a head and no more goes out, and an answer comes back whole.
//!
//! HTTP's own machinery does for any call and any answer, and takes more than all the rest of such a
//! call. Here heads are written as it writes them, and the same parser reads what comes; whatever is not
//! exactly that is left to it, byte for byte.

use std::{cmp::Ordering, mem::MaybeUninit, time::UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    chunks::{self, Chunks},
    retry_time::digits,
};
use crate::token::timing::Wall;

/// Largest answer that is brief, head and body, in bytes.
pub(super) const LARGEST: usize = 16 * 1024;
/// Most headers that it has.
const MOST_HEADERS: usize = 64;

/// Headers for which there is room besides: those that the client gets and the issuer did not send.
const ADDED: usize = 2;

/// A header: its name, and one of its values.
pub type Field<'a> = (&'a HeaderName, &'a HeaderValue);

/// Says what the bytes of an answer are, as far as they have come.
pub(crate) enum Came {
    /// All of a final answer, and nothing behind it.
    Whole(Response<Bytes>),
    /// The beginning of what may become one, without all of its head.
    Start,
    /// All of the head of one that may become whole.
    Head,
    /// What the general way is for.
    Other,
}

/// Statuses that have no body whatever their headers say, or that have a newer token put in.
const OTHER: [StatusCode; 4] = [
    StatusCode::NO_CONTENT,
    StatusCode::RESET_CONTENT,
    StatusCode::NOT_MODIFIED,
    StatusCode::UNAUTHORIZED,
];

/// Writes all of a `GET`; where it goes is a path, with a query or without.
#[must_use]
pub(super) fn request(target: &str, fields: &[Field<'_>]) -> Bytes {
    let fields = || fields.iter().copied();
    written(&[b"GET ", target.as_bytes(), b" HTTP/1.1\r\n"], fields, &[b"\r\n"]).into()
}

/// Writes all of an answer; its headers say nothing of its length, and need not say when it is made.
#[must_use]
pub fn answer(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Wall) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let is_dated = headers.contains_key(header::DATE);
    let date = if is_dated { String::new() } else { dated(now) };
    let length = body.len().to_string();
    written(
        &[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"],
        || headers.iter(),
        &[b"content-length: ", length.as_bytes(), b"\r\n", date.as_bytes(), b"\r\n", body],
    )
}

fn dated(now: Wall) -> String {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + now.since_epoch());
    format!("date: {date}\r\n")
}

/// Writes headers between what comes before and behind them.
fn written<'a, F: Iterator<Item = Field<'a>>>(
    before: &[&[u8]],
    fields: impl Fn() -> F,
    behind: &[&[u8]],
) -> Vec<u8> {
    let lines = fields().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let others = before.iter().chain(behind).map(|part| part.len());
    let mut all = Vec::with_capacity(lines.chain(others).sum());
    before.iter().for_each(|part| all.extend_from_slice(part));
    for (name, value) in fields() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            all.extend_from_slice(part);
        }
    }
    behind.iter().for_each(|part| all.extend_from_slice(part));
    all
}

/// Reads what has come of an answer to a `GET`.
#[must_use]
pub(crate) fn read(came: &Bytes) -> Came {
    if came.len() > LARGEST {
        return Came::Other;
    }
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let start = match parser.parse_response_with_uninit_headers(&mut head, came, &mut headers) {
        Ok(httparse::Status::Complete(start)) => start,
        Ok(httparse::Status::Partial) => return Came::Start,
        Err(_) => return Came::Other,
    };
    let Some((answer, end)) = plain(came, &head) else { return Came::Other };
    let body = came.slice(start..);
    let body = match end {
        End::Chunks => chunks::read(&body),
        End::Length(length) => match body.len().cmp(&length) {
            Ordering::Equal => Chunks::Whole(body),
            Ordering::Less if length <= LARGEST.saturating_sub(start) => Chunks::Part,
            Ordering::Less | Ordering::Greater => Chunks::Other,
        },
    };
    match body {
        Chunks::Whole(body) => Came::Whole(answer.map(|()| body)),
        Chunks::Part => Came::Head,
        Chunks::Other => Came::Other,
    }
}

/// Says how an answer tells where its body ends.
enum End {
    Length(usize),
    Chunks,
}

/// Makes an answer of its head, if that says in one way only where it ends and goes on as it was.
///
/// What it says of that is not among its headers.
fn plain(came: &Bytes, head: &httparse::Response<'_, '_>) -> Option<(Response<()>, End)> {
    let status = StatusCode::from_u16(head.code?).ok()?;
    let is_final = (200..600).contains(&status.as_u16()) && status.canonical_reason().is_some();
    if head.version != Some(1) || !is_final || OTHER.contains(&status) {
        return None;
    }
    let (mut answer, mut end) = (Response::new(()), None);
    *answer.status_mut() = status;
    *answer.headers_mut() = HeaderMap::with_capacity(head.headers.len() + ADDED);
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        match name {
            header::CONTENT_LENGTH if end.is_none() => {
                let digits = str::from_utf8(field.value).ok().and_then(digits)?;
                end = Some(End::Length(usize::try_from(digits).ok()?));
                continue;
            }
            header::TRANSFER_ENCODING
                if end.is_none() && field.value.eq_ignore_ascii_case(b"chunked") =>
            {
                end = Some(End::Chunks);
                continue;
            }
            header::CONNECTION if field.value.eq_ignore_ascii_case(b"keep-alive") => continue,
            header::CONTENT_LENGTH
            | header::CONNECTION
            | header::CONTENT_ENCODING
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE => return None,
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(came.slice_ref(field.value)).ok()?;
        answer.headers_mut().append(name, value);
    }
    end.map(|end| (answer, end))
}

#[cfg(test)]
#[path = "brief_tests.rs"]
mod tests;
