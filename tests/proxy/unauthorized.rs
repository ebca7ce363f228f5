//! A 401 with judgement: by its type, by the serial of the token, once.

use std::{collections::HashMap, time::Duration};

use bearerd::emulator::{FaultPlan, Role};
use tokio::{task::JoinSet, time::timeout};

use crate::bench::{
    App, Arrived, Daemon, PATIENCE, Recorder, Reply, Stand, Visitor,
    recorder::{TOKEN, answer},
    scale, until,
};

const AUTHENTICATION: &str =
    r#"{"code":401,"message":"Authentication failed","type":"authentication_error"}"#;

/// Waits until the token is old enough to be doubted (section 7).
async fn until_grown() {
    tokio::time::sleep(Duration::from_millis(3100)).await;
}

async fn rejections(daemon: &Daemon, outcome: &str) -> f64 {
    daemon.metric("bearerd_token_rejections_total", &[("outcome", outcome)]).await
}

// fault 286: case A7
#[tokio::test]
async fn fifty_calls_and_a_revocation_are_fifty_answers_and_one_mint() {
    const CALLS: usize = 50;
    let stand = Stand::new().await;
    let daemon = stand.home.start().await;
    let apps = daemon.apps().await;
    stand.issuer.set_latency(Duration::from_millis(200));
    until_grown().await;
    stand.issuer.revoke_all_tokens();
    let mut calls = JoinSet::new();
    for call in 0..CALLS {
        let app = apps[call % 2].clone();
        calls.spawn(async move { app.get("/current_user").await });
    }
    while let Some(reply) = calls.join_next().await {
        let reply = reply.unwrap();
        assert_eq!((reply.status, &reply.json()["name"]), (200, &"robot".into()), "{reply:?}");
    }
    assert_eq!(stand.issuer.mints(), 2, "one at the start, one for all of them");
    let count = |label| [("code", label)];
    assert_eq!(daemon.metric("bearerd_proxy_replays_total", &count("200")).await, 50.0);
    assert_eq!(daemon.metric("bearerd_proxy_upstream_requests_total", &count("401")).await, 50.0);
}

// case A8
#[tokio::test]
async fn a_second_401_goes_to_the_client() {
    let stand = Stand::new().await;
    let daemon = stand.home.start().await;
    let app = daemon.app().await;
    until_grown().await;
    stand.issuer.inject("api@401".parse::<FaultPlan>().unwrap());
    let before = stand.issuer.calls();
    let reply = app.get("/current_user").await;
    assert_eq!(reply.error(), (401, "authentication_error".into()));
    assert_eq!(stand.issuer.calls() - before, 3, "the call, a mint, the call again");
    stand.issuer.clear_faults();
    assert_eq!(app.get("/current_user").await.status, 200);
    assert_eq!(stand.issuer.mints(), 2);
}

// fault 275: case A5
#[tokio::test]
async fn a_missing_role_mints_nothing_however_often_it_is_said() {
    let calls = scale("BEARERD_TEST_REFUSALS", 1000);
    let stand = Stand::with(|options| options.rate_limit = u32::MAX).await;
    let daemon = stand.home.start().await;
    assert!(stand.issuer.set_role("robot", Role::None));
    until_grown().await;
    let mut callers = JoinSet::new();
    for app in daemon.apps().await.into_iter().cycle().take(10) {
        callers.spawn(async move {
            for _ in 0..calls / 10 {
                let reply = app.get("/service_users").await;
                assert_eq!(reply.error(), (401, "authorization_error".into()));
                let message = reply.json()["message"].as_str().unwrap().to_owned();
                assert!(message.starts_with("Missing capability"), "as the issuer said it");
            }
        });
    }
    timeout(PATIENCE * 3, callers.join_all()).await.expect("all are answered in time");
    assert_eq!(stand.issuer.mint_calls(), 1);
    assert_eq!(daemon.metric("bearerd_token_rejections_total", &[]).await, 0.0);
    assert_eq!(daemon.metric("bearerd_proxy_replays_total", &[]).await, 0.0);
}

