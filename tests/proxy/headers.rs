//! Headers: the issuer gets those that it should, on every connection, and so does the client.

use crate::bench::{
    Recorder, Visitor,
    client::request,
    recorder::{TOKEN, answer},
};

/// Makes the head that arrives for a GET of `/x`, with these lines of the client's own.
fn expected(issuer: &Recorder, lines: &[&str]) -> Vec<String> {
    let mut head = String::from("GET /v1/teams/acme/x HTTP/1.1\r\n");
    lines.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
    head.push_str(&format!("authorization: Bearer {TOKEN}1\r\n"));
    head.push_str(&format!("host: {}\r\n\r\n", issuer.authority()));
    lines_of(&head)
}

/// Gives the lines of a head: of different names the order says nothing (RFC 9110 section 5.3).
fn lines_of(head: &str) -> Vec<String> {
    let mut lines: Vec<_> = head.split("\r\n").map(str::to_owned).collect();
    lines[1..].sort_unstable();
    lines
}

// fault 285
#[tokio::test]
async fn the_issuer_gets_these_bytes_and_no_others() {
    let rows: [(&str, &[&str]); 9] = [
        ("", &[]),
        (
            "Accept: */*\r\nUser-Agent: sdk/1\r\nIf-None-Match: \"a\"\r\nX-Own: 1\r\n",
            &["accept: */*", "user-agent: sdk/1", "if-none-match: \"a\"", "x-own: 1"],
        ),
        ("Cookie: a=b\r\nAccept-Encoding: gzip, br\r\nX-Bearerd: 1\r\n", &[]),
        ("Proxy-Authorization: Basic eDp5\r\nProxy-Connection: close\r\nProxy-X: y\r\n", &[]),
        ("X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: PUT\r\nX-Method-Override: PUT\r\n", &[]),
        ("X-Rewrite-URL: /v1/teams/acme/keys\r\nSec-Fetch-Mode: cors\r\n", &[]),
        (
            "Connection: keep-alive, X-Listed,x-other\r\nX-Listed: 1\r\nX-Other: 2\r\nX-Own: 3\r\n",
            &["x-own: 3"],
        ),
        (
            "Connection: authorization, host, cookie\r\nKeep-Alive: 9\r\nTE: trailers\r\nTrailer: X-T\r\n",
            &[],
        ),
        ("Connection: \u{e9}, x-listed\r\nX-Listed: 1\r\n", &[]),
    ];
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        for (lines, kept) in rows {
            let rest = [latin_1(lines), b"\r\n".to_vec()].concat();
            let mut visitor = app.send("GET /v1/teams/acme/x HTTP/1.1", &rest).await;
            assert_eq!(visitor.reply().await.status, 200, "{lines}");
            let heads: Vec<_> = issuer.take().iter().map(|call| lines_of(&call.head)).collect();
            assert_eq!(heads, [expected(&issuer, kept)], "{lines}");
        }
    }
}

fn latin_1(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
}

// faults 133, 136
#[tokio::test]
async fn what_browsers_and_forwarders_send_is_refused() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        for line in [
            "Origin: http://localhost",
            "Referer: http://localhost/",
            "Sec-Fetch-Site: same-origin",
            "Sec-Fetch-Mode: navigate",
            "X-Forwarded-For: 10.0.0.1",
            "Forwarded: for=10.0.0.1",
            "Via: 1.1 x",
            "X-Real-IP: 10.0.0.1",
            "X-Original-URL: /x",
        ] {
            let (name, value) = line.split_once(": ").unwrap();
            let reply = app.call_with("GET", "/x", &[(name, value)], b"").await;
            assert_eq!(reply.error(), (403, "forbidden_error".into()), "{line}");
        }
    }
    assert_eq!(issuer.take(), []);
}

// faults 126, 127
#[tokio::test]
async fn a_wrong_host_and_an_upgrade_are_refused_in_oktas_shape() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    let [unix, web] = daemon.apps().await;
    let line = "GET /v1/teams/acme/x HTTP/1.1\r\n";
    let rows = [
        ("Host: evil.example\r\n", 421),
        ("Host: localhost.\r\n", 421),
        ("Host: localhost:1\r\n", 421),
        ("", 400),
        ("Host: localhost\r\nHost: localhost\r\n", 400),
        ("Host: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n", 400),
    ];
    for (hosts, status) in rows {
        for app in [&web, &unix] {
            if status == 421 && app.place.is_unix() {
                continue;
            }
            let mut visitor = Visitor::connect(&app.place).await;
            let bearer = format!("Authorization: {}\r\n\r\n", app.bearer());
            visitor.send(format!("{line}{hosts}{bearer}").as_bytes()).await;
            assert_eq!(
                visitor.reply().await.error(),
                (status, "invalid_request".into()),
                "{hosts}"
            );
        }
    }
    assert_eq!(issuer.take(), []);
}

