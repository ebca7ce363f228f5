//! When a call is brief, and what it leaves when it does not stay so.

use std::path::Path;

use http::Request;
use http_body_util::{BodyExt, Empty};
use rustls::{ServerConfig, crypto::ring::default_provider, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::*;
use crate::{
    config::{self, Sources, Surroundings},
    okta::{classify::Grant, forwarder::Forwarder},
    process::{clock::StandingClock, secret::Secret},
    proxy::local_token::LocalToken,
    telemetry::metrics::Metrics,
    token::{
        held,
        lease::{Lease, Serial},
        timing::Wall,
    },
};

const CLOCK: StandingClock = StandingClock(Wall::from_seconds(1_769_846_400));
pub(crate) const LOCAL: &str = "Bearer local";

/// Makes a proxy of the team `acme` before an issuer at this address.
pub(crate) fn proxy(issuer: &str) -> Proxy {
    proxy_of(&format!("okta.base_url = \"http://{issuer}\""))
}

/// Makes a proxy of the team `acme` with these settings of the issuer.
fn proxy_of(okta: &str) -> Proxy {
    let text = format!(
        r#"
        {okta}
        credentials.default = {{ team_name = "acme", key_file = "/etc/bearerd/key.json" }}
        listeners.apps = {{ bind = "unix:/run/bearerd/a.sock", serve = ["proxy"] }}
        "#
    );
    let sources = Sources {
        files: Vec::new(),
        fallback_file: "/nonexistent".into(),
        environment: Vec::new(),
        flags: Vec::new(),
        surroundings: Surroundings::default(),
    };
    let loaded = config::load_bytes(Path::new("bearerd.toml"), text.as_bytes(), &sources);
    let config = loaded.unwrap_or_else(|findings| panic!("{findings}")).config;
    let credential = &config.credentials["default"];
    let clock: Arc<dyn Clock> = Arc::new(CLOCK);
    let counted = Metrics::new().credential("default", &[], &[]);
    let upstream = Upstream {
        team_name: credential.team_name.clone(),
        handle: held::holding("default", Arc::clone(&clock), counted, published()),
        forwarder: Arc::new(Forwarder::new(&config.okta, credential, 3).unwrap()),
    };
    let settings = config.listeners["apps"].proxy.as_ref().unwrap();
    let local = Arc::new(LocalToken::random(Secret::copy_of(b"local")));
    Proxy::new(settings, vec![upstream], local, clock)
}

fn published() -> Published {
    let (now, lifetime) = (CLOCK.tick(), Duration::from_secs(3600));
    let lease =
        Lease { serial: Serial::NONE.next(), issued: now, published: now, expires: now + lifetime };
    let token = Secret::copy_of(b"hdr.real-token.sig");
    let expires_at = CLOCK.wall() + lifetime;
    let grant = Grant { token, lifetime, expires_at, team_name: "acme".to_owned() };
    Published::new(grant, lease, CLOCK.wall())
}

fn request(path: &str, bearer: &str) -> Parts {
    let request = Request::get(path).header("host", "localhost").header("authorization", bearer);
    request.body(()).unwrap().into_parts().0
}

/// Answers on one connection after the other, each with these in turn; gives what it heard at the end.
pub(crate) async fn issuer(answers: &'static [&'static str]) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = String::new();
        for answer in answers {
            let mut bytes = [0; 1000];
            let length = stream.read(&mut bytes).await.unwrap();
            heard.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        heard
    });
    (address, heard)
}

pub(crate) const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a\r\n\r\n{}";
/// Not brief: its chunk has an extension.
const EXTENDED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\n{}\r\n0\r\n\r\n";

#[tokio::test]
async fn a_call_is_brief_once_a_connection_rests_and_leaves_what_is_not() {
    let (address, heard) = issuer(&[PLAIN, PLAIN, EXTENDED]).await;
    let proxy = proxy(&address);
    let brief = || proxy.brief(&request("/v1/teams/acme/x%79?a=b", LOCAL)).expect("it may pass");
    assert!(matches!(brief().tell().await, Told::Unsent), "no connection rests");
    warm(&proxy).await;
    let Told::Answer(answer) = brief().tell().await else { panic!("it was brief") };
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"{}"[..]));
    let names: Vec<_> = answer.headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["cache-control", "x-content-type-options"]);
    let Told::Begun(sent) = brief().tell().await else { panic!("it has begun") };
    assert_eq!(sent.token.token_id(), published().token_id());
    let head = format!(
        "GET /v1/teams/acme/xy?a=b HTTP/1.1\r\nauthorization: Bearer hdr.real-token.sig\r\n\
         host: {address}\r\n\r\n"
    );
    assert!(heard.await.unwrap().ends_with(&head.repeat(2)));
}

