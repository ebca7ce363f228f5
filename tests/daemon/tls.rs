//! Listeners with TLS: who is served, who is not, and what comes of other files.

use std::time::Duration;

use rcgen::{BasicConstraints, IsCa};
use rustix::process::Signal;
use rustls::ClientConfig;
use tokio::time::Instant;

use crate::bench::{
    Daemon, Home, Place, Stand, Visitor,
    client::{Reply, request},
    daemon::{dev, run},
    home::{any_key, program},
    tls::{self, Authority, Identity, Shown, authority, leaf},
    until,
};

/// A stand whose `web` listener shows a certificate of this authority.
struct TlsStand {
    stand: Stand,
    ca: Authority,
    identity: Identity,
}

impl TlsStand {
    async fn new() -> Self {
        let (mut stand, ca) = (Stand::new().await, authority("ours"));
        let identity = Identity::signed(&leaf("localhost"), &ca);
        identity.write(&stand.home);
        for (key, file) in [("cert_file", "tls.crt"), ("key_file", "tls.key")] {
            let path = stand.home.path(file).to_str().unwrap().to_owned();
            stand.home.set(&format!("listeners.web.tls.{key}"), path);
        }
        Self { stand, ca, identity }
    }

    fn client(&self) -> ClientConfig {
        tls::client(&self.ca)
    }

    async fn visit(&self, daemon: &Daemon) -> (Visitor, Shown) {
        tls::visit(&daemon.place("web"), self.client()).await.unwrap()
    }

    /// Puts another good certificate in place.
    fn renew(&self) -> Identity {
        let identity = Identity::signed(&leaf("localhost"), &self.ca);
        identity.write(&self.stand.home);
        identity
    }
}

async fn refused(daemon: &Daemon) -> f64 {
    let labels = [("listener", "web"), ("reason", "tls")];
    daemon.metrics().await.get("bearerd_requests_denied_total", &labels)
}

#[tokio::test]
async fn the_same_is_served_over_tls_and_nothing_in_the_clear() {
    let tls = TlsStand::new().await;
    let daemon = tls.stand.start().await;
    assert_eq!(refused(&daemon).await, 0.0);
    let (mut visitor, shown) = tls.visit(&daemon).await;
    assert_eq!(shown.certificate, tls.identity.chain[0]);
    for _ in 0..2 {
        let reply = visitor.get("/v1/token").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.json()["bearer_token"], daemon.token().await);
        reply.assert_common_headers();
    }
    let mut plain = Visitor::connect(&daemon.place("web")).await;
    plain.send(&request("GET", "/v1/token", &[], b"")).await;
    let rest = plain.rest().await;
    assert!(!rest.windows(5).any(|five| five == b"HTTP/"), "{rest:?}");
    until("it is counted", async || refused(&daemon).await == 1.0).await;
    until("it is logged", async || daemon.has_said("refused")).await;
    let event = &daemon.events("refused")[0];
    assert_eq!((&event["reason"], &event["listener"]), (&"tls".into(), &"web".into()));
    assert_eq!(visitor.get("/v1/token").await.status, 200);
}

#[tokio::test]
async fn the_guard_stays_as_it_is() {
    let tls = TlsStand::new().await;
    let daemon = tls.stand.start().await;
    for (head, status) in [
        ("Host: localhost", 403),
        ("Host: bearerd.example\r\nX-Bearerd: 1", 421),
        ("Host: localhost\r\nX-Bearerd: 1\r\nOrigin: https://localhost", 403),
    ] {
        let (mut visitor, _) = tls.visit(&daemon).await;
        visitor.send(format!("GET /v1/token HTTP/1.1\r\n{head}\r\n\r\n").as_bytes()).await;
        assert_eq!(visitor.reply().await.status, status, "{head}");
    }
}

#[tokio::test]
async fn clients_that_do_not_know_the_authority_go_away() {
    let tls = TlsStand::new().await;
    let daemon = tls.stand.start().await;
    let web = daemon.place("web");
    let stranger = tls::client(&authority("another"));
    let error = tls::visit(&web, stranger).await.err().unwrap();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    until("it is counted", async || refused(&daemon).await == 1.0).await;
    assert_eq!(tls.visit(&daemon).await.0.get("/v1/token").await.status, 200);
}

