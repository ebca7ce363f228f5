//! A broker that ends and is started again on the same seat.

use bearerd::token::{
    handle::{Claim, Rejection},
    timing::RefreshSettings,
};

use super::{millis, secs};
use crate::bench::{
    Bench,
    issuer::{FakeIssuer, token},
};

fn bench<const N: usize>(answers: [&str; N]) -> Bench {
    Bench::new(RefreshSettings::default(), FakeIssuer::says(answers))
}

#[tokio::test(start_paused = true)]
async fn what_was_published_is_served_on_and_serials_grow() {
    let mut bench = bench(["1h", "1h in 2s"]);
    let first = bench.start();
    bench.keys.put('A');
    bench.pass(secs(600)).await;
    assert_eq!(bench.serves(), Some(1));

    first.abort();
    bench.pass(secs(60)).await;
    assert_eq!(bench.serves(), Some(1), "served without a broker");

    bench.start();
    bench.keys.put('A');
    bench.pass(secs(1)).await;
    assert_eq!((bench.serves(), bench.issuer.mints().len()), (Some(1), 2));
    bench.pass(secs(2)).await;
    assert_eq!((bench.serves(), bench.issuer.mints().len()), (Some(2), 2));
    let late = bench.handle.reject(Claim::Token(token(1).as_bytes())).await;
    assert!(matches!(late, Rejection::Stale(now) if now.token().expose() == token(2).as_bytes()));
}

// fault 180
#[tokio::test(start_paused = true)]
async fn a_broker_that_ends_during_a_mint_leaves_nobody_hanging() {
    let mut bench = bench(["1h", "hangs", "1h in 1s"]);
    let first = bench.start();
    bench.keys.put('A');
    bench.pass(secs(600)).await;
    let handle = bench.handle.clone();
    let reporter = async move {
        let rejection = handle.reject(Claim::Token(token(1).as_bytes())).await;
        assert!(matches!(rejection, Rejection::Failed));
    };
    let restart = async {
        bench.pass(secs(1)).await;
        first.abort();
    };
    tokio::join!(reporter, restart);
    assert!(bench.clock.passed() < secs(602), "heard as soon as the broker had ended");
    bench.start();
    bench.keys.put('A');
    bench.pass(secs(2)).await;
    assert_eq!(bench.serves(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_between_two_brokers_is_heard_by_the_second() {
    let mut bench = bench(["1h"]);
    let first = bench.start();
    bench.keys.put('A');
    bench.pass(secs(600)).await;
    first.abort();
    bench.settle().await;
    let handle = bench.handle.clone();
    let wanting = async move { handle.with_life(secs(55 * 60)).await };
    let restart = async {
        bench.pass(millis(500)).await;
        bench.start();
        bench.keys.put('A');
    };
    let (served, ()) = tokio::join!(wanting, restart);
    let (published, _) = served.expect("a token");
    assert_eq!(published.token().expose(), token(2).as_bytes());
}

#[tokio::test(start_paused = true)]
async fn without_a_broker_nobody_waits_longer_than_5_s() {
    let bench = bench(["1h"]);
    assert!(bench.handle.with_life(secs(60)).await.is_none());
    let waited = bench.clock.passed();
    assert!((secs(5)..millis(5_010)).contains(&waited), "{waited:?}");
}

// fault 66
#[tokio::test(start_paused = true)]
async fn a_token_that_has_ended_by_wall_clock_is_over_for_the_next_broker_too() {
    let mut bench = bench(["4h", "hangs", "1h"]);
    let first = bench.start();
    bench.keys.put('A');
    bench.pass(secs(600)).await;
    bench.clock.forward(secs(5 * 3600));
    assert_eq!(bench.serves(), None);
    bench.pass(secs(1)).await;
    first.abort();
    bench.settle().await;
    bench.start();
    bench.keys.put('A');
    bench.settle().await;
    assert_eq!(bench.serves(), Some(2), "though it lives shorter than the first");
}