// cases A6, R1
#[tokio::test]
async fn other_refusals_pass_and_mint_nothing() {
    let stand = Stand::new().await;
    let daemon = stand.home.start().await;
    let app = daemon.app().await;
    until_grown().await;
    for (fault, status, kind) in [
        ("401-authorization", 401, "authorization_error"),
        ("400", 400, "invalid_request"),
        ("403", 403, "forbidden_error"),
        ("404", 404, "resource_does_not_exist"),
        ("429", 429, "too_many_requests"),
        ("500", 500, "unknown_error"),
    ] {
        stand.issuer.inject(fault.parse::<FaultPlan>().unwrap().times(1));
        assert_eq!(app.get("/current_user").await.error(), (status, kind.into()), "{fault}");
    }
    assert_eq!(stand.issuer.mint_calls(), 1);
}

/// Bytes of an answer, for calls whose path holds a word.
type Row = (&'static str, Vec<u8>);

const HTML: &[u8] = b"HTTP/1.1 401 No\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>";
const CHUNKED: &[u8] =
    b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntrue\r\n0\r\n\r\n";
const CUT: &[u8] = b"HTTP/1.1 401 No\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{\"type\"";
const BROKEN_CHUNKS: &[u8] = b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";

/// Makes an issuer that says to its first token what the rows say, and is content with others.
async fn saying_at_first(rows: Vec<Row>) -> Recorder {
    let first = format!("{TOKEN}1\r\n");
    Recorder::answering(move |call| {
        let is_first = call.head.contains(&first);
        let row = rows.iter().find(|(word, _)| is_first && call.line().contains(word));
        row.map_or_else(|| answer("200 OK", "{}"), |(_, bytes)| bytes.clone())
    })
    .await
}

/// Calls all paths at once, so that they share the wait for one mint.
async fn call_all(
    app: &App,
    method: &'static str,
    paths: &[&'static str],
) -> HashMap<&'static str, Reply> {
    let call = |path: &&'static str| {
        let (app, path) = (app.clone(), *path);
        async move { (path, app.call(method, path, b"").await) }
    };
    JoinSet::from_iter(paths.iter().map(call)).join_all().await.into_iter().collect()
}

