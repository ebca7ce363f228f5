//! A broker's surroundings, made of memory and paused time: no socket, no file, no real clock.

pub(crate) mod clock;
pub(crate) mod issuer;
pub(crate) mod keys;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bearerd::{
    telemetry::metrics::Metrics,
    token::{broker::BrokerSeat, handle::Handle, timing::RefreshSettings},
};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use clock::SimClock;
use issuer::FakeIssuer;
use keys::{FakeKeys, KeyDesk, Letter};

/// Name of the one credential.
pub(crate) const CREDENTIAL: &str = "default";
/// Virtual time after which everything that a moment set going has come to rest.
pub(crate) const SETTLE: Duration = Duration::from_millis(1);

/// Holds a running broker and everything around it.
pub(crate) struct Bench {
    pub(crate) clock: Arc<SimClock>,
    pub(crate) issuer: Arc<FakeIssuer>,
    pub(crate) keys: KeyDesk,
    pub(crate) handle: Handle,
    pub(crate) metrics: Metrics,
    pub(crate) settings: watch::Sender<RefreshSettings>,
    seat: Arc<BrokerSeat>,
    /// Ends every task when the bench is dropped.
    pub(crate) tasks: JoinSet<()>,
}

impl Bench {
    /// Builds everything around a broker that has not been started.
    pub(crate) fn new(settings: RefreshSettings, issuer: FakeIssuer) -> Self {
        let clock = Arc::new(SimClock::new());
        let metrics = Metrics::new();
        let (seat, handle) = BrokerSeat::new(CREDENTIAL, Arc::clone(&clock) as _, &metrics);
        Self {
            clock,
            issuer: Arc::new(issuer),
            keys: KeyDesk::default(),
            handle,
            metrics,
            settings: watch::Sender::new(settings),
            seat: Arc::new(seat),
            tasks: JoinSet::new(),
        }
    }

    /// Starts a broker that reads this key first and lets the start come to rest.
    pub(crate) async fn started(
        settings: RefreshSettings,
        issuer: FakeIssuer,
        key: Letter,
    ) -> Self {
        let mut bench = Self::new(settings, issuer);
        bench.start();
        bench.keys.put(key);
        bench.settle().await;
        bench
    }

    /// Starts a broker on the seat; it reads whatever the key desk is given from now on.
    pub(crate) fn start(&mut self) -> AbortHandle {
        let keys: FakeKeys = self.keys.open();
        let (seat, issuer) = (Arc::clone(&self.seat), Arc::clone(&self.issuer));
        let settings = self.settings.subscribe();
        self.tasks.spawn(async move {
            let chance = Box::new(|| 0.5);
            seat.run(settings, issuer, keys, chance).await;
        })
    }

    /// Lets everything run that needs no time.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(SETTLE).await;
    }

    /// Lets so much time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Tells the serial of the token that is served, if there is one.
    pub(crate) fn serves(&self) -> Option<u64> {
        let (published, _) = self.handle.current()?;
        published.serial().to_string().parse().ok()
    }

    /// Reads the counters of a family whose labels end in `tail`, by the value of `label`.
    pub(crate) fn counts(&self, family: &str, label: &str, tail: &str) -> BTreeMap<String, u64> {
        let text = String::from_utf8_lossy(&self.metrics.render()).into_owned();
        text.lines()
            .filter(|line| line.starts_with(&format!("{family}{{")) && line.contains(tail))
            .filter_map(|line| {
                let (labels, count) = line.rsplit_once("} ")?;
                let (_, value) = labels.split_once(&format!("{label}=\""))?;
                let (value, _) = value.split_once('"')?;
                Some((value.to_owned(), count.parse().ok()?))
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Counts the mints that have landed, by their trigger.
    pub(crate) fn refreshes(&self, result: &str) -> BTreeMap<String, u64> {
        let tail = format!("result=\"{result}\"");
        self.counts("bearerd_token_refreshes_total", "trigger", &tail)
    }
}
