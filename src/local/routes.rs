//! The paths of the local API, exact and raw.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use hyper::body::{Body as _, Incoming};
use tokio_util::sync::CancellationToken;

use super::{
    auth,
    body::Body,
    busy::Busy,
    credentials::Credentials,
    guard::Proof,
    problem::{Kind, Problem},
    query::{self, Parameter, Query},
    ready,
    served::Served,
    server::{App, forwarded},
    token, watch,
};
use crate::{
    config::model::Listener,
    process::clock::Clock,
    proxy::{brief::Brief, local_token::LocalToken, refusal::Refusal},
    telemetry::metrics::Endpoint as EndpointLabel,
    token::handle::Handle,
};

/// Names the endpoints of the local API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /v1/token`
    Token,
    /// `GET /v1/token/watch`
    Watch,
    /// `POST /v1/token/rejected`
    Rejected,
    /// `/v1/auth`, `/v1/auth/**`
    Auth,
    /// `GET /v1/ready`
    Ready,
    /// `/v1/teams/**`
    Proxy,
    /// Any other path.
    Other,
}

impl EndpointLabel for Endpoint {
    const ALL: &'static [Self] = &[
        Self::Token,
        Self::Watch,
        Self::Rejected,
        Self::Auth,
        Self::Ready,
        Self::Proxy,
        Self::Other,
    ];

    fn index(self) -> usize {
        self as usize
    }

    fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Watch => "watch",
            Self::Rejected => "rejected",
            Self::Auth => "auth",
            Self::Ready => "ready",
            Self::Proxy => "proxy",
            Self::Other => "other",
        }
    }
}

/// Answers the requests of one listener.
pub struct LocalApi {
    served: ArcSwap<Served>,
    everybody: Arc<Credentials>,
    clock: Arc<dyn Clock>,
    closing: CancellationToken,
}

impl LocalApi {
    /// Makes the API of a listener; `everybody` are the credentials of the whole daemon.
    ///
    /// `local` is its access token, or else the token for clients of its proxy. Once `closing`, no
    /// request waits any longer.
    #[must_use]
    pub fn new(
        listener: &Listener,
        local: Option<Arc<LocalToken>>,
        everybody: Arc<Credentials>,
        clock: Arc<dyn Clock>,
        closing: CancellationToken,
    ) -> Self {
        let served = ArcSwap::from_pointee(Served::new(listener, local, &everybody, &clock));
        Self { served, everybody, clock, closing }
    }

    /// Serves what a new configuration says.
    pub fn configure(&self, listener: &Listener, local: Option<Arc<LocalToken>>) {
        let served = Served::new(listener, local, &self.everybody, &self.clock);
        self.served.store(Arc::new(served.after(&self.served.load())));
    }
}

impl App for LocalApi {
    type Endpoint = Endpoint;

    fn endpoint(&self, request: &Parts) -> Endpoint {
        let (endpoint, served) = (Endpoint::at(request.uri.path()), self.served.load());
        let is_served = match endpoint {
            Endpoint::Token | Endpoint::Watch | Endpoint::Rejected => served.serves_token,
            Endpoint::Auth => served.serves_auth,
            Endpoint::Proxy => served.proxy.is_some(),
            Endpoint::Ready | Endpoint::Other => true,
        };
        if is_served { endpoint } else { Endpoint::Other }
    }

    fn proof(&self, endpoint: Endpoint) -> Proof {
        match endpoint {
            Endpoint::Proxy => Proof::LocalToken,
            Endpoint::Auth => self.served.load().visitor_proof(),
            _ => self.served.load().proof(),
        }
    }

    /// A forwarded call needs a connection to the issuer, too.
    fn descriptors(&self) -> u32 {
        if self.served.load().proxy.is_some() { 2 } else { 1 }
    }

    /// A forwarded call ends with its client, so that has to be noticed at once.
    fn answers_half_closed(&self) -> bool {
        self.served.load().proxy.is_none()
    }

    /// On Okta's paths errors have Okta's shape.
    fn refuse(&self, endpoint: Endpoint, problem: Problem) -> Response<Body> {
        match endpoint {
            Endpoint::Proxy => {
                let Problem { kind, detail, retry_after, .. } = problem;
                Refusal::Guard(kind.status(), detail, retry_after).into_response().map(Body::from)
            }
            _ => problem.into_response(),
        }
    }

