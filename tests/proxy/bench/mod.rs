//! What every test stands on: a home, an issuer, the daemon, and clients that send any bytes.

pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod home;
pub(crate) mod recorder;

use std::time::Duration;

use bearerd::emulator::{Emulator, Options};
use tokio::time::{Instant, sleep};

pub(crate) use self::{
    client::{App, Place, Reply, Visitor},
    daemon::Daemon,
    home::Home,
    recorder::{Arrived, Conversation, Recorder},
};

/// Longest time that anything may take which should happen at once or soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An emulated issuer and a home whose configuration points at it.
pub(crate) struct Stand {
    pub(crate) issuer: Emulator,
    pub(crate) home: Home,
}

impl Stand {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        change(&mut options);
        let issuer = Emulator::start(options).await.unwrap();
        let home = Home::new(&issuer.base_url(), &issuer.key());
        Self { issuer, home }
    }
}

/// Tells how much of something a test does: as much as a variable says, for campaigns.
pub(crate) fn scale(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |asked| asked.parse().unwrap())
}

/// Waits until something is so; fails if it is not within [`PATIENCE`].
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let late = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < late, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
