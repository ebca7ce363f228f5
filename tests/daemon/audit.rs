//! The audit trail: who came, who was sent away, what could be had; never in the way of an answer.

use std::{net::TcpListener, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::bench::{Daemon, Metrics, PATIENCE, Place, Stand, Visitor, until};

/// Finds the last event of a listener that says this.
fn last(daemon: &Daemon, message: &str, listener: &str) -> Option<Value> {
    daemon.events(message).into_iter().rfind(|event| event["listener"] == listener)
}

#[tokio::test]
async fn events_name_listener_peer_credential_and_token() {
    let mut stand = Stand::new().await;
    stand.home.credential("second", None).serve(&["second".into(), "default".into()]);
    let daemon = stand.start().await;
    let token_id = daemon.get("apps", "/v1/token").await.json()["token_id"].clone();
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let mut visitor = Visitor::connect(&place).await;
        let origin = [("Origin", "null")];
        assert_eq!(visitor.request("GET", "/v1/token", &origin, b"").await.status, 403);
        until("both are told", async || last(&daemon, "refused", listener).is_some()).await;
        let is_unix = listener == "apps";
        for message in ["connected", "refused"] {
            let event = last(&daemon, message, listener).unwrap();
            let expected = is_unix.then(|| [json!(uid), json!(gid), json!(std::process::id())]);
            let told = ["uid", "gid", "pid"].map(|field| event[field].clone());
            assert_eq!(told, expected.unwrap_or_default(), "{event}");
            assert_eq!(event["target"], "bearerd::audit");
            assert_eq!((&event["credential"], &event["token_id"]), (&json!("second"), &token_id));
        }
        assert_eq!(last(&daemon, "refused", listener).unwrap()["reason"], "browser");
    }
    // Where nothing can be had there is nothing to name.
    daemon.status().await;
    until("that is told", async || last(&daemon, "connected", "control").is_some()).await;
    let event = last(&daemon, "connected", "control").unwrap();
    assert_eq!((&event["credential"], &event["uid"]), (&Value::Null, &json!(uid)), "{event}");
}

// fault 191: a flood of one kind costs few lines and hides no other
#[tokio::test]
async fn each_reason_is_limited_for_itself() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let place = daemon.place("web");
    let refused = async |header: (&str, &str)| {
        let mut visitor = Visitor::connect(&place).await;
        assert_eq!(visitor.request("GET", "/v1/token", &[header], b"").await.status, 403);
    };
    let began = Instant::now();
    for _ in 0..500 {
        refused(("Origin", "null")).await;
    }
    let lines = |reason: &str| {
        let events = daemon.events("refused");
        events.iter().filter(|event| event["reason"] == reason).count()
    };
    let most = 10 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    refused(("Via", "1.1 a")).await;
    until("the other reason is told", async || lines("forwarded") == 1).await;
    assert!((10..=most).contains(&lines("browser")), "{} of {most}", lines("browser"));
    let mut malformed = Visitor::connect(&place).await;
    malformed.send(b"\x16\x03\x01\r\n\r\n").await;
    malformed.rest().await;
    until("and what is no HTTP", async || lines("malformed") == 1).await;
}

/// Finds a port that nobody uses.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// faults 191, 219: whoever should read the log has stopped
#[tokio::test]
async fn a_stalled_reader_of_the_log_delays_no_request() {
    // A connection for each call.
    let closing = r"api@raw=HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    let mut stand = Stand::with(|issuer| issuer.faults.push(closing.parse().unwrap())).await;
    let telemetry = free_port();
    stand.home.set("telemetry.bind", format!("tcp:127.0.0.1:{telemetry}"));
    stand.home.set("listeners.apps.serve", vec!["token", "proxy"]);
    // Clients alone cannot fill a log: at this level each connection to the issuer is some lines.
    stand.home.set("log.level", "trace");
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut daemon = Daemon::spawn_with_log(stand.home.command(&["run"]), writer);
    let (apps, metrics) = (stand.home.unix(), Place::Tcp(([127, 0, 0, 1], telemetry).into()));
    for place in [&apps, &metrics] {
        until("the daemon listens", async || Visitor::try_connect(place).await.is_ok()).await;
    }
    let bearer = bearer(&apps).await;
    let dropped = async || {
        let reply = Visitor::connect(&metrics).await.get("/metrics").await;
        Metrics::parse(&reply).get("bearerd_log_lines_dropped_total", &[])
    };
    let (late, mut slowest) = (Instant::now() + PATIENCE, Duration::ZERO);
    while dropped().await == 0.0 {
        assert!(Instant::now() < late, "the log is never full");
        for _ in 0..100 {
            let began = Instant::now();
            let mut visitor = Visitor::connect(&apps).await;
            let path = "/v1/teams/acme/current_user";
            let reply = visitor.request("GET", path, &[("Authorization", &bearer)], b"").await;
            assert_eq!((reply.status, visitor.get("/v1/token").await.status), (200, 200));
            slowest = slowest.max(began.elapsed());
        }
    }
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    let stopped = timeout(Duration::from_secs(10), daemon.stop()).await;
    assert_eq!(stopped.expect("it ends").0.code(), Some(0));
}

/// Gets the local token of a listener, as Okta's clients do.
async fn bearer(place: &Place) -> String {
    let key = br#"{"key_id":"3f2504e0-4f89-41d3-9a0c-0305e82c3301","key_secret":"any"}"#;
    let path = "/v1/teams/acme/service_token";
    let json = [("Content-Type", "application/json")];
    let reply = Visitor::connect(place).await.request("POST", path, &json, key).await;
    format!("Bearer {}", reply.json()["bearer_token"].as_str().unwrap())
}
