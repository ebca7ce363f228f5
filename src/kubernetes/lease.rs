//! The right to rotate the key of one Secret, which one daemon of a fleet has at a time.
//!
//! A Lease of `coordination.k8s.io`, held around a rotation only. Nobody's wall clock is believed: a
//! holder is taken for dead when the Lease has not changed for its whole duration while we watched.

use std::{convert::Infallible, time::Duration};

use reqwest::Method;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{
    client::{CallError, JSON, Sent},
    secret::SecretPlace,
    wire,
};
use crate::process::{
    clock::{Clock, SystemClock},
    secret_file,
};

/// How long it is held without a sign of life.
const DURATION: u64 = 15;
/// Time between two signs of life.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// What is added to the duration of another holder, whose clock may run slower.
const SLACK: Duration = Duration::from_secs(2);
/// Longest duration of another holder that is believed.
const LONGEST: u64 = 120;

/// Takes, keeps and gives back the Lease of one Secret.
pub struct Lease {
    place: SecretPlace,
    name: String,
    identity: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The Lease as we have written it, while it is ours.
    held: Option<wire::Lease>,
    /// The version that another holder has written, and since when we know it.
    seen: Option<(String, Instant)>,
}

/// Says why the Lease is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unheld {
    /// Somebody else has it.
    Taken {
        /// Who.
        holder: String,
    },
    /// It cannot be had.
    Call(CallError),
}

impl Lease {
    /// Names the Lease of a Secret; nothing is asked yet.
    #[must_use]
    pub fn new(place: SecretPlace) -> Self {
        let name = format!("bearerd-{}", place.name.name);
        let host = rustix::system::uname();
        // No random part only where the system gives none: then the pod's name has to do.
        let drawn = secret_file::fresh().ok();
        let part = drawn.as_ref().and_then(|drawn| drawn.expose().get(..16)).unwrap_or_default();
        let pod = host.nodename().to_string_lossy();
        let identity = format!("{pod}_{}", String::from_utf8_lossy(part));
        Self { place, name, identity, state: Mutex::default() }
    }

    /// Takes it or shows that it is still ours, by a call in either case.
    pub(super) async fn claim(&self) -> Result<(), Unheld> {
        let mut state = self.state.lock().await;
        if let Some(held) = state.held.clone() {
            match self.put(held, &self.identity, DURATION).await {
                Ok(held) => {
                    state.held = Some(held);
                    return Ok(());
                }
                // Somebody has it, or has only labelled it: that is looked at.
                Err(CallError::Conflict | CallError::Missing) => state.held = None,
                Err(error) => return Err(Unheld::Call(error)),
            }
        }
        let found = self.get().await.map_err(Unheld::Call)?;
        if let Some(holder) = self.living(found.as_ref(), &mut state) {
            return Err(Unheld::Taken { holder });
        }
        let written = match found {
            Some(lease) => self.put(lease, &self.identity, DURATION).await,
            None => self.make().await,
        };
        match written {
            Ok(held) => {
                *state = State { held: Some(held), seen: None };
                Ok(())
            }
            Err(CallError::Conflict) => {
                Err(Unheld::Taken { holder: "somebody who was faster".to_owned() })
            }
            Err(error) => Err(Unheld::Call(error)),
        }
    }

    /// Names another holder who may be alive.
    fn living(&self, found: Option<&wire::Lease>, state: &mut State) -> Option<String> {
        let (lease, holder) = found.and_then(|it| Some((it, it.holder()?)))?;
        if holder == self.identity {
            return None;
        }
        let now = Instant::now();
        let since = match &state.seen {
            Some((version, since)) if version == lease.version() => *since,
            _ => now,
        };
        state.seen = Some((lease.version().to_owned(), since));
        let duration = lease.seconds().unwrap_or(DURATION).min(LONGEST);
        (now - since < Duration::from_secs(duration) + SLACK).then(|| holder.to_owned())
    }

    /// Shows signs of life as long as this is polled and the Lease is ours.
    pub(super) async fn keep(&self) -> Infallible {
        loop {
            sleep(RENEW_EVERY).await;
            let mut state = self.state.lock().await;
            // It stays ours while this is under way, which may be given up at any time.
            let Some(held) = state.held.clone() else { continue };
            match self.put(held, &self.identity, DURATION).await {
                Ok(held) => state.held = Some(held),
                // It is somebody else's, or was labelled: the next step finds that out.
                Err(CallError::Conflict | CallError::Missing) => state.held = None,
                Err(_) => {}
            }
        }
    }

    /// Gives it back, so that nobody has to wait for its end.
    pub(super) async fn release(&self) {
        let mut state = self.state.lock().await;
        let Some(held) = state.held.take() else { return };
        if self.put(held, "", 1).await == Err(CallError::Conflict) {
            // A sign of life that was given up half-way has come through all the same.
            let found = self.get().await.ok().flatten();
            if let Some(found) = found.filter(|it| it.holder() == Some(&self.identity)) {
                // Who cannot be told waits for the end.
                self.put(found, "", 1).await.ok();
            }
        }
    }

    async fn path(&self, name: Option<&str>) -> Result<Vec<String>, CallError> {
        let namespace = self.place.namespace().await?;
        let path = ["apis", "coordination.k8s.io", "v1", "namespaces", &namespace, "leases"];
        Ok(path.into_iter().chain(name).map(str::to_owned).collect())
    }

    async fn get(&self) -> Result<Option<wire::Lease>, CallError> {
        let path = self.path(Some(&self.name)).await?;
        match self.place.server().call(Sent::get(path)).await {
            Ok(body) => wire::Lease::read(&body).map(Some).ok_or(CallError::Malformed),
            Err(CallError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(
        &self,
        lease: wire::Lease,
        holder: &str,
        seconds: u64,
    ) -> Result<wire::Lease, CallError> {
        let path = self.path(Some(&self.name)).await?;
        self.send(Method::PUT, path, &lease.held_by(holder, seconds, SystemClock.wall())).await
    }

    async fn make(&self) -> Result<wire::Lease, CallError> {
        let lease = wire::Lease::new(&self.name);
        let lease = lease.held_by(&self.identity, DURATION, SystemClock.wall());
        self.send(Method::POST, self.path(None).await?, &lease).await
    }

    async fn send(
        &self,
        method: Method,
        path: Vec<String>,
        lease: &wire::Lease,
    ) -> Result<wire::Lease, CallError> {
        let query = vec![("fieldManager", "bearerd".to_owned())];
        let body = Some((JSON, lease.written()));
        let sent = Sent { method, path, query, accept: JSON, body };
        let body = self.place.server().call(sent).await?;
        wire::Lease::read(&body).ok_or(CallError::Malformed)
    }
}
