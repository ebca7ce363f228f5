//! `GET /v1/token/watch`: each token as it comes, for many, whatever a single one does.

use std::{io::Write, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    bench::{
        Daemon, Place, RawIssuer, Stand, Visitor, allow_descriptors,
        client::request,
        home::{Home, any_key},
        issuer::granted,
        scale, until,
    },
    reload::reload,
};

/// Starts a watch and reads the head of its answer.
async fn watch(place: &Place) -> Visitor {
    let mut visitor = Visitor::connect(place).await;
    visitor.send(&request("GET", "/v1/token/watch", &[], b"")).await;
    let head = visitor.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    assert!(head.is_last() && head.header("date").is_some(), "{head:?}");
    head.assert_common_headers();
    visitor
}

/// Reads a server-sent event: its name and its data.
fn event(text: &str) -> (String, Value) {
    let fields = text.strip_suffix("\n\n").unwrap().split_once('\n');
    let (name, data) = fields.unwrap_or_else(|| panic!("{text:?}"));
    let data = data.strip_prefix("data: ").unwrap();
    (name.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
}

async fn next(visitor: &mut Visitor) -> (String, Value) {
    event(&visitor.chunk().await.unwrap())
}

/// Reads an event that brings a token.
async fn next_token(visitor: &mut Visitor) -> Value {
    let (name, token) = next(visitor).await;
    assert_eq!(name, "token", "{token}");
    token["bearer_token"].clone()
}

async fn connections(daemon: &Daemon, listener: &str) -> f64 {
    daemon.metrics().await.get("bearerd_connections", &[("listener", listener)])
}

/// Lets the daemon mint once more, which it does at most once a second.
async fn renew(daemon: &Daemon) {
    until("there is a new token", async || daemon.refresh("default").await["token_id"].is_string())
        .await;
}

async fn until_connected(daemon: &Daemon, listener: &str, count: f64) {
    until("connections have gone", async || connections(daemon, listener).await == count).await;
}

#[tokio::test]
async fn the_token_of_now_and_each_new_one_are_told_as_they_are_served() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let mut visitor = watch(&place).await;
        for _ in 0..2 {
            let (name, told) = next(&mut visitor).await;
            let mut served = daemon.get("apps", "/v1/token").await.json();
            assert!(told["expires_in"].as_u64().unwrap() >= served["expires_in"].as_u64().unwrap());
            served["expires_in"] = told["expires_in"].clone();
            assert_eq!((name.as_str(), told), ("token", served));
            renew(&daemon).await;
        }
        let labels = [("listener", listener), ("endpoint", "watch"), ("code", "200")];
        assert_eq!(daemon.metrics().await.get("bearerd_requests_total", &labels), 1.0);
    }
}

#[tokio::test]
async fn http_1_0_gets_the_events_bare_and_head_gets_none() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for place in daemon.places() {
        let mut old = Visitor::connect(&place).await;
        old.send(
            b"GET /v1/token/watch HTTP/1.0\r\nHost: localhost\r\nX-Bearerd: 1\r\n\
              Connection: keep-alive\r\n\r\n",
        )
        .await;
        let head = old.head().await;
        assert_eq!((head.status, head.header("transfer-encoding")), (200, None), "{head:?}");
        let (name, told) = event(&old.through(b"\n\n").await);
        assert_eq!((name.as_str(), &told["team_name"]), ("token", &json!("acme")));
        let mut visitor = Visitor::connect(&place).await;
        let head = visitor.request("HEAD", "/v1/token/watch", &[], b"").await;
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!((head.status, visitor.rest().await), (200, Vec::new()));
    }
}

#[tokio::test]
async fn one_credential_can_be_named_and_nothing_else_asked_for() {
    let mut stand = Stand::new().await;
    stand.home.credential("second", None).serve(&["default".into(), "second".into()]);
    let daemon = stand.start().await;
    for place in daemon.places() {
        let mut visitor = Visitor::connect(&place).await;
        visitor.send(&request("GET", "/v1/token/watch?credential=second", &[], b"")).await;
        assert_eq!(visitor.head().await.status, 200);
        let second = daemon.get("apps", "/v1/token?credential=second").await;
        assert_eq!(next_token(&mut visitor).await, second.json()["bearer_token"]);
        let refused = [
            ("GET", "?credential=third", 404, "not-found"),
            ("GET", "?format=raw", 400, "bad-request"),
            ("GET", "?wait=5s", 400, "bad-request"),
            ("GET", "?min_ttl=5s", 400, "bad-request"),
            ("GET", "?credential=default&credential=default", 400, "bad-request"),
            ("GET", "?x", 400, "bad-request"),
            ("POST", "", 405, "method-not-allowed"),
            ("GET", "/", 404, "not-found"),
        ];
        let mut visitor = Visitor::connect(&place).await;
        for (method, rest, status, problem) in refused {
            let path = format!("/v1/token/watch{rest}");
            let reply = visitor.request(method, &path, &[], b"").await;
            assert_eq!((reply.status, reply.problem().as_str()), (status, problem), "{path}");
        }
        let origin = [("Origin", "null")];
        let page = visitor.request("GET", "/v1/token/watch", &origin, b"").await;
        assert_eq!(page.status, 403);
    }
}

