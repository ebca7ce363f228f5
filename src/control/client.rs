//! A small HTTP client for our own sockets: one request, one answer, bounded.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
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
    /// Something else listens there.
    #[error("what listens at {0} does not answer as bearerd does")]
    Stranger(Address),
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

fn unreachable(address: &Address, kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::PermissionDenied => {
            format!("you may not use {address}: its mode, owner and group say who may")
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("no bearerd listens at {address}: is the daemon running ('bearerd run')?")
        }
        other => format!("{address} cannot be connected to: {other}"),
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
    let exchange = async {
        match address {
            Address::Unix(socket) => {
                let stream = connect_unix(socket).await.map_err(|e| refused(address, &e))?;
                converse(stream, "localhost", method, path).await
            }
            Address::Tcp(authority) => {
                let stream =
                    TcpStream::connect(authority).await.map_err(|e| refused(address, &e))?;
                converse(stream, authority, method, path).await
            }
            Address::Tls { authority, trusted } => {
                let stream =
                    TcpStream::connect(authority).await.map_err(|e| refused(address, &e))?;
                let stream = secure(stream, authority, trusted.as_deref()).await;
                let stream = stream.map_err(|trouble| insecure(address, trouble))?;
                converse(stream, authority, method, path).await
            }
        }
        .map_err(|_| ClientError::Stranger(address.clone()))
    };
    let answer = timeout(patience, exchange).await;
    answer.unwrap_or_else(|_| Err(ClientError::Timeout(address.clone())))
}

async fn connect_unix(socket: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(socket).await
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

/// Why the other end is no daemon of ours does not matter.
struct NoHttp;

async fn converse<S>(
    stream: S,
    host: &str,
    method: Method,
    path: &str,
) -> Result<Response<Bytes>, NoHttp>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header("x-bearerd", "1")
        .body(Full::<Bytes>::default())
        .map_err(|_| NoHttp)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| NoHttp)?;
    let exchange = async {
        let (parts, body) = sender.send_request(request).await.map_err(|_| NoHttp)?.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|_| NoHttp)?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    // The connection does the work of the exchange; it may end first with the last byte.
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = exchange.as_mut() => answer,
        _closed = connection => exchange.await,
    }
}
