//! The emulated issuer as its owner sees it: started, watched, disturbed, stopped.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use reqwest::Url;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    initial_key,
    options::Options,
    schedule::FaultPlan,
    server::{self, Issuer},
    state::State,
    traffic::Seen,
    users::{Role, Status},
};

/// Runs an emulated issuer; it ends when this is stopped or dropped.
pub struct Emulator {
    address: SocketAddr,
    key: (String, String),
    issuer: Arc<Issuer>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Emulator {
    /// Binds, makes the initial key and serves on the current runtime.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, or the key file can be neither used nor written.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = bind(options.bind).await?;
        let address = listener.local_addr()?;
        let origin = options.public_url.clone().map_or_else(|| origin(address), Ok)?;
        let mut state = State::new(options, origin);
        let key = initial_key::add(&mut state)?;
        let emulator = Self {
            address,
            key,
            issuer: Arc::new(Issuer::new(state)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        emulator.serve(listener);
        Ok(emulator)
    }

    fn serve(&self, listener: TcpListener) {
        let (issuer, tasks) = (Arc::clone(&self.issuer), self.tasks.clone());
        self.tasks.spawn(server::serve(listener, issuer, tasks, self.stop.clone()));
    }

    /// Tells the bound address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells where clients are pointed at, as `http://127.0.0.1:4242`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells id and secret of the initial key.
    #[must_use]
    pub fn key(&self) -> (String, String) {
        self.key.clone()
    }

    /// Counts the calls for a token that have come in, however they were answered.
    #[must_use]
    pub fn mint_calls(&self) -> u64 {
        self.state().traffic.mint_calls
    }

    /// Counts the tokens that were granted.
    #[must_use]
    pub fn mints(&self) -> u64 {
        self.state().traffic.mints
    }

    /// Counts all calls to the API that have come in.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().traffic.requests
    }

    /// Tells the latest calls that have ended, the oldest first, 4096 at most.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.state().traffic.latest()
    }

    /// Lets coming requests fail; takes a [`Fault`](super::Fault) too, which lasts until cleared.
    pub fn inject(&self, plan: impl Into<FaultPlan>) {
        self.state().faults.plan(plan.into());
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Sets the lifetime of tokens to come.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.state().options.lifetime = lifetime;
    }

    /// Sets how long every answer takes at least.
    pub fn set_latency(&self, latency: Duration) {
        self.state().options.latency = latency;
    }

    /// Sets how many seconds the issuer's clock is ahead of the truth.
    pub fn set_clock_skew(&self, seconds: i64) {
        self.state().options.clock_skew = seconds;
    }

    /// Sets how many requests each user may make in a window.
    pub fn set_rate_limit(&self, limit: u32) {
        self.state().limits.limit = limit;
    }

    /// Disables or enables the team.
    pub fn set_team_disabled(&self, is_disabled: bool) {
        self.state().is_team_disabled = is_disabled;
    }

    /// Forgets all tokens, and tells how many there were.
    pub fn revoke_all_tokens(&self) -> usize {
        self.state().tokens.clear()
    }

    /// Adds a key, and the user if there is none of that name; tells its id and secret.
    #[must_use]
    pub fn add_key(&self, user: &str) -> (String, String) {
        let mut state = self.state();
        let key = state.add_key(user);
        (key.id.clone(), key.secret.clone())
    }

    /// Adds a user without keys, if there is none of that name; tells the id.
    pub fn add_user(&self, name: &str) -> String {
        self.state().user_id(name)
    }

    /// Ends a key after `life`; tells whether there is such a key.
    pub fn expire_key(&self, id: &str, life: Duration) -> bool {
        self.state().end_key(id, life)
    }

    /// Deletes a key; tells whether there was such a key.
    pub fn delete_key(&self, id: &str) -> bool {
        self.state().keys.delete(id)
    }

    /// Changes the status of a user; tells whether there is such a user.
    pub fn set_status(&self, user: &str, status: Status) -> bool {
        self.state().set_status(user, status)
    }

    /// Changes the role of a user; tells whether there is such a user.
    pub fn set_role(&self, user: &str, role: Role) -> bool {
        self.state().set_role(user, role)
    }

    /// Closes all connections and the listener, and waits until they are gone.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.issuer.state()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let message = format!("the emulated issuer cannot listen on {address}: {error}");
        io::Error::new(error.kind(), message)
    })
}

fn origin(address: SocketAddr) -> io::Result<Url> {
    Url::parse(&format!("http://{address}")).map_err(io::Error::other)
}
