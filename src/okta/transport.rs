//! The one HTTP client towards issuers, with every default that would hurt turned off.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use reqwest::{
    Client, Proxy,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect, retry,
};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::classify::Reason;
use crate::{config::model::Okta, process::trust};

/// Largest file of extra roots or proxy credentials.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// Tells why the client towards the issuer cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A file cannot be read.
    #[error("{0} cannot be read ({1}): check okta.ca_file and okta.proxy_auth_file")]
    File(PathBuf, io::ErrorKind),
    /// The roots file holds nothing to trust.
    #[error("{0} holds no certificate that could be trusted: okta.ca_file wants PEM")]
    NoRoots(PathBuf),
    /// The proxy's credentials have no colon.
    #[error("{0} does not hold user:password: see okta.proxy_auth_file")]
    ProxyAuth(PathBuf),
    /// The client could not be built.
    #[error("the HTTP client cannot be built: check okta.proxy")]
    Client,
}

/// Builds the client; reads the files that the settings name.
///
/// # Errors
///
/// Fails when a file cannot be used or the proxy is of a kind that is not spoken.
pub fn build(okta: &Okta) -> Result<Client, TransportError> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls(okta.ca_file.as_deref())?)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        // Mints are rare: a pooled connection would mostly be a stale one (fault 47).
        .pool_max_idle_per_host(0)
        .connect_timeout(okta.connect_timeout)
        .timeout(deadline(okta))
        .user_agent(concat!("bearerd/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Resolver::default());
    if let Some(proxy) = &okta.proxy {
        builder = builder.proxy(forward_proxy(proxy, okta.proxy_auth_file.as_deref())?);
    }
    builder.build().map_err(|_may_name_the_proxy| TransportError::Client)
}

/// Tells what a failed call failed of, by the causes of a client's error.
#[must_use]
pub fn reason(error: &(dyn std::error::Error + 'static)) -> Reason {
    if find::<NameLookup>(error).is_some() {
        Reason::Dns
    } else if find::<rustls::Error>(error).is_some() {
        Reason::Tls
    } else if find::<reqwest::Error>(error).is_some_and(reqwest::Error::is_timeout)
        || find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    {
        Reason::Timeout
    } else if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse)
        || find::<io::Error>(error).is_some_and(is_broken_chunk)
    {
        Reason::Malformed
    } else {
        Reason::Connect
    }
}

/// Tells in words what the network or TLS had to say; nothing where the reason says it all.
#[must_use]
pub fn cause(error: &(dyn std::error::Error + 'static), reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::Connect => find::<io::Error>(error).and_then(|error| broken(error.kind())),
        Reason::Tls => find::<rustls::Error>(error).and_then(distrusted),
        _ => None,
    }
}

const fn broken(kind: io::ErrorKind) -> Option<&'static str> {
    use io::ErrorKind as Kind;
    match kind {
        Kind::ConnectionRefused => Some("connection refused"),
        Kind::ConnectionReset | Kind::BrokenPipe => Some("connection reset"),
        Kind::NetworkUnreachable => Some("network unreachable"),
        Kind::HostUnreachable => Some("host unreachable"),
        Kind::UnexpectedEof => Some("connection closed"),
        Kind::PermissionDenied => Some("not permitted: look for a firewall or sandbox"),
        _ => None,
    }
}

pub(super) fn distrusted(error: &rustls::Error) -> Option<&'static str> {
    use CertificateError as Flaw;
    let rustls::Error::InvalidCertificate(flaw) = error else { return None };
    match flaw {
        Flaw::UnknownIssuer => Some("nobody we trust signed the certificate, see okta.ca_file"),
        Flaw::Expired | Flaw::ExpiredContext { .. } => Some("the certificate has expired"),
        Flaw::NotValidYet | Flaw::NotValidYetContext { .. } => {
            Some("the certificate is not valid yet")
        }
        Flaw::NotValidForName | Flaw::NotValidForNameContext { .. } => {
            Some("the certificate is for another name, see base_url")
        }
        _ => None,
    }
}

/// Tells an answer whose chunks make no sense from one that broke off.
fn is_broken_chunk(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
}

/// Looks for an error among the causes; an `io::Error` hides its own from `source`.
pub(super) fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let hidden = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match hidden {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// TLS that trusts the built-in roots and those of the file.
pub(super) fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, TransportError> {
    Ok(trust::client().with_root_certificates(roots(ca_file)?).with_no_client_auth())
}

/// The built-in roots and those of the file.
pub(super) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TransportError> {
    match ca_file {
        None => Ok(trust::roots()),
        Some(path) => {
            trust::roots_with(&read(path)?).ok_or_else(|| TransportError::NoRoots(path.to_owned()))
        }
    }
}

fn forward_proxy(url: &reqwest::Url, auth: Option<&Path>) -> Result<Proxy, TransportError> {
    let proxy = Proxy::all(url.clone()).map_err(|_may_name_the_proxy| TransportError::Client)?;
    let Some(auth) = proxy_auth(auth)? else {
        return Ok(proxy);
    };
    let mut value = HeaderValue::from_str(&auth).map_err(|_| TransportError::Client)?;
    value.set_sensitive(true);
    Ok(proxy.custom_http_auth(value))
}

/// Reads `user:password` and makes the value of `Proxy-Authorization` of it.
pub(super) fn proxy_auth(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, TransportError> {
    let Some(path) = file else {
        return Ok(None);
    };
    let line = read(path)?;
    let line = line.trim_ascii_end();
    if !line.contains(&b':') || line.iter().any(u8::is_ascii_control) {
        return Err(TransportError::ProxyAuth(path.to_owned()));
    }
    Ok(Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(line)))))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TransportError> {
    let refused = |error: io::Error| TransportError::File(path.to_owned(), error.kind());
    let file = std::fs::File::open(path).map_err(refused)?;
    let mut bytes = Zeroizing::new(Vec::new());
    io::Read::read_to_end(&mut io::Read::take(file, LARGEST_FILE), &mut bytes).map_err(refused)?;
    Ok(bytes)
}

/// Marks a failed look-up, so that it can be told from a refused connection.
#[derive(Debug, thiserror::Error)]
#[error("name look-up failed")]
struct NameLookup;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a look-up finds.
pub(super) type Addresses = std::vec::IntoIter<SocketAddr>;

/// Asks the system for addresses, one look-up at a time.
///
/// A look-up cannot be cancelled: one that hangs would pile up threads (fault 40).
#[derive(Clone)]
pub(super) struct Resolver {
    turn: Arc<Semaphore>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Resolver {
    pub(super) async fn look_up(self, name: String) -> Result<Addresses, BoxError> {
        let permit = self.turn.acquire_owned().await?;
        let lookup = tokio::task::spawn_blocking(move || {
            let _held_until_it_ends = permit;
            (name, 0).to_socket_addrs()
        });
        let addresses: Vec<_> = lookup.await?.map_err(|_| NameLookup)?.collect();
        if addresses.is_empty() {
            return Err(NameLookup.into());
        }
        Ok(addresses.into_iter())
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = self.clone().look_up(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(lookup.await?) as Addrs) })
    }
}

/// Longest time that a call can take in all.
#[must_use]
pub const fn deadline(okta: &Okta) -> Duration {
    okta.connect_timeout.saturating_add(okta.request_timeout)
}
