//! One forwarded call: the real token put in, one replay after a 401, streams both ways.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, response::Parts,
};
use http_body::Body;
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    Answered, Download, Upstream,
    body::{self, BodyError, Held, ReplayMemory},
    headers,
    pace::{Pace, Stalled},
    path::Path,
    refusal::Refusal,
    replay,
};
use crate::{
    okta::{
        classify,
        client::bearer,
        forwarder::{Broken, ForwardError, Streamed},
    },
    process::clock::Clock,
    token::published::Published,
};

/// Longest wait for a token (section 7).
const TOKEN_WAIT: Duration = Duration::from_secs(5);
/// Most of a 401's body that is read to learn its type.
const LARGEST_401: usize = 64 * 1024;

/// Methods that say how long their body is even when there is none.
const ENCLOSING: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];

/// What one call is forwarded by.
pub(super) struct Call<'a> {
    /// The listener's origin as the client named it.
    pub(super) own: String,
    pub(super) path: Path,
    pub(super) upstream: &'a Upstream,
    pub(super) memory: &'a ReplayMemory,
    pub(super) idle: Duration,
    pub(super) clock: &'a dyn Clock,
}

/// A call that can be sent more than once, but for its body.
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// The body of one try, and how it gets on.
struct Upload {
    body: Streamed,
    pace: Pace,
}

/// What a second try would send.
struct Again(Bytes);

impl Call<'_> {
    /// Sends the call on and gives its answer.
    pub(super) async fn forward(&self, request: Request<Incoming>) -> Answered {
        match self.try_forward(request).await {
            Ok(answered) => answered,
            Err(refusal) => Answered::local(refusal.into_response()),
        }
    }

    async fn try_forward(&self, request: Request<Incoming>) -> Result<Answered, Refusal> {
        let (head, body) = self.rebuilt(request)?;
        let (upload, again) = self.prepared(&head.method, body).await?;
        let token = self.upstream.handle.current_within(TOKEN_WAIT).await;
        let (token, _) = token.ok_or(Refusal::NoToken)?;
        let first = self.send(&head, &token, upload).await?;
        let upstream = Some(first.status().as_u16());
        if first.status() != StatusCode::UNAUTHORIZED {
            return Ok(Answered {
                response: self.passed(&head.method, first),
                upstream,
                replay: None,
            });
        }
        let (refused, newer) = self.refused(&head.method, first, &token).await;
        let (Some(Again(body)), Some(newer)) = (again, newer) else {
            return Ok(Answered { response: refused, upstream, replay: None });
        };
        let second = self.send(&head, &newer, self.whole(body)).await?;
        let replay = Some(second.status().as_u16());
        Ok(Answered { response: self.passed(&head.method, second), upstream, replay })
    }

    /// Makes the call anew from its parsed form; nothing of the client's bytes is copied blindly.
    fn rebuilt(&self, request: Request<Incoming>) -> Result<(Head, Incoming), Refusal> {
        let (parts, body) = request.into_parts();
        let mut target = self.path.encode(&self.upstream.team_name);
        if let Some(query) = parts.uri.query() {
            target.push('?');
            target.push_str(query);
        }
        let uri = self.upstream.forwarder.uri(&target).map_err(|_| Refusal::BadRequest)?;
        let headers = headers::for_issuer(&parts.headers);
        Ok((Head { method: parts.method, uri, headers }, body))
    }

    /// Holds the body if the call may be repeated, else lets it stream.
    async fn prepared(
        &self,
        method: &Method,
        body: Incoming,
    ) -> Result<(Upload, Option<Again>), Refusal> {
        if !replay::may_repeat(method, &self.path, true) {
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

    async fn send(
        &self,
        head: &Head,
        token: &Published,
        upload: Upload,
    ) -> Result<Response<Incoming>, Refusal> {
        let Upload { body, pace } = upload;
        let mut call = Request::new(body);
        *call.method_mut() = head.method.clone();
        *call.uri_mut() = head.uri.clone();
        *call.headers_mut() = head.headers.clone();
        let bearer = bearer(token.token()).ok_or(Refusal::NoToken)?;
        call.headers_mut().insert(header::AUTHORIZATION, bearer);
        if call.body().is_end_stream() && ENCLOSING.contains(&head.method) {
            // Without a length some servers answer 411 (RFC 9110 section 8.6).
            call.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let answer = pace.keep(self.upstream.forwarder.send(call)).await??;
        // A switch to another protocol was not asked for, and there are no other statuses.
        let is_final = (200..600).contains(&answer.status().as_u16());
        is_final.then_some(answer).ok_or(Refusal::Broken)
    }

    /// Looks into a 401: its answer for the client, and a newer token if one helps.
    ///
    /// Only an invalid token is worth a mint, not a missing role (fault 275). A type that cannot
    /// be read counts as the former, within the budget.
    async fn refused(
        &self,
        method: &Method,
        answer: Response<Incoming>,
        token: &Published,
    ) -> (Response<Download>, Option<Arc<Published>>) {
        let (parts, body) = answer.into_parts();
        let read = timeout(self.idle, Limited::new(body, LARGEST_401).collect()).await;
        let body = read.ok().and_then(Result::ok).map(Collected::to_bytes);
        let is_role = body.as_ref().is_some_and(|body| classify::is_authorization_error(body));
        let newer = if is_role { None } else { self.upstream.handle.witness(token.serial()).await };
        let refused = match body {
            Some(body) => self.finished(method, &parts, whole_answer(body)),
            None => Refusal::Unreadable.into_response(),
        };
        (refused, newer)
    }

    fn passed(&self, method: &Method, answer: Response<Incoming>) -> Response<Download> {
        let (parts, body) = answer.into_parts();
        self.finished(method, &parts, body::paced(body, self.idle))
    }

    fn finished(&self, method: &Method, parts: &Parts, body: Download) -> Response<Download> {
        let (origin, now) = (self.upstream.forwarder.origin(), self.clock.wall());
        let mut headers = headers::for_client(&parts.headers, origin, &self.own, now);
        if *method == Method::HEAD
            && let Some(length) = parts.headers.get(header::CONTENT_LENGTH)
        {
            // There is no body: this is the length that a GET would see.
            headers.insert(header::CONTENT_LENGTH, length.clone());
        }
        let mut response = Response::new(body);
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers;
        response
    }
}

impl From<ForwardError> for Refusal {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::Connect => Self::Unreachable,
            ForwardError::Broken => Self::Broken,
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

fn whole_answer(body: Bytes) -> Download {
    Full::new(body).map_err(|never| match never {}).boxed()
}
