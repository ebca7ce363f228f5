//! One forwarded call: the real token put in, one replay after a 401, streams both ways.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    request::Parts, response, uri::Scheme,
};
use http_body::Body;
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::{
    Answered, Download, Upstream,
    body::{self, BodyError, Held, ReplayMemory},
    brief::Sent,
    headers,
    pace::{Pace, Stalled},
    path::Path,
    refusal::Refusal,
    replay,
};
use crate::{
    okta::{
        classify,
        forwarder::{Answer, Broken, ForwardError, Streamed},
        mask::{self, Masked},
        retry_time,
    },
    process::clock::Clock,
    token::{published::Published, timing::Wall},
};

/// Longest wait for a token (section 7).
const TOKEN_WAIT: Duration = Duration::from_secs(5);
/// Most of a 401's body that is read to learn its type.
const LARGEST_401: usize = 64 * 1024;

/// Methods that say how long their body is even when there is none.
const ENCLOSING: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];

/// What one call is forwarded by.
pub(super) struct Call<'a> {
    pub(super) path: &'a Path,
    pub(super) upstream: &'a Upstream,
    pub(super) memory: &'a ReplayMemory,
    pub(super) idle: Duration,
    pub(super) clock: &'a dyn Clock,
}

/// A call that can be sent more than once, but for its body.
struct Head {
    method: Method,
    uri: Uri,
    /// As the client sent them.
    headers: HeaderMap,
    own: Own,
}

impl Head {
    /// Makes the headers of one try; nothing is kept for another if there is none.
    fn for_issuer(&mut self, is_last: bool) -> HeaderMap {
        let kept = headers::for_issuer(&self.headers).into_iter();
        let kept = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        if is_last {
            self.headers = HeaderMap::new();
        }
        kept
    }
}

/// The listener as the client named it; the guard has seen that it may.
pub(super) struct Own {
    scheme: Option<Scheme>,
    /// A copy: a piece of the client's bytes would keep all of them in memory.
    host: Option<String>,
}

impl Own {
    pub(super) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        Self { scheme: extensions.get().cloned(), host: host.map(str::to_owned) }
    }

    fn origin(&self) -> String {
        let scheme = self.scheme.as_ref().unwrap_or(&Scheme::HTTP);
        format!("{scheme}://{}", self.host.as_deref().unwrap_or("localhost"))
    }
}

/// The body of one try, and how it gets on.
struct Upload {
    body: Streamed,
    pace: Pace,
}

/// What a second try would send.
struct Again(Bytes);

/// The statuses of the issuer's answers to both tries.
#[derive(Default)]
struct Told {
    first: Option<u16>,
    second: Option<u16>,
}

