//! Group B below TLS: names, connections that fail, and redirects.

use std::{io, sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::bench::{
    Home, RawIssuer,
    home::any_key as key,
    issuer::{Seen, answer, granted},
    until,
};

/// What a connection does after the first one, which is good.
#[derive(Clone, Copy, Debug)]
enum Then {
    Close,
    CloseAfterRequest,
    ResetAfterRequest,
    ResetInBody,
    SilentAfterAccept,
    HeadersThatDrip,
    InterimForEver,
    NothingListens,
}

/// Starts an issuer that grants once and then does something else.
async fn good_once(then: Then) -> RawIssuer {
    RawIssuer::start(move |mut stream, number, seen| async move {
        if number == 0 {
            seen.read_request(&mut stream).await?;
            return stream.write_all(&granted("first")).await;
        }
        misbehave(then, stream, seen).await
    })
    .await
}

async fn misbehave(then: Then, mut stream: TcpStream, seen: Arc<Seen>) -> io::Result<()> {
    if !matches!(then, Then::Close | Then::SilentAfterAccept) {
        seen.read_request(&mut stream).await?;
    }
    match then {
        Then::Close | Then::CloseAfterRequest | Then::NothingListens => Ok(()),
        Then::ResetAfterRequest => stream.set_zero_linger(),
        Then::ResetInBody => {
            let whole = granted("broken");
            stream.write_all(&whole[..whole.len() / 2]).await?;
            sleep(Duration::from_millis(50)).await;
            stream.set_zero_linger()
        }
        Then::SilentAfterAccept => loop {
            seen.read_some(&mut stream).await?;
        },
        Then::HeadersThatDrip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: y").await?;
            loop {
                stream.write_all(b"y").await?;
                sleep(Duration::from_millis(50)).await;
            }
        }
        Then::InterimForEver => loop {
            stream.write_all(&b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(10)).await?;
            sleep(Duration::from_millis(1)).await;
        },
    }
}

// faults 14, 18, 42, 45, 46, 47
#[tokio::test]
async fn broken_connections_leave_the_good_token_in_place() {
    let rows = [
        (Then::Close, "connect"),
        (Then::CloseAfterRequest, "connect"),
        (Then::ResetAfterRequest, "connect"),
        (Then::ResetInBody, "connect"),
        (Then::SilentAfterAccept, "timeout"),
        (Then::HeadersThatDrip, "timeout"),
        (Then::InterimForEver, "timeout"),
        (Then::NothingListens, "connect"),
    ];
    let mut issuers = Vec::new();
    let mut home = Home::new("http://127.0.0.1:9", &key());
    let name = |then: Then| format!("{then:?}").to_lowercase();
    for (then, _) in rows {
        let issuer = good_once(then).await;
        home.credential(&name(then), Some(&issuer.base_url()));
        issuers.push(issuer);
    }
    let names: Vec<_> = rows.into_iter().map(|(then, _)| name(then)).collect();
    home.serve(&names).set("okta.connect_timeout", "1s").set("okta.request_timeout", "1s");
    let daemon = home.start().await;
    daemon.until_ready().await;
    issuers.pop();
    let before = daemon.resident();
    daemon.signal(Signal::USR1);
    for (then, reason) in rows {
        let failures = daemon.until_failed(&name(then)).await;
        let reasons: Vec<_> = failures.iter().map(|(reason, _)| reason.as_str()).collect();
        assert_eq!(reasons, [reason], "{then:?}");
        let path = format!("/v1/token?format=raw&credential={}", name(then));
        assert_eq!(daemon.get("apps", &path).await.text(), "first");
    }
    let grown = daemon.resident() - before;
    assert!(grown < 16 * 1024, "{grown} KiB more");
}

// fault 39
#[tokio::test]
async fn a_name_that_nobody_knows_is_told_as_such() {
    let mut home = Home::new("https://bearerd-test.invalid", &key());
    home.set("okta.connect_timeout", "2s").set("okta.request_timeout", "2s");
    let daemon = home.start().await;
    let failures = daemon.until_failed("default").await;
    // Where no name service answers at all, the look-up ends at its deadline.
    assert!(["dns", "timeout"].contains(&failures[0].0.as_str()), "{failures:?}");
}

