//! The local API as its contract says it, over both kinds of socket.

use std::time::Duration;

use serde_json::json;

use crate::bench::{Daemon, Place, Stand, Visitor, client::request, seconds_of, set, until, wall};

/// Connects to both listeners.
async fn visitors(daemon: &Daemon) -> [Visitor; 2] {
    let [apps, web] = daemon.places();
    [Visitor::connect(&apps).await, Visitor::connect(&web).await]
}

#[tokio::test]
async fn the_token_comes_in_every_format_with_its_type_and_headers() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    let text = "text/plain; charset=utf-8";
    let plain = [
        ("raw", token.clone()),
        ("header", format!("Authorization: Bearer {token}\n")),
        ("env", format!("OKTA_BEARER_TOKEN={token}\n")),
    ];
    for mut visitor in visitors(&daemon).await {
        for (format, body) in &plain {
            let reply = visitor.get(&format!("/v1/token?format={format}")).await;
            assert_eq!((reply.status, reply.text()), (200, body.as_str()));
            assert_eq!(reply.header("content-type"), Some(text));
            assert_eq!(reply.header("content-length"), Some(body.len().to_string().as_str()));
            reply.assert_common_headers();
        }
        let oauth2 = visitor.get("/v1/token?format=oauth2").await;
        assert_eq!(oauth2.header("content-type"), Some("application/json"));
        let left = oauth2.json()["expires_in"].as_u64().unwrap();
        let expected = json!(
            { "access_token": token, "token_type": "Bearer", "expires_in": left });
        assert_eq!(oauth2.json(), expected);
    }
}

#[tokio::test]
async fn the_json_has_the_issuers_shape_and_what_a_client_needs_besides() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for mut visitor in visitors(&daemon).await {
        for path in ["/v1/token", "/v1/token?", "/v1/token?format=json", "/v1/token?&&"] {
            let reply = visitor.get(path).await;
            assert_eq!(reply.status, 200, "{path}");
            reply.assert_common_headers();
            assert_eq!(reply.header("content-type"), Some("application/json"));
            let json = reply.json();
            let fields = json.as_object().unwrap().keys().cloned();
            let expected = ["bearer_token", "expires_at", "team_name", "expires_in", "token_id"];
            assert_eq!(set(fields), set(expected));
            assert_eq!(json["team_name"], "acme");
            let id = json["token_id"].as_str().unwrap();
            assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
            assert_eq!(reply.header("etag"), Some(format!("\"{id}\"").as_str()));
            let left = json["expires_in"].as_u64().unwrap() as f64;
            let end = seconds_of(json["expires_at"].as_str().unwrap());
            assert!((end - wall() - left).abs() < 5.0, "{json}");
        }
    }
}

#[tokio::test]
async fn a_head_request_has_the_headers_and_no_body() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for mut visitor in visitors(&daemon).await {
        for path in ["/v1/token?format=raw", "/v1/token", "/v1/ready"] {
            let whole = visitor.get(path).await;
            let head = visitor.request("HEAD", path, &[], b"").await;
            assert_eq!(head.status, 200, "{path}");
            assert_eq!(head.header("content-length"), whole.header("content-length"), "{path}");
            assert_eq!(head.header("etag"), whole.header("etag"), "{path}");
        }
        assert_eq!(visitor.get("/v1/token").await.status, 200, "no body was in the way");
    }
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for mut visitor in visitors(&daemon).await {
        let etag = visitor.get("/v1/token").await.header("etag").unwrap().to_owned();
        let known = [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"other\", {etag}"),
            format!("\"a\",W/\"b\" ,{etag} , \"c\""),
            "*".to_owned(),
        ];
        for list in &known {
            for path in ["/v1/token", "/v1/token?format=raw", "/v1/token?wait=1ms"] {
                let reply = visitor.request("GET", path, &[("If-None-Match", list)], b"").await;
                assert_eq!((reply.status, reply.body.len()), (304, 0), "{list} {path}");
                assert_eq!(reply.header("etag"), Some(etag.as_str()));
                reply.assert_common_headers();
            }
        }
        let bare = etag.trim_matches('"');
        for list in ["\"other\"", bare, "", "\"*\""] {
            let reply = visitor.request("GET", "/v1/token", &[("If-None-Match", list)], b"").await;
            assert_eq!(reply.status, 200, "{list}");
        }
        let two = [("If-None-Match", "\"other\""), ("If-None-Match", etag.as_str())];
        assert_eq!(visitor.request("GET", "/v1/token", &two, b"").await.status, 304);
    }
}