impl Call<'_> {
    /// Sends the call on, if it was not sent before, and gives its answer.
    pub(super) async fn forward(
        &self,
        request: Request<Incoming>,
        sent: Option<Box<Sent>>,
    ) -> Answered {
        let mut told = Told::default();
        let answer = self.try_forward(request, sent, &mut told).await;
        let failure = answer.as_ref().err().and_then(Refusal::failure);
        let response = answer.unwrap_or_else(Refusal::into_response);
        Answered { response, upstream: told.first, replay: told.second, failure }
    }

    async fn try_forward(
        &self,
        request: Request<Incoming>,
        sent: Option<Box<Sent>>,
        told: &mut Told,
    ) -> Result<Response<Download>, Refusal> {
        let (mut head, body) = self.rebuilt(request)?;
        let (upload, again) = self.prepared(&head.method, body).await?;
        let token = match &sent {
            Some(sent) => Arc::clone(&sent.token),
            None => self.token().await?,
        };
        let first = self.send_surely(&mut head, &token, upload, again.as_ref(), sent).await?;
        told.first = Some(first.status().as_u16());
        if first.status() != StatusCode::UNAUTHORIZED {
            return Ok(self.passed(&head, first, &token));
        }
        let (refused, newer) = self.refused(&head, first, &token).await;
        let (Some(Again(body)), Some(newer)) = (again, newer) else {
            return refused;
        };
        let second = self.send(&mut head, &newer, self.whole(body), true, None).await?;
        told.second = Some(second.status().as_u16());
        Ok(self.passed(&head, second, &newer))
    }

    async fn token(&self) -> Result<Arc<Published>, Refusal> {
        let handle = &self.upstream.handle;
        let token = handle.current_within(TOKEN_WAIT).await.map(|(token, _life)| token);
        token.ok_or_else(|| Refusal::NoToken(handle.state().trouble(), handle.next_try()))
    }

    /// Makes the call anew from its parsed form; nothing of the client's bytes is copied blindly.
    fn rebuilt(&self, request: Request<Incoming>) -> Result<(Head, Incoming), Refusal> {
        let (parts, body) = request.into_parts();
        let target = target(self.upstream, self.path, parts.uri.query());
        let uri = self.upstream.forwarder.target(&target).map_err(|_| Refusal::BadRequest)?;
        let Parts { method, headers, extensions, .. } = parts;
        let own = Own::of(&headers, &extensions);
        Ok((Head { method, uri, headers, own }, body))
    }

    /// Holds the body if the call may be repeated, else lets it stream.
    async fn prepared(
        &self,
        method: &Method,
        body: Incoming,
    ) -> Result<(Upload, Option<Again>), Refusal> {
        if !replay::may_repeat(method, self.path, true) {
            return Ok((self.streamed([Bytes::new(), Bytes::new()], body), None));
        }
        let held = self.memory.hold(body, self.idle).await.map_err(|error| match error {
            BodyError::Stalled => Refusal::Timeout,
            BodyError::Broken => Refusal::BadRequest,
        })?;
        Ok(match held {
            Held::Whole(body) => (self.whole(body.clone()), Some(Again(body))),
            Held::Part(start, rest) => (self.streamed(start, rest), None),
        })
    }

    fn whole(&self, body: Bytes) -> Upload {
        let pace = Pace::new(self.idle);
        Upload { body: body::whole(body, &pace), pace }
    }

    fn streamed(&self, start: [Bytes; 2], rest: Incoming) -> Upload {
        let pace = Pace::new(self.idle);
        Upload { body: body::streamed(start, rest, &pace), pace }
    }

    /// Sends a call once more, at once, if the issuer had just closed a connection that rested.
    ///
    /// Only a call that may be repeated: the issuer may have carried it out (fault 47).
    async fn send_surely(
        &self,
        head: &mut Head,
        token: &Published,
        upload: Upload,
        again: Option<&Again>,
        sent: Option<Box<Sent>>,
    ) -> Result<Response<Answer>, Refusal> {
        match (self.send(head, token, upload, again.is_none(), sent).await, again) {
            (Err(Refusal::Closed), Some(Again(body))) => {
                self.send(head, token, self.whole(body.clone()), false, None).await
            }
            (sent, _) => sent,
        }
    }

    async fn send(
        &self,
        head: &mut Head,
        token: &Published,
        upload: Upload,
        is_last: bool,
        sent: Option<Box<Sent>>,
    ) -> Result<Response<Answer>, Refusal> {
        let Upload { body, pace } = upload;
        let mut call = Request::new(body);
        *call.method_mut() = head.method.clone();
        *call.uri_mut() = head.uri.clone();
        *call.headers_mut() = head.for_issuer(is_last);
        call.headers_mut().insert(header::AUTHORIZATION, token.bearer());
        if call.body().is_end_stream() && ENCLOSING.contains(&head.method) {
            // Without a length some servers answer 411 (RFC 9110 section 8.6).
            call.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let forwarder = &self.upstream.forwarder;
        let answer = match sent {
            None => pace.keep(Instant::now(), forwarder.send(call)).await??,
            Some(sent) => {
                let Sent { begun, since, .. } = *sent;
                // Apart, so that the others need not have room for it.
                pace.keep(since, Box::pin(forwarder.go_on(begun, call))).await??
            }
        };
        note(self.upstream, answer.headers());
        // A switch to another protocol was not asked for, and there are no other statuses; nor was
        // compression, which nobody could look through (fault 31).
        let is_final = (200..600).contains(&answer.status().as_u16());
        let is_plain = headers::is_plain(answer.headers());
        (is_final && is_plain).then_some(answer).ok_or(Refusal::Garbled)
    }

    /// Looks into a 401: its answer for the client, and a newer token if one helps.
    ///
    /// Only an invalid token is worth a mint, not a missing role (fault 275). A type that cannot
    /// be read counts as the former, within the budget.
    async fn refused(
        &self,
        head: &Head,
        answer: Response<Answer>,
        token: &Published,
    ) -> (Result<Response<Download>, Refusal>, Option<Arc<Published>>) {
        let (parts, body) = answer.into_parts();
        let read = timeout(self.idle, Limited::new(body, LARGEST_401).collect()).await;
        let body = read.ok().and_then(Result::ok).map(Collected::to_bytes);
        let is_role = body.as_ref().is_some_and(|body| classify::is_authorization_error(body));
        let newer = if is_role { None } else { self.upstream.handle.witness(token.serial()).await };
        let whole = |body| Full::new(body).map_err(|never| match never {});
        let refused = body.map(|body| self.finished(head, parts, whole(body), token));
        (refused.ok_or(Refusal::Unreadable), newer)
    }

    fn passed(
        &self,
        head: &Head,
        answer: Response<Answer>,
        token: &Published,
    ) -> Response<Download> {
        let (parts, body) = answer.into_parts();
        self.finished(head, parts, body::paced(body, self.idle), token)
    }

    fn finished(
        &self,
        head: &Head,
        parts: response::Parts,
        body: impl Body<Data = Bytes, Error = Broken> + Send + Sync + Unpin + 'static,
        token: &Published,
    ) -> Response<Download> {
        let now = self.clock.wall();
        let length = parts.headers.get(header::CONTENT_LENGTH).cloned();
        let mut headers = answer_headers(parts.headers, self.upstream, token, &head.own, now);
        if let Some(length) = length.filter(|_| head.method == Method::HEAD) {
            // There is no body: this is the length that a GET would see.
            headers.insert(header::CONTENT_LENGTH, length);
        }
        let mut response = Response::new(Masked::new(body, token.sought()).boxed());
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers;
        response
    }
}

