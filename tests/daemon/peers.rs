//! Who connects, by the kernel's word, and what one user may take from the others.

use std::net::Ipv4Addr;

use crate::{
    bench::{
        Place, Stand, Visitor,
        client::request,
        home::NOBODY,
        until,
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

// fault 160
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

// faults 160, 163: whoever is gone when we ask belongs to nobody, least of all to root
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
