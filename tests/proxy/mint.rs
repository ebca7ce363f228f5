//! `service_token`, answered here: the real shape, the local token, and nothing of the real ones.

use std::{fs, os::unix::process::ExitStatusExt, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::bench::{
    App, Place, Recorder, Reply, Stand, Visitor,
    client::{KEY_ID, MINT, mint, request},
    home::any_key,
    recorder::TOKEN,
};

fn pair(id: &str, secret: &str) -> Value {
    json!({ "key_id": id, "key_secret": secret })
}

async fn post(place: &Place, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    Visitor::connect(place).await.request("POST", path, headers, body.as_bytes()).await
}

// fault 283: cases T1, T3
#[tokio::test]
async fn the_answer_has_the_real_shape() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for place in daemon.places() {
        for team in ["acme", "ACME", "aCmE"] {
            let path = format!("/v1/teams/{team}/service_token");
            let json = [("Content-Type", "application/json")];
            let reply = post(&place, &path, &json, &pair(KEY_ID, "x").to_string()).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            assert_eq!(reply.header("content-type"), Some("application/json"));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            let grant = reply.json();
            let mut fields: Vec<_> = grant.as_object().unwrap().keys().collect();
            fields.sort();
            assert_eq!(fields, ["bearer_token", "expires_at", "team_name"]);
            assert_eq!(grant["team_name"], team, "as it was asked for");
            check_end(grant["expires_at"].as_str().unwrap());
        }
    }
    assert_eq!((issuer.take(), issuer.mints()), (vec![], 1), "the issuer hears nothing of it");
}

/// Twelve hours ahead, with nine digits.
fn check_end(text: &str) {
    let (_, fraction) = text.split_once('.').unwrap();
    assert!(fraction.len() == 10 && fraction.ends_with('Z'), "{text}");
    let end: jiff::Timestamp = text.parse().unwrap();
    let ahead = end.duration_since(jiff::Timestamp::now()).unsigned_abs();
    let twelve_hours = Duration::from_secs(12 * 3600);
    let patience = Duration::from_secs(60);
    assert!(ahead <= twelve_hours && ahead > twelve_hours - patience, "{text}");
}

// cases T4, T9, T10, T11
#[tokio::test]
async fn requests_are_judged_as_the_issuer_judges_them() {
    let fine = pair(KEY_ID, "placeholder").to_string();
    let json = "application/json";
    let long = |length| pair(KEY_ID, &"s".repeat(length)).to_string();
    let extra = format!(r#"{{"key_id":"{KEY_ID}","key_secret":"x","roles":null}}"#);
    let twice = format!(r#"{{"key_id":"{KEY_ID}","key_secret":"x","key_secret":"y"}}"#);
    let huge = format!("{}{}", " ".repeat(70_000), fine);
    let rows: [(&str, &str, u16, &str); 18] = [
        (json, &fine, 200, ""),
        ("Application/JSON; charset=utf-8", &fine, 200, ""),
        (json, &extra, 200, ""),
        (json, &long(512), 200, ""),
        ("application/x-www-form-urlencoded", &fine, 415, "unsupported_content_type"),
        ("text/plain", &fine, 415, "unsupported_content_type"),
        ("application/jsonp", &fine, 415, "unsupported_content_type"),
        ("", &fine, 415, "unsupported_content_type"),
        (json, &long(513), 400, "invalid_request"),
        (json, &pair(KEY_ID, "").to_string(), 400, "invalid_request"),
        (json, &pair("robot", "x").to_string(), 400, "invalid_request"),
        (json, &json!({ "key_id": KEY_ID }).to_string(), 400, "invalid_request"),
        (json, &json!([KEY_ID, 7]).to_string(), 400, "invalid_request"),
        (json, &twice, 400, "invalid_request"),
        (json, &fine[1..], 400, "invalid_request"),
        (json, &format!("{fine}{fine}"), 400, "invalid_request"),
        (json, "", 400, "invalid_request"),
        (json, &huge, 413, "invalid_request"),
    ];
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for place in daemon.places() {
        for (kind, body, status, error) in rows {
            let headers = [("Content-Type", kind), ("Authorization", "Bearer whatever")];
            let headers = if kind.is_empty() { &headers[1..] } else { &headers };
            let reply = post(&place, MINT, headers, body).await;
            assert_eq!(reply.status, status, "{kind} {body:.80}: {reply:?}");
            assert!(status == 200 || reply.error().1 == error, "{kind} {body:.80}: {reply:?}");
        }
    }
    assert_eq!((issuer.take(), issuer.mints()), (vec![], 1));
}

#[tokio::test]
async fn other_methods_and_teams_are_refused() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let reply = app.call(method, "/service_token", b"").await;
            assert_eq!(reply.error(), (405, "invalid_request".into()), "{method}");
            assert_eq!(reply.header("allow"), Some("POST"), "{method}");
        }
        for (path, status) in [
            ("/v1/teams/globex/service_token", 404),
            ("/v1/teams/%61cme/%73ervice_token", 200),
            ("/v1/teams/acme/Service_Token", 200),
            ("/v1/teams/acme/service_token/", 400),
            ("/v1/teams/acme/service_token/x", 403),
            ("/v1/teams/acme/x/service_token", 403),
        ] {
            let headers = [("Content-Type", "application/json"), ("Authorization", &app.bearer())];
            let body = pair(KEY_ID, "x").to_string();
            let reply = post(&app.place, path, &headers, &body).await;
            assert_eq!(reply.status, status, "{path}: {reply:?}");
            let kinds = [(403, "forbidden_error"), (404, "not_found"), (400, "invalid_request")];
            let kind = kinds.iter().find(|(code, _)| *code == status);
            assert!(kind.is_none_or(|(_, kind)| reply.error().1 == *kind), "{path}: {reply:?}");
        }
    }
    assert_eq!((issuer.take(), issuer.mints()), (vec![], 1));
}

