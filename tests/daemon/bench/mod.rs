//! What every test stands on: a home, an issuer, the daemon, and clients that send any bytes.

pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod daemon;
pub(crate) mod home;
pub(crate) mod injection;
pub(crate) mod issuer;
pub(crate) mod metrics;
pub(crate) mod rotating;
pub(crate) mod terminal;
pub(crate) mod tls;
pub(crate) mod user;

use std::{collections::BTreeSet, io::Write, time::Duration};

use bearerd::emulator::{Emulator, Options};
use tokio::time::{Instant, sleep};

pub(crate) use self::{
    client::{Place, Reply, Visitor},
    daemon::Daemon,
    home::Home,
    issuer::RawIssuer,
    metrics::Metrics,
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

    /// Starts the daemon and waits until it is ready.
    pub(crate) async fn start(&self) -> Daemon {
        let daemon = self.home.start().await;
        daemon.until_ready().await;
        daemon
    }

    /// Tells the status with which the issuer answers a call with this token.
    pub(crate) async fn accepts(&self, token: &str) -> u16 {
        let request = format!(
            "GET /v1/teams/acme/current_user HTTP/1.1\r\nHost: issuer\r\n\
             Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        let mut visitor = Visitor::connect(&Place::Tcp(self.issuer.address())).await;
        visitor.send(request.as_bytes()).await;
        visitor.reply().await.status
    }
}

/// Says aloud that something cannot be tried here.
pub(crate) fn skip(why: &str) {
    let mut stderr = std::io::stderr();
    writeln!(stderr, "SKIPPED: {why}").unwrap();
}

/// Tells how much of something a test does: as much as a variable says, for campaigns.
pub(crate) fn scale(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |asked| asked.parse().unwrap())
}

/// Says what was measured or skipped, for whoever reads along.
pub(crate) fn tell(what: &str) {
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{what}").unwrap();
}

/// Lets this process have as many connections as the daemon.
pub(crate) fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Keeps this thread, and what it starts from now on, to one core of those that it may use.
pub(crate) fn stay_on_one_core() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let ours = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|core| ours.is_set(*core)).unwrap();
    let mut only = CpuSet::new();
    only.set(first);
    sched_setaffinity(None, &only).unwrap();
}

/// Waits until something is so; fails if it is not within [`PATIENCE`].
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    until_ok(async || is_so().await.then_some(()).ok_or(what)).await;
}

/// Waits for a value; fails with what there is instead if it does not come within [`PATIENCE`].
pub(crate) async fn until_ok<T, E: std::fmt::Debug>(
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let late = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < late, "not within {PATIENCE:?}: {instead:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Tells the wall clock's time in seconds since 1970.
pub(crate) fn wall() -> f64 {
    since_1970(jiff::Timestamp::now())
}

/// Reads an RFC 3339 time as seconds since 1970.
pub(crate) fn seconds_of(text: &str) -> f64 {
    since_1970(text.parse().unwrap())
}

fn since_1970(moment: jiff::Timestamp) -> f64 {
    moment.duration_since(jiff::Timestamp::UNIX_EPOCH).as_secs_f64()
}

/// Makes a set of some texts, to be compared whatever their order.
pub(crate) fn set<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    texts.into_iter().map(Into::into).collect()
}
