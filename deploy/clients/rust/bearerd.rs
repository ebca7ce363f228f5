//! Tokens from the bearerd beside this program, for reqwest. One file, to be copied.
//!
//! ```ignore
//! let okta = ClientBuilder::new(reqwest::Client::new()).with(Bearerd::default()).build();
//! ```
//!
//! The daemon is found at $BEARERD_SOCKET, at $BEARERD_URL, or in its default places, and is waited
//! for. A token is kept until a tenth of what was left of its life is left. When the upstream answers
//! 401 the token is reported, and the call is sent once more with a newer one, if there is one.
//!
//! Needs reqwest 0.13, reqwest-middleware 0.5, http, async-trait, serde_json, and tokio with `sync`, `time`.

use std::{
    env, fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{
    Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, HeaderValue, RETRY_AFTER},
};
use reqwest_middleware::{Middleware, Next};
use tokio::{sync::Mutex, time::sleep};

/// Where the daemon is, and what is asked of it; the defaults suit most programs.
pub struct Bearerd {
    /// `unix:PATH` or a URL; else the daemon is looked for.
    pub address: Option<String>,
    /// Another credential than the listener's first.
    pub credential: Option<String>,
    /// The file of the listener's access token, if it has one.
    pub access_token_file: Option<PathBuf>,
    /// The time in which the daemon must come up.
    pub wait: Duration,
    kept: Mutex<Option<Arc<Token>>>,
}

impl Default for Bearerd {
    fn default() -> Self {
        Self {
            address: None,
            credential: None,
            access_token_file: None,
            wait: Duration::from_secs(10),
            kept: Mutex::default(),
        }
    }
}

/// Says why there is no token.
#[derive(Debug)]
pub struct BearerdError {
    why: String,
    /// After what time it is worth asking again, if it is.
    again: Option<Duration>,
}

impl fmt::Display for BearerdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bearerd: {}", self.why)
    }
}

impl std::error::Error for BearerdError {}

struct Token {
    authorization: HeaderValue,
    id: String,
    keep_until: Instant,
}

/// A report waits for a mint.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[async_trait::async_trait]
impl Middleware for Bearerd {
    async fn handle(
        &self,
        mut call: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let token = self.token().await.map_err(reqwest_middleware::Error::middleware)?;
        // A body that streams cannot be sent twice.
        let again = call.try_clone();
        let target = call.url().clone();
        call.headers_mut().insert(AUTHORIZATION, token.authorization.clone());
        let answer = next.clone().run(call, extensions).await?;
        // After a redirect to another host the token was not sent, and was not refused.
        let is_refused =
            answer.status() == StatusCode::UNAUTHORIZED && answer.url().origin() == target.origin();
        let newer = if is_refused { self.newer_than(&token).await } else { None };
        let (Some(mut again), Some(newer)) = (again, newer) else {
            return Ok(answer);
        };
        drop(answer);
        again.headers_mut().insert(AUTHORIZATION, newer.authorization.clone());
        next.run(again, extensions).await
    }
}