    fn at_once(&self, endpoint: Endpoint, request: &Parts) -> Option<Bytes> {
        if endpoint != Endpoint::Token {
            return None;
        }
        token::at_once(&self.served.load(), request)
    }

    fn brief(&self, endpoint: Endpoint, request: &Parts) -> Option<Brief> {
        let served = self.served.load();
        served.proxy.as_ref().filter(|_| endpoint == Endpoint::Proxy)?.brief(request)
    }

    fn default_credential(&self) -> Option<Handle> {
        self.served.load().credential(None).ok().cloned()
    }

    async fn answer(
        &self,
        endpoint: Endpoint,
        request: Request<Incoming>,
        client: &Busy,
    ) -> Response<Body> {
        let answer = match endpoint.methods().map_or(Ok(()), |methods| allow(&request, methods)) {
            Ok(()) => self.answer_allowed(endpoint, request, client).await,
            Err(problem) => Err(problem),
        };
        answer.unwrap_or_else(Problem::into_response)
    }
}

impl Endpoint {
    /// Finds the endpoint of a path, whether a listener serves it or not.
    pub(super) fn at(path: &str) -> Self {
        match path {
            "/v1/token" => Self::Token,
            "/v1/token/watch" => Self::Watch,
            "/v1/token/rejected" => Self::Rejected,
            "/v1/ready" => Self::Ready,
            path if auth::is_at(path) => Self::Auth,
            path if path.starts_with("/v1/teams/") => Self::Proxy,
            _ => Self::Other,
        }
    }

    /// Tells what it takes; `None` is any method, or its own affair.
    pub(super) const fn methods(self) -> Option<&'static str> {
        match self {
            Self::Token | Self::Watch | Self::Ready => Some(READS),
            Self::Rejected => Some("POST"),
            Self::Auth | Self::Proxy | Self::Other => None,
        }
    }

    /// Tells what its query may have; `None` is anything, or its own affair.
    pub(super) const fn parameters(self) -> Option<&'static [Parameter]> {
        use Parameter::{Credential, Format, MinTtl, Wait};
        match self {
            Self::Token => Some(&[Credential, Format, MinTtl, Wait]),
            Self::Watch | Self::Rejected => Some(&[Credential]),
            Self::Ready => Some(&[]),
            Self::Auth | Self::Proxy | Self::Other => None,
        }
    }
}

impl LocalApi {
    async fn answer_allowed(
        &self,
        endpoint: Endpoint,
        request: Request<Incoming>,
        client: &Busy,
    ) -> Result<Response<Body>, Problem> {
        let served = self.served.load_full();
        let query = match endpoint.parameters() {
            Some(known) => query::parse(request.uri().query(), known)?,
            None => Query::default(),
        };
        match endpoint {
            Endpoint::Token => {
                token::current(&served, &query, &request, &self.closing, client).await
            }
            Endpoint::Watch => watch::open(&served, &query, &request).await,
            Endpoint::Rejected => token::rejected(&served, &query, request).await,
            Endpoint::Auth => auth::answer(&served, !request.body().is_end_stream()).await,
            Endpoint::Ready => Ok(ready::answer_ready(&self.everybody)),
            Endpoint::Proxy => match &served.proxy {
                Some(proxy) => Ok(forwarded(proxy.answer(request).await)),
                None => Err(not_here()),
            },
            Endpoint::Other => Err(not_here()),
        }
    }
}

fn not_here() -> Problem {
    Kind::NotFound.because("this listener serves no such path: see its `serve`")
}

/// What a path that is only read takes.
pub const READS: &str = "GET, HEAD";

/// Lets a request pass whose method is on the list, as the `Allow` header writes it.
///
/// # Errors
///
/// Refuses any other with the list.
pub fn allow<B>(request: &Request<B>, methods: &'static str) -> Result<(), Problem> {
    let method: &Method = request.method();
    if methods.split(',').any(|allowed| allowed.trim_start() == method.as_str()) {
        return Ok(());
    }
    let problem = Kind::MethodNotAllowed.because(format!("this path takes {methods}"));
    Err(Problem { allow: Some(methods), ..problem })
}
