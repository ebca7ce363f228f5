//! Who is let in: the kernel's word, hosts, headers; and how refusals are counted.

use std::{os::unix::process::CommandExt, process::Command};

use crate::bench::{
    Daemon, Place, Stand, Visitor,
    client::Header,
    daemon::{Ended, run},
    home::NOBODY,
    user::is_root,
};

pub(crate) async fn denied(daemon: &Daemon, listener: &str, reason: &str) -> f64 {
    let labels = [("listener", listener), ("reason", reason)];
    daemon.metrics().await.get("bearerd_requests_denied_total", &labels)
}

/// Sends a request with exactly these headers.
async fn bare(place: &Place, headers: &[Header<'_>]) -> crate::bench::Reply {
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut visitor = Visitor::connect(place).await;
    visitor.send(format!("GET /v1/token HTTP/1.1\r\n{lines}\r\n").as_bytes()).await;
    visitor.reply().await
}

// faults 130, 133, 136
#[tokio::test]
async fn browsers_and_forwarders_are_refused_on_both_sockets() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let browser = [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Referer", "http://localhost/"),
        ("Sec-Fetch-Site", "none"),
        ("Sec-Fetch-Dest", "empty"),
        ("Sec-Fetch-User", "?1"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Mode", "no-cors"),
    ];
    let forwarded = [
        ("Forwarded", "for=1.2.3.4"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Forwarded-Host", "a"),
        ("X-Forwarded-Anything", "a"),
        ("X-Real-IP", "1.2.3.4"),
        ("Via", "1.1 a"),
        ("True-Client-IP", "1.2.3.4"),
        ("CF-Connecting-IP", "1.2.3.4"),
        ("X-Original-URL", "/"),
    ];
    let rows = browser.map(|header| (header, "browser")).into_iter();
    let rows: Vec<_> = rows.chain(forwarded.map(|header| (header, "forwarded"))).collect();
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        for (header, reason) in &rows {
            let before = denied(&daemon, listener, reason).await;
            let headers = [("Host", "localhost"), ("X-Bearerd", "1"), *header];
            let reply = bare(&place, &headers).await;
            assert_eq!((reply.status, reply.problem().as_str()), (403, "refused"), "{header:?}");
            assert!(reply.is_last(), "{reply:?}");
            assert_eq!(denied(&daemon, listener, reason).await, before + 1.0);
        }
        let fetch = [("Host", "localhost"), ("X-Bearerd", "1"), ("Sec-Fetch-Mode", "cors")];
        assert_eq!(bare(&place, &fetch).await.status, 200, "fault 133: Node's own fetch");
    }
    assert!(daemon.events("refused").iter().all(|event| event["target"] == "bearerd::audit"));
    assert!(daemon.has_said("refused"));
}

// faults 126, 127
#[tokio::test]
async fn the_host_must_be_ours_on_tcp() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let Place::Tcp(web) = daemon.place("web") else { panic!("web is on TCP") };
    let place = Place::Tcp(web);
    let (port, other) = (web.port(), web.port() ^ 1);
    let good = [
        "localhost".to_owned(),
        "LOCALHOST".into(),
        "127.0.0.1".into(),
        "[::1]".into(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
    ];
    for host in &good {
        assert_eq!(bare(&place, &[("Host", host), ("X-Bearerd", "1")]).await.status, 200, "{host}");
    }
    let bad = [
        "evil.example".to_owned(),
        "localhost.evil.example".into(),
        "localhost.".into(),
        "127.0.0.2".into(),
        "127.1".into(),
        format!("localhost:{other}"),
        "localhost:".into(),
        format!("evil@localhost:{port}"),
        format!("localhost:{port}.evil"),
        "::1".into(),
        String::new(),
    ];
    for host in &bad {
        let reply = bare(&place, &[("Host", host), ("X-Bearerd", "1")]).await;
        assert_eq!((reply.status, reply.problem().as_str()), (421, "wrong-host"), "{host}");
    }
    assert_eq!(denied(&daemon, "web", "host").await, bad.len() as f64);
    for headers in [
        &[("X-Bearerd", "1")][..],
        &[("Host", "localhost"), ("Host", "localhost"), ("X-Bearerd", "1")],
    ] {
        assert_eq!(bare(&place, headers).await.status, 400, "{headers:?}");
    }
    assert_eq!(denied(&daemon, "web", "host_missing").await, 2.0);
    let mut visitor = Visitor::connect(&place).await;
    let absolute = "GET http://evil.example/v1/token HTTP/1.1\r\nHost: localhost\r\nX-Bearerd: 1";
    visitor.send(format!("{absolute}\r\n\r\n").as_bytes()).await;
    assert_eq!(visitor.reply().await.status, 421, "the target names a host too");
    // On a unix socket no page can name itself, so any host will do.
    assert_eq!(bare(&daemon.place("apps"), &[("Host", "whatever")]).await.status, 200);
}

// fault 134
#[tokio::test]
async fn the_required_header_stands_between_tcp_and_blind_requests() {
    let mut stand = Stand::new().await;
    stand.home.set("listeners.open.bind", "tcp:127.0.0.1:0");
    stand.home.set("listeners.open.require_header", false);
    let daemon = stand.start().await;
    let web = daemon.place("web");
    let rows: [&[Header<'_>]; 4] = [
        &[],
        &[("X-Bearerd", "0")],
        &[("X-Bearerd", "")],
        &[("X-Bearerd", "1"), ("X-Bearerd", "1")],
    ];
    for extra in rows {
        let headers = [&[("Host", "localhost")], extra].concat();
        let reply = bare(&web, &headers).await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "refused"), "{extra:?}");
    }
    assert_eq!(denied(&daemon, "web", "header").await, 4.0);
    let host = [("Host", "localhost")];
    assert_eq!(bare(&daemon.place("open"), &host).await.status, 200);
    assert_eq!(bare(&daemon.place("apps"), &host).await.status, 200);
}

