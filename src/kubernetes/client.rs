//! The way to the API server, from within a pod: address, account, deadline and cap in one place.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderValue, StatusCode, header};
use reqwest::{Client, Method, Request, Response, Url, redirect, retry};
use rustls::RootCertStore;
use zeroize::Zeroizing;

use super::wire;
use crate::process::trust;

/// Where the kubelet puts a pod's account: `token`, `ca.crt` and `namespace`.
pub const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Deadline of DNS, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Deadline of a whole call that is no watch.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read: a Secret has a mebibyte at the most, and grows by a third on its way.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// Largest file of an account.
const LARGEST_FILE: usize = 1024 * 1024;

/// Speaks to the API server of the cluster that this pod runs in.
///
/// The account is read anew for each call, as the kubelet renews it.
#[derive(Clone, Debug)]
pub struct ApiServer {
    account: PathBuf,
}

/// What goes out with a call.
pub(super) struct Sent {
    pub(super) method: Method,
    /// Segments of the path, each encoded on its own.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) accept: &'static str,
    /// The body and its type.
    pub(super) body: Option<(&'static str, Zeroizing<Vec<u8>>)>,
}

impl Sent {
    /// Makes a call without a body.
    pub(super) fn get(path: Vec<String>) -> Self {
        Self { method: Method::GET, path, query: Vec::new(), accept: JSON, body: None }
    }
}

/// The type of most bodies.
pub(super) const JSON: &str = "application/json";

/// Tells the port of the API server; `None` outside of a pod.
#[must_use]
pub fn port() -> Option<u16> {
    env::var("KUBERNETES_SERVICE_PORT").ok()?.parse().ok()
}

impl ApiServer {
    /// Takes the account that the kubelet has put into this pod.
    #[must_use]
    pub fn of_this_pod() -> Self {
        Self { account: ACCOUNT.into() }
    }

    /// Tells the namespace of this pod.
    pub(super) async fn namespace(&self) -> Result<String, CallError> {
        let text = self.read("namespace").await?;
        let text = std::str::from_utf8(text.trim_ascii()).map_err(|_| CallError::Malformed)?;
        Ok(text.to_owned())
    }

    /// Makes one call and reads its answer.
    pub(super) async fn call(&self, sent: Sent) -> Result<Zeroizing<Vec<u8>>, CallError> {
        let call = async {
            let mut response = self.open(sent).await?;
            read_body(&mut response).await
        };
        tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or(Err(CallError::Timeout))
    }

    /// Makes one call and hands out its answer while that is still coming.
    pub(super) async fn watch(&self, sent: Sent) -> Result<Response, CallError> {
        let opened = tokio::time::timeout(CALL_TIMEOUT, self.open(sent)).await;
        opened.unwrap_or(Err(CallError::Timeout))
    }

