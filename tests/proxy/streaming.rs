//! Bodies stream both ways: with flat memory, at the pace of the slower side, as long as they move.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

use crate::bench::{App, Arrived, Conversation, Recorder, Visitor, recorder::answer, scale, until};

const MIB: u64 = 1 << 20;
const PIECE: usize = 64 * 1024;

/// How much goes through in each direction.
fn large() -> u64 {
    scale("BEARERD_TEST_STREAM_MIB", 64) as u64 * MIB
}

/// Sends so many bytes with their head.
async fn send_body(talk: &mut Conversation, length: u64) -> std::io::Result<()> {
    talk.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await?;
    let piece = vec![b'x'; PIECE];
    for _ in 0..length / PIECE as u64 {
        talk.send(&piece).await?;
    }
    Ok(())
}

/// Makes an issuer that sends a large body to a GET and counts what others send.
async fn bulk(counted: &Arc<AtomicU64>) -> Recorder {
    let counted = Arc::clone(counted);
    Recorder::conversing(move |mut talk, head| {
        let counted = Arc::clone(&counted);
        async move {
            if head.starts_with("GET ") {
                send_body(&mut talk, large()).await?;
                return Ok(talk);
            }
            let mut left = large();
            while left > 0 {
                let came = talk.some().await? as u64;
                counted.fetch_add(came, Ordering::SeqCst);
                left -= came;
            }
            talk.send(&answer("200 OK", "{}")).await?;
            Ok(talk)
        }
    })
    .await
}

// fault 288
#[tokio::test]
async fn large_bodies_go_through_with_flat_memory() {
    let counted = Arc::default();
    let issuer = bulk(&counted).await;
    let (_home, daemon) = issuer.daemon().await;
    let apps = daemon.apps().await;
    for app in &apps {
        assert_eq!(app.call("POST", "/warm/keys", b"").await.status, 403);
    }
    let before = daemon.resident();
    for app in &apps {
        let mut visitor = app.send("GET /v1/teams/acme/down HTTP/1.1", b"\r\n").await;
        let length = visitor.head().await.header("content-length").map(str::to_owned);
        assert_eq!(length, Some(large().to_string()));
        assert_eq!(visitor.swallow(large()).await, large());
        for method in ["POST", "PUT"] {
            counted.store(0, Ordering::SeqCst);
            upload(app, method).await;
            assert_eq!(counted.load(Ordering::SeqCst), large(), "{method}");
        }
    }
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more than before");
}

async fn upload(app: &App, method: &str) {
    let line = format!("{method} /v1/teams/acme/up HTTP/1.1");
    let length = format!("Content-Length: {}\r\n\r\n", large());
    let mut visitor = app.send(&line, length.as_bytes()).await;
    let piece = vec![b'x'; PIECE];
    for _ in 0..large() / PIECE as u64 {
        visitor.send(&piece).await;
    }
    assert_eq!(visitor.reply().await.status, 200, "{method}");
}

// fault 288: who is slow slows the other side down, and nothing piles up between them
#[tokio::test]
async fn a_client_that_does_not_read_stops_the_issuer() {
    const DOWNLOADS: u64 = 32;
    const EACH: u64 = 32 * MIB;
    let sent = Arc::<AtomicU64>::default();
    let counting = Arc::clone(&sent);
    let issuer = Recorder::conversing(move |mut talk, _| {
        let sent = Arc::clone(&counting);
        async move {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {EACH}\r\n\r\n");
            talk.send(head.as_bytes()).await?;
            let piece = vec![b'x'; PIECE];
            for _ in 0..EACH / PIECE as u64 {
                talk.send(&piece).await?;
                sent.fetch_add(PIECE as u64, Ordering::SeqCst);
            }
            Ok(talk)
        }
    })
    .await;
    let mut home = issuer.home();
    home.set_both("write_timeout", "60s");
    let daemon = home.start().await;
    let app = daemon.app().await;
    let before = daemon.resident();
    let mut visitors = Vec::new();
    for _ in 0..DOWNLOADS {
        let mut visitor = app.send("GET /v1/teams/acme/x HTTP/1.1", b"\r\n").await;
        assert_eq!(visitor.head().await.status, 200);
        visitors.push(visitor);
    }
    settled(&sent).await;
    let stopped_at = sent.load(Ordering::SeqCst);
    assert!(stopped_at < DOWNLOADS * EACH, "all {stopped_at} bytes were taken");
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < DOWNLOADS * 320, "{grown} KiB for {DOWNLOADS} calls");
    let mut visitor = visitors.pop().unwrap();
    assert_eq!(visitor.swallow(EACH).await, EACH, "it goes on when the client does");
}

/// Waits until a count no longer grows.
async fn settled(count: &AtomicU64) {
    let mut last = 0;
    until("nothing moves any more", async || {
        sleep(Duration::from_millis(200)).await;
        let now = count.load(Ordering::SeqCst);
        std::mem::replace(&mut last, now) == now && now > 0
    })
    .await;
}

