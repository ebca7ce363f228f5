//! The calls about API keys: who a token is of, which keys there are, a new one, one fewer.

use std::future::Future;

use http::{HeaderValue, Method, header};
use reqwest::{Request, Url};

use super::{
    classify::Answer,
    client::{IssuerClient, bearer, endpoint, failed, read_body},
    issuer::{Allowance, Issuer},
    key_answers::{self, KeyError, ListedKey, NewKey},
    retry_time,
};
use crate::process::secret::Secret;

/// Tells how a call went, and what its answer told of the user's budget.
pub struct Told<T> {
    /// What was answered.
    pub result: Result<T, KeyError>,
    /// What is left of the budget, if that was told.
    pub allowance: Option<Allowance>,
}

/// Answers what a rotation asks about keys; the daemon's own is [`IssuerClient`].
pub trait KeyIssuer: Issuer {
    /// Tells name and id of the service user that a token is of.
    fn whose(&self, token: &Secret) -> impl Future<Output = Told<(String, String)>> + Send;

    /// Lists the keys of a service user; of more than a thousand the first thousand.
    fn list_keys(
        &self,
        token: &Secret,
        user: &str,
    ) -> impl Future<Output = Told<Vec<ListedKey>>> + Send;

    /// Asks for a new key of a service user, once: every other key of that user begins to end.
    fn rotate_key(&self, token: &Secret, user: &str) -> impl Future<Output = Told<NewKey>> + Send;

    /// Deletes a key; one that is gone already is deleted, too.
    fn delete_key(
        &self,
        token: &Secret,
        user: &str,
        key: &str,
    ) -> impl Future<Output = Told<()>> + Send;
}

impl KeyIssuer for IssuerClient {
    async fn whose(&self, token: &Secret) -> Told<(String, String)> {
        self.call(Method::GET, &["current_user"], "", token, key_answers::whose).await
    }

    async fn list_keys(&self, token: &Secret, user: &str) -> Told<Vec<ListedKey>> {
        let path = ["service_users", user, "keys"];
        self.call(Method::GET, &path, "count=1000", token, key_answers::listed).await
    }

    async fn rotate_key(&self, token: &Secret, user: &str) -> Told<NewKey> {
        let path = ["service_users", user, "keys"];
        self.call(Method::POST, &path, "", token, key_answers::rotated).await
    }

    async fn delete_key(&self, token: &Secret, user: &str, key: &str) -> Told<()> {
        let path = ["service_users", user, "keys", key];
        self.call(Method::DELETE, &path, "", token, key_answers::deleted).await
    }
}

impl IssuerClient {
    async fn call<T>(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
        token: &Secret,
        read: impl FnOnce(&Answer<'_>) -> Result<T, KeyError> + Send,
    ) -> Told<T> {
        let Some(bearer) = bearer(token) else {
            return Told {
                result: Err(KeyError::Unsent("the token cannot be sent")),
                allowance: None,
            };
        };
        let url = endpoint(&self.origin, &self.team_name, path);
        let request = request(method, with_query(url, query), bearer);
        let (started, wall) = (self.clock.tick(), self.clock.wall());
        let exchange = async {
            let mut response = self.http.execute(request).await.map_err(|error| {
                let sentence = failed(&error).reason;
                if error.is_connect() { KeyError::NotReached(sentence) } else { KeyError::Silence }
            })?;
            let body = read_body(&mut response).await.map_err(|_| KeyError::Silence)?;
            Ok((response, body))
        };
        let answer = tokio::time::timeout(self.deadline, exchange).await;
        let (response, body) = match answer.unwrap_or(Err(KeyError::Silence)) {
            Ok(answer) => answer,
            Err(error) => return Told { result: Err(error), allowance: None },
        };
        let answer = Answer {
            status: response.status(),
            headers: response.headers(),
            body: &body,
            started: wall,
            took: self.clock.tick().since(started),
        };
        Told { result: read(&answer), allowance: retry_time::allowance(answer.headers) }
    }
}

fn with_query(mut url: Url, query: &str) -> Url {
    url.set_query(Some(query).filter(|query| !query.is_empty()));
    url
}

fn request(method: Method, url: Url, bearer: HeaderValue) -> Request {
    let mut request = Request::new(method, url);
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    request.headers_mut().insert(header::ACCEPT, json);
    request
}
