//! One way to serve: accept, guard, answer, count; for listeners, telemetry and control alike.

mod brief;
mod connection;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod in_memory;

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::{Request, Response, header, request::Parts, uri::Scheme};
use hyper::body::{Body as _, Incoming};
use tokio::{
    net::TcpStream,
    sync::{AcquireError, Semaphore},
    time::{timeout, timeout_at},
};
use tokio_rustls::server::TlsStream;
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};

pub(super) use self::brief::is_likely as is_likely_brief;
use self::brief::{TakenUp, UnderWay};
pub use super::visit::Socket;
use super::{
    body::Body,
    busy::Busy,
    guard::{self, Denial, Proof},
    problem::Problem,
    tls::{self, Certificate},
    visit::{Counted, Guest, Place, Rules, Stream, Visit},
};
use crate::{
    config::model::{Guard, Limits},
    process::{clock::Clock, peer::Peer, tcp_owner::TcpOwners},
    proxy::{Answered, brief::Brief},
    telemetry::{
        audit::{Audit, Subject},
        metrics::{Endpoint, ListenerMetrics},
    },
    token::handle::Handle,
};

/// Rest after an accept that failed because something ran out.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Time after a stop in which whoever keeps a connection is told that it ends, and new ones are
/// still taken.
const FAREWELL: Duration = Duration::from_millis(250);

/// What a client is told whose user has all the connections that it may have.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n\
    Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 0\r\n\r\n";

