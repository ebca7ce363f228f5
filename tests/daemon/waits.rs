//! Long polls whose clients leave: noticed at once, by whatever kind of socket, and the place is free.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::bench::{Daemon, Place, Stand, Visitor, client::request, until};

/// Longer than any test.
const LONG: &str = "/v1/token?wait=10m";

/// Tells the tag of the current token.
async fn etag(daemon: &Daemon) -> String {
    daemon.get("apps", "/v1/token").await.header("etag").unwrap().to_owned()
}

/// Connects and waits for a change.
async fn wait(place: &Place, etag: &str) -> Visitor {
    let mut visitor = Visitor::connect(place).await;
    visitor.send(&request("GET", LONG, &[("If-None-Match", etag)], b"")).await;
    visitor
}

/// Waits until a listener has so many connections.
async fn until_connected(daemon: &Daemon, listener: &str, count: f64) {
    let labels = [("listener", listener)];
    until("the connections are counted", async || {
        daemon.metrics().await.get("bearerd_connections", &labels) == count
    })
    .await;
}

/// A listener of each kind, with a place for one wait, that also serves what is given.
async fn narrow(serve: &[&str]) -> (Stand, Daemon) {
    let mut stand = Stand::new().await;
    for listener in ["apps", "web"] {
        stand.home.set(&format!("listeners.{listener}.max_connections"), 4);
        stand.home.set(&format!("listeners.{listener}.serve"), serve.to_vec());
    }
    let daemon = stand.start().await;
    (stand, daemon)
}

// faults 172, 198
#[tokio::test]
async fn who_hangs_up_leaves_the_place_to_the_next() {
    for serve in [&["token"][..], &["token", "proxy"]] {
        let (_stand, daemon) = narrow(serve).await;
        let etag = etag(&daemon).await;
        for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
            for _ in 0..3 {
                let waits = wait(&place, &etag).await;
                until_connected(&daemon, listener, 1.0).await;
                // Whoever finds no place is answered at once.
                until("the place is taken", async || {
                    let mut second = wait(&place, &etag).await;
                    timeout(Duration::from_secs(1), second.head()).await.is_ok()
                })
                .await;
                drop(waits);
                until_connected(&daemon, listener, 0.0).await;
            }
            let mut waits = wait(&place, &etag).await;
            let reply = timeout(Duration::from_millis(300), waits.head()).await;
            assert!(reply.is_err(), "the place is free: {reply:?}");
        }
    }
}

// fault 172: over TCP a half-closed client looks like one that is gone, so it gets its answer now
#[tokio::test]
async fn who_stops_sending_gets_the_answer_at_once() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let etag = etag(&daemon).await;
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let mut late = wait(&place, &etag).await;
        until_connected(&daemon, listener, 1.0).await;
        late.finish().await;
        assert_eq!(late.head().await.status, 304);
        assert_eq!(late.rest().await, b"");
        let mut at_once = wait(&place, &etag).await;
        at_once.finish().await;
        assert_eq!(at_once.head().await.status, 304);
        assert_eq!(at_once.rest().await, b"");
    }
}

#[tokio::test]
async fn a_request_behind_a_wait_ends_it_and_is_answered() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let etag = etag(&daemon).await;
    let next = request("GET", "/v1/token", &[], b"");
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let mut late = wait(&place, &etag).await;
        until_connected(&daemon, listener, 1.0).await;
        for bytes in next.chunks(20) {
            late.send(bytes).await;
        }
        let (first, second) = (late.head().await, late.reply().await);
        assert_eq!((first.status, second.status), (304, 200));
        drop(late);

        let mut at_once = Visitor::connect(&place).await;
        let polls = request("GET", LONG, &[("If-None-Match", &etag)], b"");
        at_once.send(&[polls.as_slice(), &polls, &next].concat()).await;
        let statuses = [
            at_once.head().await.status,
            at_once.head().await.status,
            at_once.reply().await.status,
        ];
        assert_eq!(statuses, [304, 304, 200]);
        drop(at_once);
        until_connected(&daemon, listener, 0.0).await;
    }
}

/// What nobody reads would hide that the client leaves.
#[tokio::test]
async fn a_wait_with_a_body_is_none() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let etag = etag(&daemon).await;
    for place in daemon.places() {
        let mut visitor = Visitor::connect(&place).await;
        let known = [("If-None-Match", etag.as_str())];
        let reply = timeout(Duration::from_secs(20), async {
            visitor.send(&request("GET", LONG, &known, b"body")).await;
            visitor.head().await
        });
        assert_eq!(reply.await.unwrap().status, 304);
    }
}

#[tokio::test]
async fn who_stays_still_hears_of_the_change() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let etag = etag(&daemon).await;
    let [mut unix, mut tcp] =
        [wait(&daemon.places()[0], &etag).await, wait(&daemon.places()[1], &etag).await];
    until_connected(&daemon, "web", 1.0).await;
    daemon.refresh("default").await;
    for visitor in [&mut unix, &mut tcp] {
        let began = Instant::now();
        let reply = visitor.reply().await;
        assert_eq!(reply.status, 200);
        assert_ne!(reply.header("etag"), Some(etag.as_str()));
        assert_eq!(visitor.get("/v1/token").await.status, 200, "after {:?}", began.elapsed());
    }
}
