//! Framing: whatever two readers could disagree about arrives as one clean request, or not at all.

use crate::bench::{App, Arrived, Recorder, Visitor, client::request, recorder::TOKEN, until};

/// What somebody would like to slip in.
const SMUGGLED: &str = "GET /v1/teams/acme/smuggled HTTP/1.1\r\nHost: localhost\r\n";

/// What the issuer gets of a request: how its body is framed, and the body.
type Expected<'a> = Option<(&'a str, &'a str)>;

const NOTHING: Expected<'static> = None;
const ONE: &str = "transfer-encoding: chunked";

/// Makes the call that arrives, byte by byte.
fn arrived(issuer: &Recorder, method: &str, (framing, body): (&str, &str)) -> Arrived {
    let host = format!("host: {}", issuer.authority());
    // An empty body is announced by us, any other by the HTTP client, which comes after its host.
    let last = if framing == "content-length: 0" { [framing, &host] } else { [&host, framing] };
    let head = format!(
        "{method} /v1/teams/acme/x HTTP/1.1\r\nauthorization: Bearer {TOKEN}1\r\n{}\r\n\r\n",
        last.join("\r\n")
    );
    Arrived { head, body: body.into() }
}

/// Sends a request and one that hides behind it; checks what comes of them.
async fn check(app: &App, issuer: &Recorder, line: &str, rest: &str, expected: Expected<'_>) {
    let smuggled = format!("{SMUGGLED}Authorization: {}\r\n\r\n", app.bearer());
    let rest = rest.replace("SMUGGLED", &smuggled);
    let rest = rest.replace("LENGTH", &format!("{:x}", smuggled.len()));
    let mut visitor = app.send(line, rest.as_bytes()).await;
    let status = visitor.try_reply().await.map_or(400, |reply| reply.status);
    let answers = String::from_utf8_lossy(&visitor.rest().await).into_owned();
    assert_eq!(answers, "", "a second answer to {rest}");
    let method = line.split(' ').next().unwrap();
    let expected = expected.map(|(framing, body)| {
        arrived(issuer, method, (framing, &body.replace("SMUGGLED", &smuggled)))
    });
    assert_eq!(status == 200, expected.is_some(), "{status} to {rest}");
    assert!(status == 200 || (400..500).contains(&status), "{status} to {rest}");
    assert_eq!(issuer.take(), Vec::from_iter(expected), "{rest}");
}

// faults 140, 285: requests that say twice where they end
#[tokio::test]
async fn two_lengths_are_never_two_requests() {
    let rows: [(&str, Expected<'_>); 13] = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED", NOTHING),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nSMUGGLED", NOTHING),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nLENGTH\r\nSMUGGLED\r\n0\r\n\r\n",
            NOTHING,
        ),
        ("Content-Length: 5\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", NOTHING),
        ("Content-Length: 0\r\nContent-Length: 5\r\n\r\nSMUGGLED", NOTHING),
        ("Content-Length: 5\r\nContent-Length: 0\r\n\r\nhelloSMUGGLED", NOTHING),
        ("Content-Length: 0, 5\r\n\r\nSMUGGLED", NOTHING),
        ("Content-Length: +5\r\n\r\nhelloSMUGGLED", NOTHING),
        ("Content-Length: 0x5\r\n\r\nhelloSMUGGLED", NOTHING),
        ("Content-Length: 5 5\r\n\r\nhelloSMUGGLED", NOTHING),
        ("Content-Length: -5\r\n\r\nhelloSMUGGLED", NOTHING),
        ("Content-Length: \r\n\r\nhelloSMUGGLED", NOTHING),
        ("Content-Length: 18446744073709551621\r\n\r\nhelloSMUGGLED", NOTHING),
    ];
    table(&rows).await;
}

// faults 140, 285: codings that hide
#[tokio::test]
async fn codings_that_hide_are_refused() {
    let body = "\r\n\r\n0\r\n\r\nSMUGGLED";
    let codings = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer\x00-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n\tfolded",
    ];
    let rows = codings.map(|coding| (format!("{coding}{body}"), NOTHING));
    table(&rows.each_ref().map(|(rest, expected)| (rest.as_str(), *expected))).await;
}