/// Answers the requests of one kind of listener; the guard has let them in.
pub trait App: Send + Sync + 'static {
    /// What its paths are called in the metrics.
    type Endpoint: Endpoint;

    /// Finds the endpoint of a request by its exact raw path; no endpoint counts as the last one.
    fn endpoint(&self, request: &Parts) -> Self::Endpoint;

    /// Tells what a request for an endpoint shows that it was meant for us.
    fn proof(&self, _endpoint: Self::Endpoint) -> Proof {
        Proof::Header
    }

    /// Tells how many descriptors a connection may take, together with what is opened for it.
    fn descriptors(&self) -> u32 {
        1
    }

    /// Tells whether a connection may bring a second request.
    fn keeps_alive(&self) -> bool {
        true
    }

    /// Tells whether a client may stop sending and still wait for its answer.
    fn answers_half_closed(&self) -> bool {
        true
    }

    /// Makes the answer to a request that the guard did not let in.
    fn refuse(&self, _endpoint: Self::Endpoint, problem: Problem) -> Response<Body> {
        problem.into_response()
    }

    /// Gives the whole answer to a `GET`, head and body, if it is stored and is a 200.
    ///
    /// It is the very one that [`App::answer`] would give, with the headers that HTTP adds.
    fn at_once(&self, _endpoint: Self::Endpoint, _request: &Parts) -> Option<Bytes> {
        None
    }

    /// Makes the call that a `GET` without a body is sent on by, if it is one.
    ///
    /// Its answer is the one that [`App::answer`] would give. What is sent is finished by what it was made
    /// of: a reload meanwhile is for the next request.
    fn brief(&self, _endpoint: Self::Endpoint, _request: &Parts) -> Option<Brief> {
        None
    }

    /// Tells which credential is handed out to those who name none, for the audit trail.
    fn default_credential(&self) -> Option<Handle> {
        None
    }

    /// Answers a request; over TLS its extensions hold [`Scheme::HTTPS`].
    ///
    /// An answer that waits for long ends that wait when the client has [left](Busy::left).
    fn answer(
        &self,
        endpoint: Self::Endpoint,
        request: Request<Incoming>,
        client: &Busy,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves an app on any number of sockets.
pub struct Server<A: App> {
    app: A,
    rules: ArcSwap<Rules>,
    /// What TCP connections are shown; without it they speak plain HTTP.
    certificate: ArcSwapOption<Certificate>,
    /// Held by whoever changes either of the two.
    changes: Mutex<()>,
    metrics: ListenerMetrics<A::Endpoint>,
    audit: Audit,
    common: Common,
}

/// What all servers of a process share.
#[derive(Clone)]
pub struct Common {
    /// Measures how long an answer takes.
    pub clock: Arc<dyn Clock>,
    /// Tells whose TCP connections are.
    pub owners: Arc<TcpOwners>,
    /// Descriptors that these servers' connections may take together.
    pub descriptors: Arc<Semaphore>,
}

/// Rides on an answer to tell what the issuer said.
#[derive(Clone, Copy, Debug)]
struct Forwarded {
    /// Status of its first answer, if it was asked.
    upstream: Option<u16>,
    /// Status of its answer to the second try.
    replay: Option<u16>,
    /// What went wrong on the way to it.
    failure: Option<&'static str>,
    /// Why it was refused after all, to be counted like those of the guard.
    denied: Option<Denial>,
}

/// Makes the answer of a forwarded call, which tells whoever counts how it went.
#[must_use]
pub fn forwarded(answered: Answered) -> Response<Body> {
    let denied = answered.is_denied().then_some(Denial::Credential);
    let Answered { mut response, upstream, replay, failure } = answered;
    response.extensions_mut().insert(Forwarded { upstream, replay, failure, denied });
    response.map(Body::from)
}

impl<A: App> Server<A> {
    /// Makes a server that listens nowhere yet.
    pub fn new(
        app: A,
        guard: Guard,
        limits: Limits,
        metrics: ListenerMetrics<A::Endpoint>,
        audit: Audit,
        common: Common,
    ) -> Self {
        let rules = ArcSwap::from_pointee(Rules::new(guard, limits));
        let (certificate, changes) = (ArcSwapOption::empty(), Mutex::new(()));
        Self { app, rules, certificate, changes, metrics, audit, common }
    }

    /// Gives what answers.
    pub const fn app(&self) -> &A {
        &self.app
    }

    /// Gives what is counted.
    pub const fn metrics(&self) -> &ListenerMetrics<A::Endpoint> {
        &self.metrics
    }

    /// Shows a certificate to whoever comes by TCP from now on; `None` is plain HTTP.
    ///
    /// Open connections live on, but not from plain HTTP to TLS or back.
    pub fn show(&self, certificate: Option<Arc<Certificate>>) {
        let _alone = self.alone();
        let rules = self.rules.load_full();
        self.change_to(&rules.guard, &rules.limits, certificate, || {});
    }

    /// Changes rules, certificate and what the app serves, so that no request meets some of the old
    /// and some of the new.
    ///
    /// If the rules differ, the old ones end first: who has come in under them is not answered any
    /// more, not even if the answer is there. Nobody comes in before the new ones are in force, and
    /// they are the last to be (fault 259).
    pub fn change(
        &self,
        guard: &Guard,
        limits: &Limits,
        certificate: Option<Arc<Certificate>>,
        serve: impl FnOnce(),
    ) {
        let _alone = self.alone();
        self.change_to(guard, limits, certificate, serve);
    }

    /// Keeps other changes away: what stays must be what is in force.
    fn alone(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_to(
        &self,
        guard: &Guard,
        limits: &Limits,
        certificate: Option<Arc<Certificate>>,
        serve: impl FnOnce(),
    ) {
        let rules = self.rules.load();
        let is_same = rules.guard == *guard
            && rules.limits == *limits
            && self.certificate.load().is_some() == certificate.is_some();
        if !is_same {
            rules.superseded.cancel();
        }
        self.certificate.store(certificate);
        serve();
        if !is_same {
            self.rules.store(Arc::new(Rules::new(guard.clone(), limits.clone())));
        }
    }

    /// Gives the certificate that is shown now.
    pub fn shown(&self) -> Option<Arc<Certificate>> {
        self.certificate.load_full()
    }

    /// Accepts until `stop`; connections live on in `tracker` until they have been answered.
    ///
    /// If the process stops, whose tracker is closed then, whoever comes while others still say
    /// farewell is served, too.
    pub async fn accept(
        self: &Arc<Self>,
        socket: &Socket,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let mut shut = pin!(shut(stop, tracker));
        loop {
            let rules = self.rules.load_full();
            let next = tokio::select! {
                biased;
                () = &mut shut => return,
                () = rules.superseded.cancelled() => continue,
                next = self.next(socket, &rules) => next,
            };
            match next {
                None => return,
                Some((place, Ok(guest))) => self.admit(guest, place, rules, stop, tracker),
                Some((_, Err(error))) => self.accept_failed(&error).await,
            }
        }
    }

    /// Lets in who is in line already: closed on them, the socket would lose what they have sent.
    pub async fn accept_rest(
        self: &Arc<Self>,
        socket: &Socket,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let rules = self.rules.load_full();
        while let Ok(Some((place, Ok(guest)))) =
            timeout(Duration::ZERO, self.next(socket, &rules)).await
        {
            self.admit(guest, place, Arc::clone(&rules), stop, tracker);
        }
    }

    /// Waits for the next connection, and for room for it first: what is not accepted costs nothing.
    async fn next(&self, socket: &Socket, rules: &Rules) -> Option<(Place, io::Result<Guest>)> {
        let place = self.place(rules).await.ok()?;
        Some((place, socket.accept(rules).await))
    }

    /// Waits until one more connection has room, in the listener and in the process.
    async fn place(&self, rules: &Rules) -> Result<Place, AcquireError> {
        let of_listener = Arc::clone(&rules.places).acquire_owned().await?;
        let descriptors = Arc::clone(&self.common.descriptors);
        let of_process = descriptors.acquire_many_owned(self.app.descriptors()).await?;
        Ok([of_listener, of_process])
    }

    /// A peer that left is no reason to rest; what ran out is (fault 187).
    async fn accept_failed(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        self.audit.exhausted(error);
        tokio::time::sleep(EXHAUSTED).await;
    }

    fn admit(
        self: &Arc<Self>,
        (stream, peer): Guest,
        place: Place,
        rules: Arc<Rules>,
        stop: &CancellationToken,
        tracker: &TaskTracker,
    ) {
        let counted = Counted::new(&self.metrics.connections);
        let mut visit = Visit::new(peer, rules, stop.clone(), place, counted);
        let (server, tasks) = (Arc::clone(self), tracker.clone());
        tracker.spawn(async move {
            visit.recognise(&stream, &server.common.owners);
            server.audit.connected(&visit.peer, || server.subject());
            if !visit.enter(server.common.clock.tick()) {
                return server.turn_away(&stream, &visit);
            }
            // One type for all, so that what serves them is there once.
            let stream = match (stream, server.shown()) {
                (Stream::Unix(stream), _) => Either::Left(Either::Left(stream)),
                (Stream::Tcp(stream, _), None) => Either::Left(Either::Right(stream)),
                // Apart, so that the others need not have room for it.
                (Stream::Tcp(stream, _), Some(certificate)) => {
                    let secured = Box::pin(server.secured(stream, &certificate, &mut visit)).await;
                    let Some(stream) = secured else { return };
                    Either::Right(stream)
                }
            };
            server.attend(stream, visit, &tasks).await;
        });
    }

    /// Sends a user away who is here too often; told only if that takes no time.
    fn turn_away(&self, stream: &Stream, visit: &Visit) {
        self.note(Denial::Connections.label(), &visit.peer);
        let _told = match stream {
            Stream::Unix(stream) => stream.try_write(TOO_MANY),
            Stream::Tcp(stream, _) if self.shown().is_none() => stream.try_write(TOO_MANY),
            Stream::Tcp(..) => return,
        };
    }

    /// Speaks TLS first; the time of that counts as the first request's.
    async fn secured(
        &self,
        stream: TcpStream,
        certificate: &Certificate,
        visit: &mut Visit,
    ) -> Option<Box<TlsStream<TcpStream>>> {
        let handshake = timeout_at(visit.heard_by, certificate.welcome(stream));
        let outcome = tokio::select! {
            biased;
            () = visit.rules.superseded.cancelled() => return None,
            // A stop leaves the time that it leaves to anybody: a request may be on its way (fault 205).
            () = connection::farewell(visit) => return None,
            outcome = handshake => outcome,
        };
        let Ok(Ok(stream)) = outcome else {
            self.note(tls::REFUSED, &visit.peer);
            return None;
        };
        visit.scheme = Scheme::HTTPS;
        Some(Box::new(stream))
    }

    /// Answers a request, unless the rules that it came in under are over by then.
    async fn handle(
        &self,
        request: Request<Incoming>,
        taken_up: Option<TakenUp<A::Endpoint>>,
        visit: &Visit,
        client: &Busy,
    ) -> Result<Response<Body>, Superseded> {
        let began = taken_up.as_ref().map_or_else(|| self.common.clock.tick(), |it| it.began);
        let has_asked = taken_up.is_some();
        let (mut parts, body) = request.into_parts();
        if visit.scheme == Scheme::HTTPS {
            parts.extensions.insert(visit.scheme.clone());
        }
        let may_close = !body.is_end_stream();
        let (endpoint, mut response) = match taken_up.and_then(|it| it.under_way) {
            // Apart, so that the others need not have room for it.
            Some(under_way) => {
                let UnderWay { endpoint, brief, sent } = *under_way;
                let rest = Box::pin(brief.go_on(sent, Request::from_parts(parts, body)));
                (endpoint, forwarded(rest.await))
            }
            None => {
                let endpoint = self.app.endpoint(&parts);
                let admission = match has_asked || visit.ask(began) {
                    true => self.check(endpoint, visit, &parts, client),
                    false => Err(Denial::Requests),
                };
                let request = Request::from_parts(parts, body);
                let response = match admission {
                    Ok(()) => self.app.answer(endpoint, request, client).await,
                    Err(denial) => self.deny(endpoint, denial, &visit.peer),
                };
                (endpoint, response)
            }
        };
        // What is left of a body is never read, let alone taken for a request (fault 141).
        let has_rest = may_close && response.status().as_u16() >= 400;
        // A request that comes just at a stop is answered, and is the last (fault 205).
        if has_rest || visit.stop.is_cancelled() {
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        if let Some(forwarded) = response.extensions_mut().remove::<Forwarded>() {
            forwarded.upstream.into_iter().for_each(|code| self.metrics.count_upstream(code));
            forwarded.replay.into_iter().for_each(|code| self.metrics.count_replay(code));
            forwarded.failure.into_iter().for_each(|reason| self.audit.not_forwarded(reason));
            forwarded.denied.into_iter().for_each(|why| self.note(why.label(), &visit.peer));
        }
        if visit.rules.superseded.is_cancelled() {
            return Err(Superseded);
        }
        let took = self.common.clock.tick().since(began);
        self.metrics.count(endpoint, response.status().as_u16(), took);
        Ok(response)
    }

    fn check(
        &self,
        endpoint: A::Endpoint,
        visit: &Visit,
        request: &Parts,
        client: &Busy,
    ) -> Result<(), Denial> {
        guard::check(&visit.rules.guard, &visit.peer, &self.app.proof(endpoint), request)?;
        if client.is_ambiguous() { Err(Denial::Framing) } else { Ok(()) }
    }

    fn deny(&self, endpoint: A::Endpoint, denial: Denial, peer: &Peer) -> Response<Body> {
        self.note(denial.label(), peer);
        let mut response = self.app.refuse(endpoint, denial.problem());
        if denial != Denial::Requests {
            // Who only comes too often need not connect anew for it.
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        response
    }

    fn note(&self, reason: &'static str, peer: &Peer) {
        self.metrics.count_denied(reason);
        self.audit.denied(peer, reason, || self.subject());
    }

    /// Tells what could have been had here.
    fn subject(&self) -> Option<Subject> {
        let handle = self.app.default_credential()?;
        let token_id = handle.current().map(|(published, _)| published.token_id().to_owned());
        Some(Subject { credential: handle.name().to_owned(), token_id })
    }
}

/// Says that other rules are in force than those that a request came in under.
#[derive(Debug, thiserror::Error)]
#[error("the rules of this listener have changed")]
struct Superseded;

/// Waits until nobody is let in any more.
async fn shut(stop: &CancellationToken, tracker: &TaskTracker) {
    stop.cancelled().await;
    if tracker.is_closed() {
        timeout(FAREWELL, tracker.wait()).await.ok();
    }
}

const CLOSE: http::HeaderValue = http::HeaderValue::from_static("close");