#[tokio::test]
async fn methods_that_are_not_forwarded_are_named() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        for method in ["OPTIONS", "TRACE", "PROPFIND", "get"] {
            let reply = app.call(method, "/x", b"").await;
            assert_eq!(reply.error(), (405, "invalid_request".into()), "{method}");
            assert_eq!(reply.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE"));
        }
    }
    assert_eq!(issuer.take(), []);
}

// faults 242, 283: promise 2
#[tokio::test]
async fn neither_the_key_nor_the_real_token_is_ever_in_an_answer() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    let (_, secret) = any_key();
    let asks = ["/service_users", "/current_user", "/keys", "/%00", "/service_token", "/x?y"];
    for app in daemon.apps().await {
        let bearer = app.bearer();
        let mut answers = mint(&app.place).await.body;
        for (method, below) in ["GET", "POST", "TRACE"].iter().flat_map(|m| asks.map(|a| (*m, a))) {
            for headers in [&[][..], &[("Authorization", bearer.as_str())]] {
                let path = format!("/v1/teams/acme{below}");
                let mut visitor = Visitor::connect(&app.place).await;
                visitor.send(&request(method, &path, headers, b"")).await;
                let reply = visitor.reply().await;
                answers.extend(format!("{:?}", reply.headers).into_bytes());
                answers.extend(reply.body);
            }
        }
        let answers = String::from_utf8(answers).unwrap();
        assert!(answers.len() > 1000, "there is something to search");
        assert!(!answers.contains(TOKEN) && !answers.contains(&secret), "{answers}");
    }
    let log = daemon.log();
    let [unix, _] = daemon.apps().await;
    let secrets = [TOKEN, &secret, &unix.token, "placeholder"];
    assert!(!secrets.iter().any(|secret| log.contains(secret)), "{log}");
}

#[tokio::test]
async fn the_local_token_outlives_a_restart() {
    let issuer = Recorder::start().await;
    let (home, mut daemon) = issuer.daemon().await;
    let [unix, web] = daemon.apps().await;
    assert_ne!(unix.token, web.token, "each listener has its own");
    assert_eq!(unix.token.len(), 64);
    let crossed = App { place: web.place.clone(), ..unix.clone() };
    assert_eq!(crossed.get("/x").await.error(), (401, "authentication_error".into()));
    daemon.stop().await;
    let daemon = home.start().await;
    let [again, _] = daemon.apps().await;
    assert_eq!(again.token, unix.token);
    assert_eq!(unix.get("/x").await.status, 200, "without a new mint");
    let kept: Vec<_> = fs::read_dir(home.path("state")).unwrap().flatten().collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
}

// a crash in the very write: the file is whole or not there
#[tokio::test]
async fn a_crash_leaves_no_short_local_token() {
    let stand = Stand::new().await;
    let run = stand.home.command(&["run"]);
    let mut crashing = Command::new("/bin/sh");
    crashing.args(["-c", r#"ulimit -f 0; exec "$@""#, "sh"]).arg(run.get_program());
    let crashed = crashing.args(run.get_args()).env_clear().output().unwrap();
    assert_eq!(crashed.status.signal(), Some(25), "SIGXFSZ: {crashed:?}");
    let kept = stand.home.path("state/local-token-apps");
    assert!(!kept.exists());
    let daemon = stand.home.start().await;
    assert_eq!(daemon.app().await.token, fs::read_to_string(kept).unwrap());
}

// section 3: where it cannot be kept the daemon goes on without it and says so once
#[tokio::test]
async fn without_a_state_directory_the_local_token_lasts_as_long_as_the_daemon() {
    let mut stand = Stand::new().await;
    let nowhere = stand.home.path("nowhere/at/all");
    stand.home.set("state.dir", nowhere.to_str().unwrap());
    let daemon = stand.home.start().await;
    for app in daemon.apps().await {
        assert_eq!(app.get("/current_user").await.status, 200);
    }
    let said = daemon.log().matches("the local token is not kept").count();
    assert_eq!(said, 2, "once for each listener");
}

#[tokio::test]
async fn a_listener_that_does_not_serve_them_knows_no_such_paths() {
    let mut stand = Stand::new().await;
    stand.home.set("listeners.plain.bind", "tcp:127.0.0.1:0");
    let daemon = stand.home.start().await;
    let place = daemon.place("plain");
    let header = [("X-Bearerd", "1"), ("Content-Type", "application/json")];
    let reply = post(&place, MINT, &header, &pair(KEY_ID, "x").to_string()).await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
}