// fault 198
#[tokio::test]
async fn long_polls_are_all_let_go_by_a_refresh_and_not_before() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let mut waiting = Vec::new();
    for place in daemon.places().iter().cycle().take(40) {
        let mut visitor = Visitor::connect(place).await;
        let etag = visitor.get("/v1/token").await.header("etag").unwrap().to_owned();
        let path = "/v1/token?wait=60s&format=raw";
        visitor.send(&request("GET", path, &[("If-None-Match", &etag)], b"")).await;
        waiting.push(visitor);
    }
    let started = daemon.refresh("default").await;
    assert!(started["token_id"].is_string(), "{started}");
    let token = daemon.token().await;
    for mut visitor in waiting {
        let reply = visitor.reply().await;
        assert_eq!((reply.status, reply.text()), (200, token.as_str()));
    }
    // Whoever has no token yet, or an old one, does not wait.
    let reply = daemon.get("apps", "/v1/token?wait=60s").await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn more_life_is_minted_only_where_it_can_be_had() {
    let mut stand = Stand::with(|options| options.lifetime = Duration::from_secs(20)).await;
    // Else the first token may be replaced at any moment, unasked.
    stand.home.set("credentials.default.refresh.jitter", 0.0);
    let daemon = stand.start().await;
    let first = daemon.token().await;
    let [mut apps, mut web] = visitors(&daemon).await;
    // Enough; more than any token has; too young for a new one to be worth it.
    for life in ["1s", "1h", "19500ms"] {
        let reply = apps.get(&format!("/v1/token?min_ttl={life}")).await;
        assert_eq!(reply.json()["bearer_token"], first, "{life}");
        assert!(reply.json()["expires_in"].as_u64().unwrap() <= 20);
    }
    assert_eq!(stand.issuer.mint_calls(), 1);
    until("a tenth of its life is over", async || {
        let reply = web.get("/v1/token").await;
        reply.json()["expires_in"].as_u64().unwrap() < 17
    })
    .await;
    let reply = web.get("/v1/token?min_ttl=18s&format=raw").await;
    assert_eq!(reply.status, 200);
    assert_ne!(reply.text(), first);
    assert_eq!(stand.issuer.mint_calls(), 2);
}

#[tokio::test]
async fn a_wish_for_more_life_that_fails_gives_the_token_there_is() {
    let stand = Stand::with(|options| options.lifetime = Duration::from_secs(20)).await;
    let daemon = stand.start().await;
    let first = daemon.token().await;
    stand.issuer.inject("503".parse::<bearerd::emulator::FaultPlan>().unwrap());
    let mut visitor = Visitor::connect(&daemon.place("apps")).await;
    until("the wish was heard", async || {
        let reply = visitor.get("/v1/token?min_ttl=19s").await;
        assert_eq!((reply.status, &reply.json()["bearer_token"]), (200, &json!(first)));
        stand.issuer.mint_calls() > 1
    })
    .await;
}

#[tokio::test]
async fn credentials_are_found_by_name_on_the_listeners_that_have_them() {
    let mut stand = Stand::new().await;
    stand.home.credential("second", None).credential("hidden", None);
    stand.home.set("listeners.apps.credentials", vec!["second", "default"]);
    let daemon = stand.start().await;
    let token = async |listener, query: &str| {
        let reply = daemon.get(listener, &format!("/v1/token?format=raw{query}")).await;
        (reply.status, reply.text().to_owned())
    };
    let (_, second) = token("apps", "&credential=second").await;
    assert_eq!(token("apps", "").await, (200, second.clone()));
    let default = token("apps", "&credential=default").await;
    assert_eq!(token("web", "").await, default);
    assert_ne!(default.1, second);
    for (listener, name) in [("apps", "hidden"), ("web", "second"), ("web", "nobody"), ("web", "")]
    {
        let reply = daemon.get(listener, &format!("/v1/token?credential={name}")).await;
        assert_eq!((reply.status, reply.problem().as_str()), (404, "not-found"), "{name}");
    }
}

