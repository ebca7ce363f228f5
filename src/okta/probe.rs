//! The way to an issuer, step by step: what `bearerd doctor` looks at; the daemon never does.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, StatusCode, header};
use reqwest::{Method, Request, Url};
use rustls::{
    Error, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    certificate::{self, Shown},
    classify::{Answer, MintError},
    client,
    transport::{self, Resolver, TransportError},
    wire,
};
use crate::{
    config::model::{Credential, Okta},
    process::{clock::Clock, trust},
    token::timing::Skew,
};

/// Tells how far one gets on the way, the first failure last.
#[derive(Debug, Default)]
pub struct Road {
    /// The addresses of the name; `None` if it could not be looked up.
    pub addresses: Option<Vec<SocketAddr>>,
    /// Where a connection came about, else why none did, for each address.
    pub connection: Option<Result<Reached, Vec<(SocketAddr, io::ErrorKind)>>>,
    /// What was shown over TLS; `None` where no TLS is spoken.
    pub tls: Option<Secured>,
}

/// Tells where a connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The address.
    pub address: SocketAddr,
    /// How long it took.
    pub took: Duration,
}

/// Tells what was shown over TLS, and whether it is trusted.
#[derive(Debug, Default)]
pub struct Secured {
    /// The certificates, the server's own first; none if it got no so far.
    pub chain: Vec<Shown>,
    /// Why there is no connection, in our words; `None` if there is one.
    pub flaw: Option<String>,
}

/// Tells what an answer to a question without a token shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Its status.
    pub status: StatusCode,
    /// Whether it is JSON, as all of an issuer's answers.
    pub is_json: bool,
    /// Whether it is a page for people.
    pub is_page: bool,
    /// How the clocks differ, as far as a `Date` shows.
    pub skew: Skew,
    /// Whether there was a `Date` at all.
    pub has_date: bool,
    /// How long it took.
    pub took: Duration,
}

/// Goes the way to an origin, without a proxy, as far as it leads.
///
/// # Errors
///
/// Fails when `okta.ca_file` cannot be used.
pub async fn walk(okta: &Okta, origin: &Url, clock: &dyn Clock) -> Result<Road, TransportError> {
    let mut road = Road::default();
    let roots = transport::roots(okta.ca_file.as_deref())?;
    let (Some(host), Some(port)) = (origin.host_str(), origin.port_or_known_default()) else {
        return Ok(road);
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let lookup = timeout(okta.connect_timeout, Resolver::default().look_up(host.clone())).await;
    let Ok(Ok(addresses)) = lookup else { return Ok(road) };
    let addresses: Vec<_> = addresses.map(|at| SocketAddr::new(at.ip(), port)).collect();
    road.addresses = Some(addresses.clone());
    match connect(&addresses, okta.connect_timeout, clock).await {
        Err(failures) => road.connection = Some(Err(failures)),
        Ok((stream, reached)) => {
            road.connection = Some(Ok(reached));
            if origin.scheme() == "https" {
                road.tls = Some(secure(stream, host, roots, okta.connect_timeout).await);
            }
        }
    }
    Ok(road)
}

async fn connect(
    addresses: &[SocketAddr],
    patience: Duration,
    clock: &dyn Clock,
) -> Result<(TcpStream, Reached), Vec<(SocketAddr, io::ErrorKind)>> {
    let mut failures = Vec::new();
    for address in addresses {
        let started = clock.tick();
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let took = clock.tick().since(started);
                return Ok((stream, Reached { address: *address, took }));
            }
            Ok(Err(error)) => failures.push((*address, error.kind())),
            Err(_late) => failures.push((*address, io::ErrorKind::TimedOut)),
        }
    }
    Err(failures)
}

async fn secure(
    stream: TcpStream,
    host: String,
    roots: RootCertStore,
    patience: Duration,
) -> Secured {
    let no_name = || Some("the host of base_url is no name that a certificate can have".to_owned());
    let chain = Arc::<Chain>::default();
    let seen = Arc::clone(&chain);
    let config = trust::looking_client(roots, move |own, between| {
        seen.keep(own, between);
        false
    });
    let Some(config) = config else { return Secured::default() };
    let Ok(name) = ServerName::try_from(host) else {
        return Secured { chain: Vec::new(), flaw: no_name() };
    };
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let flaw = match timeout(patience, shaken).await {
        Ok(Ok(_stream)) => None,
        Ok(Err(error)) => Some(in_words(&error)),
        Err(_late) => Some("it does not answer in time".to_owned()),
    };
    Secured { chain: chain.seen(), flaw }
}

/// Keeps what was shown, for one who verifies as the daemon does.
#[derive(Default)]
struct Chain(Mutex<Vec<Shown>>);

impl Chain {
    fn keep(&self, own: &CertificateDer<'_>, between: &[CertificateDer<'_>]) {
        let chain = std::iter::once(own).chain(between).map(|der| certificate::read(der));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chain.collect();
    }

    fn seen(&self) -> Vec<Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn in_words(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    match (tls.and_then(transport::distrusted), tls) {
        (Some(words), _) => words.to_owned(),
        (None, Some(Error::InvalidCertificate(_))) => "the certificate is not valid".to_owned(),
        (None, Some(_)) => "what answers there speaks no TLS that we speak".to_owned(),
        (None, None) => "the connection was closed during the handshake".to_owned(),
    }
}

/// Asks who we are, without a token, on the very way that mints go: through the proxy, if any.
///
/// # Errors
///
/// Fails when a file of `[okta]` cannot be used; inside, when there is no answer.
pub async fn greet(
    okta: &Okta,
    credential: &Credential,
    clock: &dyn Clock,
) -> Result<Result<Greeting, MintError>, TransportError> {
    let http = transport::build(okta)?;
    let request = Request::new(
        Method::GET,
        client::endpoint(&credential.base_url, &credential.team_name, &["current_user"]),
    );
    let (started, wall) = (clock.tick(), clock.wall());
    let answer = match http.execute(request).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(client::failed(&error))),
    };
    let took = clock.tick().since(started);
    let (status, headers) = (answer.status(), answer.headers());
    let skew = Answer { status, headers, body: &[], started: wall, took }.skew();
    Ok(Ok(Greeting {
        status,
        is_json: wire::is_json(headers),
        is_page: is_page(headers),
        skew,
        has_date: headers.contains_key(header::DATE),
        took,
    }))
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
}
