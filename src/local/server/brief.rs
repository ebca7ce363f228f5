//! The request that nearly all requests are: a `GET` whose head came in one piece, and no more.
//!
//! What such a request asks for is stored as it is sent, or is to be had from the issuer by as simple a
//! call, so that a library's machine for any request and any answer would be most of the cost. Here the
//! same parser as the machine's reads the head, the same guard looks at it, and the answer is written as
//! it lies there. Whatever is not exactly that goes the general way: this one refuses nothing, and says
//! nothing that the other would not.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header, request::Parts, uri::Scheme};

use super::{App, CLOSE, Server, connection::MOST_HEADERS};
use crate::{
    local::{guard, visit::Visit},
    okta,
    proxy::brief::{Brief, Sent, Told},
    token::timing::Tick,
};

/// How every request begins that is brief if it is answered by what is stored, and which of its
/// headers matter.
const STORED: (&[u8], Matters) = (b"GET /v1/token", |name| !guard::is_unread(name));
/// The same of those that are sent on.
const SENT_ON: (&[u8], Matters) = (b"GET /v1/teams/", |_| true);

/// Tells whether anybody looks at a header of this name.
type Matters = fn(&str) -> bool;

/// Headers for which there is room besides: the issuer's host, and its token.
const ADDED: usize = 2;

/// Tells whether bytes look like the beginning of a request that is brief.
pub(in crate::local) fn is_likely(came: &[u8]) -> bool {
    [STORED, SENT_ON].iter().any(|(start, _)| came.starts_with(start))
}

/// Says what was made of a request at once.
pub(super) enum Taken<E> {
    /// Its answer.
    Answer(Bytes),
    /// A call to the issuer.
    Call(Box<Call<E>>),
}

/// A call that a request is sent on by.
pub(super) struct Call<E> {
    pub(super) brief: Brief,
    endpoint: E,
    began: Tick,
    /// The request as it came.
    came: Bytes,
}

/// Says what is next on a connection.
pub(super) enum Step<E> {
    /// To send an answer, which may be the last.
    Answer { answer: Bytes, is_last: bool },
    /// To end.
    Over,
    /// To go the general way with a request that came, from where it stands.
    Rest(Bytes, TakenUp<E>),
}

/// A request that has been let in already, and counts as asked since then.
pub(super) struct TakenUp<E> {
    pub(super) began: Tick,
    /// Apart: nearly no request has that.
    pub(super) under_way: Option<Box<UnderWay<E>>>,
}

/// A call that was sent to the issuer, and is finished as it was begun.
pub(super) struct UnderWay<E> {
    pub(super) endpoint: E,
    pub(super) brief: Brief,
    pub(super) sent: Box<Sent>,
}

impl<A: App> Server<A> {
    /// Takes up a request that is all that came, if what is stored does for it, or a brief call.
    pub(super) fn take(&self, came: &[u8], visit: &Visit) -> Option<Taken<A::Endpoint>> {
        let starts = |(start, _): &(&[u8], Matters)| came.starts_with(start);
        let (_, matters) = [STORED, SENT_ON].into_iter().find(starts)?;
        let began = self.common.clock.tick();
        // One copy of it all, of which everything else is a part.
        let came = Bytes::copy_from_slice(came);
        let mut request = read(&came, matters)?;
        if visit.scheme == Scheme::HTTPS {
            request.extensions.insert(visit.scheme.clone());
        }
        let endpoint = self.app.endpoint(&request);
        let proof = self.app.proof(endpoint);
        guard::check(&visit.rules.guard, &visit.peer, &proof, &request).ok()?;
        let taken = match self.app.at_once(endpoint, &request) {
            Some(answer) => Taken::Answer(answer),
            None => {
                let brief = self.app.brief(endpoint, &request)?;
                Taken::Call(Box::new(Call { brief, endpoint, began, came }))
            }
        };
        // What was looked up may be of newer rules than the guard's, and the last answer says that it is
        // the last, which stored ones do not.
        if visit.rules.superseded.is_cancelled() || visit.stop.is_cancelled() || !visit.ask(began) {
            return None;
        }
        if let Taken::Answer(_) = taken {
            self.metrics.count(endpoint, 200, self.common.clock.tick().since(began));
        }
        Some(taken)
    }

