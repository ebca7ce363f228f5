//! A small HTTP client for our own sockets: one request, one answer, bounded.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use zeroize::Zeroizing;

use crate::process::secret::Secret;

/// Largest answer that is read.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// Names a place where a daemon of ours may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port` of a plain HTTP listener.
    Tcp(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}"),
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
    call_with(address, None, method, path, patience).await
}

/// Does likewise, with the access token that the listener asks for.
///
/// # Errors
///
/// As [`call`].
pub async fn call_with(
    address: &Address,
    access_token: Option<&Secret>,
    method: Method,
    path: &str,
    patience: Duration,
) -> Result<Response<Bytes>, ClientError> {
    let stranger = |NoHttp| ClientError::Stranger(address.clone());
    let request = request(address, access_token, method, path).map_err(stranger)?;
    let exchange = async {
        match address {
            Address::Unix(socket) => {
                let stream = connect_unix(socket).await.map_err(|e| refused(address, &e))?;
                converse(stream, request).await
            }
            Address::Tcp(authority) => {
                let stream =
                    TcpStream::connect(authority).await.map_err(|e| refused(address, &e))?;
                converse(stream, request).await
            }
        }
        .map_err(stranger)
    };
    let answer = timeout(patience, exchange).await;
    answer.unwrap_or_else(|_| Err(ClientError::Timeout(address.clone())))
}

async fn connect_unix(socket: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(socket).await
}

fn refused(address: &Address, error: &io::Error) -> ClientError {
    ClientError::Unreachable(address.clone(), error.kind())
}

/// Why the other end is no daemon of ours does not matter.
struct NoHttp;

fn request(
    address: &Address,
    access_token: Option<&Secret>,
    method: Method,
    path: &str,
) -> Result<Request<Full<Bytes>>, NoHttp> {
    let host = match address {
        Address::Unix(_) => "localhost",
        Address::Tcp(authority) => authority,
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header("x-bearerd", "1")
        .body(Full::default())
        .map_err(|_| NoHttp)?;
    if let Some(token) = access_token {
        let line = Zeroizing::new([b"Bearer ", token.expose()].concat());
        let mut value = HeaderValue::from_bytes(&line).map_err(|_| NoHttp)?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    Ok(request)
}

async fn converse<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, NoHttp>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
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
