//! The two roads to the issuer: the daemon's control socket, or a connection of our own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::timeout;

use super::{call::Call, refused};
use crate::{
    cli::exit::Exit,
    config::model::{Credential, Okta},
    control::{
        client::{self, Address, ClientError, UNIX_HOST},
        routes::CREDENTIAL,
    },
    key::ApiKey,
    okta::{
        classify::Reason,
        client::{IssuerClient, bearer},
        forwarder::{ForwardError, Forwarder},
        issuer::Issuer,
        mask::{self, Sought},
        transport::{self, TransportError},
    },
    process::{clock::SystemClock, secret::Secret},
};

/// Longest wait for a daemon that waits for the issuer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest answer that is read: a thousand users with the longest names.
const LARGEST: usize = 4 * 1024 * 1024;

/// Carries calls to the issuer.
pub(super) enum Road {
    /// The daemon puts the token in.
    Daemon { address: Address, origin: String, credential: HeaderValue },
    /// Our own token, minted for this command alone.
    Straight { forwarder: Box<Forwarder>, token: Secret, deadline: Duration },
}

impl Road {
    /// Goes through the daemon, with the token of this credential.
    pub(super) fn through(address: Address, credential: &str) -> Result<Self, Exit> {
        let credential = HeaderValue::from_str(credential);
        let credential = credential.map_err(|_| Exit::usage("--credential names no credential"))?;
        Ok(Self::Daemon { address, origin: format!("http://{UNIX_HOST}"), credential })
    }

    /// Goes straight; mints one token, once.
    pub(super) async fn straight(
        okta: &Okta,
        name: &str,
        credential: &Credential,
        key: &ApiKey,
    ) -> Result<Self, Exit> {
        let client = IssuerClient::new(okta, credential, Arc::new(SystemClock));
        let client = client.map_err(|error| Exit::configuration(error.to_string()))?;
        let grant = client.mint(key).await.result;
        let grant = grant.map_err(|error| refused::unminted(name, error))?;
        let road = Self::of_token(okta, credential, grant.token);
        road.map_err(|error| Exit::configuration(error.to_string()))
    }

    /// Goes straight, with a token that is there.
    pub(super) fn of_token(
        okta: &Okta,
        credential: &Credential,
        token: Secret,
    ) -> Result<Self, TransportError> {
        let forwarder = Box::new(Forwarder::new(okta, credential, 1)?);
        Ok(Self::Straight { forwarder, token, deadline: transport::deadline(okta) })
    }

    /// Tells the origin that links of the answers name.
    pub(super) fn origin(&self) -> &str {
        match self {
            Self::Daemon { origin, .. } => origin,
            Self::Straight { forwarder, .. } => forwarder.origin(),
        }
    }

    /// Sends a call at a path and query of its own, once, and reads the whole answer.
    pub(super) async fn send(&self, call: &Call, target: &str) -> Result<Response<Bytes>, Silence> {
        match self {
            Self::Daemon { address, credential, .. } => {
                let request = request(call, target, (CREDENTIAL, credential))?;
                Ok(client::send(address, request, PATIENCE).await?)
            }
            Self::Straight { forwarder, token, deadline } => {
                let bearer = bearer(token).ok_or_else(|| Silence::unsent(NO_BEARER))?;
                let request = request(call, target, (header::AUTHORIZATION, &bearer))?;
                let answer = timeout(*deadline, exchange(forwarder, request)).await;
                let answer = answer.unwrap_or_else(|_| Err(Silence::perhaps_sent(LATE)))?;
                // As the daemon does: nobody is to read it off a screen.
                let sought = Sought::new(Bytes::copy_from_slice(token.expose()));
                Ok(answer.map(|body| mask::whole(body, Arc::new(sought))))
            }
        }
    }
}

const NO_BEARER: &str = "the issuer's token cannot be sent back to it";
const LATE: &str = "the issuer did not answer in time";
const BROKEN: &str = "the issuer broke off its answer";
const NO_ADDRESS: &str = "no request can carry this address: it is too long, or is none";

/// Says why no answer came.
pub(super) struct Silence {
    pub(super) what: String,
    /// The call cannot have been carried out.
    pub(super) is_unsent: bool,
}

impl Silence {
    fn perhaps_sent(what: &str) -> Self {
        Self { what: what.to_owned(), is_unsent: false }
    }

    fn unsent(what: &str) -> Self {
        Self { what: what.to_owned(), is_unsent: true }
    }
}

impl From<ForwardError> for Silence {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::Connect(reason) => Self::unsent(&reason.to_string()),
            ForwardError::Closed | ForwardError::Body(_) => Self::perhaps_sent(BROKEN),
            ForwardError::Garbled => Self::perhaps_sent(&Reason::Malformed.to_string()),
        }
    }
}

impl From<ClientError> for Silence {
    fn from(error: ClientError) -> Self {
        Self { what: error.to_string(), is_unsent: error.is_unsent() }
    }
}

fn request(
    call: &Call,
    target: &str,
    (name, value): (HeaderName, &HeaderValue),
) -> Result<Request<Bytes>, Silence> {
    let json = HeaderValue::from_static("application/json");
    let mut request = Request::new(call.body.clone());
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = target.parse().map_err(|_| Silence::unsent(NO_ADDRESS))?;
    request.headers_mut().insert(header::ACCEPT, json.clone());
    if !call.body.is_empty() {
        request.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    request.headers_mut().insert(name, value.clone());
    Ok(request)
}

async fn exchange(
    forwarder: &Forwarder,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Silence> {
    let uri = forwarder.target(&request.uri().to_string());
    let mut request = request.map(|body| Full::new(body).map_err(|never| match never {}).boxed());
    *request.uri_mut() = uri.map_err(|_| Silence::unsent(NO_ADDRESS))?;
    let (parts, body) = forwarder.send(request).await?.into_parts();
    let body = Limited::new(body, LARGEST).collect().await;
    let body = body.map_err(|_| Silence::perhaps_sent(BROKEN))?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}
