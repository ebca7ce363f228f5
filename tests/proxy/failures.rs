//! What goes wrong between the daemon and the issuer: what is tried again, counted, said and hidden.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::bench::{
    App, Arrived, Daemon, Recorder, Reply, Visitor,
    recorder::{TOKEN, answer},
    until,
};

/// Makes an issuer that answers with a status and the head of the call, as some error pages do.
async fn echoing(status: &'static str) -> Recorder {
    Recorder::answering(move |call| {
        let bearer = call.head.split("\r\n").find(|line| line.starts_with("authorization"));
        let head = format!("{status}\r\nX-Echo: {}\r\nX-Own: 1", bearer.unwrap());
        answer(&head, &call.head)
    })
    .await
}

// fault 32: promise 2, whatever the issuer sends back, the real token does not reach the client
#[tokio::test]
async fn an_answer_that_quotes_the_call_has_the_token_blotted_out() {
    for status in ["200 OK", "400 Bad", "401 No", "500 Oops"] {
        let issuer = echoing(status).await;
        let (_home, daemon) = issuer.daemon().await;
        for app in daemon.apps().await {
            for method in ["GET", "POST"] {
                let reply = app.call(method, "/x", b"").await;
                assert_eq!(reply.status.to_string(), status[..3], "{method}");
                assert_eq!(reply.header("x-own"), Some("1"));
                assert!(!format!("{:?}", reply.headers).contains(TOKEN), "{status}: a header");
                assert!(!reply.text().contains(TOKEN), "{status}: {}", reply.text());
                let stars = "*".repeat(TOKEN.len() + 1);
                assert!(reply.text().contains(&format!("authorization: Bearer {stars}\r\n")));
            }
        }
    }
}

