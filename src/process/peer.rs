//! Who is at the other end of a socket.

/// Tells what the kernel knows of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process at the other end of a unix socket.
    Unix {
        /// Effective user id at the time of the connect.
        uid: u32,
        /// Effective group id.
        gid: u32,
        /// Process id, for the log only (fault 162).
        pid: Option<i32>,
    },
    /// A unix socket about which the kernel does not answer.
    Unknown,
    /// Somebody on TCP; our own port, which `Host` may name.
    Tcp {
        /// Port of the listener.
        port: u16,
    },
}

impl From<&tokio::net::UnixStream> for Peer {
    fn from(stream: &tokio::net::UnixStream) -> Self {
        stream.peer_cred().map_or(Self::Unknown, |peer| Self::Unix {
            uid: peer.uid(),
            gid: peer.gid(),
            pid: peer.pid(),
        })
    }
}
