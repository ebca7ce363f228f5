//! The client for forwarded calls: pooled, streaming, to one fixed origin, byte for byte.
//!
//! Not reqwest: its URL parser writes queries anew, and a forwarded query goes through as it came.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, uri};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name, proxy::Tunnel},
    },
    rt::{TokioExecutor, TokioTimer},
};
use tower_service::Service;

use super::{
    classify::Reason,
    transport::{self, Addresses, Resolver, TransportError},
};
use crate::config::model::{Credential, Okta};

/// Rest after which a pooled connection is closed, within as long again: shorter than any server's own
/// patience (fault 47), and what keeps the token of its last call in memory (fault 237).
const POOL_IDLE: Duration = Duration::from_secs(10);

/// Most connections that rest in the pool; they are not counted as those in use are (fault 93).
const POOL: usize = 32;

/// Most bytes of one connection that wait here in one direction; no head of an answer is larger.
const BUFFER: usize = 64 * 1024;

/// The body of a forwarded call, or of its answer.
pub type Streamed = BoxBody<Bytes, Broken>;

/// Says why a body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The sender broke off.
    #[error("the sender broke off")]
    Sender,
    /// Nothing has moved for too long.
    #[error("nothing has moved for too long")]
    Stalled,
}

/// Sends calls to one credential's issuer.
pub struct Forwarder {
    client: Connected,
    scheme: uri::Scheme,
    authority: uri::Authority,
    origin: String,
}

enum Connected {
    Direct(Client<HttpsConnector<Http>, Streamed>),
    Tunnelled(Client<HttpsConnector<Tunnel<Http>>, Streamed>),
}

type Http = HttpConnector<Resolver>;

/// Says why a call brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardError {
    /// No connection, and why: nothing was sent.
    Connect(Reason),
    /// The connection was closed before an answer: whether the call was carried out is unknown.
    Closed,
    /// What came was no HTTP.
    Garbled,
    /// The body of the call ended before its end.
    Body(Broken),
}

impl Forwarder {
    /// Makes the client; reads the files that the settings name.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be used, or the origin or proxy is none.
    pub fn new(okta: &Okta, credential: &Credential) -> Result<Self, TransportError> {
        let origin = credential.base_url.origin().ascii_serialization();
        let uri: Uri = origin.parse().map_err(|_| TransportError::Client)?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(TransportError::Client);
        };
        Ok(Self { client: connected(okta)?, scheme, authority, origin })
    }

    /// Tells the issuer's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Makes the address of a path and query at the issuer.
    ///
    /// # Errors
    ///
    /// Fails for what no request target can hold.
    pub fn uri(&self, path_and_query: &str) -> Result<Uri, http::Error> {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(path_and_query).build()
    }

    /// Sends a call and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// Fails when there is no answer.
    pub async fn send(&self, call: Request<Streamed>) -> Result<Response<Incoming>, ForwardError> {
        let answer = match &self.client {
            Connected::Direct(client) => client.request(call).await,
            Connected::Tunnelled(client) => client.request(call).await,
        };
        answer.map_err(|error| match transport::find::<Broken>(&error) {
            Some(broken) => ForwardError::Body(*broken),
            None if error.is_connect() => ForwardError::Connect(transport::reason(&error)),
            None if transport::reason(&error) == Reason::Malformed => ForwardError::Garbled,
            None => ForwardError::Closed,
        })
    }
}

fn connected(okta: &Okta) -> Result<Connected, TransportError> {
    let mut http = HttpConnector::new_with_resolver(Resolver::default());
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(okta.connect_timeout));
    let tls = transport::tls(okta.ca_file.as_deref())?;
    let tls = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(POOL_IDLE).pool_timer(TokioTimer::new());
    builder.pool_max_idle_per_host(POOL);
    builder.http1_max_buf_size(BUFFER);
    let Some(proxy) = &okta.proxy else {
        return Ok(Connected::Direct(builder.build(tls.wrap_connector(http))));
    };
    let destination: Uri = proxy.as_str().parse().map_err(|_| TransportError::Client)?;
    let mut tunnel = Tunnel::new(destination, http);
    if let Some(auth) = transport::proxy_auth(okta.proxy_auth_file.as_deref())? {
        let mut value = HeaderValue::from_str(&auth).map_err(|_| TransportError::Client)?;
        value.set_sensitive(true);
        tunnel = tunnel.with_auth(value);
    }
    Ok(Connected::Tunnelled(builder.build(tls.wrap_connector(tunnel))))
}

/// The same look-up as that of the mints.
impl Service<Name> for Resolver {
    type Response = Addresses;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Addresses>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let lookup = self.clone().look_up(name.as_str().to_owned());
        Box::pin(async move { lookup.await.map_err(io::Error::other) })
    }
}