// fault 31: nobody could look through it, and nobody has asked for it
#[tokio::test]
async fn a_compressed_answer_is_refused_and_pieces_are_not_asked_for() {
    let issuer = Recorder::answering(|_| answer("200 OK\r\nContent-Encoding: gzip", "{}")).await;
    let (_home, daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    let pieces = [("Range", "bytes=0-40"), ("If-Range", "\"x\"")];
    let reply = app.call_with("GET", "/x", &pieces, b"").await;
    assert_eq!(reply.error(), (502, "service_offline".into()));
    assert!(!issuer.take()[0].head.contains("ange:"));
}

/// Makes an issuer that takes the first call of some path, and leaves without a word.
async fn leaving_once() -> Recorder {
    Recorder::conversing(|mut talk, head| async move {
        let body = talk.body(&head).await?;
        let is_first = talk.count() == 0;
        talk.note(Arrived { head, body });
        if is_first {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        talk.send(&answer("200 OK", "{}")).await?;
        Ok(talk)
    })
    .await
}

// fault 47: an issuer closes a connection that rested just when a call goes out on it
#[tokio::test]
async fn a_call_on_a_connection_that_closes_is_sent_again_if_it_may_be() {
    let rows: [(&str, &[u8], u16, usize); 6] = [
        ("GET", b"", 200, 2),
        ("HEAD", b"", 200, 2),
        ("PUT", b"{}", 200, 2),
        ("DELETE", b"", 200, 2),
        ("POST", b"{}", 502, 1),
        ("PATCH", b"{}", 502, 1),
    ];
    for (method, body, status, calls) in rows {
        let issuer = leaving_once().await;
        let (_home, daemon) = issuer.daemon().await;
        let reply = daemon.app().await.call(method, "/x", body).await;
        assert_eq!(reply.status, status, "{method}");
        let arrived = issuer.take();
        assert_eq!(arrived.len(), calls, "{method}");
        assert!(arrived.iter().all(|call| call.body == body), "{method}");
        if status == 502 {
            assert!(message(&reply).contains("may be done or not"), "{reply:?}");
            assert_eq!(logged(&daemon).await, ("apps".to_owned(), "closed".to_owned()));
        }
    }
}

// never a loop
#[tokio::test]
async fn an_issuer_that_always_leaves_is_asked_twice() {
    let issuer = Recorder::conversing(|mut talk, head| async move {
        let body = talk.body(&head).await?;
        talk.note(Arrived { head, body });
        Err(std::io::ErrorKind::ConnectionAborted.into())
    })
    .await;
    let (_home, daemon) = issuer.daemon().await;
    let reply = daemon.app().await.get("/x").await;
    assert_eq!(reply.error(), (502, "service_offline".into()));
    assert_eq!(issuer.take().len(), 2);
}

#[tokio::test]
async fn a_second_try_that_fails_leaves_the_first_in_the_numbers() {
    let issuer = Recorder::conversing(|mut talk, head| async move {
        if !head.contains(&format!("{TOKEN}1\r\n")) {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        talk.send(&answer("401 No", r#"{"type":"authentication_error"}"#)).await?;
        Ok(talk)
    })
    .await;
    let (_home, daemon) = issuer.daemon().await;
    let reply = daemon.app().await.get("/x").await;
    assert_eq!(reply.error(), (502, "service_offline".into()));
    let upstream = "bearerd_proxy_upstream_requests_total";
    assert_eq!(daemon.metric(upstream, &[("code", "401")]).await, 1.0);
    assert_eq!(daemon.metric("bearerd_proxy_replays_total", &[]).await, 0.0);
}

/// Makes an issuer whose answers to calls say that the user's budget is nearly spent.
async fn nearly_spent() -> Recorder {
    let head = "200 OK\r\nX-RateLimit-Limit: 10000\r\nX-RateLimit-Remaining: 7";
    Recorder::answering(move |_| answer(head, "{}")).await
}

// fault 280
#[tokio::test]
async fn what_is_left_of_the_users_calls_is_shown_and_left_to_the_clients() {
    let issuer = nearly_spent().await;
    let (_home, daemon) = issuer.daemon().await;
    assert_eq!(daemon.app().await.get("/x").await.header("x-ratelimit-remaining"), Some("7"));
    assert_eq!(daemon.metric("bearerd_issuer_rate_limit_remaining", &[]).await, 7.0);
    for _ in 0..3 {
        assert_eq!(report(&daemon).await.status, 200);
    }
    let spent = issuer.mints();
    issuer.take();
    // Beyond the budget a report would be tried with the issuer as soon as the token is 3 s old.
    until("the budget allows a mint again", async || {
        report(&daemon).await;
        sleep(Duration::from_millis(20)).await;
        issuer.mints() > spent
    })
    .await;
    assert_eq!(issuer.take(), [], "no trial");
}

/// Reports the current token.
async fn report(daemon: &Daemon) -> Reply {
    let place = daemon.place("apps");
    let token = Visitor::connect(&place).await.get("/v1/token").await.json()["token_id"].clone();
    let report = json!({ "token_id": token }).to_string();
    let headers = [("Content-Type", "application/json")];
    let mut visitor = Visitor::connect(&place).await;
    visitor.request("POST", "/v1/token/rejected", &headers, report.as_bytes()).await
}

/// Sends what an App would not.
async fn raw(app: &App, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    Visitor::connect(&app.place).await.request(method, path, headers, body).await
}

/// Waits for the word of a failed call in the log; gives listener and reason.
async fn logged(daemon: &Daemon) -> (String, String) {
    let events = || daemon.events("a call could not be forwarded");
    until("it is logged", async || !events().is_empty()).await;
    let word = |field: &str| events()[0][field].as_str().unwrap().to_owned();
    (word("listener"), word("reason"))
}

fn message(reply: &Reply) -> String {
    reply.json()["message"].as_str().unwrap().to_owned()
}

// whoever reads a refusal learns what to change
#[tokio::test]
async fn our_own_refusals_say_what_to_do() {
    let issuer = Recorder::start().await;
    let mut home = issuer.home();
    home.set_both("proxy.allow", vec!["GET /**"]);
    let daemon = home.start().await;
    let app = daemon.app().await;
    let mint = "/v1/teams/acme/service_token";
    let json = [("Content-Type", "application/json")];
    let bearer = app.bearer();
    let own = [("Authorization", bearer.as_str())];
    let rows = [
        (app.call("DELETE", "/x", b"").await, 403, "proxy.allow"),
        (app.get("/robot/keys").await, 403, "a rule has to spell"),
        (app.get("/a%2fb").await, 400, "segment"),
        (raw(&app, "GET", "/v1/teams/other/x", &own, b"").await, 404, "team_name"),
        (raw(&app, "GET", "/v1/teams/acme", &[], b"").await, 404, "/v1/teams/{team}/"),
        (raw(&app, "GET", mint, &[], b"").await, 405, "POST only"),
        (raw(&app, "POST", mint, &json, b"{").await, 400, "key_secret"),
        (raw(&app, "POST", mint, &[], b"{}").await, 415, "application/json"),
        (raw(&app, "GET", "/v1/teams/acme/x", &[("Origin", "x")], b"").await, 403, "web pages"),
        (raw(&app, "GET", "/v1/teams/acme/x", &[], b"").await, 401, "service_token"),
    ];
    for (reply, status, word) in rows {
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(message(&reply).contains(word), "{word}: {reply:?}");
    }
    drop(issuer);
    let gone = app.get("/x").await;
    assert_eq!(gone.status, 502);
    assert!(message(&gone).contains("could not be connected to"), "{gone:?}");
    assert_eq!(logged(&daemon).await.1, "connect");
}
