//! Clients that are slow, silent or many: each wait ends, and the others notice nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bench::{Daemon, Stand, Visitor, client::request, until};

/// A daemon whose patience is short.
async fn hasty() -> (Stand, Daemon) {
    let mut stand = Stand::new().await;
    for listener in ["apps", "web"] {
        let mut limit = |key: &str, value: &str| {
            stand.home.set(&format!("listeners.{listener}.{key}"), value);
        };
        limit("header_timeout", "400ms");
        limit("idle_timeout", "800ms");
        limit("write_timeout", "400ms");
    }
    let daemon = stand.start().await;
    (stand, daemon)
}

/// Waits for the end of a connection; tells what came and after how long.
async fn end(mut visitor: Visitor, began: Instant) -> (String, Duration) {
    let rest = visitor.rest().await;
    (String::from_utf8_lossy(&rest).into_owned(), Instant::now() - began)
}

/// No sooner than the deadline; later only as far as a busy machine makes it.
fn assert_after(took: Duration, deadline: u64) {
    let deadline = Duration::from_millis(deadline);
    assert!(took >= deadline - Duration::from_millis(20), "{took:?} before {deadline:?}");
    assert!(took < deadline + Duration::from_secs(5), "{took:?} for {deadline:?}");
}

// faults 181, 182
#[tokio::test]
async fn silent_connections_and_dripped_heads_end_with_408() {
    let (_stand, daemon) = hasty().await;
    for place in daemon.places() {
        let began = Instant::now();
        let silent = Visitor::connect(&place).await;
        let (answer, took) = end(silent, began).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") || answer.is_empty(), "{answer}");
        assert_after(took, 400);

        let began = Instant::now();
        let mut dripping = Visitor::connect(&place).await;
        for byte in request("GET", "/v1/token", &[("A", &"b".repeat(1000))], b"") {
            dripping.try_send(&[byte]).await;
            sleep(Duration::from_millis(20)).await;
            if Instant::now() - began > Duration::from_millis(700) {
                break;
            }
        }
        let (answer, took) = end(dripping, began).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
        assert_after(took, 400);
    }
}

// fault 184
#[tokio::test]
async fn idle_connections_are_closed_after_their_time_and_not_before() {
    let (_stand, daemon) = hasty().await;
    for place in daemon.places() {
        let mut visitor = Visitor::connect(&place).await;
        // Longer than a head may take: between requests there is more time.
        for _ in 0..3 {
            assert_eq!(visitor.get("/v1/token").await.status, 200);
            sleep(Duration::from_millis(500)).await;
        }
        let began = Instant::now();
        assert_eq!(visitor.get("/v1/token").await.status, 200);
        let (rest, took) = end(visitor, began).await;
        assert_eq!(rest, "");
        assert_after(took, 800);
    }
}

/// A request that is being worked on is no idle connection.
#[tokio::test]
async fn a_long_poll_outlives_every_deadline_of_its_connection() {
    let (_stand, daemon) = hasty().await;
    for place in daemon.places() {
        let mut visitor = Visitor::connect(&place).await;
        let etag = visitor.get("/v1/token").await.header("etag").unwrap().to_owned();
        let began = Instant::now();
        let known = [("If-None-Match", etag.as_str())];
        let reply = visitor.request("GET", "/v1/token?wait=1500ms", &known, b"").await;
        assert_eq!(reply.status, 304);
        assert_after(Instant::now() - began, 1500);
        assert_eq!(visitor.get("/v1/token").await.status, 200);
    }
}

// fault 183
#[tokio::test]
async fn a_client_that_takes_no_answers_is_cut_off() {
    let (_stand, daemon) = hasty().await;
    for place in daemon.places() {
        let mut deaf = Visitor::connect(&place).await;
        let sent = deaf.flood(&request("GET", "/v1/token", &[], b"")).await;
        assert!(sent > 0);
        until("the daemon has let go of it", async || {
            let metrics = daemon.metrics().await;
            ["apps", "web"].iter().all(|listener| {
                metrics.get("bearerd_connections", &[("listener", listener)]) == 0.0
            })
        })
        .await;
    }
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200);
}

