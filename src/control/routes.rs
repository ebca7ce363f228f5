//! The daemon's end of the control socket.

use std::sync::Arc;

use http::{HeaderName, Request, Response, StatusCode, request::Parts};
use hyper::body::Incoming;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    overview::Overview,
    status::{QuitAnswer, RefreshAnswer, RotateAnswer},
};
use crate::{
    local::{
        body::Body,
        busy::Busy,
        credentials::{Credentials, Member},
        guard::Proof,
        problem::{Kind, Problem, answer},
        query::{self, Parameter},
        routes::allow,
        server::{App, forwarded},
    },
    process::{clock::Clock, path_error::our_uid},
    proxy::{Upstream, operators::Operators},
    rotator::handle::Rotators,
    telemetry::metrics::Endpoint as EndpointLabel,
    token::handle::{Handle, Refreshed},
};

/// Names the credential whose token is put into a forwarded call; the first one if not said.
pub const CREDENTIAL: HeaderName = HeaderName::from_static("x-bearerd-credential");
/// Where the rotation of a key is asked for.
pub const ROTATE: &str = "/v1/rotate";
/// Why somebody who may come in may not call the issuer.
const OWNERS: &str = "only root and the daemon's own user may call the issuer through it";

/// Names the endpoints of the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /v1/status`
    Status,
    /// `POST /v1/refresh`
    Refresh,
    /// `POST /v1/rotate`
    Rotate,
    /// `POST /v1/quit`
    Quit,
    /// `/v1/teams/**`
    Proxy,
    /// Any other path.
    Other,
}

impl EndpointLabel for Endpoint {
    const ALL: &'static [Self] =
        &[Self::Status, Self::Refresh, Self::Rotate, Self::Quit, Self::Proxy, Self::Other];

    fn index(self) -> usize {
        self as usize
    }

    fn label(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Refresh => "refresh",
            Self::Rotate => "rotate",
            Self::Quit => "quit",
            Self::Proxy => "proxy",
            Self::Other => "other",
        }
    }
}

/// Answers operators.
pub struct Control {
    credentials: Arc<Credentials>,
    overview: Arc<Overview>,
    rotators: Arc<Rotators>,
    operators: Operators,
    quit: CancellationToken,
    stop: CancellationToken,
}

impl Control {
    /// Makes the app; `quit` is how it asks for a stop, and `stop` ends its waits.
    #[must_use]
    pub fn new(
        credentials: Arc<Credentials>,
        overview: Arc<Overview>,
        rotators: Arc<Rotators>,
        clock: Arc<dyn Clock>,
        quit: CancellationToken,
        stop: CancellationToken,
    ) -> Self {
        Self { credentials, overview, rotators, operators: Operators::new(clock), quit, stop }
    }

    async fn refresh(&self, request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
        let query = query::parse(request.uri().query(), &[Parameter::Credential])?;
        let mut answers = Vec::new();
        for handle in self.chosen(query.credential.as_deref())? {
            let refreshed = tokio::select! {
                () = self.stop.cancelled() => Refreshed::Failed,
                refreshed = handle.refresh() => refreshed,
            };
            answers.push(refresh_answer(&handle, refreshed));
        }
        Ok(json(&answers))
    }

    /// Rotates a key; what is under way goes on, whatever becomes of who asked.
    async fn rotate(&self, request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
        let query = query::parse(request.uri().query(), &[Parameter::Credential])?;
        let all = self.rotators.load_full();
        let (name, rotator) = match query.credential.as_deref() {
            Some(name) if self.credentials.find(name).is_none() => return Err(unknown()),
            Some(name) => all.get_key_value(name).ok_or_else(not_rotated)?,
            None if all.len() > 1 => {
                return Err(Kind::BadRequest.because("name one of the credentials"));
            }
            None => all.iter().next().ok_or_else(not_rotated)?,
        };
        let rotated = tokio::select! {
            () = self.stop.cancelled() => Err("the daemon is stopping".to_owned()),
            rotated = rotator.rotate() => rotated,
        };
        let answer = match rotated {
            Ok(rotated) => RotateAnswer::done(name, &rotated),
            Err(problem) => RotateAnswer::not(name, problem),
        };
        Ok(json(&answer))
    }

    fn chosen(&self, name: Option<&str>) -> Result<Vec<Handle>, Problem> {
        let Some(name) = name else {
            return Ok(self.credentials.all().values().map(|m| m.handle.clone()).collect());
        };
        self.credentials.find(name).map(|member| vec![member.handle]).ok_or_else(unknown)
    }

