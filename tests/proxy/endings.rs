//! How calls end: without a body, cut short, too late, or because somebody left.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bearerd::emulator::FaultPlan;
use tokio::time::{Instant, sleep};

use crate::bench::{Arrived, Recorder, Stand, Visitor, client::request, recorder::answer, until};

/// Says these bytes to every call.
async fn saying(bytes: &'static [u8]) -> Recorder {
    Recorder::answering(move |_| bytes.to_vec()).await
}

#[tokio::test]
async fn answers_without_a_body_end_where_they_say() {
    let rows: [(&str, &[u8], u16, Option<&str>); 6] = [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 200, Some("1234")),
        ("HEAD", b"HTTP/1.1 404 No\r\nContent-Length: 7\r\n\r\n", 404, Some("7")),
        ("DELETE", b"HTTP/1.1 204 Gone\r\n\r\n", 204, None),
        ("GET", b"HTTP/1.1 304 Same\r\nETag: \"e\"\r\n\r\n", 304, None),
        ("GET", b"HTTP/1.1 304 Same\r\nETag: \"e\"\r\nContent-Length: 99\r\n\r\n", 304, None),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, Some("0")),
    ];
    for (method, bytes, status, length) in rows {
        let issuer = saying(bytes).await;
        let (_home, daemon) = issuer.daemon().await;
        let app = daemon.app().await;
        let bearer = app.bearer();
        let headers = [("Authorization", bearer.as_str()), ("If-None-Match", "\"e\"")];
        let call = request(method, "/v1/teams/acme/x", &headers, b"");
        let mut visitor = Visitor::connect(&app.place).await;
        // Twice on one connection: the second answer begins where the first one ends.
        for _ in 0..2 {
            visitor.send(&call).await;
            let reply = visitor.head().await;
            assert_eq!(
                (reply.status, reply.header("content-length")),
                (status, length),
                "{method}"
            );
            assert_eq!(reply.header("transfer-encoding"), None);
        }
        assert!(issuer.take()[0].head.contains("if-none-match: \"e\"\r\n"));
    }
}

#[tokio::test]
async fn bodies_of_any_framing_arrive_whole() {
    let rows: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ];
    for bytes in rows {
        let issuer = saying(bytes).await;
        let (_home, daemon) = issuer.daemon().await;
        for app in daemon.apps().await {
            let reply = app.get("/x").await;
            assert_eq!((reply.status, reply.text()), (200, "hello"), "{reply:?}");
        }
    }
}

