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
        let rules = self.rules.load_full();
        let place = self.place(&rules).await.expect("nobody closes the places");
        let counted = Counted::new(&self.metrics.connections);
        let visit = Visit::new(peer, rules, CancellationToken::new(), place, counted);
        self.attend(stream, visit, tasks).await;
    }
}
