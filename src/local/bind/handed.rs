//! Sockets that a service manager listens on and hands over: looked at, never believed (fault 171).

use std::{
    net::{SocketAddr, TcpListener as StdTcp},
    os::{fd::OwnedFd, unix::net::UnixListener as StdUnix},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, sockopt},
};
use tokio::net::{TcpListener, UnixListener};

use super::BindError;
use crate::{config::model::Listener, process::activation::Handed};

/// A socket that was handed over, and its address.
pub enum HandedSocket {
    /// A unix socket, whose file is not ours.
    Unix(UnixListener, String),
    /// A TCP socket.
    Tcp(TcpListener, SocketAddr),
}

/// Takes up all sockets of a name for a listener. Needs a runtime.
///
/// # Errors
///
/// When there is none, one of them is no listening stream socket, or one can be reached by whom this
/// listener may not let in.
pub fn take_handed(
    handed: &Handed,
    name: &str,
    listener: &Listener,
) -> Result<Vec<HandedSocket>, BindError> {
    let refused = |flaw| BindError::Handed { name: name.to_owned(), flaw };
    let sockets = handed.named(name).map_err(|_| refused(Flaw::Unusable))?;
    if sockets.is_empty() {
        return Err(refused(Flaw::Missing));
    }
    let taken = sockets.into_iter().map(|socket| take(socket, listener).map_err(refused));
    taken.collect()
}

/// Says what is wrong with a socket that was handed over, as the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// There is none of that name.
    #[error(
        "was not handed over: start the socket unit, with FileDescriptorName= and the name that \
         stands in `bind`"
    )]
    Missing,
    /// It is a file, a datagram socket, a connection.
    #[error("is no stream socket that listens: write ListenStream= and Accept=no")]
    Kind,
    /// Other machines can connect.
    #[error(
        "can be reached from other machines: listen on loopback, or set `allow_non_loopback` with \
         `access_token_file` and `tls`"
    )]
    Exposed,
    /// A reverse proxy's visitors could ask for the token.
    #[error("serves `auth` on TCP, which needs `access_token_file`")]
    OpenAuth,
    /// The kernel refuses it.
    #[error("cannot be used: look at its unit")]
    Unusable,
}

fn take(socket: OwnedFd, listener: &Listener) -> Result<HandedSocket, Flaw> {
    match family(&socket).map_err(|_| Flaw::Kind)? {
        Some(AddressFamily::UNIX) => unix(socket),
        Some(AddressFamily::INET | AddressFamily::INET6) => tcp(socket, listener),
        _ => Err(Flaw::Kind),
    }
}

/// Tells the family of a stream socket that listens; `None` for any other.
fn family(socket: &OwnedFd) -> Result<Option<AddressFamily>, Errno> {
    let listens = sockopt::socket_acceptconn(socket)?;
    let streams = sockopt::socket_type(socket)? == SocketType::STREAM;
    let family = sockopt::socket_domain(socket)?;
    Ok((listens && streams).then_some(family))
}

fn unix(socket: OwnedFd) -> Result<HandedSocket, Flaw> {
    let socket = StdUnix::from(socket);
    let address = socket.local_addr().ok();
    let path = address.as_ref().and_then(|address| address.as_pathname());
    let path = path.map_or_else(|| "unnamed".to_owned(), |path| path.display().to_string());
    let taken = socket.set_nonblocking(true).and_then(|()| UnixListener::from_std(socket));
    Ok(HandedSocket::Unix(taken.map_err(|_| Flaw::Unusable)?, path))
}

/// What the configuration is checked for where it names an address is looked at here instead.
fn tcp(socket: OwnedFd, listener: &Listener) -> Result<HandedSocket, Flaw> {
    let socket = StdTcp::from(socket);
    let address = socket.local_addr().map_err(|_| Flaw::Unusable)?;
    if !address.ip().to_canonical().is_loopback() && !listener.allow_non_loopback {
        return Err(Flaw::Exposed);
    }
    if listener.serves_auth && listener.guard.access_token_file.is_none() {
        return Err(Flaw::OpenAuth);
    }
    let taken = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
    Ok(HandedSocket::Tcp(taken.map_err(|_| Flaw::Unusable)?, address))
}
