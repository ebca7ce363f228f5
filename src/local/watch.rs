//! `GET /v1/token/watch`: each token as it comes, as server-sent events, for as long as a client
//! stays.
//!
//! A watch holds a socket, a place in the line and little else: HTTP's own machinery has gone when
//! the answer's head is out, and each event is the token's one body between two words (fault 198).

use std::{ops::ControlFlow, time::Duration};

use bytes::{Buf, Bytes};
use http::{Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    body::Body,
    problem::{Kind, Problem, answer},
    query::Query,
    served::Served,
    token::no_token,
};
use crate::token::{format::Format, handle::Handle, lease::Serial};

/// Longest silence: what comes then shows that both sides are still there.
const SILENCE: Duration = Duration::from_secs(15);
/// When a client for which there is no place may come again.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// Opens a stream of events, if there is a token and a place.
pub(super) async fn open(
    served: &Served,
    query: &Query,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Problem> {
    let handle = served.credential(query.credential.as_deref())?;
    if handle.current_within(served.first_token_wait).await.is_none() {
        return Err(no_token(handle));
    }
    let mut response = answer(StatusCode::OK, "text/event-stream", Bytes::new());
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    if request.method() != Method::HEAD {
        let watch = Watch::new(served, handle, request.version()).ok_or_else(no_place)?;
        *response.body_mut() = Body::from(watch);
    }
    Ok(response)
}

fn no_place() -> Problem {
    Problem {
        retry_after: Some(COME_AGAIN),
        ..Kind::TooManyRequests
            .because("this listener has no place for another watch: see max_connections")
    }
}

/// Tells one client what becomes of a token.
pub struct Watch {
    handle: Handle,
    /// The token that was announced last.
    seen: Serial,
    /// The valid token that the client has.
    told: Option<Serial>,
    framing: Framing,
    over: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    fn new(served: &Served, handle: &Handle, version: Version) -> Option<Self> {
        Some(Self {
            handle: handle.clone(),
            seen: Serial::NONE,
            told: None,
            framing: if version == Version::HTTP_10 { Framing::Bare } else { Framing::Chunked },
            over: served.watches.over(),
            _place: served.watches.enter()?,
        })
    }

    /// Writes events behind the answer's head until the client leaves, or `stop`.
    ///
    /// Whoever ends its own side, or sends anything more, has left: over TCP the two look the same.
    pub(super) async fn run<S>(&mut self, stream: &mut S, stop: &CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let over = self.over.clone();
        let mut buffer = [0];
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = over.cancelled() => break,
                event = self.next() => event,
                _left = stream.read(&mut buffer) => break,
            };
            let mut frame = self.framing.frame(event);
            if stream.write_all_buf(&mut frame).await.is_err() {
                return;
            }
        }
        // The client may have gone.
        stream.write_all(self.framing.end()).await.ok();
        stream.shutdown().await.ok();
    }

    /// Waits for what is to be told next.
    async fn next(&mut self) -> Event {
        let silent_until = Instant::now() + SILENCE;
        loop {
            let left = match self.news() {
                ControlFlow::Break(event) => return event,
                ControlFlow::Continue(left) => left,
            };
            let until = left.map_or(silent_until, |left| silent_until.min(Instant::now() + left));
            match timeout_at(until, self.handle.changed_from(self.seen)).await {
                Ok(serial) => self.seen = serial,
                Err(_) if until == silent_until => return Event::Silence,
                Err(_) => {}
            }
        }
    }

    /// Tells what the client does not know yet, else how long what it knows stays true.
    fn news(&mut self) -> ControlFlow<Event, Option<Duration>> {
        match (self.handle.current(), self.told) {
            (Some((token, left)), told) if told == Some(token.serial()) => {
                ControlFlow::Continue(Some(left))
            }
            (Some((token, left)), _) => {
                self.told = Some(token.serial());
                ControlFlow::Break(Event::Token(token.body(Format::Json, left)))
            }
            (None, Some(_)) => {
                self.told = None;
                ControlFlow::Break(Event::Expired)
            }
            (None, None) => ControlFlow::Continue(None),
        }
    }
}

/// What a client is told.
enum Event {
    /// A token has come: the answer of `/v1/token`.
    Token(Bytes),
    /// The token has run out, and there is no other.
    Expired,
    /// Nothing has happened.
    Silence,
}

impl Event {
    /// Writes it as a server-sent event; an object without members is the data that it needs.
    fn parts(self) -> [Bytes; 3] {
        let (head, data, end): (&'static [u8], Bytes, &'static [u8]) = match self {
            Self::Token(json) => (b"event: token\ndata: ", json, b"\n\n"),
            Self::Expired => (b"event: expired\ndata: ", Bytes::from_static(b"{}"), b"\n\n"),
            Self::Silence => (b":", Bytes::new(), b"\n\n"),
        };
        [Bytes::from_static(head), data, Bytes::from_static(end)]
    }
}

/// How the length of the answer is told (RFC 9112 section 6).
#[derive(Clone, Copy)]
enum Framing {
    /// By chunks, of which the last is empty.
    Chunked,
    /// By the end of the connection.
    Bare,
}

impl Framing {
    fn frame(self, event: Event) -> impl Buf + use<> {
        let [head, data, end] = event.parts();
        let (size, line_end) = match self {
            Self::Chunked => {
                let length = head.len() + data.len() + end.len();
                (Bytes::from(format!("{length:x}\r\n")), Bytes::from_static(b"\r\n"))
            }
            Self::Bare => (Bytes::new(), Bytes::new()),
        };
        size.chain(head).chain(data).chain(end).chain(line_end)
    }

    const fn end(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"0\r\n\r\n",
            Self::Bare => b"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(framing: Framing, event: Event) -> String {
        let mut frame = framing.frame(event);
        String::from_utf8(frame.copy_to_bytes(frame.remaining()).to_vec()).unwrap()
    }

    #[test]
    fn events_are_framed_as_the_protocol_has_it() {
        let json = || Event::Token(Bytes::from_static(br#"{"expires_in":9}"#));
        let text = "event: token\ndata: {\"expires_in\":9}\n\n";
        assert_eq!(written(Framing::Bare, json()), text);
        assert_eq!(written(Framing::Chunked, json()), format!("{:x}\r\n{text}\r\n", text.len()));
        assert_eq!(written(Framing::Bare, Event::Expired), "event: expired\ndata: {}\n\n");
        assert_eq!(written(Framing::Chunked, Event::Silence), "3\r\n:\n\n\r\n");
        assert_eq!((Framing::Chunked.end(), Framing::Bare.end()), (&b"0\r\n\r\n"[..], &b""[..]));
    }
}