// faults 49, 269: HTTP/1.1 and nothing else
#[tokio::test]
async fn old_versions_and_other_protocols_are_not_spoken() {
    let tls = TlsStand::new().await;
    let daemon = tls.stand.start().await;
    let web = daemon.place("web");
    let offering = |protocols: &[&str]| {
        let mut client = tls.client();
        client.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        client
    };
    let (_, shown) = tls::visit(&web, offering(&["h2", "http/1.1"])).await.unwrap();
    assert_eq!(shown.protocol.as_deref(), Some(&b"http/1.1"[..]));
    assert!(tls::visit(&web, offering(&["h2"])).await.is_err());
    let mut old = Visitor::connect(&web).await;
    // ClientHello: version 3.2, random, no session, one suite, no compression.
    let hello = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0]].concat();
    let length = u8::try_from(hello.len()).unwrap();
    old.send(&[&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat()).await;
    // An alert of two bytes: fatal.
    let alert = old.rest().await;
    assert!(matches!(alert[..], [21, _, _, 0, 2, 2, _]), "{alert:?}");
}

#[tokio::test]
async fn only_tcp_speaks_tls() {
    let mut tls = TlsStand::new().await;
    let both = tls.stand.home.path("both.sock");
    let bind = vec![format!("unix:{}", both.display()), "tcp:127.0.0.1:0".to_owned()];
    tls.stand.home.set("listeners.web.bind", bind);
    let daemon = tls.stand.start().await;
    let in_the_clear = Visitor::connect(&Place::Unix(both)).await.get("/v1/token").await;
    let over_tls = tls.visit(&daemon).await.0.get("/v1/token").await;
    let seconds = |text: &str| text.split("\"expires_in\"").next().unwrap().to_owned();
    assert_eq!(seconds(in_the_clear.text()), seconds(over_tls.text()));
    let names =
        |reply: &Reply| reply.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&in_the_clear), names(&over_tls));
}

/// A hello that has begun and never ends.
const HALF_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

// fault 181
#[tokio::test]
async fn a_slow_handshake_ends_in_time_and_holds_nobody_up() {
    let mut tls = TlsStand::new().await;
    tls.stand.home.set("listeners.web.header_timeout", "1s");
    let mut daemon = tls.stand.start().await;
    let (web, began) = (daemon.place("web"), Instant::now());
    let [mut silent, mut slow] = [Visitor::connect(&web).await, Visitor::connect(&web).await];
    slow.send(HALF_HELLO).await;
    assert_eq!(tls.visit(&daemon).await.0.get("/v1/token").await.status, 200);
    for visitor in [&mut silent, &mut slow] {
        assert_eq!(visitor.rest().await, b"");
    }
    assert!(Instant::now() - began >= Duration::from_millis(900));
    until("both are counted", async || refused(&daemon).await == 2.0).await;
    // The head of the first request has what is left of the time.
    let (mut quiet, _) = tls.visit(&daemon).await;
    let answer = quiet.rest().await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
    // A stop does not wait for anybody's hello.
    tls.stand.home.set("listeners.web.header_timeout", "60s");
    assert!(reload(&tls.stand, &daemon).await);
    let mut slow = Visitor::connect(&web).await;
    slow.send(HALF_HELLO).await;
    let (status, took) = daemon.stop().await;
    assert!(status.success() && took < Duration::from_secs(3), "{took:?}");
}

// faults 183, 184
#[tokio::test]
async fn idle_and_deaf_clients_are_let_go_of() {
    let mut tls = TlsStand::new().await;
    tls.stand.home.set("listeners.web.idle_timeout", "400ms");
    tls.stand.home.set("listeners.web.write_timeout", "400ms");
    let daemon = tls.stand.start().await;
    let (mut idle, _) = tls.visit(&daemon).await;
    assert_eq!(idle.get("/v1/token").await.status, 200);
    assert_eq!(idle.rest().await, b"");
    let (mut deaf, _) = tls.visit(&daemon).await;
    assert!(deaf.flood(&request("GET", "/v1/token", &[], b"")).await > 0);
    until("the daemon has let go of it", async || {
        daemon.metrics().await.get("bearerd_connections", &[("listener", "web")]) == 0.0
    })
    .await;
}