// fault 275: what cannot be read counts as an invalid token
#[tokio::test]
async fn a_401_that_cannot_be_read_is_worth_a_mint() {
    let huge = format!("{{\"type\":\"authorization_error\",\"x\":\"{}\"}}", "x".repeat(70_000));
    let rows = [
        ("/html", HTML.to_vec()),
        ("/empty", answer("401 No", "")),
        ("/other", answer("401 No", r#"{"type":"another"}"#)),
        ("/huge", answer("401 No", &huge)),
        ("/cut", CUT.to_vec()),
        ("/broken", BROKEN_CHUNKS.to_vec()),
    ];
    let paths = rows.each_ref().map(|(path, _)| *path);
    let issuer = saying_at_first(rows.into()).await;
    let (_home, daemon) = issuer.daemon().await;
    for (path, reply) in call_all(&daemon.app().await, "GET", &paths).await {
        assert_eq!((reply.status, reply.text()), (200, "{}"), "{path}");
    }
    assert_eq!(issuer.mints(), 2);
    assert_eq!(rejections(&daemon, "refreshed").await, 6.0);
}

#[tokio::test]
async fn a_401_that_stays_is_a_clean_answer() {
    let theirs = [("/html", "<p>"), ("/chunked", "true"), ("/plain", AUTHENTICATION)];
    let ours = ["/huge", "/cut"];
    let issuer = saying_at_first(vec![
        ("/html", HTML.to_vec()),
        ("/chunked", CHUNKED.to_vec()),
        ("/plain", answer("401 No", AUTHENTICATION)),
        ("/huge", answer("401 No", &"x".repeat(70_000))),
        ("/cut", CUT.to_vec()),
    ])
    .await;
    let (_home, daemon) = issuer.daemon().await;
    let paths = [&theirs.map(|(path, _)| path)[..], &ours].concat();
    // POST is not sent again.
    let replies = call_all(&daemon.app().await, "POST", &paths).await;
    for (path, expected) in theirs {
        let reply = &replies[path];
        assert_eq!((reply.status, reply.text()), (401, expected), "{path}");
        let length = expected.len().to_string();
        assert_eq!(reply.header("content-length"), Some(length.as_str()), "{path}");
    }
    for path in ours {
        assert_eq!(replies[path].error(), (401, "authentication_error".into()), "{path}");
    }
    assert_eq!((issuer.take().len(), issuer.mints()), (5, 2));
}

// fault 286: the table of `proxy::replay`, seen from the issuer; and section 5: a 401 that belongs
// to an older token is replayed with no mint
#[tokio::test]
async fn only_what_may_be_repeated_is_sent_again() {
    let large = vec![b'x'; 1025];
    let rows: [(&str, &str, &[u8], bool); 11] = [
        ("GET", "/get", b"", true),
        ("HEAD", "/head", b"", true),
        ("PUT", "/put", b"{}", true),
        ("PUT", "/largest", &large[1..], true),
        ("PUT", "/large", &large, false),
        ("DELETE", "/delete", b"", true),
        ("POST", "/post", b"{}", false),
        ("PATCH", "/patch", b"{}", false),
        ("POST", "/a/keys", b"", false),
        ("PUT", "/b/KEYS", b"{}", false),
        ("DELETE", "/service_users/robot/keys/1", b"", false),
    ];
    let issuer = refusing_the_first_token().await;
    let mut home = issuer.home();
    home.set_both("proxy.allow", vec!["* /**", "* /*/keys", "* /service_users/*/keys/**"]);
    home.set_both("proxy.replay_body_limit", "1KiB");
    let daemon = home.start().await;
    let app = daemon.app().await;
    let call = |(method, path, body, _): (_, _, &[u8], bool)| {
        let (app, body) = (app.clone(), body.to_vec());
        async move { (path, app.call(method, path, &body).await.status) }
    };
    let calls = JoinSet::from_iter(rows.map(call));
    until("all are under way", async || issuer.count() == rows.len()).await;
    refresh(&daemon).await;
    let statuses: HashMap<_, _> = calls.join_all().await.into_iter().collect();
    let arrived = issuer.take();
    for (method, path, body, is_repeated) in rows {
        let start = format!("{method} /v1/teams/acme{path} ");
        let of: Vec<_> = arrived.iter().filter(|call| call.head.starts_with(&start)).collect();
        assert_eq!(of.len(), 1 + usize::from(is_repeated), "{method} {path}");
        assert!(of.iter().all(|call| call.body == body), "{method} {path}");
        assert_eq!(statuses[path], if is_repeated { 200 } else { 401 }, "{method} {path}");
    }
    assert_eq!(issuer.mints(), 2, "the one at the start and the one asked for");
    // The issuer refuses as soon as it has granted; the daemon may not have published yet.
    let replaced = rejections(&daemon, "stale").await + rejections(&daemon, "refreshed").await;
    assert_eq!(replaced, 11.0);
}

/// Makes an issuer that refuses what is called with its first token, once there is a second.
async fn refusing_the_first_token() -> Recorder {
    Recorder::conversing(|mut talk, head| async move {
        let body = talk.body(&head).await?;
        let is_first = head.contains(&format!("{TOKEN}1\r\n"));
        let is_head = head.starts_with("HEAD ");
        talk.note(Arrived { head, body });
        let answer = if is_first {
            talk.until_mints(2).await;
            answer("401 No", AUTHENTICATION)
        } else {
            answer("200 OK", "{}")
        };
        let head_end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        talk.send(if is_head { &answer[..head_end] } else { &answer }).await?;
        Ok(talk)
    })
    .await
}

/// Mints now, as an operator would.
async fn refresh(daemon: &Daemon) {
    let mut visitor = Visitor::connect(&daemon.place("control")).await;
    visitor.request("POST", "/v1/refresh", &[], b"").await;
}
