//! The paths of the local API, exact and raw.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Method, Request, Response, request::Parts};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::{
    body::Body,
    credentials::Credentials,
    guard::Proof,
    problem::{Kind, Problem},
    ready,
    served::Served,
    server::{App, forwarded},
    token,
};
use crate::{
    config::model::Listener,
    process::clock::Clock,
    proxy::{local_token::LocalToken, refusal::Refusal},
    telemetry::metrics::Endpoint as EndpointLabel,
};

/// Names the endpoints of the local API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /v1/token`
    Token,
    /// `POST /v1/token/rejected`
    Rejected,
    /// `GET /v1/ready`
    Ready,
    /// `/v1/teams/**`
    Proxy,
    /// Any other path.
    Other,
}

impl EndpointLabel for Endpoint {
    const ALL: &'static [Self] =
        &[Self::Token, Self::Rejected, Self::Ready, Self::Proxy, Self::Other];

    fn index(self) -> usize {
        self as usize
    }

    fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Rejected => "rejected",
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
        self.served.store(Arc::new(served));
    }
}

impl App for LocalApi {
    type Endpoint = Endpoint;

    fn endpoint(&self, request: &Parts) -> Endpoint {
        let served = self.served.load();
        match request.uri.path() {
            "/v1/token" if served.serves_token => Endpoint::Token,
            "/v1/token/rejected" if served.serves_token => Endpoint::Rejected,
            "/v1/ready" => Endpoint::Ready,
            path if path.starts_with("/v1/teams/") && served.proxy.is_some() => Endpoint::Proxy,
            _ => Endpoint::Other,
        }
    }

    fn proof(&self, endpoint: Endpoint) -> Proof {
        match endpoint {
            Endpoint::Proxy => Proof::LocalToken,
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

    async fn answer(&self, endpoint: Endpoint, request: Request<Incoming>) -> Response<Body> {
        let served = self.served.load_full();
        let answer = match endpoint {
            Endpoint::Token => match allow(&request, READS) {
                Ok(()) => token::current(&served, &request, &self.closing).await,
                Err(problem) => Err(problem),
            },
            Endpoint::Rejected => match allow(&request, "POST") {
                Ok(()) => token::rejected(&served, request).await,
                Err(problem) => Err(problem),
            },
            Endpoint::Ready => {
                allow(&request, READS).map(|()| ready::answer_ready(&self.everybody))
            }
            Endpoint::Proxy => match &served.proxy {
                Some(proxy) => Ok(forwarded(proxy.answer(request).await)),
                None => Err(not_here()),
            },
            Endpoint::Other => Err(not_here()),
        };
        answer.unwrap_or_else(Problem::into_response)
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