// fault 202: silence would look as if the token were still good
#[tokio::test]
async fn the_end_of_a_token_is_told_and_so_is_what_comes_after_it() {
    let stand = Stand::with(|options| options.lifetime = Duration::from_secs(2)).await;
    let daemon = stand.start().await;
    let mut visitors = Vec::new();
    for place in daemon.places() {
        visitors.push(watch(&place).await);
    }
    stand.issuer.set_team_disabled(true);
    for visitor in &mut visitors {
        while next(visitor).await != ("expired".to_owned(), json!({})) {}
    }
    let reply = daemon.get("apps", "/v1/token/watch").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "no-token"));
    stand.issuer.set_team_disabled(false);
    renew(&daemon).await;
    for visitor in &mut visitors {
        let token = next_token(visitor).await;
        assert_eq!(stand.accepts(token.as_str().unwrap()).await, 200);
    }
}

#[tokio::test]
async fn silence_is_broken_by_comments() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let mut visitor = watch(&daemon.place("apps")).await;
    next_token(&mut visitor).await;
    let began = Instant::now();
    // Longer than anything else may take.
    sleep(Duration::from_secs(14)).await;
    assert_eq!(visitor.chunk().await.unwrap(), ":\n\n");
    assert!(Instant::now() - began >= Duration::from_millis(14_900));
}

// faults 172, 199: who closes its side gets what there is, and is gone at once
#[tokio::test]
async fn who_leaves_is_noticed_at_once() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let mut stays = watch(&place).await;
        let mut half = watch(&place).await;
        half.finish().await;
        next_token(&mut half).await;
        assert_eq!(half.chunk().await, None);
        let mut all_at_once = Visitor::connect(&place).await;
        all_at_once.send(&request("GET", "/v1/token/watch", &[], b"")).await;
        all_at_once.finish().await;
        assert_eq!(all_at_once.head().await.status, 200);
        next_token(&mut all_at_once).await;
        assert_eq!(all_at_once.chunk().await, None);
        let mut talks = watch(&place).await;
        next_token(&mut talks).await;
        talks.send(&request("GET", "/v1/token", &[], b"")).await;
        assert_eq!(talks.chunk().await, None);
        drop(watch(&place).await);
        until_connected(&daemon, listener, 1.0).await;
        next_token(&mut stays).await;
        renew(&daemon).await;
        next_token(&mut stays).await;
    }
}

// fault 198: watches cannot take the places of those who only ask
#[tokio::test]
async fn places_are_few_and_come_back() {
    let mut stand = Stand::new().await;
    stand.home.set("listeners.apps.max_connections", 4);
    let daemon = stand.start().await;
    let place = daemon.place("apps");
    let (first, _second) = (watch(&place).await, watch(&place).await);
    let mut visitor = Visitor::connect(&place).await;
    let reply = visitor.get("/v1/token/watch").await;
    assert_eq!((reply.status, reply.problem().as_str()), (429, "too-many-requests"));
    assert_eq!(reply.header("retry-after"), Some("5"));
    assert_eq!(visitor.get("/v1/token").await.status, 200);
    drop((first, visitor));
    until_connected(&daemon, "apps", 1.0).await;
    next_token(&mut watch(&place).await).await;
}

/// An issuer whose tokens soon fill a socket.
async fn generous() -> RawIssuer {
    RawIssuer::start(|mut stream, number, seen| async move {
        while seen.read_request(&mut stream).await.is_ok() {
            let token = format!("{}{number}", "a".repeat(16_000));
            stream.write_all(&granted(&token)).await?;
        }
        Ok(())
    })
    .await
}

// fault 142: a watch begins when all before it has been taken, however late that is
#[tokio::test]
async fn a_watch_behind_other_requests_of_one_packet_waits_for_its_turn() {
    let issuer = generous().await;
    let home = Home::new(&issuer.base_url(), &any_key());
    let daemon = home.start().await;
    daemon.until_ready().await;
    let mut visitors = Vec::new();
    // With one of these counts the answers just fill the socket, and the watch's head has no room.
    for count in 1..=40 {
        let mut visitor = Visitor::connect(&daemon.place("apps")).await;
        let asked = request("GET", "/v1/token", &[], b"").repeat(count);
        visitor.send(&[asked, request("GET", "/v1/token/watch", &[], b"")].concat()).await;
        visitors.push((count, visitor));
    }
    sleep(Duration::from_millis(300)).await;
    for (count, mut visitor) in visitors {
        for _ in 0..count {
            assert_eq!(visitor.reply().await.json()["team_name"], "acme");
        }
        // Comments would keep it waiting for ever.
        let head = timeout(Duration::from_secs(10), visitor.head()).await;
        let head = head.unwrap_or_else(|_| panic!("no head after {count} answers"));
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        next_token(&mut visitor).await;
    }
}