// faults 140, 285: what has one meaning arrives with it, written anew
#[tokio::test]
async fn bodies_are_framed_anew() {
    let close = "Connection: close\r\n\r\n";
    let rows: [(&str, Expected<'_>); 6] = [
        (
            "Content-Length: 5\r\nConnection: close\r\n\r\nhelloSMUGGLED",
            Some(("content-length: 5", "hello")),
        ),
        (
            "Connection: close\r\nTransfer-Encoding: CHUNKED\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\nSMUGGLED",
            Some((ONE, "hello")),
        ),
        (
            "Connection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n1\r\nx\r\n0\r\nX-T: 1\r\nHost: evil\r\n\r\n",
            Some((ONE, "x")),
        ),
        (
            "Transfer-Encoding: chunked\nX-Dropped: 1\nConnection: close, x-dropped\n\n1\r\nx\r\n0\r\n\r\n",
            Some((ONE, "x")),
        ),
        (close, Some(("content-length: 0", ""))),
        ("Content-Length: 0\r\nConnection: close\r\n\r\nSMUGGLED", Some(("content-length: 0", ""))),
    ];
    table(&rows).await;
}

// fault 140: the issuer never gets a whole request of a body that is broken
#[tokio::test]
async fn broken_chunks_are_the_clients_fault() {
    let bodies = [
        "zz\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "-1\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "ffffffffffffffffff\r\nx",
        "1\r\nx\r\n\r\nSMUGGLED",
        "\r\n0\r\n\r\n",
    ];
    let rows = bodies.map(|body| (format!("Transfer-Encoding: chunked\r\n\r\n{body}"), NOTHING));
    table(&rows.each_ref().map(|(rest, expected)| (rest.as_str(), *expected))).await;
}

/// Checks every row over both kinds of socket, as a POST that streams and a PUT that is held.
async fn table(rows: &[(&str, Expected<'_>)]) {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        for (rest, expected) in rows {
            check(&app, &issuer, "POST /v1/teams/acme/x HTTP/1.1", rest, *expected).await;
            // What is held is whole, and its length known.
            let length = expected.map(|(_, body)| {
                let smuggled = format!("{SMUGGLED}Authorization: {}\r\n\r\n", app.bearer());
                let length = body.replace("SMUGGLED", &smuggled).len();
                (format!("content-length: {length}"), body)
            });
            let expected = length.as_ref().map(|(framing, body)| (framing.as_str(), *body));
            check(&app, &issuer, "PUT /v1/teams/acme/x HTTP/1.1", rest, expected).await;
        }
    }
    assert!(!daemon.log().contains("panicked"));
}

#[tokio::test]
async fn http_1_0_becomes_1_1_and_has_no_chunks() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        let line = "POST /v1/teams/acme/x HTTP/1.0";
        let sized = Some(("content-length: 5", "hello"));
        check(&app, &issuer, line, "Content-Length: 5\r\n\r\nhelloSMUGGLED", sized).await;
        let chunked = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED";
        check(&app, &issuer, line, chunked, NOTHING).await;
    }
}

// fault 142
#[tokio::test]
async fn pipelined_calls_arrive_and_are_answered_in_order() {
    const CALLS: usize = 200;
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        let bearer = app.bearer();
        let call = |n: usize| {
            let path = format!("/v1/teams/acme/x{n}");
            let body = "b".repeat(n % 7);
            request("PUT", &path, &[("Authorization", &bearer)], body.as_bytes())
        };
        let mut visitor = Visitor::connect(&app.place).await;
        visitor.send(&(0..CALLS).flat_map(call).collect::<Vec<_>>()).await;
        for n in 0..CALLS {
            assert_eq!(visitor.reply().await.status, 200, "{n}");
        }
        let arrived = issuer.take();
        assert_eq!(arrived.len(), CALLS);
        for (n, call) in arrived.iter().enumerate() {
            assert_eq!(call.line(), format!("PUT /v1/teams/acme/x{n} HTTP/1.1"));
            assert_eq!(call.body.len(), n % 7);
        }
    }
}

// fault 141
#[tokio::test]
async fn who_asks_first_is_told_to_go_on_only_if_he_may() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        for method in ["POST", "PUT"] {
            let line = format!("{method} /v1/teams/acme/x HTTP/1.1");
            let rest = b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n";
            let mut visitor = app.send(&line, rest).await;
            assert_eq!(visitor.head().await.status, 100);
            visitor.send(b"hello").await;
            assert_eq!(visitor.reply().await.status, 200);
            let expected = arrived(&issuer, method, ("content-length: 5", "hello"));
            assert_eq!(issuer.take(), [expected], "nobody hears of the question");
            let line = format!("{method} /v1/teams/acme/keys HTTP/1.1");
            let mut visitor = app.send(&line, rest).await;
            assert_eq!(visitor.reply().await.error(), (403, "forbidden_error".into()));
            assert_eq!(visitor.rest().await, b"", "and the body is not waited for");
        }
    }
    assert_eq!(issuer.take(), []);
}

// fault 285: a client that leaves in the middle of its body
#[tokio::test]
async fn half_a_body_is_no_call() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        for (method, length) in [("POST", 10), ("PUT", 10), ("PUT", 1 << 30)] {
            let line = format!("{method} /v1/teams/acme/x HTTP/1.1");
            let rest = format!("Content-Length: {length}\r\n\r\nhello");
            drop(app.send(&line, rest.as_bytes()).await);
        }
    }
    until("they have left", async || {
        daemon.metric("bearerd_connections", &[("listener", "web")]).await
            + daemon.metric("bearerd_connections", &[("listener", "apps")]).await
            == 0.0
    })
    .await;
    assert_eq!(issuer.take(), []);
}