/// Has a connection to the issuer rest.
pub(crate) async fn warm(proxy: &Proxy) {
    let nothing = Empty::new().map_err(|never| match never {}).boxed();
    let first = Request::get("/first").body(nothing).unwrap();
    let answer = proxy.upstreams[0].forwarder.send(first).await.unwrap();
    answer.into_body().collect().await.unwrap();
}

/// Answers over TLS; gives the certificate to trust.
async fn secure_issuer(answers: &'static [&'static [&'static str]]) -> (u16, String) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = own.signing_key.serialize_der();
    let setup = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let setup = setup.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let chain = vec![own.cert.der().clone()];
    let setup = setup.with_single_cert(chain, PrivateKeyDer::try_from(key).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let _runs = TaskTracker::new().spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(setup)).accept(stream).await.unwrap();
        for pieces in answers {
            let mut heard = [0; 1000];
            let length = stream.read(&mut heard).await.unwrap();
            assert!(heard[..length].starts_with(b"GET "));
            for piece in *pieces {
                stream.write_all(piece.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
        stream.shutdown().await.unwrap();
    });
    (port, own.cert.pem())
}

// Over TLS each piece is a record of its own, and an end is told before it comes.
#[tokio::test]
async fn a_call_is_brief_over_tls_as_well() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let answers: &[&[&str]] = &[&[PLAIN], &[PLAIN], &[HEAD, "hello"], &[EXTENDED], &[PLAIN]];
    let (port, trusted) = secure_issuer(answers).await;
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, trusted).unwrap();
    let okta = format!(
        "okta.base_url = \"https://localhost:{port}\"\nokta.ca_file = \"{}\"",
        ca_file.display()
    );
    let proxy = proxy_of(&okta);
    let brief = || proxy.brief(&request("/v1/teams/acme/x", LOCAL)).expect("it may pass");
    warm(&proxy).await;
    for body in ["{}", "hello"] {
        let Told::Answer(answer) = brief().tell().await else { panic!("it was brief") };
        assert_eq!(answer.body(), body);
    }
    let Told::Begun(sent) = brief().tell().await else { panic!("it has begun") };
    let forwarder = &proxy.upstreams[0].forwarder;
    let nothing = Empty::new().map_err(|never| match never {}).boxed();
    let mut again = Request::get("/v1/teams/acme/x").body(nothing).unwrap();
    again.headers_mut().insert(header::AUTHORIZATION, sent.token.bearer());
    let answer = forwarder.go_on(sent.begun, again).await.expect("the rest of it");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
    assert!(matches!(brief().tell().await, Told::Answer(_)), "the connection rests again");
    // Nothing tells when the end has come.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(brief().tell().await, Told::Unsent), "it was closed");
}

// faults 145, 281, 285: whatever may not pass is not sent
#[tokio::test]
async fn what_may_not_pass_is_not_brief() {
    let proxy = proxy("127.0.0.1:1");
    for (path, bearer) in [
        ("/v1/teams/acme/x", "Bearer other"),
        ("/v1/teams/acme/x", "local"),
        ("/v1/teams/other/x", LOCAL),
        ("/v1/teams/acme/service_token", LOCAL),
        ("/v1/teams/acme/users/a/keys", LOCAL),
        ("/v1/teams/acme/../x", LOCAL),
        ("/v1/teams/acme/a%2fb", LOCAL),
        ("/v1/teams/acme", LOCAL),
        ("/v1/token", LOCAL),
    ] {
        assert!(proxy.brief(&request(path, bearer)).is_none(), "{path} {bearer}");
    }
    let twice = Request::get("/v1/teams/acme/x").header("host", "a");
    let twice = twice.header("authorization", LOCAL).header("authorization", LOCAL);
    assert!(proxy.brief(&twice.body(()).unwrap().into_parts().0).is_none());
}
