//! A token that is there, stays fresh, and costs the issuer one call at a time.

use std::{collections::BTreeMap, time::Duration};

use rustix::process::Signal;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::bench::{Place, Stand, Visitor, client::request, until};

/// Names how long the storm lasts, in seconds; the issue asks for 60 at least once.
const STORM_SECONDS: &str = "BEARERD_TEST_STORM_SECONDS";

#[tokio::test]
async fn both_sockets_serve_the_same_token_and_the_issuer_takes_it() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let mut tokens = Vec::new();
    for place in daemon.places() {
        let reply = Visitor::connect(&place).await.get("/v1/token").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        tokens.push(reply.json()["bearer_token"].as_str().unwrap().to_owned());
    }
    assert_eq!(tokens[0], tokens[1]);
    assert_eq!(stand.accepts(&tokens[0]).await, 200);
    assert_eq!(stand.issuer.mint_calls(), 1);
}

#[tokio::test]
async fn a_crowd_before_the_first_token_waits_for_one_mint() {
    let mut stand = Stand::with(|options| options.latency = Duration::from_millis(500)).await;
    stand.home.set("listeners.apps.first_token_wait", "10s");
    stand.home.set("listeners.web.first_token_wait", "10s");
    let daemon = stand.home.start().await;
    let replies = crowd(&daemon.places(), 200, 1).await;
    assert_eq!(replies, BTreeMap::from([(200, 200)]));
    assert_eq!(stand.issuer.mint_calls(), 1);
}

#[tokio::test]
async fn a_thousand_requests_at_the_moment_of_a_refresh_cost_one_mint_and_no_error() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    stand.issuer.set_latency(Duration::from_millis(700));
    let (refreshed, replies) = tokio::join!(daemon.refresh("default"), async {
        until("the mint is under way", async || stand.issuer.mint_calls() == 2).await;
        let replies = crowd(&daemon.places(), 200, 5).await;
        assert_eq!(stand.issuer.mints(), 1, "the mint was still under way");
        replies
    });
    assert!(refreshed["token_id"].is_string(), "{refreshed}");
    assert_eq!(replies, BTreeMap::from([(200, 1000)]));
    assert_eq!(crowd(&daemon.places(), 200, 5).await, BTreeMap::from([(200, 1000)]));
    assert_eq!((stand.issuer.mint_calls(), stand.issuer.mints()), (2, 2));
}

/// Lets clients ask at once, each so many times in a row; counts the answers by status.
async fn crowd(places: &[Place], clients: usize, times: usize) -> BTreeMap<u16, usize> {
    let mut crowd = JoinSet::new();
    for place in places.iter().cycle().take(clients) {
        let place = place.clone();
        crowd.spawn(async move {
            let mut visitor = Visitor::connect(&place).await;
            visitor.send(&request("GET", "/v1/token", &[], b"").repeat(times)).await;
            let mut statuses = Vec::new();
            for _ in 0..times {
                statuses.push(visitor.reply().await.status);
            }
            statuses
        });
    }
    let mut counts = BTreeMap::new();
    for status in crowd.join_all().await.concat() {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

// fault 2: a short life is no reason to spin
#[tokio::test]
async fn under_a_storm_of_requests_no_answer_lacks_a_token_or_has_a_dead_one() {
    let seconds = std::env::var(STORM_SECONDS).map_or(15, |text| text.parse().unwrap());
    let stand = Stand::with(|options| options.lifetime = Duration::from_secs(6)).await;
    let daemon = stand.start().await;
    let mut visitors = Vec::new();
    for place in daemon.places() {
        visitors.push(Visitor::connect(&place).await);
    }
    let mut pace = interval(Duration::from_millis(10));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = Instant::now();
    let mut asked = 0;
    while began + Duration::from_secs(seconds) > Instant::now() {
        pace.tick().await;
        let visitor = &mut visitors[asked % 2];
        let reply = visitor.get("/v1/token").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let token = reply.json()["bearer_token"].as_str().unwrap().to_owned();
        assert_eq!(stand.accepts(&token).await, 200, "a dead token after {asked} requests");
        asked += 1;
    }
    // A life of 5 to 6 s (fractions of a second are cut off) is refreshed between 40 % and 60 %.
    let (fewest, most) = (seconds * 10 / 36, 1 + seconds * 10 / 20 + 1);
    let mints = stand.issuer.mint_calls();
    assert!((fewest..=most).contains(&mints), "{mints} mints, not {fewest} to {most}");
    assert!(asked as u64 > seconds * 20, "{asked} requests are no storm");
}

// fault 72: it runs for a fifth of the time, in pieces
#[tokio::test]
async fn a_daemon_that_hardly_gets_to_run_serves_no_token_past_its_end() {
    let stand = Stand::with(|options| options.lifetime = Duration::from_secs(5)).await;
    let daemon = stand.start().await;
    let place = daemon.place("apps");
    let mut served = 0;
    for _ in 0..12 {
        daemon.signal(Signal::STOP);
        // The question waits in the socket while nobody runs.
        let mut visitor = Visitor::connect(&place).await;
        visitor.send(&request("GET", "/v1/token?format=raw", &[], b"")).await;
        sleep(Duration::from_millis(800)).await;
        daemon.signal(Signal::CONT);
        let reply = visitor.reply().await;
        if reply.status == 200 {
            assert_eq!(stand.accepts(reply.text()).await, 200, "{reply:?}");
            served += 1;
        }
        assert_eq!(daemon.get("telemetry", "/livez").await.status, 200);
        sleep(Duration::from_millis(200)).await;
    }
    assert!(served > 8, "{served} of 12");
}