// fault 183: events pile up nowhere
#[tokio::test]
async fn who_reads_nothing_is_cut_off() {
    let issuer = generous().await;
    let mut home = Home::new(&issuer.base_url(), &any_key());
    home.set("credentials.default.refresh.max_lifetime", "200ms");
    home.set("credentials.default.refresh.min_interval", "20ms");
    home.set("listeners.apps.write_timeout", "300ms");
    let daemon = home.start().await;
    daemon.until_ready().await;
    let mut reads = Vec::new();
    for _ in 0..2 {
        reads.push(watch(&daemon.place("apps")).await);
    }
    let deaf = watch(&daemon.place("apps")).await;
    let read = async {
        loop {
            for visitor in &mut reads {
                next(visitor).await;
            }
        }
    };
    tokio::select! {
        () = until_connected(&daemon, "apps", 2.0) => {}
        () = read => {}
    }
    drop(deaf);
}

// faults 205, 212
#[tokio::test]
async fn a_stop_and_another_configuration_end_what_they_change() {
    let mut stand = Stand::new().await;
    stand.home.credential("second", None).serve(&["default".into(), "second".into()]);
    let mut daemon = stand.start().await;
    let (mut apps, mut web) =
        (watch(&daemon.place("apps")).await, watch(&daemon.place("web")).await);
    next_token(&mut apps).await;
    next_token(&mut web).await;

    stand.home.set("listeners.apps.first_token_wait", "800ms");
    stand.home.credential("third", None);
    stand.home.set("listeners.apps.credentials", vec!["default", "second", "third"]);
    assert!(reload(&stand, &daemon).await);
    renew(&daemon).await;
    next_token(&mut apps).await;
    next_token(&mut web).await;

    stand.home.set("listeners.web.require_header", false);
    assert!(reload(&stand, &daemon).await);
    assert_eq!(web.rest().await, b"", "the guard has changed");

    let mut second = Visitor::connect(&daemon.place("apps")).await;
    second.send(&request("GET", "/v1/token/watch?credential=second", &[], b"")).await;
    second.head().await;
    next_token(&mut second).await;
    stand.home.set("listeners.apps.credentials", vec!["default", "third"]);
    assert!(reload(&stand, &daemon).await);
    assert_eq!((second.chunk().await, apps.chunk().await), (None, None), "one of them is gone");

    let mut apps = watch(&daemon.place("apps")).await;
    next_token(&mut apps).await;
    let (status, took) = daemon.stop().await;
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(apps.chunk().await, None);
}

// fault 198
#[tokio::test]
async fn many_watches_are_small_and_hear_of_a_change_together() {
    let count = scale("BEARERD_TEST_WATCHES", 1000);
    let mut stand = Stand::new().await;
    stand.home.set("listeners.apps.max_connections", i64::try_from(count * 2).unwrap());
    allow_descriptors();
    let daemon = stand.start().await;
    let place = daemon.place("apps");
    // What the first ones need is there once and for all.
    let first = crowd(&place, 10).await;
    let before = daemon.resident();
    let mut watches = crowd(&place, count - 10).await;
    let began = Instant::now();
    daemon.refresh("default").await;
    watches.extend(first);
    let token = daemon.token().await;
    let (watches, last) = all_told(watches, &token).await;
    let took = last - began;
    let each = (daemon.resident() - before) * 1024 / i64::try_from(count - 10).unwrap();
    writeln!(std::io::stderr(), "{each} bytes for each of {count}, told within {took:?}").unwrap();
    assert!(each < 4096, "{each} bytes for each of {count}");
    // Beside other tests on a busy machine a second is soon over.
    assert!(count < 10_000 || took < Duration::from_secs(1), "{took:?}");
    assert_eq!(connections(&daemon, "apps").await, watches.len() as f64);
}

/// Starts so many watches that have got their first token.
async fn crowd(place: &Place, count: usize) -> Vec<Visitor> {
    let mut watches = Vec::new();
    for _ in 0..count {
        let mut visitor = watch(place).await;
        next_token(&mut visitor).await;
        watches.push(visitor);
    }
    watches
}

/// Waits until all have been told of one token; tells when the last one was.
async fn all_told(watches: Vec<Visitor>, token: &str) -> (Vec<Visitor>, Instant) {
    let hear =
        |mut visitor| async move { (next_token(&mut visitor).await, Instant::now(), visitor) };
    let heard = watches.into_iter().map(hear).collect::<JoinSet<_>>().join_all().await;
    assert!(heard.iter().all(|(told, ..)| told == token));
    let last = heard.iter().map(|(_, at, _)| *at).max().unwrap();
    (heard.into_iter().map(|(.., visitor)| visitor).collect(), last)
}