// fault 285: what is no clean answer
#[tokio::test]
async fn broken_answers_are_502_in_oktas_shape() {
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let rows: [&[u8]; 8] = [
        b"Connection: close\r\n",
        b"\r\n\r\nConnection: close",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nX: y\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/3.0 200 OK\r\nConnection: close\r\n\r\n",
        huge.as_bytes(),
    ];
    for bytes in rows {
        let bytes = bytes.to_vec();
        let said = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let issuer = Recorder::answering(move |_| bytes.clone()).await;
        let (_home, daemon) = issuer.daemon().await;
        let reply = daemon.app().await.get("/x").await;
        assert_eq!(reply.error(), (502, "service_offline".into()), "{said}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_gone_or_silent_is_502_or_504() {
    let issuer = Recorder::conversing(|mut talk, head| async move {
        talk.note(Arrived::head(head));
        loop {
            talk.some().await?;
        }
    })
    .await;
    let mut home = issuer.home();
    home.set_both("proxy.idle_timeout", "300ms");
    let daemon = home.start().await;
    for app in daemon.apps().await {
        for (method, body) in [("GET", ""), ("PUT", "{}"), ("POST", "{}")] {
            let reply = app.call(method, "/x", body.as_bytes()).await;
            assert_eq!(reply.error(), (504, "gateway_timeout".into()), "{method}");
        }
    }
    assert_eq!(issuer.take().len(), 6, "none is tried again");
    drop(issuer);
    let app = daemon.app().await;
    for method in ["GET", "PUT", "POST"] {
        assert_eq!(app.call(method, "/x", b"").await.error(), (502, "service_offline".into()));
    }
}

#[tokio::test]
async fn without_a_token_calls_wait_a_little_and_are_503() {
    let mut stand = Stand::new().await;
    stand.home.set("credentials.default.refresh.retry_max", "1s");
    stand.issuer.inject("mint@503".parse::<FaultPlan>().unwrap());
    let daemon = stand.home.start_without_token().await;
    let [unix, web] = daemon.apps().await;
    let began = Instant::now();
    let (one, other) = tokio::join!(unix.get("/current_user"), web.call("PUT", "/x", b"{}"));
    for reply in [one, other] {
        assert_eq!(reply.error(), (503, "service_offline".into()));
        assert!(reply.header("retry-after").is_some());
    }
    assert!(began.elapsed() < Duration::from_secs(8), "5 s and a little");
    let waiting = unix.clone();
    let waiting =
        tokio::task::JoinSet::from_iter([async move { waiting.get("/current_user").await }]);
    stand.issuer.clear_faults();
    assert_eq!(waiting.join_all().await[0].status, 200, "it came in time");
}

/// Counts the connections on which the daemon left in the middle of a call.
#[derive(Clone, Default)]
struct Left(Arc<AtomicUsize>);

impl Left {
    async fn until(&self, count: usize) {
        until("the call to the issuer has ended", async || self.0.load(Ordering::SeqCst) == count)
            .await;
    }
}

/// Takes what comes, and drips an endless answer if asked for `/drip`, until the daemon leaves.
async fn endless(left: &Left) -> Recorder {
    let left = left.clone();
    Recorder::conversing(move |mut talk, head| {
        let left = left.clone();
        async move {
            talk.note(Arrived::head(head.clone()));
            let ended: io::Result<()> = if head.contains("/drip") {
                talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await?;
                loop {
                    sleep(Duration::from_millis(10)).await;
                    if let Err(error) = talk.send(b"x").await {
                        break Err(error);
                    }
                }
            } else {
                loop {
                    if let Err(error) = talk.some().await {
                        break Err(error);
                    }
                }
            };
            left.0.fetch_add(1, Ordering::SeqCst);
            ended.map(|()| talk)
        }
    })
    .await
}

// fault 288: the upstream call ends when the client leaves
#[tokio::test]
async fn a_client_that_leaves_takes_its_call_along() {
    let left = Left::default();
    let issuer = endless(&left).await;
    let (_home, daemon) = issuer.daemon().await;
    let mut calls = 0;
    for app in daemon.apps().await {
        let rows = [
            ("GET", "/wait", ""),
            ("GET", "/drip", ""),
            ("POST", "/wait", "Content-Length: 10\r\n"),
            ("POST", "/wait", "Transfer-Encoding: chunked\r\n"),
            ("PUT", "/wait", "Content-Length: 2000000\r\n"),
        ];
        for (method, below, length) in rows {
            let line = format!("{method} /v1/teams/acme{below} HTTP/1.1");
            let visitor = app.send(&line, format!("{length}\r\n").as_bytes()).await;
            until("it has come", async || issuer.count() == calls + 1).await;
            drop(visitor);
            calls += 1;
            left.until(calls).await;
        }
    }
    let code = [("endpoint", "proxy")];
    until("nothing is left open", async || {
        daemon.metric("bearerd_connections", &[("listener", "web")]).await == 0.0
    })
    .await;
    assert!(daemon.metric("bearerd_requests_total", &code).await < f64::from(u8::MAX));
}

// fault 288: both directions
#[tokio::test]
async fn a_body_that_does_not_move_ends_the_call() {
    let left = Left::default();
    let issuer = endless(&left).await;
    let mut home = issuer.home();
    home.set_both("proxy.idle_timeout", "300ms");
    let daemon = home.start().await;
    for (round, app) in daemon.apps().await.into_iter().enumerate() {
        for (method, seen) in [("POST", 1), ("PUT", 0)] {
            let line = format!("{method} /v1/teams/acme/wait HTTP/1.1");
            let mut visitor = app.send(&line, b"Content-Length: 10\r\n\r\nhello").await;
            assert_eq!(visitor.reply().await.error(), (408, "invalid_request".into()), "{method}");
            assert_eq!(visitor.rest().await, b"");
            assert_eq!(issuer.take().len(), seen, "{method}: what is held is not sent in parts");
        }
        left.until(round + 1).await;
    }
}

#[tokio::test]
async fn an_answer_that_stalls_or_breaks_is_cut_off() {
    let issuer = Recorder::conversing(|mut talk, head| async move {
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await?;
        let breaks = head.contains("/break");
        talk.note(Arrived::head(head));
        if breaks {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        loop {
            talk.some().await?;
        }
    })
    .await;
    let mut home = issuer.home();
    home.set_both("proxy.idle_timeout", "300ms");
    let daemon = home.start().await;
    for app in daemon.apps().await {
        for below in ["/stall", "/break"] {
            let line = format!("GET /v1/teams/acme{below} HTTP/1.1");
            let mut visitor = app.send(&line, b"\r\n").await;
            assert_eq!(visitor.head().await.header("content-length"), Some("10"));
            assert_eq!(visitor.rest().await, b"hello", "{below}: no end is made up");
        }
    }
}

// section 3: a stop waits for calls, 5 s at most
#[tokio::test]
async fn a_call_under_way_at_a_stop_is_answered() {
    let issuer = Recorder::conversing(|mut talk, head| async move {
        talk.note(Arrived::head(head));
        sleep(Duration::from_millis(500)).await;
        talk.send(&answer("200 OK", "{}")).await?;
        Ok(talk)
    })
    .await;
    let (_home, mut daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    let mut visitor = app.send("GET /v1/teams/acme/x HTTP/1.1", b"\r\n").await;
    until("it has come", async || issuer.count() == 1).await;
    daemon.stop().await;
    assert_eq!(visitor.reply().await.status, 200);
}