// section 3: a call ends when no byte has moved, not when it takes long
#[tokio::test]
async fn what_moves_slowly_is_never_cut_off() {
    let issuer = Recorder::conversing(|mut talk, head| async move {
        if head.starts_with("GET ") {
            talk.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {PIECES}\r\n\r\n").as_bytes())
                .await?;
            for _ in 0..PIECES {
                sleep(GAP).await;
                talk.send(b"x").await?;
            }
            return Ok(talk);
        }
        let body = talk.body(&head).await?;
        talk.note(Arrived { head, body });
        talk.send(&answer("200 OK", "{}")).await?;
        Ok(talk)
    })
    .await;
    let mut home = issuer.home();
    home.set_both("idle_timeout", "1s").set_both("header_timeout", "1s");
    home.set_both("write_timeout", "1s").set_both("proxy.idle_timeout", "1s");
    let daemon = home.start().await;
    let mut calls = JoinSet::new();
    for app in daemon.apps().await {
        for method in ["GET", "POST", "PUT"] {
            calls.spawn(slowly(app.clone(), method));
        }
    }
    for status in calls.join_all().await {
        assert_eq!(status, 200);
    }
    let arrived = issuer.take();
    assert_eq!(arrived.len(), 4);
    assert!(arrived.iter().all(|call| call.body.len() == PIECES));
}

const PIECES: usize = 25;
const GAP: Duration = Duration::from_millis(100);

async fn slowly(app: App, method: &'static str) -> u16 {
    let line = format!("{method} /v1/teams/acme/x HTTP/1.1");
    if method == "GET" {
        let mut visitor = app.send(&line, b"\r\n").await;
        return visitor.try_reply().await.map_or(0, |reply| reply.status);
    }
    let length = format!("Content-Length: {PIECES}\r\n\r\n");
    let mut visitor = app.send(&line, length.as_bytes()).await;
    for _ in 0..PIECES {
        sleep(GAP).await;
        // An early answer is seen below.
        visitor.try_send(b"x").await;
    }
    visitor.try_reply().await.map_or(0, |reply| reply.status)
}

// shown by: slow posts stay within `replay_memory` and the buffers of the connections
#[tokio::test]
async fn many_slow_bodies_stay_within_their_memory() {
    const REPLAY_MEMORY: u64 = 4 * MIB;
    const BUFFERS: u64 = 64 * 1024;
    let posts = scale("BEARERD_TEST_SLOW_POSTS", 200);
    let issuer = Recorder::start().await;
    let mut home = issuer.home();
    home.set("listeners.apps.proxy.replay_memory", "4MiB");
    let daemon = home.start().await;
    let app = daemon.app().await;
    assert_eq!(app.call("PUT", "/warm", b"{}").await.status, 200);
    let before = daemon.resident();
    let mut clients = Vec::new();
    for method in ["PUT", "POST"].into_iter().cycle().take(posts) {
        clients.push(begin(&app, method).await);
    }
    sleep(Duration::from_secs(1)).await;
    let grown = (daemon.resident().saturating_sub(before)) * 1024;
    let allowed = REPLAY_MEMORY + posts as u64 * BUFFERS;
    assert!(grown < allowed, "{} KiB, allowed are {}", grown / 1024, allowed / 1024);
    for visitor in &mut clients {
        visitor.send(b"x").await;
        assert_eq!(visitor.reply().await.status, 200);
    }
    let bodies = issuer.take().into_iter().skip(1).map(|call| call.body.len() as u64);
    assert!(bodies.eq(std::iter::repeat_n(MIB, posts)));
}

/// Sends all but the last byte of 1 MiB.
async fn begin(app: &App, method: &str) -> Visitor {
    let line = format!("{method} /v1/teams/acme/x HTTP/1.1");
    let rest = format!("Content-Length: {MIB}\r\n\r\n");
    let mut visitor = app.send(&line, rest.as_bytes()).await;
    for _ in 1..1024 {
        visitor.send(&[b'x'; 1024]).await;
    }
    visitor.send(&[b'x'; 1023]).await;
    visitor
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_body() {
    let issuer = Recorder::conversing(|mut talk, head| async move {
        talk.note(Arrived::head(head));
        talk.send(&answer("413 Enough\r\nConnection: close", "{\"type\":\"x\"}")).await?;
        Ok(talk)
    })
    .await;
    let mut home = issuer.home();
    home.set_both("proxy.idle_timeout", "300ms");
    let daemon = home.start().await;
    for app in daemon.apps().await {
        let line = "POST /v1/teams/acme/x HTTP/1.1";
        let mut visitor = app.send(line, b"Content-Length: 1000000\r\n\r\nbegin").await;
        let reply = visitor.reply().await;
        assert_eq!((reply.status, reply.text()), (413, "{\"type\":\"x\"}"));
        assert_eq!(visitor.rest().await, b"", "and the rest is not waited for any longer");
    }
}
