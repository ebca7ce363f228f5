//! A call that goes the short way: nothing but a head goes out, and what comes back is there at once.
//!
//! It is judged, sent and answered by what judges, sends and answers every call; only HTTP's machinery
//! is left out. It refuses nothing: whatever is unusual goes the general way, from where it stands.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header, request::Parts};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    Answered, Proxy, Upstream,
    body::ReplayMemory,
    forward::{self, Call, Own},
    headers,
    path::Path,
};
use crate::{
    okta::{
        forwarder::{Asked, Begun},
        mask,
    },
    process::clock::Clock,
    token::published::Published,
};

/// A `GET` without a body that may pass, and the token that it passes with.
///
/// It is finished by what it was begun with: a reload meanwhile is for the next call.
pub struct Brief {
    path: Path,
    upstream: Arc<Upstream>,
    token: Arc<Published>,
    /// All that is sent.
    head: Bytes,
    own: Own,
    memory: ReplayMemory,
    idle: Duration,
    clock: Arc<dyn Clock>,
}

/// Says what came of a brief call.
pub enum Told {
    /// All of its answer, for the client.
    Answer(Response<Bytes>),
    /// It was sent, and goes on by [`Brief::go_on`].
    Begun(Box<Sent>),
    /// It was not sent, and goes the general way.
    Unsent,
}

/// A call that waits for the rest of its answer.
pub struct Sent {
    pub(super) begun: Begun,
    pub(super) token: Arc<Published>,
    /// Since when the issuer has said nothing that would do.
    pub(super) since: Instant,
}

impl Proxy {
    /// Makes the call that a `GET` is forwarded by, if it may pass and a token is there.
    #[must_use]
    pub fn brief(&self, request: &Parts) -> Option<Brief> {
        let (path, upstream) = self.judge(&request.method, &request.uri, &request.headers).ok()?;
        if path.is_service_token() {
            return None;
        }
        let (token, _life) = upstream.handle.current()?;
        let target = forward::target(upstream, &path, request.uri.query());
        let own = Own::of(&request.headers, &request.extensions);
        let bearer = token.bearer();
        let mut fields = headers::for_issuer(&request.headers);
        fields.push((&header::AUTHORIZATION, &bearer));
        let head = upstream.forwarder.head(&target, fields);
        let (upstream, clock) = (Arc::clone(upstream), Arc::clone(&self.clock));
        let (memory, idle) = (self.memory.clone(), self.idle);
        Some(Brief { path, upstream, token, head, own, memory, idle, clock })
    }
}

impl Brief {
    /// Sends the call by a connection that rests.
    ///
    /// Boxed: whoever may make calls need not have room for one.
    pub fn tell(&self) -> Pin<Box<dyn Future<Output = Told> + Send + '_>> {
        Box::pin(async {
            let began = Instant::now();
            match self.upstream.forwarder.ask(&self.head, began + self.idle).await {
                Asked::Whole(answer) => Told::Answer(self.finished(answer)),
                Asked::Begun(begun) => {
                    // A body has a time of its own.
                    let since = if begun.has_head() { Instant::now() } else { began };
                    let token = Arc::clone(&self.token);
                    Told::Begun(Box::new(Sent { begun, token, since }))
                }
                Asked::Unsent => Told::Unsent,
            }
        })
    }

    /// Goes on with a call that was begun, by the request that it was made of.
    pub async fn go_on(self, sent: Box<Sent>, request: Request<Incoming>) -> Answered {
        let Self { path, upstream, memory, idle, clock, .. } = &self;
        let call = Call { path, upstream, memory, idle: *idle, clock: &**clock };
        call.forward(request, Some(sent)).await
    }

    fn finished(&self, answer: Response<Bytes>) -> Response<Bytes> {
        let (parts, body) = answer.into_parts();
        forward::note(&self.upstream, &parts.headers);
        let now = self.clock.wall();
        let headers =
            forward::answer_headers(parts.headers, &self.upstream, &self.token, &self.own, now);
        let mut answer = Response::new(mask::whole(body, self.token.sought()));
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = headers;
        answer
    }
}

#[cfg(test)]
#[path = "brief_tests.rs"]
pub(crate) mod tests;