#[tokio::test]
async fn what_no_route_takes_is_answered_with_a_problem() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let rows: [(&str, &str, u16, &str); 26] = [
        ("POST", "/v1/token", 405, "method-not-allowed"),
        ("PUT", "/v1/token", 405, "method-not-allowed"),
        ("DELETE", "/v1/ready", 405, "method-not-allowed"),
        ("OPTIONS", "/v1/token", 405, "method-not-allowed"),
        ("TRACE", "/v1/token", 405, "method-not-allowed"),
        ("BREW", "/v1/token", 405, "method-not-allowed"),
        ("GET", "/v1/token/rejected", 405, "method-not-allowed"),
        ("GET", "/", 404, "not-found"),
        ("GET", "/v1", 404, "not-found"),
        ("GET", "/v1/token/", 404, "not-found"),
        ("GET", "//v1/token", 404, "not-found"),
        ("GET", "/v1/../v1/token", 404, "not-found"),
        ("GET", "/v1/%74oken", 404, "not-found"),
        ("GET", "/V1/TOKEN", 404, "not-found"),
        ("GET", "/metrics", 404, "not-found"),
        ("GET", "/v1/status", 404, "not-found"),
        ("POST", "/v1/refresh", 404, "not-found"),
        ("GET", "/v1/token?colour=red", 400, "bad-request"),
        ("GET", "/v1/token?format=xml", 400, "bad-request"),
        ("GET", "/v1/token?format=raw&format=raw", 400, "bad-request"),
        ("GET", "/v1/token?min_ttl=5", 400, "bad-request"),
        ("GET", "/v1/token?wait=never", 400, "bad-request"),
        ("GET", "/v1/token?wait=99h", 400, "bad-request"),
        ("GET", "/v1/token?min_ttl=-5s", 400, "bad-request"),
        ("GET", "/v1/ready?verbose", 400, "bad-request"),
        ("GET", "/v1/token/watch?format=raw", 400, "bad-request"),
    ];
    for mut visitor in visitors(&daemon).await {
        for (method, path, status, problem) in rows {
            let reply = visitor.request(method, path, &[], b"").await;
            assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
            assert_eq!(reply.problem(), problem, "{method} {path}");
            let allowed = (status == 405).then_some(match path {
                "/v1/token/rejected" => "POST",
                _ => "GET, HEAD",
            });
            assert_eq!(reply.header("allow"), allowed, "{method} {path}");
        }
        assert_eq!(visitor.get("/v1/token").await.status, 200);
    }
}

