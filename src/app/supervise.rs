//! Tasks that never end by themselves: one that does is a bug, told, counted and started again.

use std::{collections::VecDeque, future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Commons;
use crate::token::timing::Tick;

/// Rests before a new start.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// So many ends within the window end the process.
const MOST_ENDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// Runs the task that `make` makes, again and again, until `stop`.
pub(super) fn supervise<F>(
    commons: &Commons,
    name: String,
    stop: CancellationToken,
    mut make: impl FnMut() -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let own = commons.clone();
    commons.tasks.spawn(async move {
        let mut ends = Ends::default();
        loop {
            let run = own.tasks.spawn(stop.clone().run_until_cancelled_owned(make()));
            let ended = run.await;
            if stop.is_cancelled() {
                return;
            }
            tracing::error!(task = name, panicked = ended.is_err(), "a task has ended by itself");
            match ends.note(own.clock.tick()) {
                Some(rest) => own.clock.sleep_until(own.clock.tick() + rest).await,
                None => return own.failed.cancel(),
            }
        }
    });
}

/// Remembers the ends of a task within the window.
#[derive(Default)]
struct Ends(VecDeque<Tick>);

impl Ends {
    /// Tells how long to rest before the next start; `None` when it is not worth one.
    fn note(&mut self, now: Tick) -> Option<Duration> {
        self.0.retain(|end| now.since(*end) < WINDOW);
        self.0.push_back(now);
        if self.0.len() >= MOST_ENDS {
            return None;
        }
        let doublings = u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX);
        Some(REST.0.saturating_mul(2_u32.saturating_pow(doublings)).min(REST.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::from_boot(Duration::from_secs(seconds))
    }

    // fault 180
    #[test]
    fn the_fifth_end_within_an_hour_is_the_last() {
        let mut ends = Ends::default();
        let rests: Vec<_> = (0..5).map(|n| ends.note(at(n)).map(|rest| rest.as_secs())).collect();
        assert_eq!(rests, [Some(1), Some(2), Some(4), Some(8), None]);
    }

    #[test]
    fn rare_ends_are_forgiven() {
        let mut ends = Ends::default();
        assert!((0..50).all(|hour| ends.note(at(hour * 3600)) == Some(REST.0)));
    }

    // fault 180
    #[tokio::test]
    async fn a_panic_is_followed_by_a_new_start() {
        let commons = Commons::new(Default::default());
        let stop = CancellationToken::new();
        let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
        supervise(&commons, "test".into(), stop.clone(), move || {
            let started = started.clone();
            async move {
                started.send(()).expect("listened to");
                if !started.is_closed() {
                    panic!("on purpose");
                }
            }
        });
        assert!(starts.recv().await.is_some());
        assert!(starts.recv().await.is_some());
        stop.cancel();
        commons.tasks.close();
        commons.tasks.wait().await;
        assert!(!commons.failed.is_cancelled());
    }
}