    /// The answer still goes out: a stop lets what is under way come to its end.
    fn quit(&self) -> Response<Body> {
        tracing::info!("asked to stop");
        self.quit.cancel();
        json(&QuitAnswer { stopping: true })
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let name = request.headers_mut().remove(CREDENTIAL);
        let name = name.as_ref().map(|name| name.to_str().map_err(|_| unknown())).transpose()?;
        let upstream = self.upstream(name).ok_or_else(unknown)?;
        Ok(forwarded(self.operators.answer(&upstream, request).await))
    }

    /// Finds the credential that a call names, or the first one.
    fn upstream(&self, name: Option<&str>) -> Option<Upstream> {
        let all = self.credentials.all();
        let member = name.map_or_else(|| all.values().next(), |name| all.get(name));
        member.map(Member::upstream)
    }
}

impl App for Control {
    type Endpoint = Endpoint;

    fn endpoint(&self, request: &Parts) -> Endpoint {
        match request.uri.path() {
            "/v1/status" => Endpoint::Status,
            "/v1/refresh" => Endpoint::Refresh,
            ROTATE => Endpoint::Rotate,
            "/v1/quit" => Endpoint::Quit,
            path if path.starts_with("/v1/teams/") => Endpoint::Proxy,
            _ => Endpoint::Other,
        }
    }

    /// Who may see how the daemon is getting on may not do all that its tokens may.
    fn proof(&self, endpoint: Endpoint) -> Proof {
        match endpoint {
            Endpoint::Rotate | Endpoint::Proxy => Proof::Owner(our_uid()),
            Endpoint::Status | Endpoint::Refresh | Endpoint::Quit | Endpoint::Other => {
                Proof::Header
            }
        }
    }

    /// A forwarded call ends with its client, so that has to be noticed at once.
    fn answers_half_closed(&self) -> bool {
        false
    }

    fn refuse(&self, endpoint: Endpoint, problem: Problem) -> Response<Body> {
        let is_for_owners = matches!(endpoint, Endpoint::Rotate | Endpoint::Proxy);
        let is_peer = is_for_owners && problem.kind == Kind::Refused;
        if is_peer { Kind::Refused.because(OWNERS) } else { problem }.into_response()
    }

    async fn answer(
        &self,
        endpoint: Endpoint,
        request: Request<Incoming>,
        _client: &Busy,
    ) -> Response<Body> {
        let answer = match endpoint {
            Endpoint::Status => allow(&request, "GET").map(|()| json(&self.overview.status())),
            Endpoint::Refresh => match allow(&request, "POST") {
                Ok(()) => self.refresh(&request).await,
                Err(problem) => Err(problem),
            },
            Endpoint::Rotate => match allow(&request, "POST") {
                Ok(()) => self.rotate(&request).await,
                Err(problem) => Err(problem),
            },
            Endpoint::Quit => allow(&request, "POST").map(|()| self.quit()),
            Endpoint::Proxy => self.forward(request).await,
            Endpoint::Other => Err(Kind::NotFound
                .because("there are /v1/status, /v1/refresh, /v1/rotate, /v1/quit and /v1/teams/")),
        };
        answer.unwrap_or_else(Problem::into_response)
    }
}

fn unknown() -> Problem {
    Kind::NotFound.because("no such credential is configured")
}

fn not_rotated() -> Problem {
    let detail = "credentials.NAME.rotation.user is not set, or the key is from neither a key_file \
                  nor a Kubernetes Secret: only such a key is rotated";
    Kind::NotFound.because(detail)
}

fn json(value: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    answer(StatusCode::OK, "application/json", body.into())
}

fn refresh_answer(handle: &Handle, refreshed: Refreshed) -> RefreshAnswer {
    let mut answer = RefreshAnswer {
        credential: handle.name().to_owned(),
        token_id: None,
        expires_in: None,
        problem: None,
    };
    match refreshed {
        Refreshed::New(token) => {
            let (tick, wall) = handle.now();
            answer.token_id = Some(token.token_id().to_owned());
            answer.expires_in = Some(token.remaining(tick, wall).as_secs());
        }
        Refreshed::Throttled(_) => {
            answer.problem = Some("a token was asked for less than a second ago".to_owned());
        }
        Refreshed::Failed => answer.problem = Some(handle.state().trouble()),
    }
    answer
}
