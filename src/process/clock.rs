//! The clocks: boot time for lifetimes, wall time for people and as a second opinion.

use std::{future::Future, io, os::fd::OwnedFd, pin::Pin, time::Duration};

use nix::{
    sys::{
        time::TimeSpec,
        timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    time::{ClockId, clock_gettime},
};
use tokio::io::unix::AsyncFd;

use super::descriptors::readable;
use crate::token::timing::{Tick, Wall};

/// Longest sleep on a timer that stands still while the machine does.
const SLICE: Duration = Duration::from_secs(30);

/// Sleeps until a moment of boot time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time; the one source of it in the whole program.
pub trait Clock: Send + Sync + 'static {
    /// Tells boot time, which goes on while the machine sleeps.
    fn tick(&self) -> Tick;

    /// Tells wall time, which can be set by anybody who may.
    fn wall(&self) -> Wall;

    /// Sleeps until a moment of boot time, also over a suspend.
    fn sleep_until(&self, deadline: Tick) -> Sleep;
}

/// Reads the machine's clocks, through libc.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn tick(&self) -> Tick {
        Tick::from_boot(read(ClockId::CLOCK_BOOTTIME))
    }

    fn wall(&self) -> Wall {
        Wall::from_unix(read(ClockId::CLOCK_REALTIME))
    }

    fn sleep_until(&self, deadline: Tick) -> Sleep {
        let clock = *self;
        Box::pin(async move {
            // Without descriptors the timer of the runtime serves, in slices.
            if let Ok(timer) = boot_timer(deadline)
                && timer.readable().await.is_ok()
            {
                return;
            }
            loop {
                let left = deadline.since(clock.tick());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(SLICE)).await;
            }
        })
    }
}

/// A clock that stands still, so that no token ends and no limit is forgotten.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) struct StandingClock(pub(crate) Wall);

#[cfg(any(test, feature = "fuzzing"))]
impl Clock for StandingClock {
    fn tick(&self) -> Tick {
        Tick::from_boot(Duration::from_secs(5000))
    }

    fn wall(&self) -> Wall {
        self.0
    }

    fn sleep_until(&self, _deadline: Tick) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// Tells the machine's name for its present boot; `None` where it has none.
#[must_use]
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Makes a timer that fires at a moment of boot time, at once after a suspend that passed it.
fn boot_timer(deadline: Tick) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
    let timer = TimerFd::new(TimerClock::CLOCK_BOOTTIME, flags)?;
    let moment = deadline.since_boot().clamp(LEAST_MOMENT, LAST_MOMENT);
    let once = Expiration::OneShot(TimeSpec::from_duration(moment));
    timer.set(once, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
    readable(timer.into())
}

/// A moment of zero would disarm the timer.
const LEAST_MOMENT: Duration = Duration::from_nanos(1);
/// Later than any boot lasts, and within the kernel's own range.
const LAST_MOMENT: Duration = Duration::from_secs(1 << 32);

/// These two clocks exist on every Linux; should a filter forbid them, zero fails closed.
fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map_or(Duration::ZERO, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec()).unwrap_or(0);
        Duration::new(seconds, nanos)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_one_name() {
        assert!(boot_id().is_some_and(|id| id.len() == 36));
        assert_eq!(boot_id(), boot_id());
    }

    #[test]
    fn both_clocks_run() {
        assert!(SystemClock.tick() > Tick::default());
        assert!(SystemClock.wall() > Wall::from_seconds(1_700_000_000));
    }

    #[tokio::test]
    async fn a_sleep_ends_after_its_moment_and_not_before() {
        for wait in [Duration::ZERO, Duration::from_millis(30)] {
            let deadline = SystemClock.tick() + wait;
            SystemClock.sleep_until(deadline).await;
            assert!(SystemClock.tick() >= deadline);
        }
        SystemClock.sleep_until(Tick::default()).await;
    }

    #[tokio::test]
    async fn the_end_of_time_is_a_moment_too() {
        let end = SystemClock.sleep_until(Tick::from_boot(Duration::MAX));
        let early = tokio::time::timeout(Duration::from_millis(20), end).await;
        assert!(early.is_err());
    }
}
