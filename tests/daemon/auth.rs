//! `/v1/auth`, as reverse proxies ask: with whatever their visitors send.

use crate::bench::{
    Daemon, Place, Reply, Stand, Visitor,
    client::{Header, request},
    until,
};

/// Makes a stand of which only the unix socket serves proxies, and nothing else.
async fn stand() -> Stand {
    let mut stand = Stand::new().await;
    stand.home.set("listeners.apps.serve", vec!["auth"]);
    stand
}

/// Adds a TCP listener that serves proxies which know this token.
fn guard(stand: &mut Stand) -> String {
    let token = "0123456789-abcdefghijklmnopqrstuvwxyz".to_owned();
    let file = stand.home.replace("access-token", token.as_bytes(), 0o640);
    stand.home.set("listeners.web.serve", vec!["auth", "token"]);
    stand.home.set("listeners.web.access_token_file", file.to_str().unwrap());
    token
}

async fn ask(place: &Place, headers: &[Header<'_>]) -> Reply {
    Visitor::connect(place).await.request("GET", "/v1/auth", headers, b"").await
}

/// Checks an answer that lets a visitor pass; gives the token in it.
fn passed(reply: &Reply) -> &str {
    assert_eq!((reply.status, reply.body.len()), (200, 0), "{reply:?}");
    reply.assert_common_headers();
    assert_eq!(reply.header("content-type"), None);
    let id = reply.header("x-bearerd-token-id").unwrap();
    assert_eq!(id.len(), 16, "{id}");
    reply.header("authorization").unwrap().strip_prefix("Bearer ").unwrap()
}

async fn requests(daemon: &Daemon, code: &str) -> f64 {
    let labels = [("listener", "apps"), ("endpoint", "auth"), ("code", code)];
    daemon.metrics().await.get("bearerd_requests_total", &labels)
}

#[tokio::test]
async fn any_method_and_path_of_a_visitor_gets_the_first_credentials_token() {
    let mut stand = stand().await;
    stand.home.credential("second", None);
    stand.home.set("listeners.apps.credentials", vec!["default", "second"]);
    let daemon = stand.start().await;
    let mut visitor = Visitor::connect(&daemon.place("apps")).await;
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"];
    let paths = [
        "/v1/auth",
        "/v1/auth/",
        "/v1/auth/shop/../%2e%2e/a//b;c?credential=second&min_ttl=x&&=",
        "/v1/auth?credential=second",
        "/v1/auth/v1/token/rejected",
        "http://visited.example/v1/auth/x",
    ];
    for (method, path) in methods.iter().flat_map(|method| paths.map(|path| (method, path))) {
        let reply = visitor.request(method, path, &[], b"").await;
        assert_eq!(stand.accepts(passed(&reply)).await, 200, "{method} {path}");
        assert!(!reply.is_last(), "{method} {path}");
    }
    let token = passed(&visitor.get("/v1/auth").await).to_owned();
    assert_eq!(daemon.get("web", "/v1/token").await.json()["bearer_token"], token);
    assert_eq!(requests(&daemon, "200").await, (methods.len() * paths.len() + 1) as f64);
    for path in ["/v1/authx", "/v1/auth%2f", "//v1/auth", "/V1/auth", "/v1/token"] {
        assert_eq!(visitor.get(path).await.problem(), "not-found", "{path}");
    }
    assert_eq!(daemon.get("web", "/v1/auth").await.status, 404, "it is served where asked for");
}

// faults 130, 131, 133, 136: what a visitor sends is no reason here, and is one everywhere else
#[tokio::test]
async fn a_visitors_own_headers_are_no_reason_to_refuse() {
    let mut stand = stand().await;
    stand.home.set("listeners.apps.serve", vec!["auth", "token"]);
    let daemon = stand.start().await;
    let place = daemon.place("apps");
    let headers = [
        ("Origin", "https://shop.example"),
        ("Referer", "https://shop.example/"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Uri", "/a"),
        ("Forwarded", "for=203.0.113.9"),
        ("Via", "1.1 edge"),
        ("X-Original-URL", "/a"),
        ("Upgrade", "websocket"),
        ("Authorization", "Basic dmlzaXRvcjpzZWNyZXQ="),
        ("Cookie", "a=b"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Access-Control-Request-Method", "PUT"),
    ];
    for header in headers {
        passed(&ask(&place, &[header]).await);
    }
    passed(&ask(&place, &headers).await);
    for header in &headers[..10] {
        let mut visitor = Visitor::connect(&place).await;
        let reply = visitor.request("GET", "/v1/token", &[*header], b"").await;
        assert!(reply.status >= 400, "{header:?}");
    }
}

#[tokio::test]
async fn http_1_0_is_answered_with_and_without_a_host() {
    let stand = stand().await;
    let daemon = stand.start().await;
    for head in ["", "Host: visited.example\r\n", "Connection: close\r\n"] {
        let mut visitor = Visitor::connect(&daemon.place("apps")).await;
        visitor.send(format!("GET /v1/auth/a HTTP/1.0\r\n{head}\r\n").as_bytes()).await;
        passed(&visitor.reply().await);
        assert_eq!(visitor.rest().await, b"");
    }
    let mut visitor = Visitor::connect(&daemon.place("apps")).await;
    visitor.send(b"GET /v1/auth HTTP/1.1\r\n\r\n").await;
    assert_eq!(visitor.reply().await.status, 400, "HTTP/1.1 has one");
}

// faults 140, 141: neither waited for, nor taken for a request
#[tokio::test]
async fn a_body_is_not_waited_for_and_never_a_second_request() {
    let stand = stand().await;
    let daemon = stand.start().await;
    let smuggled = request("GET", "/v1/auth/smuggled", &[], b"");
    let length = smuggled.len().to_string();
    let announced: [&[Header<'_>]; 4] = [
        &[("Content-Length", "5")],
        &[("Content-Length", "1099511627776")],
        &[("Transfer-Encoding", "chunked")],
        &[("Content-Length", "5"), ("Expect", "100-continue")],
    ];
    for headers in announced {
        let mut visitor = Visitor::connect(&daemon.place("apps")).await;
        visitor.send(&request("POST", "/v1/auth", headers, b"")).await;
        let reply = visitor.reply().await;
        passed(&reply);
        assert!(reply.is_last(), "{headers:?}");
        assert_eq!(visitor.rest().await, b"", "{headers:?}");
    }
    let mut visitor = Visitor::connect(&daemon.place("apps")).await;
    let head = request("POST", "/v1/auth", &[("Content-Length", &length)], b"");
    visitor.send(&[head, smuggled].concat()).await;
    assert!(visitor.reply().await.is_last());
    assert_eq!(visitor.rest().await, b"");
    let mut visitor = Visitor::connect(&daemon.place("apps")).await;
    passed(&visitor.request("POST", "/v1/auth", &[("Content-Length", "0")], b"").await);
    passed(&visitor.get("/v1/auth").await);
    assert_eq!(requests(&daemon, "200").await, 7.0);
}

#[tokio::test]
async fn a_tunnel_is_no_question() {
    let stand = stand().await;
    let daemon = stand.start().await;
    let mut visitor = Visitor::connect(&daemon.place("apps")).await;
    visitor.send(b"CONNECT /v1/auth HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(visitor.reply().await.status >= 400);
}

// faults 126, 134, 135, 145
#[tokio::test]
async fn on_tcp_the_access_token_stands_in_for_the_host_list_and_for_nothing_else() {
    let mut stand = stand().await;
    let token = guard(&mut stand);
    let daemon = stand.start().await;
    let web = daemon.place("web");
    let good = format!("Bearer {token}");
    let asked = async |path: &str, headers: &[Header<'_>]| {
        let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let head = format!("GET {path} HTTP/1.1\r\n{}\r\n", lines.collect::<String>());
        let mut visitor = Visitor::connect(&web).await;
        visitor.send(head.as_bytes()).await;
        visitor.reply().await
    };
    let (ours, known) = (("X-Bearerd", "1"), ("Authorization", good.as_str()));
    let page = ("Origin", "https://shop.example");
    for host in ["visited.example", "localhost", "visited.example:1", ""] {
        let reply = asked("/v1/auth/a", &[("Host", host), ours, known, page]).await;
        assert_eq!(stand.accepts(passed(&reply)).await, 200, "{host}");
    }
    let host = ("Host", "visited.example");
    let rows: [(&[Header<'_>], u16); 6] = [
        (&[host, ours], 401),
        (&[host, ours, ("Authorization", "Bearer x")], 401),
        (&[host, ours, known, known], 401),
        (&[host, known], 403),
        (&[ours, known], 400),
        (&[host, host, ours, known], 400),
    ];
    for (headers, status) in rows {
        let reply = asked("/v1/auth", headers).await;
        assert_eq!((reply.status, reply.header("authorization")), (status, None), "{headers:?}");
    }
    assert_eq!(asked("/v1/token", &[host, ours, known]).await.status, 421);
}

// fault 202
#[tokio::test]
async fn without_a_token_nobody_passes() {
    let mut stand = stand().await;
    stand.home.set("listeners.apps.first_token_wait", "50ms");
    stand.issuer.set_team_disabled(true);
    let daemon = stand.home.start().await;
    let reply = ask(&daemon.place("apps"), &[]).await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "no-token"));
    assert!(reply.header("retry-after").is_some() && reply.header("authorization").is_none());
    stand.issuer.set_team_disabled(false);
    until("the operator's mint has worked", async || {
        daemon.refresh("default").await;
        ask(&daemon.place("apps"), &[]).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn each_answer_has_the_token_of_its_moment() {
    let stand = stand().await;
    let daemon = stand.start().await;
    let mut visitor = Visitor::connect(&daemon.place("apps")).await;
    let first = passed(&visitor.get("/v1/auth").await).to_owned();
    assert!(daemon.refresh("default").await["token_id"].is_string());
    let second = passed(&visitor.get("/v1/auth").await).to_owned();
    assert_ne!(first, second);
    assert_eq!(stand.accepts(&second).await, 200);
}
