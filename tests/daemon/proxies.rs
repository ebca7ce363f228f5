//! Proxies: those of the environment are ignored, an explicit one carries TLS and nothing else.

use std::io;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::bench::{
    Daemon, Home, RawIssuer, Stand,
    home::any_key as key,
    issuer::{answer, granted},
    tls::{self, Identity, authority, leaf},
};

// fault 53
#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let sink = RawIssuer::sink().await;
    let stand = Stand::new().await;
    let mut command = stand.home.command(&["run"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, sink.base_url()).env(name.to_lowercase(), sink.base_url());
    }
    let daemon = Daemon::start(command).await;
    daemon.until_ready().await;
    assert_eq!((stand.issuer.mints(), sink.connections()), (1, 0));
}

/// A forward proxy that does one thing.
#[derive(Clone, Copy)]
enum Proxy {
    Tunnels,
    WantsAuthentication,
    Hangs,
    AnswersInPlain,
    Closes,
}

async fn proxy(kind: Proxy) -> RawIssuer {
    RawIssuer::start(move |mut stream, _, seen| async move {
        let request = seen.read_request(&mut stream).await?;
        match kind {
            Proxy::Tunnels => tunnel(&request, stream).await,
            Proxy::WantsAuthentication => {
                let head = "407 Who\r\nProxy-Authenticate: Basic realm=\"x\"";
                stream.write_all(&answer(head, "")).await
            }
            Proxy::Hangs => loop {
                seen.read_some(&mut stream).await?;
            },
            Proxy::AnswersInPlain => {
                stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
                seen.read_some(&mut stream).await?;
                stream.write_all(&granted("forged")).await?;
                loop {
                    seen.read_some(&mut stream).await?;
                }
            }
            Proxy::Closes => Ok(()),
        }
    })
    .await
}

async fn tunnel(request: &str, mut stream: TcpStream) -> io::Result<()> {
    let target = request.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
    let mut upstream = TcpStream::connect(target).await?;
    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut stream, &mut upstream).await.map(drop)
}

// fault 54
#[tokio::test]
async fn an_explicit_proxy_carries_tls_and_never_sees_the_key() {
    let ca = authority("test root");
    let issuer = tls::issuer(Identity::signed(&leaf("127.0.0.1"), &ca), "tunnelled").await;
    let proxy = proxy(Proxy::Tunnels).await;
    let mut home = Home::new(&tls::url(&issuer), &key());
    let ca_file = home.replace("ca.pem", ca.pem().as_bytes(), 0o644);
    let auth_file = home.replace("proxy-auth", b"robot:proxy canary\n", 0o600);
    home.set("okta.ca_file", ca_file.to_str().unwrap())
        .set("okta.proxy", proxy.base_url())
        .set("okta.proxy_auth_file", auth_file.to_str().unwrap());
    let daemon = home.start().await;
    daemon.until_ready().await;
    assert_eq!(daemon.token().await, "tunnelled");
    assert_eq!((proxy.connections(), issuer.connections()), (1, 1));
    let seen = String::from_utf8(proxy.bytes()).unwrap();
    assert!(seen.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", issuer.address)), "{seen}");
    assert!(seen.to_lowercase().contains("proxy-authorization: basic cm9ib3q6chjve"), "{seen}");
    let call = String::from_utf8(issuer.bytes()).unwrap();
    assert!(!call.to_lowercase().contains("proxy-"), "the proxy's password ends at the proxy");
    assert!(!daemon.log().contains("canary"));
}

// fault 54
#[tokio::test]
async fn a_proxy_that_fails_is_a_bounded_failure_and_gets_no_secret() {
    let rows = [
        (Proxy::WantsAuthentication, "connect"),
        (Proxy::Hangs, "timeout"),
        (Proxy::AnswersInPlain, "tls"),
        (Proxy::Closes, "connect"),
    ];
    for (kind, reason) in rows {
        let proxy = proxy(kind).await;
        let mut home = Home::new("https://issuer.example", &key());
        home.set("okta.proxy", proxy.base_url())
            .set("okta.connect_timeout", "1s")
            .set("okta.request_timeout", "500ms");
        let daemon = home.start().await;
        let failures = daemon.until_failed("default").await;
        assert_eq!(failures[0].0, reason);
        let seen = String::from_utf8_lossy(&proxy.bytes()).into_owned();
        assert!(seen.starts_with("CONNECT issuer.example:443 "), "{seen}");
        assert!(!seen.contains(&key().1) && !seen.contains("service_token"), "{seen}");
    }
}
