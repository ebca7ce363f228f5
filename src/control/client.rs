//! A small HTTP client for our own sockets: one request, one answer, bounded.

use std::{io, path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::tls::{TlsTrouble, secure};

/// Largest answer that is read.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// What a daemon is called on a unix socket.
pub const UNIX_HOST: &str = "localhost";

/// Names a place where a daemon of ours may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port` of a plain HTTP listener.
    Tcp(String),
    /// A listener with TLS.
    Tls {
        /// Its `host:port`.
        authority: String,
        /// PEM file of certificates to trust besides the built-in roots.
        trusted: Option<PathBuf>,
    },
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Tls { authority, .. } => write!(f, "https://{authority}"),
        }
    }
}

/// Tells why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or we may not connect.
    #[error("{}", unreachable(.0, *.1))]
    Unreachable(Address, io::ErrorKind),
    /// The answer did not come in time.
    #[error("bearerd at {0} did not answer in time")]
    Timeout(Address),
    /// Something else listens there, or it has just ended.
    #[error(
        "what listens at {0} does not answer as bearerd does: it is another program, speaks https, or was just ending (try again)"
    )]
    Stranger(Address),
    /// The answer began and did not end.
    #[error("bearerd at {0} broke off its answer")]
    BrokenOff(Address),
    /// The answer is larger than any of ours.
    #[error("the answer of {0} is larger than 4 MiB: ask for less of it")]
    TooLarge(Address),
    /// Its certificate is not good, or not for this name.
    #[error(
        "the certificate of {0} is not trusted: name its authority by --ca-file, \
             and by --url the listener as the certificate does"
    )]
    Untrusted(Address),
    /// The certificates that are to be trusted cannot be read.
    #[error("{0} cannot be used ({1}): it should hold the certificates to trust, as PEM")]
    Trusted(PathBuf, io::ErrorKind),
}

impl ClientError {
    /// Tells whether nobody listens there at all.
    #[must_use]
    pub const fn is_nobody(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        matches!(self, Self::Unreachable(_, NotFound | ConnectionRefused))
    }

    /// Tells whether the request cannot have been sent.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        matches!(self, Self::Unreachable(..))
    }
}

fn unreachable(address: &Address, kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::PermissionDenied => {
            format!("you may not use {address}: its mode, owner and group say who may")
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("no bearerd listens at {address}: is the daemon running ('bearerd run')?")
        }
        io::ErrorKind::TimedOut => format!("{address} does not take the connection in time"),
        _ => format!("{address} cannot be connected to: look at its name and the network"),
    }
}

/// Sends one request without a body and reads the whole answer.
///
/// # Errors
///
/// Fails when nobody answers, or not in time, or not in HTTP.
pub async fn call(
    address: &Address,
    method: Method,
    path: &str,
    patience: Duration,
) -> Result<Response<Bytes>, ClientError> {
    let request = Request::builder().method(method).uri(path).body(Bytes::new());
    let request = request.map_err(|_| ClientError::Stranger(address.clone()))?;
    send(address, request, patience).await
}

/// Sends one request, with the headers that every request to us has, and reads the whole answer.
///
/// # Errors
///
/// Fails when nobody answers, or not in time, or not in HTTP.
pub async fn send(
    address: &Address,
    request: Request<Bytes>,
    patience: Duration,
) -> Result<Response<Bytes>, ClientError> {
    let exchange = async {
        match address {
            Address::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|e| refused(address, &e))?;
                converse(stream, UNIX_HOST, request).await
            }
            Address::Tcp(authority) => {
                let stream =
                    TcpStream::connect(authority).await.map_err(|e| refused(address, &e))?;
                converse(stream, authority, request).await
            }
            Address::Tls { authority, trusted } => {
                let stream =
                    TcpStream::connect(authority).await.map_err(|e| refused(address, &e))?;
                let stream = secure(stream, authority, trusted.as_deref()).await;
                let stream = stream.map_err(|trouble| insecure(address, trouble))?;
                converse(stream, authority, request).await
            }
        }
        .map_err(|broken| match broken {
            Broken::NoHttp => ClientError::Stranger(address.clone()),
            Broken::Off => ClientError::BrokenOff(address.clone()),
            Broken::TooLarge => ClientError::TooLarge(address.clone()),
        })
    };
    let answer = timeout(patience, exchange).await;
    answer.unwrap_or_else(|_| Err(ClientError::Timeout(address.clone())))
}

fn insecure(address: &Address, trouble: TlsTrouble) -> ClientError {
    match trouble {
        TlsTrouble::File(path, kind) => ClientError::Trusted(path, kind),
        TlsTrouble::Untrusted => ClientError::Untrusted(address.clone()),
        TlsTrouble::Stranger => ClientError::Stranger(address.clone()),
    }
}

fn refused(address: &Address, error: &io::Error) -> ClientError {
    ClientError::Unreachable(address.clone(), error.kind())
}

/// Says how far the other end was a daemon of ours; why it was not does not matter.
enum Broken {
    NoHttp,
    Off,
    TooLarge,
}

async fn converse<S>(
    stream: S,
    host: &str,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = request.map(Full::new);
    let host = HeaderValue::from_str(host).map_err(|_| Broken::NoHttp)?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert("x-bearerd", HeaderValue::from_static("1"));
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| Broken::NoHttp)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|_| Broken::NoHttp)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Broken::TooLarge,
            None => Broken::Off,
        })?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    // The connection does the work of the exchange; it may end first with the last byte.
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = exchange.as_mut() => answer,
        _closed = connection => exchange.await,
    }
}
