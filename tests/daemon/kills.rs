//! Kills at random, while a crowd asks.

use std::{io::Write, time::Duration};

use rustix::process::Signal;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::bench::{PATIENCE, Place, Stand, Visitor, scale, until_ok};

// fault 208: killed at random under load, it serves again at once
#[tokio::test]
async fn a_daemon_that_is_killed_under_load_serves_again_soon() {
    let stand = Stand::new().await;
    let place = stand.home.unix();
    let (mut crowd, over) = (JoinSet::new(), CancellationToken::new());
    for _ in 0..4 {
        crowd.spawn(over.clone().run_until_cancelled_owned(ask_for_ever(place.clone())));
    }
    let mut slowest = Duration::ZERO;
    for round in 0..scale("BEARERD_TEST_KILLS", 10) {
        let began = Instant::now();
        let mut daemon = stand.home.start().await;
        until_ok(async || {
            let mut visitor = Visitor::try_connect(&place).await.map_err(|_| "no socket")?;
            let status = visitor.get("/v1/token").await.status;
            if status == 200 { Ok(()) } else { Err("no token") }
        })
        .await;
        slowest = slowest.max(Instant::now() - began);
        sleep(Duration::from_millis((round as u64 * 13) % 50)).await;
        daemon.signal(Signal::KILL);
        daemon.exit().await;
    }
    over.cancel();
    let mut stderr = std::io::stderr();
    writeln!(stderr, "from a start after a kill to a token: {slowest:?} at the most").unwrap();
    assert!(slowest < PATIENCE);
}

/// Asks again and again, whether anybody is there or not.
async fn ask_for_ever(place: Place) {
    loop {
        match Visitor::try_connect(&place).await {
            Ok(mut visitor) => visitor.try_send(b"GET /v1/token HTTP/1.1\r\nHost: a\r\n\r\n").await,
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
}