/// Wherever calls are forwarded, too: there the end of a client is looked for all the time.
#[tokio::test]
async fn after_a_wait_an_idle_connection_has_its_end_as_well() {
    let mut stand = Stand::new().await;
    for listener in ["apps", "web"] {
        stand.home.set(&format!("listeners.{listener}.serve"), vec!["token", "proxy"]);
        stand.home.set(&format!("listeners.{listener}.idle_timeout"), "500ms");
    }
    let daemon = stand.start().await;
    for place in daemon.places() {
        let mut visitor = Visitor::connect(&place).await;
        let etag = visitor.get("/v1/token").await.header("etag").unwrap().to_owned();
        let known = [("If-None-Match", etag.as_str())];
        visitor.send(&request("GET", "/v1/token?wait=300ms", &known, b"")).await;
        assert_eq!(visitor.head().await.status, 304);
        let began = Instant::now();
        assert_eq!(visitor.rest().await, b"");
        assert_after(Instant::now() - began, 500);
    }
}

// fault 182
#[tokio::test]
async fn a_body_that_does_not_come_ends_with_408() {
    let (_stand, daemon) = hasty().await;
    for place in daemon.places() {
        let mut visitor = Visitor::connect(&place).await;
        let head = [("Content-Type", "application/json"), ("Content-Length", "100")];
        let began = Instant::now();
        visitor.send(&request("POST", "/v1/token/rejected", &head, b"")).await;
        let reply = visitor.reply().await;
        assert_eq!((reply.status, reply.problem().as_str()), (408, "request-timeout"));
        assert_after(Instant::now() - began, 5000);
    }
}

// fault 185
#[tokio::test]
async fn beyond_its_cap_a_listener_lets_others_wait_and_serves_on() {
    let mut stand = Stand::new().await;
    stand.home.set("listeners.apps.max_connections", 3);
    let daemon = stand.start().await;
    let place = daemon.place("apps");
    let mut inside = Vec::new();
    for _ in 0..3 {
        let mut visitor = Visitor::connect(&place).await;
        assert_eq!(visitor.get("/v1/token").await.status, 200);
        inside.push(visitor);
    }
    let mut outside = Visitor::connect(&place).await;
    outside.send(&request("GET", "/v1/token", &[], b"")).await;
    // Those inside go on, as do the other listeners, and nobody else came in.
    for visitor in &mut inside {
        assert_eq!(visitor.get("/v1/token").await.status, 200);
    }
    assert_eq!(daemon.get("web", "/v1/token").await.status, 200);
    let connections = daemon.metrics().await.get("bearerd_connections", &[("listener", "apps")]);
    assert_eq!(connections, 3.0);
    drop(inside.pop());
    assert_eq!(outside.reply().await.status, 200);
}

// faults 181, 189
#[tokio::test]
async fn a_thousand_silent_connections_disturb_nobody() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let before = daemon.resident();
    let mut silent = Vec::new();
    for place in daemon.places().iter().cycle().take(1000) {
        silent.push(Visitor::connect(place).await);
    }
    until("all are in", async || daemon.metrics().await.get("bearerd_connections", &[]) >= 1000.0)
        .await;
    let grown = daemon.resident() - before;
    assert!(grown < 32 * 1024, "{grown} KiB more");
    for place in daemon.places() {
        let mut visitor = Visitor::connect(&place).await;
        assert_eq!(visitor.get("/v1/token").await.status, 200);
    }
    drop(silent);
    until("all are gone", async || {
        daemon.metrics().await.get("bearerd_connections", &[("listener", "web")]) == 0.0
    })
    .await;
}

// fault 199
#[tokio::test]
async fn a_connection_for_each_request_leaks_nothing() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = descriptors();
    for place in daemon.places().iter().cycle().take(1000) {
        assert_eq!(Visitor::connect(place).await.get("/v1/token").await.status, 200);
    }
    until("all are closed", async || descriptors() <= before).await;
}