// faults 19, 60
#[tokio::test]
async fn redirects_are_never_followed_and_the_key_goes_nowhere_else() {
    let sink = RawIssuer::sink().await;
    let elsewhere = format!("{}/v1/teams/acme/service_token", sink.base_url());
    let statuses = [301, 302, 303, 307, 308];
    let mut issuers = Vec::new();
    let mut home = Home::new("http://127.0.0.1:9", &key());
    for (number, status) in statuses.into_iter().flat_map(|s| [(0, s), (1, s), (2, s)]) {
        let target = elsewhere.clone();
        let issuer = RawIssuer::start(move |mut stream, _, seen| {
            let own = "/v1/teams/acme/service_token".to_owned();
            let https = target.replace("http:", "https:");
            let location = [target.clone(), own, https][number].clone();
            async move {
                seen.read_request(&mut stream).await?;
                let head = format!("{status} Elsewhere\r\nLocation: {location}");
                stream.write_all(&answer(&head, "")).await
            }
        })
        .await;
        home.credential(&format!("to{number}by{status}"), Some(&issuer.base_url()));
        issuers.push((format!("to{number}by{status}"), issuer));
    }
    let names: Vec<_> = issuers.iter().map(|(name, _)| name.clone()).collect();
    home.serve(&names);
    let daemon = home.start().await;
    for (name, issuer) in &issuers {
        let failures = daemon.until_failed(name).await;
        assert!(matches!(&failures[..], [(reason, _)] if reason == "redirect"), "{failures:?}");
        let tries = daemon
            .metrics()
            .await
            .get("bearerd_token_refreshes_total", &[("credential", name), ("result", "failure")]);
        assert!(issuer.connections() as f64 >= tries);
    }
    assert_eq!((sink.connections(), sink.bytes().len()), (0, 0));
}

// faults 47, 60: one connection for each mint, and never another
#[tokio::test]
async fn each_mint_has_a_connection_of_its_own() {
    let issuer = RawIssuer::start(|mut stream, number, seen| async move {
        loop {
            seen.read_request(&mut stream).await?;
            stream.write_all(&granted(&format!("token{number}"))).await?;
        }
    })
    .await;
    let home = Home::new(&issuer.base_url(), &key());
    let daemon = home.start().await;
    daemon.until_ready().await;
    assert!(daemon.refresh("default").await["token_id"].is_string());
    assert_eq!(daemon.token().await, "token1");
    assert_eq!(issuer.connections(), 2);
    let request = String::from_utf8(issuer.bytes()).unwrap();
    assert!(request.starts_with("POST /v1/teams/acme/service_token HTTP/1.1\r\n"), "{request}");
    let head = request.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    assert!(!head.contains("accept-encoding") && !head.contains("authorization"), "{head}");
}

// fault 43: nobody takes the connection out of the queue, and its hello is never answered
#[tokio::test]
async fn a_connection_that_nobody_accepts_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut home = Home::new(&format!("http://{}", listener.local_addr().unwrap()), &key());
    home.set("okta.connect_timeout", "300ms").set("okta.request_timeout", "300ms");
    let daemon = home.start().await;
    let failed = daemon.until_failed("default").await;
    assert_eq!(failed[0].0, "timeout");
    assert_eq!(daemon.get("telemetry", "/livez").await.status, 200);
}

// faults 47, 62: what is left over when the issuer goes up and down
#[tokio::test]
async fn an_issuer_that_flaps_costs_no_descriptors() {
    let issuer = RawIssuer::start(|mut stream, number, seen| async move {
        seen.read_request(&mut stream).await?;
        match number % 3 {
            0 => stream.write_all(&granted("flapping")).await,
            1 => stream.set_zero_linger(),
            _ => Ok(()),
        }
    })
    .await;
    let mut home = Home::new(&issuer.base_url(), &key());
    home.set("credentials.default.refresh.retry_min", "10ms")
        .set("credentials.default.refresh.retry_max", "20ms")
        .set("credentials.default.refresh.max_lifetime", "200ms")
        .set("credentials.default.refresh.min_interval", "10ms");
    let daemon = home.start().await;
    daemon.until_ready().await;
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = descriptors();
    until("many mints", async || issuer.connections() > 60).await;
    let status = daemon.status().await;
    assert!(descriptors() <= before + 8, "{} after {before}: {status}", descriptors());
}
