//! Many clients at once: one mint, the same answer for all, nobody forgotten.

use bearerd::token::{
    handle::{Claim, Handle, Rejection},
    lease::Serial,
    timing::RefreshSettings,
};
use tokio::task::JoinSet;

use super::{millis, secs};
use crate::bench::{
    Bench,
    issuer::{FakeIssuer, token},
};

async fn bench<const N: usize>(answers: [&str; N]) -> Bench {
    Bench::started(RefreshSettings::default(), FakeIssuer::says(answers), 'A').await
}

/// Sends in so many clients at once; gives back what each of them got.
fn crowd<T, F>(size: usize, handle: &Handle, client: impl Fn(Handle) -> F) -> JoinSet<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut crowd = JoinSet::new();
    for _ in 0..size {
        crowd.spawn(client(handle.clone()));
    }
    crowd
}

// fault 177
#[tokio::test(start_paused = true)]
async fn two_hundred_reports_of_one_token_cause_one_mint_and_all_get_the_new_token() {
    let bench = bench(["1h in 2s"]).await;
    bench.pass(secs(600)).await;
    let reports = crowd(200, &bench.handle, |handle| async move {
        match handle.reject(Claim::Token(token(1).as_bytes())).await {
            Rejection::Refreshed(published) => Some(published.serial()),
            _ => None,
        }
    });
    let heard = reports.join_all().await;
    assert_eq!(heard, vec![Some(Serial::new(2)); 200]);
    assert_eq!(bench.issuer.mints().len(), 2);
    let outcomes = bench.counts("bearerd_token_rejections_total", "outcome", "");
    assert_eq!(outcomes, [("refreshed".to_owned(), 200)].into());
}

// fault 177
#[tokio::test(start_paused = true)]
async fn ten_thousand_reports_do_not_overflow_the_line() {
    let bench = bench(["1h in 2s"]).await;
    bench.pass(secs(600)).await;
    let reports = crowd(10_000, &bench.handle, |handle| async move {
        let rejection = handle.reject(Claim::Token(token(1).as_bytes())).await;
        matches!(rejection, Rejection::Refreshed(_) | Rejection::Stale(_))
    });
    assert!(reports.join_all().await.into_iter().all(|served| served));
    assert_eq!(bench.issuer.mints().len(), 2);
}

// fault 177
#[tokio::test(start_paused = true)]
async fn a_thousand_requests_at_the_moment_of_a_refresh_see_one_mint_and_no_error() {
    let bench = bench(["1h in 2s"]).await;
    bench.pass(secs(1801)).await;
    let plain = crowd(1000, &bench.handle, |handle| async move {
        handle.current_within(millis(900)).await.is_some()
    });
    let wanting = crowd(1000, &bench.handle, |handle| async move {
        let (_, remaining) = handle.with_life(secs(59 * 60)).await?;
        Some(remaining > secs(59 * 60))
    });
    assert_eq!(plain.join_all().await, vec![true; 1000]);
    assert_eq!(wanting.join_all().await, vec![Some(true); 1000]);
    assert_eq!(bench.issuer.mints().len(), 2);
}

// fault 178
#[tokio::test(start_paused = true)]
async fn ten_thousand_wait_for_the_first_token_and_all_get_it() {
    let mut bench = Bench::new(RefreshSettings::default(), FakeIssuer::says(["1h in 800ms"]));
    let waiters = crowd(10_000, &bench.handle, |handle| async move {
        let (published, _) = handle.current_within(millis(900)).await?;
        Some(published.serial())
    });
    bench.start();
    bench.keys.put('A');
    assert_eq!(waiters.join_all().await, vec![Some(Serial::new(1)); 10_000]);
    assert_eq!(bench.issuer.mints().len(), 1);
}

// fault 178
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_first_token_in_vain_hears_so_in_time() {
    let bench = bench(["hangs"]).await;
    let before = bench.clock.passed();
    assert!(bench.handle.current_within(millis(900)).await.is_none());
    let waited = bench.clock.passed() - before;
    assert!((millis(900)..millis(910)).contains(&waited), "{waited:?}");
}

// fault 179
#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_does_not_cancel_the_mint() {
    let bench = bench(["1h in 2s"]).await;
    bench.pass(secs(600)).await;
    let mut leader =
        crowd(
            1,
            &bench.handle,
            |handle| async move { handle.with_life(secs(55 * 60)).await.is_some() },
        );
    bench.pass(millis(500)).await;
    assert_eq!(bench.issuer.mints().len(), 2);
    let follower = crowd(1, &bench.handle, |handle| async move {
        handle.with_life(secs(55 * 60)).await.map(|(published, _)| published.serial())
    });
    bench.pass(millis(500)).await;
    leader.shutdown().await;
    assert_eq!(follower.join_all().await, [Some(Serial::new(2))]);
    assert_eq!(bench.issuer.mints().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_waits_through_failures_and_wakes_at_each_new_token() {
    let bench = bench(["1h", "unavailable x2", "1h"]).await;
    let watcher = crowd(1, &bench.handle, |handle| async move {
        handle.changed_from(Serial::new(1)).await;
        handle.current().map(|(published, _)| published.serial())
    });
    bench.pass(secs(1801)).await;
    assert_eq!(bench.serves(), Some(1));
    assert_eq!(watcher.join_all().await, [Some(Serial::new(2))]);
    let at_once = bench.handle.changed_from(Serial::new(1));
    assert!(tokio::time::timeout(millis(1), at_once).await.is_ok());
}

/// A thread of its own watches, so that it may run between any two steps of a publication.
#[tokio::test(start_paused = true)]
async fn a_watcher_on_another_core_never_sees_the_word_before_the_token() {
    const TOKENS: u64 = 5_000;
    let bench = bench(["4s"]).await;
    let handle = bench.handle.clone();
    let watcher = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime without drivers");
        let mut seen = Serial::new(1);
        while seen < Serial::new(TOKENS) {
            runtime.block_on(handle.changed_from(seen));
            let (published, _) = handle.current().expect("a valid token");
            assert!(published.serial() > seen, "woken before the token was there");
            seen = published.serial();
        }
    });
    while !watcher.is_finished() {
        bench.pass(secs(2)).await;
    }
    watcher.join().expect("what the watcher saw");
}