// fault 185
#[tokio::test]
async fn half_handshakes_do_not_keep_their_places() {
    let mut tls = TlsStand::new().await;
    tls.stand.home.set("listeners.web.max_connections", 3);
    tls.stand.home.set("listeners.web.header_timeout", "1s");
    let daemon = tls.stand.start().await;
    let mut half = Vec::new();
    for _ in 0..30 {
        let mut visitor = Visitor::connect(&daemon.place("web")).await;
        visitor.send(HALF_HELLO).await;
        half.push(visitor);
        // All at once they would outlast any patience, three at a time.
        if half.len() > 6 {
            half.remove(0);
        }
    }
    let place = daemon.metrics().await.get("bearerd_connections", &[("listener", "web")]);
    assert!(place <= 3.0, "{place}");
    assert_eq!(tls.visit(&daemon).await.0.get("/v1/token").await.status, 200);
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200);
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_open_connections_go_on() {
    let tls = TlsStand::new().await;
    let daemon = tls.stand.start().await;
    let (mut open, _) = tls.visit(&daemon).await;
    assert_eq!(open.get("/v1/token").await.status, 200);
    for _ in 0..2 {
        let renewed = tls.renew();
        until("it is shown", async || tls.visit(&daemon).await.1.certificate == renewed.chain[0])
            .await;
        assert_eq!(open.get("/v1/token").await.status, 200);
    }
    assert_eq!(daemon.events("a new certificate is shown").len(), 2);
}

#[tokio::test]
async fn broken_files_change_nothing_until_they_are_mended() {
    let tls = TlsStand::new().await;
    let daemon = tls.stand.start().await;
    let (home, said) = (&tls.stand.home, "the old certificate stays");
    let shown = async || tls.visit(&daemon).await.1.certificate;
    home.replace("tls.crt", b"no certificate", 0o644);
    until("it is said", async || daemon.events(said).len() == 1).await;
    assert_eq!(daemon.events(said)[0]["reason"], "no_certificate");
    assert_eq!(shown().await, tls.identity.chain[0]);
    // A reload is all or nothing.
    assert!(!reload(&tls.stand, &daemon).await);
    let problem = daemon.events("the old configuration stays")[0]["problem"].to_string();
    assert!(problem.contains("`listeners.web.tls`: ") && problem.contains("tls.crt"), "{problem}");
    tls.identity.write(home);
    until("it is said", async || daemon.has_said("the certificate can be read again")).await;
    // Only one of the two: they no longer belong together.
    let other = Identity::signed(&leaf("localhost"), &tls.ca);
    other.write_chain(home);
    until("it is said", async || daemon.events(said).len() == 2).await;
    assert_eq!(daemon.events(said)[1]["reason"], "mismatch");
    assert_eq!(shown().await, tls.identity.chain[0]);
    other.write_key(home, 0o600);
    until("it is shown", async || shown().await == other.chain[0]).await;
    assert!(reload(&tls.stand, &daemon).await);
    assert_eq!(shown().await, other.chain[0]);
}

/// Reloads and tells whether the new configuration was taken.
async fn reload(stand: &Stand, daemon: &Daemon) -> bool {
    let count = |message| daemon.events(message).len();
    let counts =
        || (count("the configuration was read again"), count("the old configuration stays"));
    let before = counts();
    stand.home.write();
    daemon.signal(Signal::HUP);
    until("the reload is over", async || counts() != before).await;
    counts().0 > before.0
}

#[tokio::test]
async fn tls_comes_and_goes_with_a_reload_and_nobody_stays_in_the_clear() {
    let mut tls = TlsStand::new().await;
    let with_tls = tls.stand.home.saved();
    tls.stand.home.unset("listeners.web.tls");
    let daemon = tls.stand.start().await;
    let web = daemon.place("web");
    let mut plain = Visitor::connect(&web).await;
    assert_eq!(plain.get("/v1/token").await.status, 200);
    tls.stand.home.restore(&with_tls);
    assert!(reload(&tls.stand, &daemon).await);
    assert_eq!(plain.rest().await, b"");
    let (mut over_tls, _) = tls.visit(&daemon).await;
    assert_eq!(over_tls.get("/v1/token").await.status, 200);
    // Other files at another place are followed, too.
    let renewed = tls.renew();
    until("it is shown", async || tls.visit(&daemon).await.1.certificate == renewed.chain[0]).await;
    tls.stand.home.unset("listeners.web.tls");
    assert!(reload(&tls.stand, &daemon).await);
    assert_eq!(over_tls.rest().await, b"");
    assert_eq!(Visitor::connect(&web).await.get("/v1/token").await.status, 200);
}