/// Writes the target of a call anew, as a path and query.
pub(super) fn target(upstream: &Upstream, path: &Path, query: Option<&str>) -> String {
    let mut target = path.encode(&upstream.team_name);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// Notes what an answer says of the issuer's budget.
pub(super) fn note(upstream: &Upstream, answer: &HeaderMap) {
    let allowance = retry_time::allowance(answer);
    allowance.into_iter().for_each(|told| upstream.handle.note_allowance(told));
}

/// Makes the headers of an answer that the client gets.
pub(super) fn answer_headers(
    issuer: HeaderMap,
    upstream: &Upstream,
    token: &Published,
    own: &Own,
    now: Wall,
) -> HeaderMap {
    let told = mask::headers(issuer, &token.sought());
    headers::for_client(told, upstream.forwarder.origin(), || own.origin(), now)
}

impl From<ForwardError> for Refusal {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::Connect(reason) => Self::Unreachable(reason),
            ForwardError::Closed => Self::Closed,
            ForwardError::Garbled => Self::Garbled,
            ForwardError::Body(Broken::Sender) => Self::BadRequest,
            ForwardError::Body(Broken::Stalled) => Self::Timeout,
        }
    }
}

impl From<Stalled> for Refusal {
    fn from(stalled: Stalled) -> Self {
        match stalled {
            Stalled::Client => Self::Timeout,
            Stalled::Issuer => Self::Late,
        }
    }
}
