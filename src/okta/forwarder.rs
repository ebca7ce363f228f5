//! The client for forwarded calls: connections that are kept, streams, one fixed origin, byte for byte.
//!
//! Not reqwest: its URL parser writes queries anew, and a forwarded query goes through as it came.

use std::{
    error::Error,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header, uri};
use http_body_util::combinators::BoxBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name, proxy::Tunnel};
use tokio::{task::yield_now, time::Instant};
use tower_service::Service;

pub use super::line::{Answer, Begun};
use super::{
    brief::{self, Field},
    classify::Reason,
    line::{Line, Resting, Stream},
    transport::{self, Addresses, Resolver, TransportError},
};
use crate::config::model::{Credential, Okta};

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
    connector: Connector,
    resting: Arc<Resting>,
    /// The issuer, with no path.
    issuer: Uri,
    host: HeaderValue,
    origin: String,
}

enum Connector {
    Direct(HttpsConnector<Http>),
    Tunnelled(HttpsConnector<Tunnel<Http>>),
}

type Http = HttpConnector<Resolver>;

/// Says what came of a call that was to be brief.
pub enum Asked {
    /// Its answer, all of it.
    Whole(Response<Bytes>),
    /// It was sent; what else there is to it is for [`Forwarder::go_on`].
    Begun(Begun),
    /// It was not sent, as no connection rests.
    Unsent,
}

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
    /// Makes the client; reads the files that the settings name. At most `resting` connections are
    /// kept between two calls.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be used, or the origin or proxy is none.
    pub fn new(
        okta: &Okta,
        credential: &Credential,
        resting: usize,
    ) -> Result<Self, TransportError> {
        let origin = credential.base_url.origin().ascii_serialization();
        let issuer: Uri = origin.parse().map_err(|_| TransportError::Client)?;
        let host = issuer.authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok());
        let host = host.ok_or(TransportError::Client)?;
        let (connector, resting) = (connector(okta)?, Arc::new(Resting::new(resting)));
        Ok(Self { connector, resting, issuer, host, origin })
    }

    /// Tells the issuer's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Makes the target of a request for a path and query.
    ///
    /// # Errors
    ///
    /// Fails for what no request target can hold.
    pub fn target(&self, path_and_query: &str) -> Result<Uri, http::Error> {
        Ok(Uri::from(uri::PathAndQuery::try_from(path_and_query)?))
    }

    /// Sends a call to its target at the issuer, and waits for the head of the answer.
    ///
    /// One that a resting connection did not take any more, not a byte of it, goes by another.
    ///
    /// # Errors
    ///
    /// Fails when there is no answer.
    pub async fn send(
        &self,
        mut call: Request<Streamed>,
    ) -> Result<Response<Answer>, ForwardError> {
        self.address(call.headers_mut());
        loop {
            let (line, has_rested) = match self.resting.take().await {
                Some(line) => (line, true),
                // Apart, so that the others need not have room for it.
                None => (Box::pin(self.open()).await?, false),
            };
            match line.call(call, &self.resting).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => match failed.unsent.filter(|_| has_rested) {
                    Some(unsent) => call = unsent,
                    None => return Err(failed.error.into()),
                },
            }
        }
    }

    /// Writes a `GET` with no body, as [`Forwarder::send`] would send it; its target is a path and
    /// query that a request had.
    #[must_use]
    pub fn head<'a>(&'a self, target: &str, mut fields: Vec<Field<'a>>) -> Bytes {
        fields.push((&header::HOST, &self.host));
        brief::request(target, &fields)
    }

    /// Sends a [head](Self::head) by a connection that rests, and waits until `by` for an answer that
    /// comes whole.
    pub async fn ask(&self, head: &Bytes, by: Instant) -> Asked {
        // Whoever is ready is read first: the issuer then wakes once for many.
        yield_now().await;
        let Some(line) = self.resting.take().await else { return Asked::Unsent };
        line.ask(head, by, &self.resting).await.map_or_else(Asked::Begun, Asked::Whole)
    }

    /// Waits for the head of the answer to a call that was [begun](Self::ask), and is the same.
    ///
    /// # Errors
    ///
    /// Fails when there is no answer.
    pub async fn go_on(
        &self,
        begun: Begun,
        mut call: Request<Streamed>,
    ) -> Result<Response<Answer>, ForwardError> {
        self.address(call.headers_mut());
        begun.finish(call, &self.resting).await.map_err(|failed| failed.error.into())
    }

    fn address(&self, headers: &mut HeaderMap) {
        headers.insert(header::HOST, self.host.clone());
    }

    async fn open(&self) -> Result<Line, ForwardError> {
        let stream = self.connect().await;
        let stream = stream.map_err(|error| ForwardError::Connect(transport::reason(&*error)))?;
        Ok(Line::new(stream))
    }

    async fn connect(&self) -> Result<Stream, Box<dyn Error + Send + Sync>> {
        let issuer = self.issuer.clone();
        match &self.connector {
            Connector::Direct(connector) => connected(connector.clone(), issuer).await,
            Connector::Tunnelled(connector) => connected(connector.clone(), issuer).await,
        }
    }
}

/// Connects as soon as the connector can.
async fn connected<C: Service<Uri>>(mut connector: C, to: Uri) -> Result<C::Response, C::Error> {
    poll_fn(|cx| connector.poll_ready(cx)).await?;
    connector.call(to).await
}

impl From<hyper::Error> for ForwardError {
    fn from(error: hyper::Error) -> Self {
        match transport::find::<Broken>(&error) {
            Some(broken) => Self::Body(*broken),
            None if transport::reason(&error) == Reason::Malformed => Self::Garbled,
            None => Self::Closed,
        }
    }
}

fn connector(okta: &Okta) -> Result<Connector, TransportError> {
    let mut http = HttpConnector::new_with_resolver(Resolver::default());
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(okta.connect_timeout));
    let tls = transport::tls(okta.ca_file.as_deref())?;
    let tls = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let Some(proxy) = &okta.proxy else {
        return Ok(Connector::Direct(tls.wrap_connector(http)));
    };
    let destination: Uri = proxy.as_str().parse().map_err(|_| TransportError::Client)?;
    let mut tunnel = Tunnel::new(destination, http);
    if let Some(auth) = transport::proxy_auth(okta.proxy_auth_file.as_deref())? {
        let mut value = HeaderValue::from_str(&auth).map_err(|_| TransportError::Client)?;
        value.set_sensitive(true);
        tunnel = tunnel.with_auth(value);
    }
    Ok(Connector::Tunnelled(tls.wrap_connector(tunnel)))
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
