//! Who connects, by the kernel's word, and what one user may take from the others.

use std::{net::Ipv4Addr, process::Command};

use crate::{
    bench::{
        Daemon, Place, Stand, Visitor,
        client::request,
        home::NOBODY,
        skip, until,
        user::{User, is_root},
    },
    guard::denied,
};

// fault 160
#[tokio::test]
async fn every_group_of_a_process_counts() {
    let mut stand = Stand::new().await;
    stand.home.open_to_all();
    stand.home.set("listeners.apps.mode", "0666");
    stand.home.set("listeners.apps.allow_gids", vec![4242]);
    let daemon = stand.start().await;
    let many: Vec<u32> = (4143..4243).collect();
    let rows: [(u32, &[u32], u16); 6] = [
        (4242, &[], 200),
        (7, &[4242], 200),
        (7, &[1, 2, 3, 4242, 5000], 200),
        (7, &many, 200),
        (7, &[], 403),
        (7, &[4241, 4243], 403),
    ];
    for (gid, groups, status) in rows {
        let user = User { uid: NOBODY, gid, groups };
        let Some(mut visitor) = user.connect(&daemon.place("apps")).await else { return };
        assert_eq!(visitor.get("/v1/token").await.status, status, "{gid} and {groups:?}");
    }
}

/// Names a TCP listener of this daemon in both families, and the first within the second.
fn ways(port: u16) -> [Place; 3] {
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    [
        Place::Tcp((Ipv4Addr::LOCALHOST, port).into()),
        Place::Tcp((std::net::Ipv6Addr::LOCALHOST, port).into()),
        Place::Tcp((mapped, port).into()),
    ]
}

/// Finds a port that is free on both loopback addresses.
fn free_port() -> u16 {
    let bind = |address: &str| std::net::TcpListener::bind(address);
    let ports = (0..100).map(|_| bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    ports.into_iter().find(|port| bind(&format!("[::1]:{port}")).is_ok()).unwrap()
}

// faults 152, 160
#[tokio::test]
async fn on_tcp_the_user_of_the_connection_counts() {
    let mut stand = Stand::new().await;
    let port = free_port();
    stand.home.set("listeners.web.bind", format!("tcp:localhost:{port}"));
    stand.home.set("listeners.web.allow_uids", vec![NOBODY]);
    let daemon = stand.start().await;
    for place in ways(port) {
        for (uid, status) in [(NOBODY, 200), (7, 403), (0, 403)] {
            let Some(mut visitor) = User::number(uid).connect(&place).await else { return };
            assert_eq!(visitor.get("/v1/token").await.status, status, "{uid} by {place:?}");
        }
    }
    assert_eq!(denied(&daemon, "web", "peer").await, 6.0);
    let told = daemon.events("connected");
    assert!(told.iter().any(|event| event["listener"] == "web" && event["uid"] == NOBODY));
    assert!(daemon.events("refused").iter().all(|event| event["uid"] != NOBODY));
}

// fault 160: whoever is gone when we ask belongs to nobody, least of all to root
#[tokio::test]
async fn a_connection_that_is_closed_already_is_nobodys() {
    if !is_root() {
        return;
    }
    let mut stand = Stand::new().await;
    stand.home.set("listeners.web.allow_uids", vec![0]);
    let daemon = stand.start().await;
    let place = daemon.place("web");
    for _ in 0..300 {
        let mut visitor = User::number(NOBODY).connect(&place).await.unwrap();
        visitor.send(&request("GET", "/v1/token", &[], b"")).await;
    }
    let answered = async |code: &str| {
        let labels = [("listener", "web"), ("code", code)];
        daemon.metrics().await.find("bearerd_requests_total", &labels).unwrap_or_default()
    };
    until("all have been answered", async || answered("403").await >= 250.0).await;
    assert_eq!(answered("200").await, 0.0);
    assert_eq!(Visitor::connect(&place).await.get("/v1/token").await.status, 200, "we are root");
}

/// A stand whose listeners other users may come to, with a limit on each.
async fn shared_out(limit: &str, most: i64) -> Stand {
    let mut stand = Stand::new().await;
    stand.home.open_to_all();
    stand.home.set("listeners.apps.mode", "0666");
    for listener in ["apps", "web"] {
        stand.home.set(&format!("listeners.{listener}.{limit}"), most);
    }
    stand
}

// fault 185
#[tokio::test]
async fn a_user_has_its_places_and_no_more() {
    if !is_root() {
        return;
    }
    let stand = shared_out("max_connections_per_uid", 2).await;
    let daemon = stand.start().await;
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let come = async |uid| User::number(uid).connect(&place).await.unwrap();
        let mut inside = [come(NOBODY).await, come(NOBODY).await];
        for visitor in &mut inside {
            assert_eq!(visitor.get("/v1/token").await.status, 200);
        }
        let mut third = come(NOBODY).await;
        let reply = third.reply().await;
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1")));
        assert!(reply.is_last() && third.rest().await.is_empty());
        assert_eq!(denied(&daemon, listener, "user_connections").await, 1.0);
        assert_eq!(come(7).await.get("/v1/token").await.status, 200, "another user");
        drop(inside);
        until("the places are free", async || {
            let mut visitor = come(NOBODY).await;
            visitor.try_send(&request("GET", "/v1/token", &[], b"")).await;
            visitor.reply().await.status == 200
        })
        .await;
    }
}

