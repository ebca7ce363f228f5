//! Group B in a network of its own: names, packets that get lost, and two kinds of address.

mod names;
mod namespace;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tokio::{net::TcpListener, time::Instant};

use self::{
    names::{Answer, Names},
    namespace::Namespace,
};
use crate::bench::{
    Daemon, Home, RawIssuer,
    home::any_key as key,
    tls::{self, Authority, Identity, authority, leaf},
    until, until_ok,
};

const NAME: &str = "issuer.test";
const HERE: Answer = Answer::Found(Some(Ipv4Addr::LOCALHOST), None);
const BOTH: Answer = Answer::Found(Some(Ipv4Addr::LOCALHOST), Some(Ipv6Addr::LOCALHOST));

/// A network with a name server and an issuer, and a home that knows it by its name.
struct Scene {
    network: Namespace,
    names: Names,
    ca: Authority,
    issuer: RawIssuer,
    home: Home,
}

impl Scene {
    async fn new(answer: Answer) -> Option<Self> {
        let network = Namespace::new()?;
        let ca = authority("test root");
        let issuer = issuer(&network, "127.0.0.1", 0, NAME, &ca);
        let names = Names::start(network.name_server(), answer);
        let port = issuer.address.port();
        let mut home = Home::new(&format!("https://{NAME}:{port}"), &key());
        let ca_file = home.replace("ca.pem", ca.pem().as_bytes(), 0o644);
        home.set("okta.ca_file", ca_file.to_str().unwrap())
            .set("okta.connect_timeout", "1s")
            .set("okta.request_timeout", "2s")
            .set("credentials.default.refresh.retry_min", "50ms")
            .set("credentials.default.refresh.retry_max", "100ms");
        Some(Self { network, names, ca, issuer, home })
    }

    /// Starts the daemon, and waits for its first token.
    async fn start(&self) -> Daemon {
        let daemon = Daemon::start(self.network.run(&self.home)).await;
        until_ok(async || match daemon.get("apps", "/v1/token").await.status {
            200 => Ok(()),
            _ => Err(daemon.log()),
        })
        .await;
        daemon
    }
}

fn issuer(network: &Namespace, at: &str, port: u16, name: &str, ca: &Authority) -> RawIssuer {
    let listener = TcpListener::from_std(network.listen(at, port)).unwrap();
    // No token holds a colon.
    tls::issuer_on(listener, Identity::signed(&leaf(name), ca), &at.replace("::1", "ipv6"))
}

/// Wants a new token; tells of what that has failed, and in which time.
async fn fails(daemon: &Daemon) -> (String, Duration) {
    let before = daemon.status().await["credentials"][0]["failures"].as_u64().unwrap();
    let began = Instant::now();
    daemon.refresh("default").await;
    let reason = until_ok(async || {
        let status = daemon.status().await;
        let credential = &status["credentials"][0];
        let has_failed = credential["failures"].as_u64().unwrap() > before;
        let reason = credential["last_error"]["reason"].as_str().map(str::to_owned);
        reason.filter(|_| has_failed).ok_or(status)
    })
    .await;
    (reason, began.elapsed())
}

// faults 39, 41: an error, a name without an address, and then one that leads to somebody else
#[tokio::test]
async fn a_name_server_that_fails_or_lies_costs_the_token_nothing() {
    let Some(scene) = Scene::new(HERE).await else { return };
    let port = scene.issuer.address.port();
    // It is trusted, but for another name.
    let neighbour = issuer(&scene.network, "127.0.0.9", port, "neighbour.test", &scene.ca);
    let daemon = scene.start().await;
    let lie = Answer::Found(Some(Ipv4Addr::new(127, 0, 0, 9)), None);
    let rows = [
        (Answer::Error(3), "dns"),
        (Answer::Error(2), "dns"),
        (Answer::Error(5), "dns"),
        (Answer::Found(None, None), "dns"),
        (lie, "tls"),
    ];
    for (answer, expected) in rows {
        scene.names.say(answer);
        // What was under way may have had the answer before.
        until("it fails of that", async || fails(&daemon).await.0 == expected).await;
        assert_eq!(daemon.token().await, "127.0.0.1", "{answer:?}");
    }
    assert!(neighbour.connections() > 0 && neighbour.bytes().is_empty());
    scene.names.say(HERE);
    until("it mints again", async || daemon.refresh("default").await["token_id"].is_string()).await;
}

// fault 40
#[tokio::test]
async fn a_silent_name_server_holds_up_one_thread_and_nobody_else() {
    let Some(scene) = Scene::new(HERE).await else { return };
    let daemon = scene.start().await;
    let threads = || std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().count();
    scene.names.say(Answer::Silence);
    let (before, asked) = (threads(), scene.names.asked());
    // The look-up itself goes on for 40 s: nothing can end it.
    for _ in 0..2 {
        let (reason, took) = fails(&daemon).await;
        assert_eq!(reason, "timeout");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(daemon.token().await, "127.0.0.1");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(threads() <= before + 1, "{} threads after {before}", threads());
    // One look-up asks for both kinds of address.
    assert!((1..=2).contains(&(scene.names.asked() - asked)), "{}", scene.names.asked());
}

// fault 43
#[tokio::test]
async fn packets_that_get_lost_end_at_the_connect_deadline() {
    let Some(scene) = Scene::new(HERE).await else { return };
    let daemon = scene.start().await;
    let connections = scene.issuer.connections();
    scene.network.lose("iptables", scene.issuer.address.port());
    let (reason, took) = fails(&daemon).await;
    assert_eq!(reason, "timeout");
    assert!((1000..5000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(scene.issuer.connections(), connections);
    assert_eq!(daemon.token().await, "127.0.0.1");
}

// fault 44
#[tokio::test]
async fn one_kind_of_address_that_leads_nowhere_is_passed_by() {
    for (lost, served) in [("ip6tables", "127.0.0.1"), ("iptables", "ipv6")] {
        let Some(mut scene) = Scene::new(BOTH).await else { return };
        let port = scene.issuer.address.port();
        let _other = issuer(&scene.network, "::1", port, NAME, &scene.ca);
        scene.home.set("okta.connect_timeout", "5s");
        scene.network.lose(lost, port);
        let daemon = scene.start().await;
        let began = Instant::now();
        assert!(daemon.refresh("default").await["token_id"].is_string(), "{lost}");
        assert!(began.elapsed() < Duration::from_secs(2), "{lost}: {:?}", began.elapsed());
        assert_eq!(daemon.token().await, served);
    }
}
