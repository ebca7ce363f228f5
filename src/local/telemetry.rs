//! `/metrics`, `/livez`, `/readyz`: for Prometheus and probes.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, Response, StatusCode, request::Parts};
use hyper::body::Incoming;

use super::{
    body::Body,
    busy::Busy,
    credentials::Credentials,
    problem::{Kind, Problem, answer},
    ready,
    routes::{READS, allow},
    server::App,
};
use crate::{
    outlet::sink::Roster,
    telemetry::{
        logs::Logs,
        metrics::{Endpoint as EndpointLabel, Metrics},
    },
};

/// Names the endpoints of the telemetry listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /metrics`
    Metrics,
    /// `GET /livez`
    Live,
    /// `GET /readyz`
    Ready,
    /// Any other path.
    Other,
}

impl EndpointLabel for Endpoint {
    const ALL: &'static [Self] = &[Self::Metrics, Self::Live, Self::Ready, Self::Other];

    fn index(self) -> usize {
        self as usize
    }

    fn label(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Other => "other",
        }
    }
}

impl Endpoint {
    /// Finds the endpoint of a path.
    pub(super) fn at(path: &str) -> Self {
        match path {
            "/metrics" => Self::Metrics,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            _ => Self::Other,
        }
    }
}

/// Answers scrapes and probes.
pub struct Telemetry {
    metrics: Metrics,
    credentials: Arc<Credentials>,
    sinks: Arc<Roster>,
    logs: Arc<Mutex<Logs>>,
}

impl Telemetry {
    /// Makes the app.
    #[must_use]
    pub const fn new(
        metrics: Metrics,
        credentials: Arc<Credentials>,
        sinks: Arc<Roster>,
        logs: Arc<Mutex<Logs>>,
    ) -> Self {
        Self { metrics, credentials, sinks, logs }
    }

    /// Whether a token is valid changes with time alone, so it is looked at when asked.
    fn scrape(&self) -> Response<Body> {
        for member in self.credentials.all().values() {
            member.handle.metrics().set_ready(member.handle.current().is_some());
        }
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.count_dropped(&self.metrics.log_lines_dropped);
        drop(logs);
        answer(StatusCode::OK, "text/plain; version=0.0.4", self.metrics.render().into())
    }

    fn probe(&self, endpoint: Endpoint, verbose: bool) -> Response<Body> {
        match (endpoint, verbose) {
            (Endpoint::Live, verbose) => {
                ready::answer_live(&self.credentials, &self.sinks, verbose)
            }
            (_, true) => ready::answer_ready_verbose(&self.credentials, &self.sinks),
            (_, false) => ready::answer_ready(&self.credentials),
        }
    }
}

impl App for Telemetry {
    type Endpoint = Endpoint;

    fn endpoint(&self, request: &Parts) -> Endpoint {
        Endpoint::at(request.uri.path())
    }

    /// Scrapes and probes are rare: no place is held between them, so that all find one.
    fn keeps_alive(&self) -> bool {
        false
    }

    async fn answer(
        &self,
        endpoint: Endpoint,
        request: Request<Incoming>,
        _client: &Busy,
    ) -> Response<Body> {
        if let Err(problem) = allow(&request, READS) {
            return problem.into_response();
        }
        match (endpoint, request.uri().query()) {
            (Endpoint::Other, _) => {
                Kind::NotFound.because("there are /metrics, /livez and /readyz").into_response()
            }
            (Endpoint::Metrics, None) => self.scrape(),
            (Endpoint::Live | Endpoint::Ready, None) => self.probe(endpoint, false),
            (Endpoint::Live | Endpoint::Ready, Some("verbose" | "verbose=")) => {
                self.probe(endpoint, true)
            }
            (_, Some(_)) => wrong_query().into_response(),
        }
    }
}

fn wrong_query() -> Problem {
    Kind::BadRequest.because("/livez and /readyz take ?verbose, /metrics takes no query")
}