// fault 188
#[tokio::test]
async fn a_user_has_its_requests_in_a_second_and_no_more() {
    if !is_root() {
        return;
    }
    let mut stand = shared_out("max_requests_per_second_per_uid", 1).await;
    stand.home.set("listeners.web.serve", vec!["token", "proxy"]);
    let daemon = stand.start().await;
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let mut eager = User::number(NOBODY).connect(&place).await.unwrap();
        assert_eq!(eager.get("/v1/token").await.status, 200);
        let mut refused = 0;
        // Those that a slow machine needs seconds for are let in.
        for _ in 0..50 {
            let reply = eager.get("/v1/token").await;
            if reply.status != 200 {
                assert_eq!((reply.status, reply.problem().as_str()), (429, "too-many-requests"));
                assert_eq!(reply.header("retry-after"), Some("1"));
                assert!(!reply.is_last(), "it need not connect anew");
                refused += 1;
            }
        }
        assert!(refused > 25, "{refused}");
        assert_eq!(denied(&daemon, listener, "user_requests").await, f64::from(refused));
        let mut other = User::number(7).connect(&place).await.unwrap();
        assert_eq!(other.get("/v1/token").await.status, 200, "another user");
        until("a second has passed", async || eager.get("/v1/token").await.status == 200).await;
    }
    let mut eager = User::number(NOBODY).connect(&daemon.place("web")).await.unwrap();
    until("Okta's paths have Okta's errors", async || {
        let reply = eager.get("/v1/teams/acme/current_user").await;
        let is_refused = reply.status == 429;
        if is_refused {
            let error = reply.json();
            assert_eq!(
                (&error["code"], &error["type"]),
                (&429.into(), &"too_many_requests".into())
            );
            assert_eq!(reply.header("retry-after"), Some("1"));
        }
        is_refused
    })
    .await;
}

// fault 164
#[tokio::test]
async fn in_a_user_namespace_a_stranger_is_nobody_and_not_on_the_list() {
    let unshare = |program: &Command| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--"]);
        command.arg(program.get_program()).args(program.get_args());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    };
    if !is_root() {
        return;
    }
    if !unshare(&Command::new("true")).output().is_ok_and(|tried| tried.status.success()) {
        return skip("user namespaces cannot be made here (unshare --user)");
    }
    let mut stand = Stand::new().await;
    stand.home.open_to_all();
    stand.home.set("listeners.apps.mode", "0666");
    for (listed, status) in [(7, 403), (NOBODY, 200)] {
        stand.home.set("listeners.apps.allow_uids", vec![listed]);
        let mut daemon = Daemon::start(unshare(&stand.home.command(&["run"]))).await;
        daemon.until_ready().await;
        let place = daemon.place("apps");
        let Some(mut visitor) = User::number(7).connect(&place).await else { return };
        assert_eq!(visitor.get("/v1/token").await.status, status, "{listed} is on the list");
        daemon.stop().await;
    }
}
