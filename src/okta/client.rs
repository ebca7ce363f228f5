//! The issuer's client: every deadline, cap and refusal of a call in one place.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use reqwest::{Client, Method, Request, Response, Url};
use zeroize::Zeroizing;

use super::{
    classify::{self, Answer, Grant, MintError, Reason},
    issuer::{Issuer, Observed, Outcome},
    retry_time,
    transport::{self, TransportError},
    wire::MintRequest,
};
use crate::{
    config::model::{Credential, Okta},
    key::api_key::ApiKey,
    process::{clock::Clock, secret::Secret},
};

/// Largest answer that is read (fault 13).
const LARGEST_BODY: usize = 64 * 1024;
/// Room for a mint request whose every character has to be escaped.
const LARGEST_REQUEST: usize = 4 * 1024;

/// Speaks to one team's issuer, at one fixed origin (fault 60).
pub struct IssuerClient {
    http: Client,
    clock: Arc<dyn Clock>,
    team_name: String,
    service_token: Url,
    current_user: Url,
    deadline: Duration,
}

impl IssuerClient {
    /// Makes the client of one credential.
    ///
    /// # Errors
    ///
    /// Fails when a file that `okta` names cannot be used.
    pub fn new(
        okta: &Okta,
        credential: &Credential,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TransportError> {
        Ok(Self {
            http: transport::build(okta)?,
            clock,
            team_name: credential.team_name.clone(),
            service_token: endpoint(credential, "service_token"),
            current_user: endpoint(credential, "current_user"),
            deadline: transport::deadline(okta),
        })
    }

    async fn ask(&self, request: Request) -> Result<(Response, Zeroizing<Vec<u8>>), MintError> {
        let call = async {
            let mut response = self.http.execute(request).await.map_err(|error| failed(&error))?;
            let body = read_body(&mut response).await?;
            Ok((response, body))
        };
        tokio::time::timeout(self.deadline, call).await.unwrap_or(Err(Reason::Timeout.into()))
    }

    async fn exchange(&self, key: &ApiKey) -> (Result<Grant, MintError>, Option<Observed>) {
        let (started, wall) = (self.clock.tick(), self.clock.wall());
        let (response, body) = match self.ask(mint_request(&self.service_token, key)).await {
            Ok(answer) => answer,
            Err(error) => return (Err(error), None),
        };
        let answer = Answer {
            status: response.status(),
            headers: response.headers(),
            body: &body,
            started: wall,
            took: self.clock.tick().since(started),
        };
        let observed =
            Observed { skew: answer.skew(), allowance: retry_time::allowance(answer.headers) };
        (classify::mint(&answer, &self.team_name), Some(observed))
    }
}

impl Issuer for IssuerClient {
    async fn mint(&self, key: &ApiKey) -> Outcome {
        let started = self.clock.tick();
        let (result, observed) = self.exchange(key).await;
        Outcome { result, observed, took: self.clock.tick().since(started) }
    }

    async fn refuses(&self, token: &Secret) -> bool {
        let mut request = Request::new(Method::GET, self.current_user.clone());
        let Some(authorization) = bearer(token) else {
            return false;
        };
        request.headers_mut().insert(header::AUTHORIZATION, authorization);
        match self.ask(request).await {
            Ok((response, body)) => {
                response.status() == StatusCode::UNAUTHORIZED
                    && classify::is_authentication_error(&body)
            }
            Err(_) => false,
        }
    }
}

/// Segments are encoded one by one, so that no team name leaves its place (fault 57).
pub(super) fn endpoint(credential: &Credential, call: &str) -> Url {
    let mut url = credential.base_url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().extend(["v1", "teams", &credential.team_name, call]);
    }
    url
}

fn mint_request(url: &Url, key: &ApiKey) -> Request {
    let mut body = Zeroizing::new(Vec::with_capacity(LARGEST_REQUEST));
    let wanted = MintRequest { key_id: key.id(), key_secret: key.expose_secret() };
    serde_json::to_writer(&mut *body, &wanted).expect("two strings can be written to memory");
    let mut request = Request::new(Method::POST, url.clone());
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json.clone());
    request.headers_mut().insert(header::ACCEPT, json);
    *request.body_mut() = Some(Bytes::from_owner(body).into());
    request
}

/// Makes the value of `Authorization` that carries a token; `None` for what no header can hold.
#[must_use]
pub fn bearer(token: &Secret) -> Option<HeaderValue> {
    let line = Zeroizing::new([b"Bearer ", token.expose()].concat());
    let mut value = HeaderValue::from_bytes(&line).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub(super) fn failed(error: &reqwest::Error) -> MintError {
    let reason = transport::reason(error);
    MintError { cause: transport::cause(error, reason), ..reason.into() }
}

/// Reads at most the cap; what was announced is not believed (fault 13).
async fn read_body(response: &mut Response) -> Result<Zeroizing<Vec<u8>>, MintError> {
    let mut body = Zeroizing::new(Vec::with_capacity(LARGEST_BODY));
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(Reason::Malformed.into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
