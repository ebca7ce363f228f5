//! The paths of the local API, exact and raw.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Method, Request, Response, request::Parts};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::{
    problem::{Body, Kind, Problem},
    ready,
    server::App,
    token,
};
use crate::{
    config::model::Listener, local::credentials::Credentials,
    telemetry::metrics::Endpoint as EndpointLabel, token::handle::Handle,
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
    /// Any other path.
    Other,
}

impl EndpointLabel for Endpoint {
    const ALL: &'static [Self] = &[Self::Token, Self::Rejected, Self::Ready, Self::Other];

    fn index(self) -> usize {
        self as usize
    }

    fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Rejected => "rejected",
            Self::Ready => "ready",
            Self::Other => "other",
        }
    }
}

/// Answers the requests of one listener.
pub struct LocalApi {
    served: ArcSwap<Served>,
    everybody: Arc<Credentials>,
    closing: CancellationToken,
}

/// What a listener serves; replaced as a whole on a reload.
pub(super) struct Served {
    /// The listener's credentials, its default first; never empty.
    credentials: Vec<Handle>,
    pub(super) first_token_wait: std::time::Duration,
}

impl LocalApi {
    /// Makes the API of a listener; `everybody` are the credentials of the whole daemon.
    ///
    /// Once `closing`, no request waits any longer.
    #[must_use]
    pub fn new(
        listener: &Listener,
        everybody: Arc<Credentials>,
        closing: CancellationToken,
    ) -> Self {
        let served = ArcSwap::from_pointee(Served::new(listener, &everybody));
        Self { served, everybody, closing }
    }

    /// Serves what a new configuration says.
    pub fn configure(&self, listener: &Listener) {
        self.served.store(Arc::new(Served::new(listener, &self.everybody)));
    }
}

impl Served {
    fn new(listener: &Listener, everybody: &Credentials) -> Self {
        let names = listener.credentials.iter();
        Self {
            credentials: names.filter_map(|name| everybody.find(name)).collect(),
            first_token_wait: listener.first_token_wait,
        }
    }

    /// Finds the credential that a request names, or the listener's default.
    pub(super) fn credential(&self, name: Option<&str>) -> Result<&Handle, Problem> {
        let found = match name {
            None => self.credentials.first(),
            Some(name) => self.credentials.iter().find(|handle| handle.name() == name),
        };
        found.ok_or_else(|| Kind::NotFound.because("this listener has no such credential"))
    }
}

impl App for LocalApi {
    type Endpoint = Endpoint;

    fn endpoint(&self, request: &Parts) -> Endpoint {
        match request.uri.path() {
            "/v1/token" => Endpoint::Token,
            "/v1/token/rejected" => Endpoint::Rejected,
            "/v1/ready" => Endpoint::Ready,
            _ => Endpoint::Other,
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
            Endpoint::Other => Err(Kind::NotFound.because("see the API table of the README")),
        };
        answer.unwrap_or_else(Problem::into_response)
    }
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
    if methods.split(", ").any(|allowed| allowed == method.as_str()) {
        return Ok(());
    }
    let problem = Kind::MethodNotAllowed.because(format!("this path takes {methods}"));
    Err(Problem { allow: Some(methods), ..problem })
}