// faults 151, 190: what is asked for is small, and of one shape
#[tokio::test]
async fn reports_that_are_none_are_refused_and_mint_nothing() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let json = "application/json";
    let large = format!(r#"{{"token_id":"{}"}}"#, "a".repeat(30_000));
    let rows: [(&str, &str, u16); 12] = [
        ("text/plain", r#"{"token_id":"a"}"#, 415),
        ("application/x-www-form-urlencoded", "token_id=a", 415),
        (json, "{", 400),
        (json, "null", 400),
        (json, "{}", 400),
        (json, r#"{"token_id":1}"#, 400),
        (json, r#"{"token_id":"a","bearer_token":"b"}"#, 400),
        (json, r#"{"token_id":"a","token_id":"b"}"#, 400),
        (json, r#"{"token_id":"a","reason":"because"}"#, 400),
        (json, "[[[[[[[[[[[[", 400),
        (json, "\u{feff}{}", 400),
        (json, &large, 413),
    ];
    for place in daemon.places() {
        for (media_type, body, status) in rows {
            let mut visitor = Visitor::connect(&place).await;
            let headers = [("Content-Type", media_type)];
            let path = "/v1/token/rejected";
            let reply = visitor.request("POST", path, &headers, body.as_bytes()).await;
            assert_eq!(reply.status, status, "{body:.40}");
            reply.problem();
            // fault 141: what is left of a body is not taken for a request
            assert!(reply.is_last(), "{reply:?}");
            assert_eq!(visitor.rest().await, b"");
        }
        let mut visitor = Visitor::connect(&place).await;
        let reply = visitor.request("POST", "/v1/token/rejected", &[], b"").await;
        assert_eq!(reply.status, 415, "no body at all");
        let params = [("Content-Type", "Application/JSON; charset=utf-8")];
        let body = br#"{"token_id":"0000000000000000"}"#;
        let reply = Visitor::connect(&place)
            .await
            .request("POST", "/v1/token/rejected", &params, body)
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(stand.issuer.mint_calls(), 1);
}

// faults 132, 140, 144: what is not clean HTTP/1 is not served
#[tokio::test]
async fn malformed_requests_end_the_connection_and_nothing_else() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let host = "Host: localhost\r\nX-Bearerd: 1\r\n";
    let rows = [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET /v1/token HTTP/2.0\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("GET /v1/token HTTP/1.1\r\n{host}A\0b: c\r\n\r\n"),
        format!("GET /v1/token HTTP/1.1\r\n{host} folded: yes\r\n\r\n"),
        format!("GET /v1/token HTTP/1.1\r\n{host}Name : value\r\n\r\n"),
        format!("GET /v1/token HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n"),
        format!("GET /v1/token HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        format!("GET /v1/token HTTP/1.1\r\n{host}Transfer-Encoding: gzip\r\n\r\n"),
        format!("GET /v1/token HTTP/1.1\r\n{host}{}\r\n", "A: b\r\n".repeat(100)),
        format!("GET /v1/token HTTP/1.1\r\n{host}A: {}\r\n\r\n", "b".repeat(64 * 1024)),
        format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(64 * 1024)),
    ];
    for place in daemon.places() {
        for bytes in &rows {
            let mut visitor = Visitor::connect(&place).await;
            visitor.try_send(bytes.as_bytes()).await;
            let answer = String::from_utf8_lossy(&visitor.rest().await).into_owned();
            let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
            assert!(refused && !answer.contains("bearer_token"), "{bytes:.60}: {answer}");
        }
    }
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200);
    assert!(!daemon.log().contains("panicked"));
}

// fault 142
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    const REQUESTS: usize = 10_000;
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    for place in daemon.places() {
        let mut visitor = Visitor::connect(&place).await;
        let (raw, none) = ("/v1/token?format=raw", "/nothing/here");
        let pair = [request("GET", raw, &[], b""), request("GET", none, &[], b"")].concat();
        let mut sent = 0;
        while sent < REQUESTS {
            visitor.send(&pair.repeat(50)).await;
            for _ in 0..50 {
                let (first, second) = (visitor.reply().await, visitor.reply().await);
                assert_eq!((first.status, first.text(), second.status), (200, token.as_str(), 404));
            }
            sent += 100;
        }
    }
    let labels = [("endpoint", "token"), ("code", "200")];
    let counted = daemon.metrics().await.get("bearerd_requests_total", &labels);
    assert!(counted >= REQUESTS as f64, "{counted}");
}

#[tokio::test]
async fn http_1_0_is_answered_on_a_unix_socket() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let mut visitor = Visitor::connect(&daemon.place("apps")).await;
    visitor.send(b"GET /v1/token?format=raw HTTP/1.0\r\n\r\n").await;
    let answer = String::from_utf8(visitor.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let web = daemon.place("web");
    assert!(matches!(web, Place::Tcp(_)));
    let mut visitor = Visitor::connect(&web).await;
    visitor.send(b"GET /v1/token HTTP/1.0\r\nX-Bearerd: 1\r\n\r\n").await;
    let answer = String::from_utf8(visitor.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.0 421"), "{answer}");
}

#[tokio::test]
async fn a_client_that_has_said_all_still_gets_its_answer() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for mut visitor in visitors(&daemon).await {
        visitor.send(&request("GET", "/v1/token", &[], b"")).await;
        visitor.finish().await;
        assert_eq!(visitor.reply().await.status, 200);
        assert_eq!(visitor.rest().await, b"");
    }
}