// section 5: what the client gets
#[tokio::test]
async fn the_client_gets_nothing_for_browsers_and_nothing_of_the_connection() {
    let head = "200 OK\r\nSet-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\n\
        Strict-Transport-Security: max-age=1\r\nAlt-Svc: h3\r\nCache-Control: public\r\n\
        Connection: keep-alive, x-listed\r\nX-Listed: 1\r\nKeep-Alive: timeout=5\r\n\
        Date: Mon, 01 Jan 2024 00:00:00 GMT\r\nX-Own: 1\r\nETag: \"e\"";
    let issuer = Recorder::answering(move |_| answer(head, "{}")).await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        let reply = app.get("/x").await;
        let mut headers: Vec<_> =
            reply.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        headers.sort();
        let expected = [
            "cache-control: no-store",
            "content-length: 2",
            "content-type: application/json",
            "date: Mon, 01 Jan 2024 00:00:00 GMT",
            "etag: \"e\"",
            "x-content-type-options: nosniff",
            "x-own: 1",
        ];
        assert_eq!(headers, expected);
    }
}

// fault 24: case R1
#[tokio::test]
async fn rate_limits_pass_and_moments_of_the_past_become_now() {
    let said = "429 Slow\r\nX-RateLimit-Limit: 10000\r\nX-RateLimit-Remaining: 0\r\n\
        X-RateLimit-Reset: 1000000000\r\nX-RateLimit-Retry-At: 99999999999\r\nRetry-After: 7";
    let issuer = Recorder::answering(move |_| answer(said, "{}")).await;
    let (_home, daemon) = issuer.daemon().await;
    let before = jiff::Timestamp::now().as_second();
    let reply = daemon.app().await.get("/x").await;
    let after = jiff::Timestamp::now().as_second();
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header("x-ratelimit-limit"), Some("10000"));
    assert_eq!(reply.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(reply.header("x-ratelimit-retry-at"), Some("99999999999"));
    assert_eq!(reply.header("retry-after"), Some("7"));
    let reset: i64 = reply.header("x-ratelimit-reset").unwrap().parse().unwrap();
    assert!((before..=after).contains(&reset), "{reset}");
}

// fault 287: nothing is followed, least of all with the token
#[tokio::test]
async fn redirects_go_to_the_client() {
    let sink = Recorder::start().await;
    let elsewhere = format!("{}/v1/teams/acme/y", sink.base_url());
    let location = elsewhere.clone();
    let issuer = Recorder::answering(move |call| {
        let status = call.line().split_once("/s").unwrap().1.split(' ').next().unwrap();
        answer(&format!("{status} Elsewhere\r\nLocation: {location}"), "{}")
    })
    .await;
    let (_home, daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    for status in [301, 302, 303, 307, 308] {
        let reply = app.get(&format!("/s{status}")).await;
        assert_eq!((reply.status, reply.header("location")), (status, Some(elsewhere.as_str())));
    }
    assert_eq!((issuer.take().len(), sink.take().len()), (5, 0));
}

// fault 145: exactly one header, with exactly the local token
#[tokio::test]
async fn calls_without_the_local_token_are_refused() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        let (token, bearer) = (&app.token, app.bearer());
        let rows: [&[(&str, &str)]; 11] = [
            &[],
            &[("Authorization", "")],
            &[("Authorization", "Bearer")],
            &[("Authorization", "Bearer ")],
            &[("Authorization", token)],
            &[("Authorization", &format!("Basic {token}"))],
            &[("Authorization", &format!("{bearer}x"))],
            &[("Authorization", &format!("{bearer}, {bearer}"))],
            &[("Authorization", &bearer[..bearer.len() - 1])],
            &[("Authorization", &bearer), ("Authorization", &bearer)],
            &[("Authorization", &format!("Bearer {TOKEN}1"))],
        ];
        for headers in rows {
            let mut visitor = Visitor::connect(&app.place).await;
            visitor.send(&request("GET", "/v1/teams/acme/x", headers, b"")).await;
            let error = visitor.reply().await.error();
            assert_eq!(error, (401, "authentication_error".into()), "{headers:?}");
        }
        let lower = format!("bearer {token}");
        let headers = [("authorization", lower.as_str())];
        let mut visitor = Visitor::connect(&app.place).await;
        visitor.send(&request("GET", "/v1/teams/acme/x", &headers, b"")).await;
        assert_eq!(visitor.reply().await.status, 200, "the scheme has no case");
    }
    assert_eq!(issuer.take().len(), 2);
}
