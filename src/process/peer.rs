//! Who is at the other end of a socket, by the kernel's word.

use nix::{
    errno::Errno,
    getsockopt_impl, libc,
    sys::socket::{getsockopt, sockopt::GetStruct},
};
use tokio::net::UnixStream;

/// Tells what the kernel knows of the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process at the other end of a unix socket.
    Unix {
        /// Effective user id at the time of the connect.
        uid: u32,
        /// Effective group id.
        gid: u32,
        /// The other groups of the process at that time; empty unless they were asked for.
        groups: Vec<u32>,
        /// Process id, for the log only (fault 162).
        pid: Option<i32>,
    },
    /// A unix socket about which the kernel does not answer.
    Unknown,
    /// Somebody on TCP.
    Tcp {
        /// Our own port, which `Host` may name.
        port: u16,
        /// User id that the client's socket belongs to; `None` unless it was asked for and told.
        uid: Option<u32>,
    },
}

impl Peer {
    /// Asks the kernel who connected to a unix socket; for the other groups only if they matter.
    ///
    /// Groups that the kernel does not tell are none.
    #[must_use]
    pub fn at(stream: &UnixStream, wants_groups: bool) -> Self {
        let Ok(peer) = stream.peer_cred() else {
            return Self::Unknown;
        };
        let groups = if wants_groups { groups(stream).unwrap_or_default() } else { Vec::new() };
        Self::Unix { uid: peer.uid(), gid: peer.gid(), groups, pid: peer.pid() }
    }

    /// Tells the user id, as far as the kernel has.
    #[must_use]
    pub const fn uid(&self) -> Option<u32> {
        match self {
            Self::Unix { uid, .. } => Some(*uid),
            Self::Tcp { uid, .. } => *uid,
            Self::Unknown => None,
        }
    }
}

/// Asks for lists of each of these lengths and returns the first that the kernel gives.
macro_rules! list_of_groups {
    ($stream:expr; $($tens:literal)*) => {$(
        list_of_groups!($stream; $tens, 0 1 2 3 4 5 6 7 8 9);
    )*};
    ($stream:expr; $tens:literal, $($ones:literal)*) => {$({
        type List = [u32; $tens * 10 + $ones];
        #[derive(Clone, Copy)]
        struct PeerGroups;
        getsockopt_impl!(
            PeerGroups, libc::SOL_SOCKET, libc::SO_PEERGROUPS, List, GetStruct<List>
        );
        match getsockopt($stream, PeerGroups) {
            Err(Errno::ERANGE) => {}
            list => return list.map(Vec::from),
        }
    })*};
}

/// Lists the supplementary groups that the peer had when it connected; fails for 130 or more.
///
/// Neither `/proc` nor the user database will do: the peer may live in another PID namespace, have
/// ended, or have groups from a container's runtime. No crate gives a list whose length is not
/// known beforehand, and the kernel refuses a list that is too short; so the lengths are tried in
/// order, and the first that is not too short is exact. Few processes are in more than a handful.
fn groups(stream: &UnixStream) -> Result<Vec<u32>, Errno> {
    list_of_groups!(stream; 0 1 2 3 4 5 6 7 8 9 10 11 12);
    Err(Errno::ERANGE)
}
