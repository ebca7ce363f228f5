//! Okta's own paths: existing clients work by changing one URL.
//!
//! Pure: [`path`], [`rules`], [`replay`], [`headers`], [`link`]. [`Proxy`] judges a call and
//! answers the mint itself; `forward` sends the others on, [`brief`] those that need little.

mod body;
pub mod brief;
mod forward;
pub mod headers;
pub mod link;
pub mod local_token;
mod mint;
pub mod operators;
mod pace;
pub mod path;
pub mod refusal;
pub mod replay;
pub mod rules;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use self::{
    body::ReplayMemory,
    forward::Call,
    local_token::LocalToken,
    path::{Path, PathError},
    refusal::Refusal,
    rules::Rules,
};
use crate::{
    config::model,
    okta::forwarder::{Forwarder, Streamed},
    process::clock::Clock,
    token::handle::Handle,
};

/// The body of an answer.
pub type Download = Streamed;

/// Serves Okta's paths on one listener.
pub struct Proxy {
    upstreams: Vec<Arc<Upstream>>,
    rules: Rules,
    memory: ReplayMemory,
    idle: Duration,
    local: Arc<LocalToken>,
    clock: Arc<dyn Clock>,
}

/// One team that calls can be forwarded to.
#[derive(Clone)]
pub struct Upstream {
    /// The team as the configuration has it; compares without case.
    pub team_name: String,
    /// Gives its tokens.
    pub handle: Handle,
    /// Carries its calls.
    pub forwarder: Arc<Forwarder>,
}

/// Holds an answer and what is to be counted.
pub struct Answered {
    /// The answer.
    pub response: Response<Download>,
    /// Status of the issuer's first answer, if it was asked.
    pub upstream: Option<u16>,
    /// Status of its answer to the second try.
    pub replay: Option<u16>,
    /// What went wrong between us and the issuer, as a word for the log.
    pub failure: Option<&'static str>,
}

impl Proxy {
    /// Makes the proxy of a listener; clients get the `local` token.
    #[must_use]
    pub fn new(
        settings: &model::Proxy,
        upstreams: Vec<Upstream>,
        local: Arc<LocalToken>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            upstreams: upstreams.into_iter().map(Arc::new).collect(),
            rules: settings.allow.clone(),
            memory: ReplayMemory::new(settings.replay_body_limit, settings.replay_memory),
            idle: settings.idle_timeout,
            local,
            clock,
        }
    }

    /// Answers a call, here or from the issuer; one that came over TLS has its scheme with it.
    pub async fn answer(&self, request: Request<Incoming>) -> Answered {
        match self.judge(request.method(), request.uri(), request.headers()) {
            Err(refusal) => Answered::local(refusal.into_response()),
            Ok((path, _)) if path.is_service_token() => {
                let mint = mint::answer(request, &path.team, &self.local, self.clock.wall()).await;
                Answered::local(mint.unwrap_or_else(Refusal::into_response))
            }
            Ok((path, upstream)) => {
                let call = Call {
                    path: &path,
                    upstream,
                    memory: &self.memory,
                    idle: self.idle,
                    clock: &*self.clock,
                };
                call.forward(request, None).await
            }
        }
    }

    /// Says whether a call may pass, and to whom; the mint needs no local token and no rule.
    fn judge(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(Path, &Arc<Upstream>), Refusal> {
        let path = Path::parse(uri.path())?;
        // Only a mint may come without: who is not let in does not learn of teams either.
        if !path.is_service_token() && !self.local.is_in(headers) {
            return Err(Refusal::Unauthorized);
        }
        let upstream = self.upstream(&path.team).ok_or(Refusal::NoTeam)?;
        if path.is_service_token() {
            let is_post = *method == Method::POST;
            return if is_post { Ok((path, upstream)) } else { Err(Refusal::MintMethod) };
        }
        if !FORWARDED.contains(method) {
            return Err(Refusal::Method);
        }
        if !self.rules.allow(method.as_str(), &path) {
            return Err(Refusal::Forbidden);
        }
        Ok((path, upstream))
    }

    fn upstream(&self, team: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| upstream.team_name.eq_ignore_ascii_case(team))
    }
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Elsewhere => Self::Elsewhere,
            PathError::Unclean => Self::Unclean,
        }
    }
}

/// The methods that are forwarded.
const FORWARDED: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

impl Answered {
    /// Tells whether the client did not show what it must: a 401, and the issuer was not asked.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.upstream.is_none() && self.response.status() == StatusCode::UNAUTHORIZED
    }

    fn local(response: Response<Download>) -> Self {
        Self { response, upstream: None, replay: None, failure: None }
    }
}