impl Bearerd {
    /// Gives the token, asking the daemon if the one that is kept may be over.
    async fn token(&self) -> Result<Arc<Token>, BearerdError> {
        // Who stands in line behind another waits no longer for that.
        let late = Instant::now() + self.wait;
        let mut kept = self.kept.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.keep_until) {
            return Ok(Arc::clone(token));
        }
        let token = Arc::new(self.first_token(late).await?);
        *kept = Some(Arc::clone(&token));
        Ok(token)
    }

    /// Reports a token that got a 401; gives a newer one, if one can be had now.
    async fn newer_than(&self, refused: &Token) -> Option<Arc<Token>> {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_none_or(|token| token.id == refused.id) {
            let report = serde_json::json!({ "token_id": refused.id }).to_string();
            let newer = self.ask(Method::POST, "/v1/token/rejected", report).await;
            *kept = newer.ok().map(Arc::new);
        }
        kept.clone()
    }

    async fn first_token(&self, late: Instant) -> Result<Token, BearerdError> {
        let mut pause = Duration::from_millis(50);
        loop {
            let trouble = match self.ask(Method::GET, "/v1/token", String::new()).await {
                Ok(token) => return Ok(token),
                Err(trouble) => trouble,
            };
            let Some(again) = trouble.again else {
                return Err(trouble);
            };
            pause = pause.max(again.min(LONGEST_PAUSE));
            if Instant::now() + pause > late {
                return Err(trouble);
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Result<Token, BearerdError> {
        let places = self.address.clone().map_or_else(default_places, |address| vec![address]);
        let mut trouble = None;
        for place in places {
            match self.exchange(&place, &method, path, &body).await {
                Ok(answer) => return read(answer).await,
                Err(error) => {
                    let why = format!("{place}: {}", root(&*error));
                    trouble.get_or_insert(BearerdError { why, again: Some(Duration::ZERO) });
                }
            }
        }
        Err(trouble.unwrap_or_else(|| hopeless("there is no place to look for it")))
    }

    async fn exchange(
        &self,
        place: &str,
        method: &Method,
        path: &str,
        body: &str,
    ) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        // Asking is rare: no connection is kept for it, and no proxy has a part in it.
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT);
        let (client, base) = match place.strip_prefix("unix:") {
            Some(socket) => (client.unix_socket(socket), "http://localhost"),
            None => (client, place.trim_end_matches('/')),
        };
        let query = self.credential.iter().map(|name| format!("?credential={name}"));
        let url = format!("{base}{path}{}", query.collect::<String>());
        let mut call = client.build()?.request(method.clone(), url);
        if let Some(file) = &self.access_token_file {
            let secret = std::fs::read_to_string(file)?;
            call = call.bearer_auth(secret.strip_suffix('\n').unwrap_or(&secret));
        }
        let call = call.header("X-Bearerd", "1").header("Content-Type", "application/json");
        Ok(call.body(body.to_owned()).send().await?)
    }
}

fn default_places() -> Vec<String> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(path) = variable("BEARERD_SOCKET") {
        return vec![format!("unix:{path}")];
    }
    if let Some(url) = variable("BEARERD_URL") {
        return vec![url];
    }
    let runtime = variable("RUNTIME_DIRECTORY").unwrap_or_default();
    let folders = runtime.split(':').map(str::to_owned).chain(["/run/bearerd".to_owned()]);
    let folders = folders.chain(variable("XDG_RUNTIME_DIR")).filter(|folder| !folder.is_empty());
    folders.map(|folder| format!("unix:{folder}/bearerd.sock")).collect()
}

async fn read(answer: Response) -> Result<Token, BearerdError> {
    let status = answer.status();
    let seconds =
        answer.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
    let body = answer
        .bytes()
        .await
        .map_err(|error| BearerdError { why: root(&error), again: Some(Duration::ZERO) })?;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    if status == StatusCode::OK {
        let token = text("bearer_token").zip(text("token_id")).zip(body["expires_in"].as_u64());
        let ((token, id), left) = token.ok_or_else(|| hopeless("no bearerd answers there"))?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| hopeless("no header can hold its token"))?;
        authorization.set_sensitive(true);
        let keep_until = Instant::now() + Duration::from_secs(left) * 9 / 10;
        return Ok(Token { authorization, id, keep_until });
    }
    let detail = text("detail").unwrap_or_else(|| "no bearerd answers there".to_owned());
    let is_passing =
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
    let again = is_passing.then(|| Duration::from_secs(seconds.unwrap_or(0)));
    Err(BearerdError { why: format!("{} {detail}", status.as_u16()), again })
}

fn hopeless(why: &str) -> BearerdError {
    BearerdError { why: why.to_owned(), again: None }
}

/// The last of an error's reasons says most.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(deeper) = last.source() {
        last = deeper;
    }
    last.to_string()
}
