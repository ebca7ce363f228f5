//! The connections: from a socket to a call, and from an answer or a fault back to the socket.

use std::{
    error::Error,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    api,
    call::Call,
    control,
    sabotage::Outcome,
    script::{self, Script, Takeover},
    state::State,
};

/// Pause after an accept that failed, as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Holds what all connections share.
pub(super) struct Issuer(Mutex<State>);

impl Issuer {
    pub(super) fn new(state: State) -> Self {
        Self(Mutex::new(state))
    }

    /// Locks the state; no lock is held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request; an error takes the connection over.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Takeover> {
        let now = self.state().now();
        // A sender that went, or sent too much, has its connection closed.
        let call = Call::read(request, now).await.ok_or(Takeover(Script::new()))?;
        if call.parts().first() == Some(&control::PREFIX) {
            return Ok(control::answer(&mut self.state(), &call).map(Full::new));
        }
        match self.outcome(&call).await {
            Outcome::Answer(answer) => Ok(answer.map(Full::new)),
            Outcome::Takeover(script) => Err(Takeover(script)),
        }
    }

    async fn outcome(&self, call: &Call) -> Outcome {
        let latency = self.arrive(call);
        if !latency.is_zero() {
            time::sleep(latency).await;
        }
        let state = &mut *self.state();
        let outcome = end(state, call);
        state.traffic.leave(&call.method, &call.path, status(&outcome));
        outcome
    }

    fn arrive(&self, call: &Call) -> Duration {
        let mut state = self.state();
        state.traffic.arrive(call.is_mint());
        state.options.latency
    }
}

fn end(state: &mut State, call: &Call) -> Outcome {
    let Some(fault) = state.faults.take(call.target()) else {
        return Outcome::Answer(api::answer(state, call));
    };
    match fault.instead(call) {
        Some(Outcome::Answer(mut answer)) => {
            api::dress(&mut answer, state.limits.stranger(call.now), call.now);
            Outcome::Answer(answer)
        }
        Some(takeover) => takeover,
        None => fault.spoil(api::answer(state, call), call),
    }
}

fn status(outcome: &Outcome) -> Option<u16> {
    match outcome {
        Outcome::Answer(answer) => Some(answer.status().as_u16()),
        Outcome::Takeover(_) => None,
    }
}

/// Serves connections until `stop`; each is a task of `tasks`.
pub(super) async fn serve(
    listener: TcpListener,
    issuer: Arc<Issuer>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let (issuer, stop) = (Arc::clone(&issuer), stop.clone());
                tasks.spawn(stop.run_until_cancelled_owned(connection(stream, issuer)));
            }
            Err(error) => {
                tracing::warn!(%error, "the emulated issuer cannot accept a connection");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, issuer: Arc<Issuer>) {
    let service = service_fn(move |request| {
        let issuer = Arc::clone(&issuer);
        // Boxed, as only a future that may be moved lets go of its connection.
        Box::pin(async move { issuer.answer(request).await })
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let Err(error) = poll_fn(|context| connection.poll_without_shutdown(context)).await else {
        return;
    };
    if let Some(Takeover(script)) = error.source().and_then(<dyn Error>::downcast_ref) {
        let (script, stream) = (script.clone(), connection.into_parts().io.into_inner());
        if let Err(error) = script::play(script, stream).await {
            tracing::debug!(%error, "the client left in the middle of a fault");
        }
    }
}
