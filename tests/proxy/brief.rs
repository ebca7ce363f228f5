//! Calls that go the short way: what they say and what they are told is what all others are.

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::spawn_blocking, time::sleep};

use crate::bench::{
    App, Arrived, Conversation, Daemon, Recorder, Reply, Visitor,
    recorder::{TOKEN, answer},
    until,
};

/// Sends a call that is brief, or one that the issuer cannot tell from it and that is not.
async fn call(app: &App, below: &str, is_brief: bool) -> Visitor {
    // One connection's own affair, and not for the issuer.
    let rest: &[u8] =
        if is_brief { b"X-Own: 1\r\n\r\n" } else { b"X-Own: 1\r\nTE: trailers\r\n\r\n" };
    app.send(&format!("GET /v1/teams/acme{below} HTTP/1.1"), rest).await
}

/// Lets a connection to the issuer rest.
async fn warm(app: &App) {
    assert_eq!(app.get("/warm").await.status, 200);
}

/// Makes an issuer that answers `/warm`, and leaves what to say to others to a test.
async fn talking<F>(talk: impl Fn(Conversation) -> F + Clone + Send + Sync + 'static) -> Recorder
where
    F: Future<Output = io::Result<Conversation>> + Send + 'static,
{
    Recorder::conversing(move |mut conversation, head| {
        let talk = talk.clone();
        async move {
            let is_warm = head.contains("/warm ");
            conversation.note(Arrived::head(head));
            if !is_warm {
                return talk(conversation).await;
            }
            conversation.send(&answer("200 OK", "{}")).await?;
            Ok(conversation)
        }
    })
    .await
}

/// Gives an answer without what differs by chance, or by who has put its body together.
fn told(reply: Option<Reply>) -> Option<String> {
    let mut reply = reply?;
    let differs = ["date", "content-length", "transfer-encoding"];
    reply.headers.retain(|(name, _)| !differs.contains(&name.as_str()));
    for (name, value) in &mut reply.headers {
        // What was over is raised to now, which goes on.
        if name == "x-ratelimit-reset" && value.parse::<u64>().unwrap() > LONG_AGO {
            *value = "now".to_owned();
        }
    }
    reply.headers.sort();
    Some(format!("{} {:?} {}", reply.status, reply.headers, reply.text()))
}

/// 2026-01-31T08:00:00Z
const LONG_AGO: u64 = 1_769_846_400;

/// An answer that is not brief, as its chunk has an extension.
const EXTENDED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n";

/// No newer token would help.
const NO_ROLE: &str = r#"{"code":401,"message":"m","type":"authorization_error"}"#;

/// What an issuer says to `/0`, `/1` and so on, with a rest between the pieces; it may leave then.
const SAYINGS: [(&[&str], bool); 30] = [
    (&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"], false),
    (
        &["HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: Sat, 31 Jan 2026 08:00:00 GMT\r\n\r\n"],
        false,
    ),
    (&["HTTP/1.1 404 What\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\nServer: x\r\n\r\n{}"], false),
    (&["HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}"], false),
    (&["HTTP/1.1 429 No\r\nX-RateLimit-Reset: 5\r\nContent-Length: 2\r\n\r\n{}"], false),
    (&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello"], false),
    (&["HTTP/1.1 200 OK\r\nCont", "ent-Length: 5\r\n\r\nhe", "ll", "o"], false),
    (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n"], false),
    (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"], false),
    (
        &[
            "HTTP/1.1 404 No\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\n{",
            "\r\n0001\r\n}\r",
            "\n0\r\n\r\n",
        ],
        false,
    ),
    (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "0\r\n\r\n{}"], true),
    (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA: b\r\n\r\n"], false),
    (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}}"], true),
    (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"], true),
    (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"], false),
    (
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n"],
        true,
    ),
    (&["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"], true),
    (&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"], true),
    (&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-a\r\nX-A: 1\r\n\r\n{}"], false),
    (
        &["HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"],
        false,
    ),
    (&["HTTP/1.1 204 None\r\n\r\n"], false),
    (&["HTTP/1.1 304 Same\r\nETag: \"e\"\r\nContent-Length: 9\r\n\r\n"], false),
    (&["HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"], false),
    (&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"], true),
    (&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}"], true),
    (&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"], true),
    (&["HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"], true),
    (&["HTTP/1.1 401 No\r\nContent-Length: 55\r\n\r\n", NO_ROLE], false),
    (&["HTTP/1.1 302 On\r\nLocation: /v1/teams/acme/y\r\nContent-Length: 0\r\n\r\n"], false),
    (&["no HTTP\r\n\r\n"], true),
];

async fn say(mut talk: Conversation, head: String) -> io::Result<Conversation> {
    let below = head.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().to_owned();
    talk.note(Arrived::head(head));
    let Ok(row) = below.parse::<usize>() else {
        talk.send(&answer("200 OK", "{}")).await?;
        return Ok(talk);
    };
    let (pieces, leaves) = SAYINGS[row];
    for piece in pieces {
        talk.send(piece.as_bytes()).await?;
        sleep(Duration::from_millis(20)).await;
    }
    if leaves { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(talk) }
}

// faults 31, 35, 47, 140, 285, 287: two readers of one answer do not disagree about it
#[tokio::test]
async fn a_brief_call_is_answered_as_any_other_is() {
    let issuer = Recorder::conversing(say).await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        for (row, (pieces, _)) in SAYINGS.iter().enumerate() {
            let mut both = Vec::new();
            for is_brief in [false, true] {
                warm(&app).await;
                issuer.take();
                let mut visitor = call(&app, &format!("/{row}"), is_brief).await;
                let reply = told(visitor.try_reply().await);
                both.push((reply, issuer.take()));
            }
            let [general, brief] = &both[..] else { unreachable!() };
            assert_eq!(brief, general, "{pieces:?}");
        }
    }
}

// fault 32: promise 2
#[tokio::test]
async fn the_token_is_blotted_out_of_brief_answers() {
    let issuer = Recorder::answering(|call| {
        let bearer = call.head.split("\r\n").find(|line| line.starts_with("authorization"));
        answer(&format!("200 OK\r\nX-Echo: {}\r\nX-Own: 1", bearer.unwrap()), &call.head)
    })
    .await;
    let (_home, daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    warm(&app).await;
    let reply = call(&app, "/x", true).await.reply().await;
    assert_eq!(reply.header("x-own"), Some("1"));
    assert!(!format!("{:?} {}", reply.headers, reply.text()).contains(TOKEN), "{reply:?}");
    assert!(reply.text().contains(&"*".repeat(TOKEN.len() + 1)));
}

async fn counted(daemon: &Daemon) -> [f64; 2] {
    let of_proxy = [("endpoint", "proxy"), ("code", "200")];
    [
        daemon.metric("bearerd_requests_total", &of_proxy).await,
        daemon.metric("bearerd_proxy_upstream_requests_total", &[("code", "200")]).await,
    ]
}

// fault 188: neither more nor less than any other
#[tokio::test]
async fn a_brief_call_counts_once_also_when_it_does_not_stay_brief() {
    let issuer = Recorder::conversing(say).await;
    let mut home = issuer.home();
    home.set_both("max_requests_per_second_per_uid", 6);
    let daemon = home.start().await;
    let app = daemon.app().await;
    warm(&app).await;
    let mut visitor = call(&app, "/0", true).await;
    assert_eq!(visitor.reply().await.status, 200);
    let before = counted(&daemon).await;
    for (calls, row) in [0, 7, 0].into_iter().enumerate() {
        let line = format!("GET /v1/teams/acme/{row} HTTP/1.1\r\nHost: a\r\n");
        let rest = format!("Authorization: {}\r\n\r\n", app.bearer());
        visitor.send(&[line.as_bytes(), rest.as_bytes()].concat()).await;
        assert_eq!(visitor.reply().await.status, 200, "{calls} before");
        let more = calls as f64 + 1.0;
        assert_eq!(counted(&daemon).await, before.map(|count| count + more));
    }
    let line = format!(
        "GET /v1/teams/acme/0 HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n",
        app.bearer()
    );
    visitor.send(line.as_bytes()).await;
    assert_eq!(visitor.reply().await.status, 429, "the seventh in a second, with the mint");
}

#[tokio::test]
async fn what_comes_behind_a_brief_call_is_answered_behind_it() {
    let issuer = Recorder::conversing(|mut talk, head| async move {
        sleep(Duration::from_millis(100)).await;
        let path = head.split(' ').nth(1).unwrap().to_owned();
        talk.note(Arrived::head(head));
        talk.send(&answer("200 OK", &path)).await?;
        Ok(talk)
    })
    .await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        warm(&app).await;
        let mut visitor = call(&app, "/first", true).await;
        let own = format!("Host: localhost\r\nAuthorization: {}\r\n", app.bearer());
        for line in [
            "GET /v1/teams/acme/second HTTP/1.1",
            "PUT /v1/teams/acme/third HTTP/1.1\r\nContent-Length: 2",
        ] {
            sleep(Duration::from_millis(20)).await;
            visitor.send(format!("{line}\r\n{own}\r\n").as_bytes()).await;
        }
        visitor
            .send(format!("{{}}GET /v1/ready HTTP/1.1\r\nX-Bearerd: 1\r\n{own}\r\n").as_bytes())
            .await;
        for name in ["first", "second", "third"] {
            assert_eq!(visitor.reply().await.text(), format!("/v1/teams/acme/{name}"));
        }
        assert_eq!(visitor.reply().await.status, 200);
    }
}

/// Makes an issuer that answers only `/warm`, and notes who leaves.
async fn waiting() -> Recorder {
    talking(|mut talk| async move {
        let left = talk.some().await;
        talk.note(Arrived::head("left".into()));
        left.map(|_| talk)
    })
    .await
}

#[tokio::test]
async fn a_brief_call_ends_with_its_client() {
    let issuer = waiting().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        warm(&app).await;
        issuer.take();
        let visitor = call(&app, "/x", true).await;
        until("the call is there", async || issuer.count() == 1).await;
        drop(visitor);
        until("the issuer sees that it is over", async || issuer.count() == 2).await;
    }
}

#[tokio::test]
async fn a_brief_call_that_is_not_answered_in_time_is_a_504_and_sent_once() {
    let issuer = waiting().await;
    let mut home = issuer.home();
    home.set_both("proxy.idle_timeout", "300ms");
    let daemon = home.start().await;
    for app in daemon.apps().await {
        warm(&app).await;
        issuer.take();
        let reply = call(&app, "/x", true).await.reply().await;
        assert_eq!(reply.error(), (504, "gateway_timeout".into()));
        until("it has left", async || issuer.count() == 2).await;
        assert_eq!(issuer.take()[1].head, "left");
    }
}

// An answer may take as long as it moves, however it came (section 3).
#[tokio::test]
async fn the_body_of_a_brief_call_has_a_time_of_its_own() {
    let issuer = talking(|mut talk| async move {
        for piece in ["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "ab", "cd", "ef"] {
            sleep(Duration::from_millis(600)).await;
            talk.send(piece.as_bytes()).await?;
        }
        Ok(talk)
    })
    .await;
    let mut home = issuer.home();
    home.set_both("proxy.idle_timeout", "1s");
    let daemon = home.start().await;
    let app = daemon.app().await;
    for is_brief in [false, true] {
        warm(&app).await;
        issuer.take();
        let reply = call(&app, "/x", is_brief).await.reply().await;
        assert_eq!((reply.status, reply.text()), (200, "abcdef"));
        assert_eq!(issuer.take().len(), 1);
    }
}

#[tokio::test]
async fn a_brief_call_tells_what_is_left_of_the_users_calls() {
    let issuer = Recorder::answering(|call| match call.line().contains("/warm ") {
        true => answer("200 OK", "{}"),
        false => answer("200 OK\r\nX-RateLimit-Remaining: 7\r\nX-RateLimit-Limit: 9", "{}"),
    })
    .await;
    let (_home, daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    warm(&app).await;
    let reply = call(&app, "/x", true).await.reply().await;
    assert_eq!(reply.header("x-ratelimit-remaining"), Some("7"));
    assert_eq!(daemon.metric("bearerd_issuer_rate_limit_remaining", &[]).await, 7.0);
}

// A newer token is for the next call.
#[tokio::test]
async fn a_brief_call_goes_on_with_the_token_that_it_was_sent_with() {
    let issuer = talking(|mut talk| async move {
        talk.until_mints(2).await;
        sleep(Duration::from_millis(100)).await;
        talk.send(EXTENDED).await?;
        Ok(talk)
    })
    .await;
    let (home, daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    warm(&app).await;
    issuer.take();
    let mut visitor = call(&app, "/x", true).await;
    until("the call is there", async || issuer.count() == 1).await;
    let mut refresh = home.command(&["refresh"]);
    let refreshed = spawn_blocking(move || refresh.output()).await.unwrap().unwrap();
    assert!(refreshed.status.success(), "{refreshed:?}");
    assert_eq!(visitor.reply().await.status, 200);
    assert_eq!((issuer.take().len(), issuer.mints()), (1, 2));
}

/// Makes an issuer that answers all but `/warm` only after a while.
async fn slow() -> Recorder {
    talking(|mut talk| async move {
        sleep(Duration::from_millis(500)).await;
        talk.send(&answer("200 OK", "{}")).await?;
        Ok(talk)
    })
    .await
}

// fault 205
#[tokio::test]
async fn a_brief_call_at_a_stop_is_answered_and_is_the_last() {
    let issuer = slow().await;
    let (_home, mut daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    warm(&app).await;
    issuer.take();
    let mut visitor = call(&app, "/x", true).await;
    until("the call is there", async || issuer.count() == 1).await;
    let (reply, ()) = tokio::join!(visitor.reply(), daemon.stop());
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(visitor.rest().await, b"");
}

// fault 259
#[tokio::test]
async fn a_brief_call_under_rules_that_are_over_is_not_answered() {
    let issuer = slow().await;
    let (mut home, daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    warm(&app).await;
    issuer.take();
    let mut visitor = call(&app, "/x", true).await;
    until("the call is there", async || issuer.count() == 1).await;
    home.set("listeners.apps.max_requests_per_second_per_uid", 9);
    home.command(&[]);
    daemon.reload().await;
    assert_eq!(visitor.rest().await, b"");
}

/// Makes an issuer that waits for a word before it says these bytes, but for the first of them.
async fn held_back(first: &'static [u8], rest: &'static [u8], word: &Arc<Semaphore>) -> Recorder {
    let word = Arc::clone(word);
    talking(move |mut talk| {
        let word = Arc::clone(&word);
        async move {
            talk.send(first).await?;
            word.acquire().await.unwrap().forget();
            talk.send(rest).await?;
            Ok(talk)
        }
    })
    .await
}

// fault 259: promise 2, what was sent is finished by what it was sent by, and goes to nobody else
#[tokio::test]
async fn a_reload_during_a_brief_call_is_for_the_next_one() {
    let word = Arc::new(Semaphore::new(0));
    let issuer = held_back(b"", EXTENDED, &word).await;
    let port = issuer.authority().rsplit(':').next().unwrap().to_owned();
    // Another address at the same port: the sandbox lets the daemon go nowhere else.
    let other = Recorder::start_at(&format!("127.0.0.2:{port}")).await;
    let rows: [(&str, toml::Value); 4] = [
        ("credentials.default.base_url", other.base_url().into()),
        ("listeners.apps.proxy.allow", vec!["GET /warm"].into()),
        ("listeners.apps.serve", vec!["token"].into()),
        ("credentials.default.team_name", "ACME".into()),
    ];
    for (key, value) in rows {
        let (mut home, daemon) = issuer.daemon().await;
        let app = daemon.app().await;
        warm(&app).await;
        issuer.take();
        let mut visitor = call(&app, "/x", true).await;
        until("the call is there", async || issuer.count() == 1).await;
        home.set(key, value);
        home.command(&[]);
        daemon.reload().await;
        word.add_permits(1);
        let reply = visitor.reply().await;
        assert_eq!((reply.status, reply.text()), (200, "{}"), "{key}");
        assert_eq!((issuer.take().len(), other.count()), (1, 0), "{key}");
        let upstream = "bearerd_proxy_upstream_requests_total";
        assert_eq!(daemon.metric(upstream, &[("code", "200")]).await, 2.0, "{key}");
    }
}

// What takes its time is passed on as it comes.
#[tokio::test]
async fn the_beginning_of_an_answer_does_not_wait_for_its_end() {
    let word = Arc::new(Semaphore::new(0));
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab";
    let issuer = held_back(head, b"cd", &word).await;
    let (_home, daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    warm(&app).await;
    let mut visitor = call(&app, "/x", true).await;
    assert_eq!(visitor.head().await.status, 200);
    assert_eq!(visitor.take(2).await.unwrap(), b"ab");
    word.add_permits(1);
    assert_eq!(visitor.take(2).await.unwrap(), b"cd");
}

// fault 286
#[tokio::test]
async fn a_brief_call_that_is_refused_is_repeated_with_a_newer_token() {
    let issuer = Recorder::conversing(|mut talk, head| async move {
        let is_old = head.contains(&format!("{TOKEN}1\r\n")) && !head.contains("/warm ");
        talk.note(Arrived::head(head));
        let refused = answer("401 No", r#"{"type":"authentication_error"}"#);
        talk.send(&if is_old { refused } else { answer("200 OK", "{}") }).await?;
        Ok(talk)
    })
    .await;
    let (_home, daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    // A token that is just there is not doubted (section 7).
    sleep(Duration::from_millis(3100)).await;
    warm(&app).await;
    issuer.take();
    assert_eq!(call(&app, "/x", true).await.reply().await.status, 200);
    assert_eq!((issuer.take().len(), issuer.mints()), (2, 2));
    assert_eq!(daemon.metric("bearerd_proxy_replays_total", &[("code", "200")]).await, 1.0);
}