    /// Goes on with what came of a call.
    pub(super) fn step(
        &self,
        call: Call<A::Endpoint>,
        told: Told,
        visit: &Visit,
    ) -> Step<A::Endpoint> {
        let Call { brief, endpoint, began, came } = call;
        let mut answer = match told {
            Told::Answer(answer) => answer,
            Told::Begun(sent) => {
                let under_way = Some(Box::new(UnderWay { endpoint, brief, sent }));
                return Step::Rest(came, TakenUp { began, under_way });
            }
            Told::Unsent => return Step::Rest(came, TakenUp { began, under_way: None }),
        };
        let (status, clock) = (answer.status(), &self.common.clock);
        self.metrics.count_upstream(status.as_u16());
        if visit.rules.superseded.is_cancelled() {
            return Step::Over;
        }
        // One that comes just at a stop is the last (fault 205).
        let is_last = visit.stop.is_cancelled();
        if is_last {
            answer.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        self.metrics.count(endpoint, status.as_u16(), clock.tick().since(began));
        let (headers, body) = (answer.headers(), answer.body());
        let answer = okta::brief::answer(status, headers, body, clock.wall());
        Step::Answer { answer: answer.into(), is_last }
    }
}

/// Reads a head behind which nothing follows, if it says nothing of bodies, ends or other tongues; what
/// does not matter to anybody is left out.
fn read(came: &Bytes, matters: Matters) -> Option<Parts> {
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut []);
    let length = head.parse_with_uninit_headers(came, &mut headers).ok()?;
    if length != httparse::Status::Complete(came.len()) || head.version != Some(1) {
        return None;
    }
    let (mut request, ()) = Request::new(()).into_parts();
    request.uri = Uri::from_maybe_shared(came.slice_ref(head.path?.as_bytes())).ok()?;
    request.headers = HeaderMap::with_capacity(head.headers.len() + ADDED);
    // Half of what usual clients send is none of anybody's business, and would be half of the work.
    for field in head.headers.iter().filter(|field| matters(field.name)) {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(came.slice_ref(field.value)).ok()?;
        if !is_harmless(&name, &value) {
            return None;
        }
        request.headers.append(name, value);
    }
    Some(request)
}

/// Tells whether a header changes nothing in how HTTP itself goes on.
fn is_harmless(name: &HeaderName, value: &HeaderValue) -> bool {
    match *name {
        header::CONNECTION => value.as_bytes().eq_ignore_ascii_case(b"keep-alive"),
        header::CONTENT_LENGTH
        | header::TRANSFER_ENCODING
        | header::EXPECT
        | header::TE
        | header::TRAILER
        | header::UPGRADE => false,
        _ => true,
    }
}

