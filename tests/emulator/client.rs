//! A plain client of the issuer, and what every test begins with.

use std::time::Duration;

use bearerd::emulator::{Emulator, Options};
use jiff::Timestamp;
use reqwest::{Client, Method, header::HeaderMap, redirect};
use serde_json::{Value, json};

/// Longest time that any answer may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Holds an answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// `null` where the body is no JSON.
    pub(crate) json: Value,
}

impl Reply {
    /// Tells status and type of an error.
    pub(crate) fn error(&self) -> (u16, &str) {
        assert_eq!(self.json["code"], self.status, "{self:?}");
        (self.status, self.json["type"].as_str().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Tells the token of a grant.
    pub(crate) fn token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json["bearer_token"].as_str().unwrap().to_owned()
    }

    /// Tells a time of the answer.
    pub(crate) fn time(&self, field: &str) -> Timestamp {
        self.json[field].as_str().unwrap().parse().unwrap()
    }
}

/// Holds an issuer and a way to call it.
pub(crate) struct Bench {
    pub(crate) issuer: Emulator,
    http: Client,
}

pub(crate) async fn bench() -> Bench {
    bench_with(|_| {}).await
}

pub(crate) async fn bench_with(change: impl FnOnce(&mut Options)) -> Bench {
    let mut options = Options::default();
    change(&mut options);
    Bench { issuer: Emulator::start(options).await.unwrap(), http: http() }
}

/// Makes a client that neither follows redirects nor waits for ever.
pub(crate) fn http() -> Client {
    // Another test of this process may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::builder().no_proxy().redirect(redirect::Policy::none());
    client.timeout(DEADLINE).build().unwrap()
}

/// Writes the body that asks for a token.
pub(crate) fn request((id, secret): &(String, String)) -> Value {
    json!({ "key_id": id, "key_secret": secret })
}

impl Bench {
    /// Calls with the given headers, a body that may be missing, and any path.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> reqwest::Result<Reply> {
        let mut call = self.http.request(method, format!("{}{path}", self.issuer.base_url()));
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        if let Some(body) = body {
            call = call.body(body);
        }
        let answer = call.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Reply { status, headers, text, json })
    }

    /// Asks for a token of the team `acme` with any body.
    pub(crate) async fn try_mint(&self, body: &Value) -> reqwest::Result<Reply> {
        let headers = [("content-type", "application/json")];
        let path = "/v1/teams/acme/service_token";
        self.send(Method::POST, path, &headers, Some(body.to_string())).await
    }

    /// Asks for a token with a key.
    pub(crate) async fn mint(&self, key: &(String, String)) -> Reply {
        self.try_mint(&request(key)).await.unwrap()
    }

    /// Waits until so many calls for a token have come in.
    pub(crate) async fn until_mint_calls(&self, count: u64) {
        let arrived = async {
            while self.issuer.mint_calls() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(DEADLINE, arrived).await.unwrap();
    }

    /// Tells a token made with the initial key.
    pub(crate) async fn token(&self) -> String {
        self.mint(&self.issuer.key()).await.token()
    }

    /// Calls the API with a token, and JSON if there is any.
    pub(crate) async fn call(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![("authorization", authorization.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let path = format!("/v1/teams/acme/{path}");
        self.send(method, &path, &headers, body.map(|body| body.to_string())).await.unwrap()
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.call(token, Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: Option<Value>) -> Reply {
        self.call(token, Method::POST, path, body).await
    }

    pub(crate) async fn put(&self, token: &str, path: &str, body: Value) -> Reply {
        self.call(token, Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, token: &str, path: &str) -> Reply {
        self.call(token, Method::DELETE, path, None).await
    }
}