// fault 84
#[tokio::test]
async fn files_that_cannot_be_used_are_refused_at_the_start_with_78() {
    let tls = TlsStand::new().await;
    let home = &tls.stand.home;
    let other = Identity::signed(&leaf("localhost"), &tls.ca);
    type Damage<'a> = (&'a dyn Fn(), &'a str);
    let rows: [Damage<'_>; 4] = [
        (&|| tls.identity.write_key(home, 0o640), "has mode 0640, so others than its owner"),
        (&|| drop(home.replace("tls.key", b"", 0o600)), "tls.key holds no private key"),
        (&|| std::fs::remove_file(home.path("tls.crt")).unwrap(), "tls.crt does not exist"),
        (&|| other.write_chain(home), "tls.key is not the key of the certificate in"),
    ];
    for (damage, words) in rows {
        tls.identity.write(home);
        assert_eq!(run(home.command(&["check"])).await.code, Some(0));
        damage();
        for command in ["run", "check"] {
            let ended = run(home.command(&[command])).await;
            assert_eq!(ended.code, Some(78), "{command} {words}: {ended:?}");
            let said = [&ended.out[..], &ended.err].concat();
            assert!(said.contains("listeners.web") && said.contains(words), "{words}: {said}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_pointed_out_and_shown() {
    let tls = TlsStand::new().await;
    Identity::signed(&tls::expired(leaf("localhost")), &tls.ca).write(&tls.stand.home);
    let checked = run(tls.stand.home.command(&["check"])).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.out.contains("ended at 2002-01-01T00:00:00Z"), "{checked:?}");
    let daemon = tls.stand.start().await;
    let warning = daemon.events("look at the certificate")[0]["warning"].to_string();
    assert!(warning.contains("2002-01-01"), "{warning}");
    let error = tls::visit(&daemon.place("web"), tls.client()).await.err().unwrap();
    assert!(error.to_string().contains("expired"), "{error}");
}

// fault 287
#[tokio::test]
async fn links_of_the_proxy_lead_back_over_https() {
    let mut tls = TlsStand::new().await;
    (0..4).for_each(|n| drop(tls.stand.issuer.add_user(&format!("user-{n}"))));
    tls.stand.home.set("listeners.web.serve", vec!["proxy"]);
    let daemon = tls.stand.start().await;
    let (mut visitor, _) = tls.visit(&daemon).await;
    let json = [("Content-Type", "application/json")];
    let key = br#"{"key_id": "3F2504E0-4F89-41D3-9A0C-0305E82C3301", "key_secret": "any"}"#;
    let minted = visitor.request("POST", "/v1/teams/acme/service_token", &json, key).await;
    let bearer = format!("Bearer {}", minted.json()["bearer_token"].as_str().unwrap());
    let known = [("Authorization", bearer.as_str())];
    let path = "/v1/teams/acme/service_users?count=1";
    let page = visitor.request("GET", path, &known, b"").await;
    let link = page.header("link").unwrap();
    assert!(link.starts_with("<https://localhost/v1/teams/acme/service_users?"), "{page:?}");
}

/// Lets `web` be the first listener, on a port that is known before it runs.
fn only_web(tls: &mut TlsStand) -> u16 {
    tls.stand.home.unset("listeners.apps");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    tls.stand.home.set("listeners.web.bind", format!("tcp:127.0.0.1:{port}"));
    port
}

#[tokio::test]
async fn the_command_finds_a_listener_with_tls() {
    let mut tls = TlsStand::new().await;
    let port = only_web(&mut tls);
    Identity::signed(&leaf("127.0.0.1"), &tls.ca).write(&tls.stand.home);
    let _daemon = tls.stand.start().await;
    let by_configuration = run(tls.stand.home.command(&["token"])).await;
    assert_eq!(by_configuration.code, Some(0), "{by_configuration:?}");
    let ca = tls.stand.home.replace("ca.pem", tls.ca.pem().as_bytes(), 0o644);
    let ca = ca.to_str().unwrap();
    let url = format!("https://127.0.0.1:{port}");
    let by_url = run(program(&["token", "--url", &url, "--ca-file", ca])).await;
    assert_eq!((by_url.code, &by_url.out), (Some(0), &by_configuration.out), "{by_url:?}");
    let rows: [(&[&str], i32, &str); 6] = [
        (&["--url", &url], 69, "is not trusted: name its authority by --ca-file"),
        (&["--url", &format!("https://localhost:{port}"), "--ca-file", ca], 69, "is not trusted"),
        (&["--url", &url, "--ca-file", "/no/such/file"], 78, "/no/such/file cannot be used"),
        (&["--url", &url, "--ca-file", "/dev/null"], 78, "/dev/null cannot be used"),
        (&["--url", &url.replace("https", "http")], 69, "does not answer as bearerd does"),
        (&["--url", "http://localhost", "--ca-file", ca], 2, "--ca-file goes with a --url of"),
    ];
    for (arguments, code, words) in rows {
        let ended = run(program(&[&["token"], arguments].concat())).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(words), "{arguments:?}: {ended:?}");
    }
}

/// As `openssl req -x509` makes them: authorities, with whatever name.
#[tokio::test]
async fn the_command_knows_a_self_made_certificate_when_it_sees_it() {
    let mut tls = TlsStand::new().await;
    let port = only_web(&mut tls);
    let self_made = || {
        let mut params = leaf("bearerd.example");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Identity::self_signed(&params)
    };
    self_made().write(&tls.stand.home);
    let _daemon = tls.stand.start().await;
    let token = run(tls.stand.home.command(&["token"])).await;
    assert_eq!(token.code, Some(0), "{token:?}");
    let other = Home::new("http://127.0.0.1:9", &any_key());
    self_made().write_chain(&other);
    let url = format!("https://127.0.0.1:{port}");
    for (home, code) in [(&tls.stand.home, 0), (&other, 69)] {
        let file = home.path("tls.crt");
        let trusting = ["token", "--url", &url, "--ca-file", file.to_str().unwrap()];
        let ended = run(program(&trusting)).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
    }
}

#[tokio::test]
async fn dev_makes_a_certificate_and_says_how_to_trust_it() {
    let (mut daemon, introduction) = dev(&["--tls"]);
    let line = introduction.lines().find(|line| line.contains("--cacert")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    let ["curl", "--cacert", ca, .., url] = words[..] else { panic!("{line}") };
    let url = url.trim_end_matches("/v1/token");
    let (_, port) = url.rsplit_once(':').unwrap();
    for url in [url, &format!("https://localhost:{port}")] {
        until("the token is served", async || {
            run(program(&["token", "--url", url, "--ca-file", ca])).await.code == Some(0)
        })
        .await;
    }
    for name in ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
        assert!(introduction.contains(&format!("{name}={ca}")), "{introduction}");
    }
    assert_eq!(daemon.stop().await.0.code(), Some(0), "{}", daemon.log());
}

// fault 199
#[tokio::test]
async fn handshakes_that_fail_leak_nothing_and_fill_no_log() {
    let tls = TlsStand::new().await;
    let daemon = tls.stand.start().await;
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = descriptors();
    for number in 0..300 {
        let mut visitor = Visitor::connect(&daemon.place("web")).await;
        let bytes: &[u8] = if number % 2 == 0 { b"GET / HTTP/1.1\r\n\r\n" } else { &[0; 64] };
        visitor.try_send(bytes).await;
        let _alert: Vec<u8> = visitor.rest().await;
    }
    until("all are counted", async || refused(&daemon).await == 300.0).await;
    until("all are closed", async || descriptors() <= before).await;
    assert!(daemon.events("refused").len() < 100);
}

// faults 205, 213
#[tokio::test]
async fn who_comes_by_tls_while_others_say_farewell_is_served_too() {
    let tls = TlsStand::new().await;
    let mut daemon = tls.stand.start().await;
    daemon.token().await;
    // Somebody who keeps a connection: the stop waits for his next request for a while.
    let (mut kept, _) = tls.visit(&daemon).await;
    assert_eq!(kept.get("/v1/token").await.status, 200);
    daemon.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(30)).await;
    let (mut late, _) = tls.visit(&daemon).await;
    let reply = late.get("/v1/token").await;
    assert_eq!((reply.status, reply.is_last()), (200, true));
    drop((kept, late));
    assert!(daemon.exit().await.success());
}