    async fn open(&self, sent: Sent) -> Result<Response, CallError> {
        let mut request = Request::new(sent.method, address(&sent.path, &sent.query)?);
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, bearer(&self.read("token").await?)?);
        headers.insert(header::ACCEPT, HeaderValue::from_static(sent.accept));
        if let Some((kind, body)) = sent.body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            *request.body_mut() = Some(bytes::Bytes::from_owner(body).into());
        }
        let client = self.client().await?;
        let mut response = client.execute(request).await.map_err(|error| failed(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let told = read_body(&mut response).await.ok();
        let reason = told.and_then(|body| wire::reason(&body));
        Err(CallError::of(status, reason.as_deref()))
    }

    async fn client(&self) -> Result<Client, CallError> {
        let mut roots = RootCertStore::empty();
        let (added, _ignored) =
            roots.add_parsable_certificates(trust::certificates(&self.read("ca.crt").await?));
        if added == 0 {
            return Err(CallError::NoRoots { path: self.account.join("ca.crt") });
        }
        let tls = trust::client().with_root_certificates(roots).with_no_client_auth();
        Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("bearerd/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| CallError::Unreachable)
    }

    async fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, CallError> {
        let path = self.account.join(name);
        match tokio::fs::read(&path).await {
            Ok(bytes) if bytes.len() <= LARGEST_FILE => Ok(Zeroizing::new(bytes)),
            _ => Err(CallError::NoAccount { path }),
        }
    }
}

/// Makes the address of a call.
fn address(path: &[String], query: &[(&'static str, String)]) -> Result<Url, CallError> {
    let host = env::var("KUBERNETES_SERVICE_HOST").map_err(|_| CallError::NoCluster)?;
    let port = port().ok_or(CallError::NoCluster)?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let mut url =
        Url::parse(&format!("https://{host}:{port}")).map_err(|_| CallError::NoCluster)?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

fn bearer(token: &[u8]) -> Result<HeaderValue, CallError> {
    let line = Zeroizing::new([b"Bearer ", token.trim_ascii()].concat());
    let mut value = HeaderValue::from_bytes(&line).map_err(|_| CallError::Unauthorized)?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read_body(response: &mut Response) -> Result<Zeroizing<Vec<u8>>, CallError> {
    let mut body = Zeroizing::new(Vec::with_capacity(16 * 1024));
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(CallError::Malformed);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(super) fn failed(error: &reqwest::Error) -> CallError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return CallError::Distrusted;
        }
        let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match io {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    if error.is_timeout() { CallError::Timeout } else { CallError::Unreachable }
}

/// Says why a call came to nothing, as the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// This is no pod.
    #[error(
        "cannot be asked for, as KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: \
         run the daemon in a pod"
    )]
    NoCluster,
    /// The pod has no account.
    #[error(
        "cannot be asked for, as {path} cannot be read: give the pod a service account, and do not \
         set automountServiceAccountToken to false"
    )]
    NoAccount {
        /// The file.
        path: PathBuf,
    },
    /// Whom to trust is not known.
    #[error(
        "cannot be asked for, as {path} holds no certificate: look at the pod's service account"
    )]
    NoRoots {
        /// The file.
        path: PathBuf,
    },
    /// Nobody answers.
    #[error(
        "cannot be asked for, as the API server cannot be reached: look for a network policy; it is \
         tried again"
    )]
    Unreachable,
    /// Nobody answers in time.
    #[error("was asked for, and the API server did not answer in time: it is tried again")]
    Timeout,
    /// Somebody else answers.
    #[error(
        "cannot be asked for, as ca.crt of the pod does not vouch for the API server's certificate"
    )]
    Distrusted,
    /// The token is not taken.
    #[error("cannot be asked for, as the API server does not take the pod's token")]
    Unauthorized,
    /// The account lacks a right.
    #[error("is not for this pod's service account: grant it {}", wire::VERBS)]
    Forbidden,
    /// It is not there.
    #[error("does not exist: make it, with the fields key_id and key_secret")]
    Missing,
    /// Somebody else was faster.
    #[error("was changed by somebody else meanwhile")]
    Conflict,
    /// What was to be resumed is forgotten.
    #[error("was followed from a version that the API server has forgotten")]
    Gone,
    /// The object is refused.
    #[error("cannot be changed, as the API server refuses that: is it immutable?")]
    Invalid,
    /// The server has troubles of its own.
    #[error("was asked for, and the API server answered {0}: it is tried again")]
    Status(u16),
    /// The answer is no answer.
    #[error("was asked for, and the answer of the API server cannot be understood")]
    Malformed,
}

impl CallError {
    fn of(status: StatusCode, reason: Option<&str>) -> Self {
        match (status.as_u16(), reason) {
            (401, _) => Self::Unauthorized,
            (403, _) => Self::Forbidden,
            (404, _) => Self::Missing,
            (409, _) => Self::Conflict,
            (410, _) | (_, Some("Expired" | "Gone")) => Self::Gone,
            (422, _) => Self::Invalid,
            (status, _) => Self::Status(status),
        }
    }

    /// Names the kind of error, for logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoCluster | Self::NoAccount { .. } | Self::NoRoots { .. } => "no_cluster",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Distrusted => "tls",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::Invalid => "invalid",
            Self::Status(_) => "status",
            Self::Malformed => "malformed",
        }
    }

    /// Tells whether it may be over in a moment, and what was asked for may have been done.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Status(_))
    }
}

/// Tells the directory of the account, for the sandbox.
#[must_use]
pub fn account() -> &'static Path {
    Path::new(ACCOUNT)
}
