//! Clocks on paused time: wall time can be set, and the machine can sleep.

use std::{sync::Mutex, time::Duration};

use bearerd::{
    process::clock::{Clock, Sleep},
    token::timing::{Tick, Wall},
};
use tokio::{sync::watch, time::Instant};

/// Boot time at the start of every history.
pub(crate) const BOOT: Tick = Tick::from_boot(Duration::from_secs(1_000_000));
/// Wall time at the start of every history: 2026-01-31, 08:00 UTC.
pub(crate) const DAWN: Wall = Wall::from_seconds(1_769_846_400);

/// Tells a time that passes with the runtime's own, and by leaps.
pub(crate) struct SimClock {
    start: Instant,
    /// Time that the machine has slept, which the runtime knows nothing of.
    slept: watch::Sender<Duration>,
    /// What people have added to the wall clock, and what they have taken away.
    set: Mutex<(Duration, Duration)>,
}

impl SimClock {
    /// Starts at [`BOOT`] and [`DAWN`].
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            slept: watch::Sender::new(Duration::ZERO),
            set: Mutex::default(),
        }
    }

    /// Sends the machine to sleep for so long and wakes it up again.
    pub(crate) fn suspend(&self, time: Duration) {
        self.slept.send_modify(|slept| *slept += time);
    }

    /// Sets the wall clock forward.
    pub(crate) fn forward(&self, by: Duration) {
        self.set.lock().expect("nobody panics with it").0 += by;
    }

    /// Sets the wall clock back.
    pub(crate) fn back(&self, by: Duration) {
        self.set.lock().expect("nobody panics with it").1 += by;
    }

    /// Tells the time since the start, sleep included.
    pub(crate) fn passed(&self) -> Duration {
        Instant::now() - self.start + *self.slept.borrow()
    }
}

impl Clock for SimClock {
    fn tick(&self) -> Tick {
        BOOT + self.passed()
    }

    fn wall(&self) -> Wall {
        let (forward, back) = *self.set.lock().expect("nobody panics with it");
        DAWN + self.passed() + forward - back
    }

    /// Notices a leap at once, as a timer of boot time does after a suspend.
    fn sleep_until(&self, deadline: Tick) -> Sleep {
        let mut slept = self.slept.subscribe();
        let awake = deadline.since(BOOT);
        let start = self.start;
        Box::pin(async move {
            loop {
                let asleep = *slept.borrow_and_update();
                let moment = start + awake.saturating_sub(asleep).min(A_CENTURY);
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(moment) => return,
                    Ok(()) = slept.changed() => {}
                }
            }
        })
    }
}

/// Further off than any history reaches, and within the runtime's range.
const A_CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[tokio::test(start_paused = true)]
async fn a_sleeper_notices_a_suspend_and_not_a_set_clock() {
    let clock = SimClock::new();
    let asleep = clock.sleep_until(BOOT + Duration::from_secs(60));
    tokio::pin!(asleep);
    let soon = || tokio::time::sleep(Duration::from_secs(1));
    clock.forward(Duration::from_secs(3600));
    tokio::select! { () = &mut asleep => panic!("woken by the wall clock"), () = soon() => {} }
    clock.suspend(Duration::from_secs(30));
    tokio::select! { () = &mut asleep => panic!("woken too early"), () = soon() => {} }
    clock.suspend(Duration::from_secs(30));
    tokio::select! { () = &mut asleep => {}, () = soon() => panic!("not woken") }
}
