//! One connection: where it came in, who it is of, and under which rules.

use std::{io, net::SocketAddr, sync::Arc};

use http::uri::Scheme;
use prometheus::IntGauge;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::users::{Stay, Users};
use crate::{
    config::model::{Guard, Limits},
    process::{
        peer::Peer,
        tcp_owner::{Ends, Holder, TcpOwners},
    },
    token::timing::Tick,
};

/// Where connections come from.
pub enum Socket {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP socket with its port.
    Tcp(TcpListener, u16),
}

/// A connection that was accepted.
pub(super) enum Stream {
    Unix(UnixStream),
    /// With the client's address.
    Tcp(TcpStream, SocketAddr),
}

/// A connection that was accepted, and what the kernel says of who came.
pub(super) type Guest = (Stream, Peer);

/// What connections come in under, from their first byte to their last.
pub(super) struct Rules {
    pub(super) guard: Guard,
    pub(super) limits: Limits,
    pub(super) places: Arc<Semaphore>,
    /// What each user takes, if that is limited.
    users: Option<Arc<Users>>,
    /// Other rules are in force.
    pub(super) superseded: CancellationToken,
}

impl Rules {
    pub(super) fn new(guard: Guard, limits: Limits) -> Self {
        let places = Arc::new(Semaphore::new(limits.max_connections));
        let users = Users::new(&limits);
        Self { guard, limits, places, users, superseded: CancellationToken::new() }
    }

    fn tell_users_apart(&self) -> bool {
        !self.guard.allow_uids.is_empty() || self.users.is_some()
    }
}

impl Socket {
    /// Waits for the next connection.
    pub(super) async fn accept(&self, rules: &Rules) -> io::Result<Guest> {
        match self {
            Self::Unix(listener) => {
                let (stream, _unnamed) = listener.accept().await?;
                let peer = Peer::at(&stream, !rules.guard.allow_gids.is_empty());
                Ok((Stream::Unix(stream), peer))
            }
            Self::Tcp(listener, port) => {
                let (stream, client) = listener.accept().await?;
                // Answers are small and whole: waiting to fill a packet only delays them.
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream, client), Peer::Tcp { port: *port, uid: None }))
            }
        }
    }
}

/// One connection: who came, and under which rules.
pub(super) struct Visit {
    pub(super) peer: Peer,
    pub(super) rules: Arc<Rules>,
    /// The first request's head has to be there by then.
    pub(super) heard_by: Instant,
    pub(super) scheme: Scheme,
    pub(super) stop: CancellationToken,
    stay: Option<Stay>,
    _place: Place,
    _counted: Counted,
}

/// Room for one connection: in its listener, and among the descriptors of the process.
pub(super) type Place = [OwnedSemaphorePermit; 2];

impl Visit {
    pub(super) fn new(
        peer: Peer,
        rules: Arc<Rules>,
        stop: CancellationToken,
        place: Place,
        counted: Counted,
    ) -> Self {
        let heard_by = Instant::now() + rules.limits.header_timeout;
        let scheme = Scheme::HTTP;
        Self { peer, rules, heard_by, scheme, stop, stay: None, _place: place, _counted: counted }
    }

    /// Asks whose a TCP connection is, if it matters: once, and where nobody else waits for it.
    pub(super) fn recognise(&mut self, stream: &Stream, owners: &TcpOwners) {
        if let (Stream::Tcp(stream, client), Peer::Tcp { uid, .. }) = (stream, &mut self.peer)
            && self.rules.tell_users_apart()
            && let Ok(server) = stream.local_addr()
            && let Ok(Holder::User(holder)) = owners.holder(Ends { client: *client, server })
        {
            *uid = Some(holder);
        }
    }

    /// Takes one of its user's places; tells whether there was one.
    pub(super) fn enter(&mut self, now: Tick) -> bool {
        let Some(users) = &self.rules.users else {
            return true;
        };
        self.stay = users.enter(self.peer.uid(), now);
        self.stay.is_some()
    }

    /// Takes one of its user's requests; tells whether there was one.
    pub(super) fn ask(&self, now: Tick) -> bool {
        self.rules.users.as_ref().is_none_or(|users| users.ask(self.peer.uid(), now))
    }
}

/// Counts a connection for as long as it lives, however that ends.
pub(super) struct Counted(IntGauge);

impl Counted {
    pub(super) fn new(connections: &IntGauge) -> Self {
        connections.inc();
        Self(connections.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
