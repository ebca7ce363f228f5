//! From ready to the end: signals, reloads, the tick and the order of a stop.

use std::{panic::resume_unwind, time::Duration};

use tokio::{
    task::{JoinError, spawn_blocking},
    time::{sleep, timeout},
};

use super::Bound;
use crate::{
    process::{
        clock::Clock,
        notify,
        signals::{Signal, Signals},
    },
    token::timing::{Tick, Wall},
};

/// Time between two looks at clocks, keys, certificates and watchdog.
const TICK: Duration = Duration::from_secs(30);
/// Time for what is under way when a stop comes.
const GRACE: Duration = Duration::from_secs(4);
/// A difference between the two clocks that is worth a line.
const STEP: Duration = Duration::from_secs(2);

/// Says why the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody asked, and all was left in order.
    Stopped,
    /// A task failed beyond repair.
    Failed,
}

/// What a daemon that serves wakes up for.
enum Event {
    Reload,
    Refresh,
    Tick,
    End(End),
}

/// Says how a reload left the daemon.
enum Reloaded {
    /// It goes on.
    On(Bound),
    /// A stop came meanwhile.
    Stop(Bound),
    /// A stop came, and what is read does not come: nothing can be left in order.
    Lost,
}

impl Bound {
    /// Serves until a signal or a failure beyond repair; needs the runtime that `build` had.
    pub async fn serve(mut self, mut signals: Signals) -> End {
        notify::ready("serving");
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        let mut ticking = Ticking::new(&*self.commons.clock);
        let end = loop {
            match self.next(&mut signals, ticking.next).await {
                Event::Reload => match self.reloaded_beside(&mut signals).await {
                    Reloaded::On(bound) => self = bound,
                    Reloaded::Stop(bound) => {
                        self = bound;
                        break End::Stopped;
                    }
                    Reloaded::Lost => return End::Stopped,
                },
                Event::Refresh => self.fleet.refresh(),
                Event::Tick => self.tick(&mut ticking),
                Event::End(end) => break end,
            }
        };
        self.stop(&mut signals, end).await;
        end
    }

    async fn next(&self, signals: &mut Signals, tick: Tick) -> Event {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => Event::End(End::Stopped),
                Signal::Reload => Event::Reload,
                Signal::Refresh => Event::Refresh,
            },
            () = self.commons.quit.cancelled() => Event::End(End::Stopped),
            () = self.commons.failed.cancelled() => Event::End(End::Failed),
            () = self.commons.clock.sleep_until(tick) => Event::Tick,
        }
    }

    /// Reloads on a thread for what blocks: on one core there is no other for who is served. A stop is
    /// not held up by a file system that hangs.
    async fn reloaded_beside(mut self, signals: &mut Signals) -> Reloaded {
        let mut reloading = spawn_blocking(move || {
            self.reloaded();
            self
        });
        tokio::select! {
            done = &mut reloading => returned(done).map_or(Reloaded::Lost, Reloaded::On),
            () = signals.stop() => {
                let done = timeout(GRACE, reloading).await.ok();
                done.and_then(returned).map_or(Reloaded::Lost, Reloaded::Stop)
            }
        }
    }

    fn reloaded(&mut self) {
        notify::reloading();
        let outcome = self.reload();
        let at = outcome.is_ok().then(|| self.commons.clock.wall());
        self.commons.metrics.count_config_reload(at);
        self.doors.note_reload(outcome.as_ref().err().map(ToString::to_string));
        match outcome {
            Ok(()) => {
                tracing::info!("the configuration was read again");
                notify::ready("serving");
            }
            Err(error) => {
                tracing::error!(problem = %error, "the old configuration stays");
                notify::ready("serving the old configuration: the new one is refused");
            }
        }
    }

    fn tick(&self, ticking: &mut Ticking) {
        if let Some(by) = ticking.turn(&*self.commons.clock) {
            tracing::warn!(seconds = by.as_secs(), "the wall clock was set");
        }
        self.fleet.look_around();
        self.doors.look_around();
        notify::watchdog();
    }

    /// Stops in order: accepting, connections, then brokers; a second signal ends it at once.
    async fn stop(&self, signals: &mut Signals, end: End) {
        notify::stopping();
        let linger = self.config.process.linger;
        // Who asks for a stop says that nobody needs us any longer.
        if end == End::Stopped && !linger.is_zero() && !self.commons.quit.is_cancelled() {
            tracing::info!(seconds = linger.as_secs_f64(), "stopping, but serving for a while");
            tokio::select! {
                () = signals.stop() => return,
                () = self.commons.quit.cancelled() => {}
                _over = sleep(linger) => {}
            }
        }
        tracing::info!("stopping");
        // Closed first: that is how a door knows that the house is closing, and not only itself.
        self.commons.visits.close();
        self.commons.open.close();
        self.commons.closing.cancel();
        let in_order = async {
            self.commons.open.wait().await;
            self.commons.visits.wait().await;
            // Whoever has asked Okta for a key puts it on the disk first (fault 206).
            self.fleet.rotated().await;
        };
        tokio::select! {
            _late = timeout(GRACE, in_order) => {}
            () = signals.stop() => return,
        }
        self.fleet.stop();
        self.commons.tasks.close();
        let _late = timeout(Duration::from_millis(500), self.commons.tasks.wait()).await;
        tracing::info!("stopped");
    }
}

/// Gives what a thread has brought back; a panic goes on here.
fn returned<T>(done: Result<T, JoinError>) -> Option<T> {
    match done.map_err(JoinError::try_into_panic) {
        Ok(brought) => Some(brought),
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_cancelled)) => None,
    }
}

/// Keeps the time of the tick, and an eye on how the clocks run apart.
struct Ticking {
    next: Tick,
    interval: Duration,
    last: (Tick, Wall),
}

impl Ticking {
    fn new(clock: &dyn Clock) -> Self {
        let interval = notify::watchdog_interval().map_or(TICK, |watchdog| watchdog.min(TICK));
        let now = clock.tick();
        Self { next: now + interval, interval, last: (now, clock.wall()) }
    }

    /// Sets the next tick; tells by how much the wall clock was set since the last one.
    fn turn(&mut self, clock: &dyn Clock) -> Option<Duration> {
        let (tick, wall) = (clock.tick(), clock.wall());
        let passed = tick.since(self.last.0);
        let expected = self.last.1 + passed;
        let step = wall.since(expected).max(expected.since(wall));
        self.next = tick + self.interval;
        self.last = (tick, wall);
        (step > STEP).then_some(step)
    }
}
