//! Addresses taken: sockets that listen, and why one could not be had.

mod handed;
pub mod unix;

use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt},
};
use tokio::net::TcpListener;

pub use self::{
    handed::{HandedSocket, take_handed},
    unix::{BoundUnix, SocketGuard, bind_unix},
};
use crate::process::path_error::PathError;

/// Connections that may wait to be accepted, as far as `net.core.somaxconn` allows.
const BACKLOG: i32 = 1024;

/// Listens on a TCP address; port 0 lets the kernel choose one.
///
/// Two listeners never share a port (fault 139). Needs a runtime.
///
/// # Errors
///
/// When the address is taken, not ours, or not allowed to us (fault 252).
pub fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listener = listen_tcp(address).map_err(|errno| BindError::tcp(address, errno))?;
    TcpListener::from_std(listener.into())
        .map_err(|error| BindError::tcp(address, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}

fn listen_tcp(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = stream_socket(family)?;
    // Lets us take the port again while connections of our last life still wait for their end.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn stream_socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, None)
}

/// Says why an address could not be taken, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The port is taken.
    #[error("{address} is in use by another program: stop it (ss -ltnp 'sport = :{port}' names it), \
             or choose another port", port = address.port())]
    PortTaken {
        /// The address.
        address: SocketAddr,
    },
    /// The port is one of those below 1024.
    #[error(
        "{address} may not be taken by this user: choose a port from 1024 on, \
             or grant CAP_NET_BIND_SERVICE"
    )]
    PortDenied {
        /// The address.
        address: SocketAddr,
    },
    /// The host has no such address.
    #[error("{address} is no address of this machine: correct it, or bring its interface up")]
    NoSuchAddress {
        /// The address.
        address: SocketAddr,
    },
    /// The kernel refused a TCP socket for another reason.
    #[error("{address} cannot be listened on: {errno}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        errno: Errno,
    },
    /// A socket of the service manager cannot be used.
    #[error("socket systemd:{name} {flaw}")]
    Handed {
        /// Its name.
        name: String,
        /// What is wrong with it.
        flaw: handed::Flaw,
    },
    /// No socket can have such a path.
    #[error("socket path {path:?} {flaw}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        flaw: &'static str,
    },
    /// The socket's directory, or the way to it.
    #[error("socket directory: {0}")]
    Directory(PathError),
    /// Others could put their own socket there.
    #[error(
        "socket directory {path} has mode {mode:04o}, so others can put their own socket there: \
             run chmod o-w '{path}', choose another directory, \
             or set the listener's allow_shared_directory"
    )]
    SharedDirectory {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another instance has it.
    #[error("{path} is in use by a running instance: stop that one, or choose another path")]
    Running {
        /// The socket.
        path: PathBuf,
    },
    /// Something stands there that is not ours to remove.
    #[error("{path} is {what}, which is not ours to replace: remove it, or choose another path")]
    Foreign {
        /// What stands there.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// The socket cannot be given to that owner or group.
    #[error(
        "{path} cannot be given to the configured owner or group: run as root, \
             or choose a group that this user is in"
    )]
    Ownership {
        /// The socket.
        path: PathBuf,
    },
    /// The kernel refused a unix socket for another reason.
    #[error("{path} cannot be listened on: {errno}")]
    Unix {
        /// The socket, or the file beside it that failed.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
}

impl BindError {
    /// Names the kind of error, for logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::PortTaken { .. } => "port_taken",
            Self::PortDenied { .. } => "port_denied",
            Self::NoSuchAddress { .. } => "no_such_address",
            Self::Handed { .. } => "handed",
            Self::Path { .. } => "path",
            Self::Directory(error) => error.label(),
            Self::SharedDirectory { .. } => "shared_directory",
            Self::Running { .. } => "running",
            Self::Foreign { .. } => "foreign",
            Self::Ownership { .. } => "ownership",
            Self::Tcp { .. } | Self::Unix { .. } => "io",
        }
    }

    const fn tcp(address: SocketAddr, errno: Errno) -> Self {
        match errno {
            Errno::ADDRINUSE => Self::PortTaken { address },
            Errno::ACCESS | Errno::PERM => Self::PortDenied { address },
            Errno::ADDRNOTAVAIL => Self::NoSuchAddress { address },
            errno => Self::Tcp { address, errno },
        }
    }

    /// Says that the service manager has handed over no socket of this name.
    #[must_use]
    pub fn missing(name: &str) -> Self {
        Self::Handed { name: name.to_owned(), flaw: handed::Flaw::Missing }
    }

    fn unix(path: &Path, errno: Errno) -> Self {
        Self::Unix { path: path.to_owned(), errno }
    }
}

impl From<PathError> for BindError {
    fn from(error: PathError) -> Self {
        match error {
            PathError::SharedDirectory { path, mode } => Self::SharedDirectory { path, mode },
            error => Self::Directory(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[tokio::test]
    async fn the_kernel_chooses_for_port_zero_and_clients_get_through() {
        let listener = bind_tcp(loopback(0)).unwrap();
        let address = listener.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let (client, accepted) =
            tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        assert_eq!(client.unwrap().local_addr().unwrap(), accepted.unwrap().1);
    }

    // faults 139 and 252
    #[tokio::test]
    async fn a_taken_port_is_refused_and_free_again_afterwards() {
        let first = bind_tcp(loopback(0)).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind_tcp(address).unwrap_err();
        assert_eq!(error, BindError::PortTaken { address });
        assert!(error.to_string().contains(&format!("sport = :{}", address.port())));
        let wildcard = SocketAddr::from(([0, 0, 0, 0], address.port()));
        assert_eq!(bind_tcp(wildcard).unwrap_err(), BindError::PortTaken { address: wildcard });
        drop(first);
        bind_tcp(address).unwrap();
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let address: SocketAddr = "192.0.2.1:0".parse().unwrap();
        assert_eq!(bind_tcp(address).unwrap_err(), BindError::NoSuchAddress { address });
    }

    // fault 252: root may take any port, so the kernel's answer is taken for granted
    #[test]
    fn a_privileged_port_is_explained() {
        let error = BindError::tcp(loopback(80), Errno::ACCESS);
        assert_eq!(error, BindError::PortDenied { address: loopback(80) });
        assert!(error.to_string().contains("CAP_NET_BIND_SERVICE"));
    }
}
