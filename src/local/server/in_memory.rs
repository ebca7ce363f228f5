//! A connection that no kernel carries, served by the same code as all others.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{App, Counted, Server, Visit};
use crate::process::peer::Peer;

impl<A: App> Server<A> {
    /// Serves a stream of this peer to its end.
    pub(crate) async fn serve<S>(&self, stream: S, peer: Peer, tasks: &TaskTracker)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let visit = self.visit(peer, CancellationToken::new()).await;
        self.attend(stream, visit, tasks).await;
    }

    /// Lets a peer in who stays until `stop`.
    pub(super) async fn visit(&self, peer: Peer, stop: CancellationToken) -> Visit {
        let rules = self.rules.load_full();
        let place = self.place(&rules).await.expect("nobody closes the places");
        let counted = Counted::new(&self.metrics.connections);
        let mut visit = Visit::new(peer, rules, stop, place, counted);
        assert!(visit.enter(self.common.clock.tick()), "one connection may always be there");
        visit
    }
}