#[cfg(test)]
#[path = "brief_tests.rs"]
mod at_once;

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use http::Response;
    use http_body_util::Empty;
    use hyper::{body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const TOKEN: &str = "GET /v1/token HTTP/1.1\r\nHost: localhost\r\n";

    fn read_at_once(head: &str) -> Option<Parts> {
        read(&Bytes::copy_from_slice(head.as_bytes()), SENT_ON.1)
    }

    #[test]
    fn only_a_whole_head_of_a_plain_get_is_brief() {
        let plain = [
            "\r\n",
            "X-Bearerd: 1\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
            "Connection: Keep-Alive\r\n\r\n",
            "X-Forwarded-For: a\r\nOrigin: b\r\nHost: c\r\n\r\n",
            "If-None-Match: *\r\nAccept-Encoding: gzip\r\n\r\n",
        ];
        for rest in plain {
            assert!(read_at_once(&format!("{TOKEN}{rest}")).is_some(), "{rest:?}");
        }
        let rows = [
            "",
            "Accept: */*\r\n",
            "\r\nG",
            "\r\n\r\n",
            "\r\nGET /v1/token HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "Connection: close\r\n\r\n",
            "Connection: keep-alive, x-bearerd\r\n\r\n",
            "Content-Length: 0\r\n\r\n",
            "content-length: 5\r\n\r\nabcde",
            "Transfer-Encoding: chunked\r\n\r\n",
            "Expect: 100-continue\r\n\r\n",
            "Upgrade: h2c\r\n\r\n",
            "TE: trailers\r\n\r\n",
            "Trailer: a\r\n\r\n",
            "A : b\r\n\r\n",
            "A: b\r\n c\r\n\r\n",
            ": b\r\n\r\n",
            "A: \u{0}\r\n\r\n",
        ];
        for rest in rows {
            assert!(read_at_once(&format!("{TOKEN}{rest}")).is_none(), "{rest:?}");
        }
        for start in ["GET /v1/token HTTP/1.0", "GET http://a/v1/token HTTP/1.1 ", "GET /v1/token"]
        {
            assert!(read_at_once(&format!("{start}\r\nHost: a\r\n\r\n")).is_none(), "{start}");
        }
        let many = "A: b\r\n".repeat(MOST_HEADERS);
        assert!(read_at_once(&format!("{TOKEN}{many}\r\n")).is_none());
    }

    /// Has HTTP's own machinery read the same bytes; gives all requests that it found.
    async fn read_by_the_machine(bytes: &[u8]) -> Vec<Parts> {
        let (near, mut far) = duplex(1 << 16);
        let found = Arc::new(Mutex::new(Vec::new()));
        let service = service_fn(|request: Request<Incoming>| {
            found.lock().unwrap().push(request.into_parts().0);
            async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
        });
        let sent = async {
            far.write_all(bytes).await.unwrap();
            far.shutdown().await.unwrap();
            far.read_to_end(&mut Vec::new()).await.unwrap();
        };
        let mut machine = http1::Builder::new();
        machine.half_close(true).max_headers(MOST_HEADERS);
        let served = machine.serve_connection(TokioIo::new(near), service);
        let _ended = tokio::join!(served, sent);
        std::mem::take(&mut *found.lock().unwrap())
    }

    /// Makes a head of odd and of usual parts.
    fn head() -> impl Strategy<Value = String> {
        let target = prop::sample::select(vec![
            "/v1/token",
            "/v1/token?format=raw",
            "/v1/./token",
            "//v1/token",
            "/v1/token#a",
            "*",
            "/v1/token?",
            "/v1/%2e",
            "http://localhost/v1/token",
            "/v1/tok\ten",
            "/v1/\u{e9}",
            "/v1/\"",
        ]);
        let name = prop::sample::select(vec![
            "Host",
            "host",
            "X-Bearerd",
            "Origin",
            "Connection",
            "Content-Length",
            "Transfer-Encoding",
            "A B",
            "",
            "x\u{e9}",
            "Via",
            "Accept",
            "uSER-agent",
            "Expect",
            "Upgrade",
        ]);
        let value = prop::sample::select(vec![
            "1",
            "localhost",
            "",
            " ",
            "a\tb",
            "\u{e9}",
            "keep-alive",
            "close",
            "0",
            "chunked",
            "\u{7f}",
            " padded ",
            "a\rb",
            "a\nb",
            "\u{1}",
        ]);
        let fields = prop::collection::vec(
            (name, value, prop::sample::select(vec!["\r\n", "\n", ""])),
            0..5,
        );
        let version =
            prop::sample::select(vec!["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", "HTTP/1.1 "]);
        let end =
            prop::sample::select(vec!["\r\n", "\n", "", "\r\n\r\n", "\r\nGET / HTTP/1.1\r\n\r\n"]);
        (target, version, fields, end).prop_map(|(target, version, fields, end)| {
            let fields =
                fields.into_iter().map(|(name, value, end)| format!("{name}: {value}{end}"));
            format!("GET {target} {version}\r\n{}{end}", fields.collect::<String>())
        })
    }

    proptest! {
        // faults 140, 142, 144: what is brief is the same one request to whoever reads it
        #[test]
        fn what_is_brief_is_what_the_machine_reads(head in head(), is_sent_on: bool) {
            let (_, matters) = if is_sent_on { SENT_ON } else { STORED };
            let came = Bytes::from(head.clone());
            let Some(brief) = read(&came, matters) else { return Ok(()) };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(read_by_the_machine(head.as_bytes()));
            prop_assert_eq!(found.len(), 1);
            let found = &found[0];
            prop_assert_eq!(&found.method, &brief.method);
            prop_assert_eq!(&found.uri, &brief.uri);
            prop_assert_eq!(found.version, brief.version);
            let read = found.headers.iter().filter(|(name, _)| matters(name.as_str()));
            prop_assert!(read.eq(brief.headers.iter()), "{:?}", found.headers);
        }
    }
}
