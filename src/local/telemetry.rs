//! `/metrics`, `/livez`, `/readyz` for Prometheus and probes, and a page for people at `/`.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use super::{
    body::Body,
    busy::Busy,
    credentials::Credentials,
    guard::Proof,
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
    /// `GET /`
    Page,
    /// Any other path.
    Other,
}

impl EndpointLabel for Endpoint {
    const ALL: &'static [Self] = &[Self::Metrics, Self::Live, Self::Ready, Self::Page, Self::Other];

    fn index(self) -> usize {
        self as usize
    }

    fn label(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Page => "page",
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
            "/" => Self::Page,
            _ => Self::Other,
        }
    }
}

/// Draws the status page.
pub trait Page: Send + Sync {
    /// Writes it as of now, whole and without scripts.
    fn html(&self) -> String;
}

/// What the page may do: nothing but style itself. Nobody may put it into a frame.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'none'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers scrapes, probes and people.
pub struct Telemetry {
    metrics: Metrics,
    credentials: Arc<Credentials>,
    sinks: Arc<Roster>,
    page: Arc<dyn Page>,
    logs: Arc<Mutex<Logs>>,
}

impl Telemetry {
    /// Makes the app.
    #[must_use]
    pub const fn new(
        metrics: Metrics,
        credentials: Arc<Credentials>,
        sinks: Arc<Roster>,
        page: Arc<dyn Page>,
        logs: Arc<Mutex<Logs>>,
    ) -> Self {
        Self { metrics, credentials, sinks, page, logs }
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

    fn page(&self) -> Response<Body> {
        let html = self.page.html().into();
        let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", html);
        let headers = response.headers_mut();
        let mut say = |name, value| headers.insert(name, HeaderValue::from_static(value));
        say(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
        say(header::REFERRER_POLICY, "no-referrer");
        say(header::X_FRAME_OPTIONS, "DENY");
        response
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

    /// A person may type the page's address into a browser.
    fn proof(&self, endpoint: Endpoint) -> Proof {
        if endpoint == Endpoint::Page { Proof::Reader } else { Proof::Header }
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
                Kind::NotFound.because("there are /, /metrics, /livez and /readyz").into_response()
            }
            (Endpoint::Metrics, None) => self.scrape(),
            (Endpoint::Page, None) => self.page(),
            (Endpoint::Live | Endpoint::Ready, None) => self.probe(endpoint, false),
            (Endpoint::Live | Endpoint::Ready, Some("verbose" | "verbose=")) => {
                self.probe(endpoint, true)
            }
            (_, Some(_)) => wrong_query().into_response(),
        }
    }
}

fn wrong_query() -> Problem {
    Kind::BadRequest.because("/livez and /readyz take ?verbose, / and /metrics take no query")
}
