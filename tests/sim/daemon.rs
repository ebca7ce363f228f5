//! One process of the daemon: the real broker and the real rotation, among simulated neighbours.

use std::sync::{Arc, Mutex};

use bearerd::{
    key::{step, superseded::Superseded},
    okta::classify::Grant,
    process::clock::{Clock, Sleep},
    rotator::{
        handle::RotatorHandle,
        task::{Neighbours, Seat},
    },
    telemetry::metrics::Metrics,
    token::{
        broker::BrokerSeat,
        handle::Handle,
        lease::Lease,
        timing::{RefreshSettings, Tick, Wall},
    },
};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    clock::SimClock,
    dice::Dice,
    disk::Disk,
    issuer::{Line, SimIssuer, USER},
    keys::{DiskKeys, Kept},
    plan::Plan,
    story::Story,
};

/// Name of the one credential.
pub(crate) const CREDENTIAL: &str = "default";
/// Sleeps that may begin in one moment: more are a spin.
const MOST_SLEEPS: u64 = 5_000;

/// A running process.
pub(crate) struct Daemon {
    pub(crate) handle: Handle,
    pub(crate) kept: Kept,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) settings: watch::Sender<RefreshSettings>,
    seat: Arc<BrokerSeat>,
    superseded: Arc<Superseded>,
    broker: AbortHandle,
    pub(crate) rotation: Option<RotatorHandle>,
}

/// What outlives a process.
pub(crate) struct Machine {
    pub(crate) clock: Arc<SimClock>,
    pub(crate) story: Arc<Story>,
    pub(crate) issuer: Arc<SimIssuer>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
}

impl Machine {
    /// Starts a process, which may have kept a token.
    pub(crate) fn start(
        &mut self,
        settings: RefreshSettings,
        kept: Option<(Grant, Lease)>,
    ) -> Daemon {
        let watched = WatchedClock {
            clock: Arc::clone(&self.clock),
            story: Arc::clone(&self.story),
            sleeps: Mutex::default(),
        };
        let clock: Arc<dyn Clock> = Arc::new(watched);
        let (seat, handle) = BrokerSeat::new(CREDENTIAL, Arc::clone(&clock), &Metrics::new());
        let seat = Arc::new(seat);
        let (mut tasks, superseded) = (JoinSet::new(), Arc::<Superseded>::default());
        let tokens = Kept::default();
        let settings = watch::Sender::new(settings);
        let told = settings.subscribe();
        let broker = self.broker(&seat, &superseded, &tokens, told, kept, &mut tasks);
        let rotation = self.plan.every.map(|every| {
            let neighbours = Neighbours {
                issuer: self.line(false),
                clock,
                own: handle.clone(),
                asking: {
                    let handle = handle.clone();
                    Arc::new(move || Some(handle.clone()))
                },
                nudge: Arc::clone(&self.disk.changed),
                superseded: Arc::clone(&superseded),
                on_rotated: None,
            };
            let plan = step::Plan { every: Some(every), place: 0.5, delete_old: self.plan.lists };
            let site = Arc::new(self.disk.site());
            let (rotation, asked) = Seat::at(CREDENTIAL, site, USER, plan, neighbours);
            let (rotation, stop) = (Arc::new(rotation), CancellationToken::new());
            tasks.spawn(rotation.run(stop.clone(), stop));
            asked
        });
        self.issuer.watch(|watch| watch.begin(handle.clone(), self.clock.tick()));
        Daemon { handle, kept: tokens, tasks, settings, seat, superseded, broker, rotation }
    }

    /// Ends the broker alone, as a bug does, and starts another one on the same seat.
    pub(crate) fn start_broker_anew(&mut self, daemon: &mut Daemon) {
        daemon.broker.abort();
        let told = daemon.settings.subscribe();
        let Daemon { seat, superseded, kept, tasks, .. } = daemon;
        daemon.broker = self.broker(seat, superseded, kept, told, None, tasks);
        self.issuer.watch(|watch| watch.begin(daemon.handle.clone(), self.clock.tick()));
    }

    fn broker(
        &mut self,
        seat: &Arc<BrokerSeat>,
        superseded: &Arc<Superseded>,
        tokens: &Kept,
        settings: watch::Receiver<RefreshSettings>,
        kept: Option<(Grant, Lease)>,
        tasks: &mut JoinSet<()>,
    ) -> AbortHandle {
        let keys = DiskKeys::new(&self.disk, superseded, Arc::clone(tokens), kept);
        let (seat, issuer) = (Arc::clone(seat), self.line(true));
        let mut dice = Dice::new(self.dice.below(u64::MAX), "chance");
        tasks.spawn(async move {
            seat.run(settings, issuer, keys, Box::new(move || dice.part())).await;
        })
    }

    fn line(&self, is_broker: bool) -> Arc<Line> {
        let (issuer, disk) = (Arc::clone(&self.issuer), Arc::clone(&self.disk));
        Arc::new(Line { issuer, disk, is_broker })
    }
}

/// Oracle: nobody spins.
struct WatchedClock {
    clock: Arc<SimClock>,
    story: Arc<Story>,
    sleeps: Mutex<(Tick, u64)>,
}

impl Clock for WatchedClock {
    fn tick(&self) -> Tick {
        self.clock.tick()
    }

    fn wall(&self) -> Wall {
        self.clock.wall()
    }

    fn sleep_until(&self, deadline: Tick) -> Sleep {
        let mut sleeps = self.sleeps.lock().expect("nobody panics with it");
        let now = self.clock.tick();
        *sleeps = if sleeps.0 == now { (now, sleeps.1 + 1) } else { (now, 1) };
        if sleeps.1 > MOST_SLEEPS {
            self.story.broken("law 3: it spins".to_owned());
            return Box::pin(std::future::pending());
        }
        self.clock.sleep_until(deadline)
    }
}