// fault 132
#[tokio::test]
async fn tunnels_and_upgrades_are_refused() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
        let headers = [&[("Host", "localhost"), ("X-Bearerd", "1")], &upgrade[..]].concat();
        assert_eq!(bare(&place, &headers).await.status, 400);
        let mut visitor = Visitor::connect(&place).await;
        visitor
            .send(b"CONNECT localhost HTTP/1.1\r\nHost: localhost\r\nX-Bearerd: 1\r\n\r\n")
            .await;
        assert_eq!(visitor.reply().await.status, 400);
        assert_eq!(denied(&daemon, listener, "upgrade").await, 2.0);
    }
}

/// Runs a command as nobody; `None`, said aloud, where we may not.
pub(crate) async fn as_nobody(mut command: Command) -> Option<Ended> {
    if !is_root() {
        return None;
    }
    command.uid(NOBODY).gid(NOBODY).env_clear().current_dir("/");
    Some(run(command).await)
}

// faults 151, 160
#[tokio::test]
async fn the_control_socket_is_ours_alone_unless_others_are_named() {
    let rows: [(&[i64], i32, u32); 3] = [(&[], 77, 0), (&[1], 77, 1), (&[65_534], 0, 0)];
    for (uids, code, refusals) in rows {
        let mut stand = Stand::new().await;
        stand.home.open_to_all();
        stand.home.set("control.allow_uids", uids.to_vec());
        let daemon = stand.start().await;
        let control = stand.home.path("control.sock");
        let status =
            crate::bench::home::program(&["status", "--control", control.to_str().unwrap()]);
        let Some(ended) = as_nobody(status).await else { return };
        assert_eq!(ended.code, Some(code), "{uids:?}: {ended:?}");
        assert_eq!(denied(&daemon, "control", "peer").await, f64::from(refusals), "{uids:?}");
        assert_eq!(daemon.get("control", "/v1/status").await.status, 200);
    }
}

// fault 160
#[tokio::test]
async fn a_listener_lets_in_those_it_names_by_the_kernels_word() {
    let rows = [("allow_uids", 65_534_i64, 0), ("allow_gids", 65_534, 0), ("allow_uids", 1, 77)];
    for (key, id, code) in rows {
        let mut stand = Stand::new().await;
        stand.home.open_to_all();
        stand.home.set("listeners.apps.mode", "0666");
        stand.home.set(&format!("listeners.apps.{key}"), vec![id]);
        let daemon = stand.start().await;
        let socket = stand.home.path("apps.sock");
        let token = crate::bench::home::program(&["token", "--socket", socket.to_str().unwrap()]);
        let Some(ended) = as_nobody(token).await else { return };
        assert_eq!(ended.code, Some(code), "{key} {id}: {ended:?}");
        let reply = Visitor::connect(&daemon.place("apps")).await.get("/v1/token").await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "refused"), "we are not named");
        let status = daemon.status().await;
        assert!(status["listeners"][0]["denied"].as_u64().unwrap() >= 1, "{status}");
    }
}

// fault 160: the mode of the file keeps others out before anything is read
#[tokio::test]
async fn the_mode_of_the_socket_keeps_others_out() {
    let stand = Stand::new().await;
    stand.home.open_to_all();
    let _daemon = stand.start().await;
    let socket = stand.home.path("apps.sock");
    let token = crate::bench::home::program(&["token", "--socket", socket.to_str().unwrap()]);
    let Some(ended) = as_nobody(token).await else { return };
    assert_eq!(ended.code, Some(77), "{ended:?}");
}
