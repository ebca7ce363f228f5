//! What each fault looks like from outside, byte by byte where HTTP ends.

use std::time::Duration;

use bearerd::emulator::{Emulator, Fault, FaultPlan, Options, Scope};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::client::{Bench, Reply, bench, request};

const PATIENCE: Duration = Duration::from_secs(20);

/// Mints once under a fault.
async fn mint_under(bench: &Bench, fault: &str) -> Reply {
    bench.issuer.inject(fault.parse::<FaultPlan>().unwrap().times(1));
    bench.mint(&bench.issuer.key()).await
}

/// Asks for a token over a bare connection.
async fn ask(issuer: &Emulator) -> TcpStream {
    let body = request(&issuer.key()).to_string();
    let head = "POST /v1/teams/acme/service_token HTTP/1.1\r\nhost: x\r\n\
                content-type: application/json\r\n";
    let call = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(issuer.address()).await.unwrap();
    stream.write_all(call.as_bytes()).await.unwrap();
    stream
}

/// Tells what comes back under a fault until the connection is closed.
async fn bytes_under(fault: &str) -> std::io::Result<Vec<u8>> {
    let issuer = Emulator::start(Options::default()).await.unwrap();
    issuer.inject(fault.parse::<FaultPlan>().unwrap());
    let (mut stream, mut bytes) = (ask(&issuer).await, vec![]);
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap()?;
    Ok(bytes)
}

// faults 20, 21, 22, 26
#[tokio::test]
async fn refusals_have_oktas_shape() {
    let bench = bench().await;
    for (fault, error) in [
        ("400", (400, "invalid_request")),
        ("401", (401, "authentication_error")),
        ("401-authorization", (401, "authorization_error")),
        ("403", (403, "forbidden_error")),
        ("403-disabled-team", (403, "disabled_team")),
        ("404", (404, "resource_does_not_exist")),
        ("409", (409, "resource_already_exists")),
        ("415", (415, "unsupported_content_type")),
        ("429", (429, "too_many_requests")),
        ("500", (500, "unknown_error")),
        ("503", (503, "service_offline")),
        ("504", (504, "gateway_timeout")),
        ("status=418", (418, "unknown_error")),
    ] {
        assert_eq!(mint_under(&bench, fault).await.error(), error);
    }
    assert_eq!(bench.issuer.mints(), 0);
}

// faults 3, 4, 5, 6, 7, 9, 10, 276
#[tokio::test]
async fn grants_are_spoiled_in_one_field() {
    let bench = bench().await;
    for (fault, field, value) in [
        ("no-token", "bearer_token", None),
        ("empty-token", "bearer_token", Some("\"\"")),
        ("token=a.b.c", "bearer_token", Some("\"a.b.c\"")),
        ("no-expiry", "expires_at", None),
        ("null-expiry", "expires_at", Some("null")),
        ("far-expiry", "expires_at", Some("\"9999-12-31T23:59:59Z\"")),
        ("zero-expiry", "expires_at", Some("\"0001-01-01T00:00:00Z\"")),
        ("expiry=2026-01-01T00:00:00", "expires_at", Some("\"2026-01-01T00:00:00\"")),
        ("team=globex", "team_name", Some("\"globex\"")),
        ("no-team", "team_name", None),
    ] {
        let reply = mint_under(&bench, fault).await;
        assert_eq!(reply.status, 200);
        let value = value.map(|value| serde_json::from_str::<Value>(value).unwrap());
        assert_eq!(reply.json.get(field), value.as_ref(), "{fault}");
    }
    let number = mint_under(&bench, "number-expiry").await;
    assert!(number.json["expires_at"].is_i64());
    let past = mint_under(&bench, "past-expiry").await;
    assert!(past.time("expires_at") < Timestamp::now());
    let bad = mint_under(&bench, "bad-token").await;
    assert!(bad.token().contains("\r\n"));
    assert_eq!(mint_under(&bench, "huge-token").await.token().len(), 1 << 20);
}

// fault 11
#[tokio::test]
async fn a_token_can_come_twice() {
    let bench = bench().await;
    let reply = mint_under(&bench, "duplicate-token").await;
    assert_eq!(reply.text.matches("bearer_token").count(), 2);
    assert_eq!(reply.token(), "second");
}

// faults 16, 17, 31
#[tokio::test]
async fn answers_are_spoiled_around_the_json() {
    let bench = bench().await;
    let empty = mint_under(&bench, "empty").await;
    assert_eq!((empty.status, empty.text.as_str()), (200, ""));
    assert_eq!(empty.header("content-type"), Some("application/json"));
    assert_eq!(mint_under(&bench, "204").await.status, 204);
    let called_html = mint_under(&bench, "content-type").await;
    assert_eq!(called_html.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(called_html.json["bearer_token"].is_string());
    assert_eq!(mint_under(&bench, "gzip").await.header("content-encoding"), Some("gzip"));
    let page = mint_under(&bench, "html=503").await;
    assert_eq!((page.status, page.header("content-type")), (503, Some("text/html")));
    assert!(page.text.starts_with("<!DOCTYPE html>"));
    let body = mint_under(&bench, r"body=[[\x5d]").await;
    assert_eq!((body.status, body.text.as_str()), (200, "[[]]"));
}

// fault 19
#[tokio::test]
async fn redirects_lead_where_they_are_told() {
    let bench = bench().await;
    for status in [301, 302, 303, 307, 308] {
        let reply = mint_under(&bench, &format!("{status}=http://127.0.0.1:9/x?y=z")).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("location"), Some("http://127.0.0.1:9/x?y=z"));
    }
}

// fault 32
#[tokio::test]
async fn an_error_can_quote_the_secrets_of_the_request() {
    let bench = bench().await;
    let (_, secret) = bench.issuer.key();
    let reply = mint_under(&bench, "echo=500").await;
    assert_eq!(reply.status, 500);
    assert!(reply.json["message"].as_str().unwrap().contains(&secret));
    bench.issuer.inject(Fault::Echo(401));
    assert!(bench.get("sentinel", "current_user").await.text.contains("sentinel"));
}

// fault 30
#[tokio::test]
async fn the_date_can_be_wrong_alone() {
    let bench = bench().await;
    let reply = mint_under(&bench, "date=-86400").await;
    let date = httpdate::parse_http_date(reply.header("date").unwrap()).unwrap();
    let date = Timestamp::try_from(date).unwrap().as_second();
    assert_eq!(reply.time("expires_at").as_second() - date, 86_400 + 3600);
    assert_eq!(reply.headers.get_all("date").iter().count(), 1);
}

#[tokio::test]
async fn a_cut_off_answer_lacks_its_end() {
    let bytes = bytes_under("cut-off").await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let (_, length) = head.split_once("content-length: ").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(head.contains("x-ratelimit-limit: 10000") && head.contains("date: "));
    assert!(!body.is_empty() && body.len() < length.parse().unwrap());
}

#[tokio::test]
async fn any_bytes_can_be_sent() {
    let bytes = bytes_under(r"raw=HTTP/1.0 200 fine\r\n\r\n\xff\x00").await.unwrap();
    assert_eq!(bytes, b"HTTP/1.0 200 fine\r\n\r\n\xff\x00");
    assert_eq!(bytes_under("close").await.unwrap(), b"");
    assert_eq!(bytes_under("lost").await.unwrap(), b"");
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let error = bytes_under("reset").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

// fault 13
#[tokio::test]
async fn a_huge_body_has_the_length_it_names() {
    let bytes = bytes_under("huge-body").await.unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(String::from_utf8_lossy(&bytes[..end]).contains("content-length: 104857600"));
    assert_eq!(bytes.len() - end, 104_857_600);
}

// fault 35
#[tokio::test]
async fn a_header_can_be_huge() {
    let bytes = bytes_under("huge-header").await.unwrap();
    assert!(bytes.len() > 1 << 20);
    assert!(bytes.ends_with(b"\r\n\r\n{}"));
}

// fault 18
#[tokio::test]
async fn an_answer_can_come_after_a_flood_of_interim_ones() {
    let text = String::from_utf8(bytes_under("continue-flood").await.unwrap()).unwrap();
    assert_eq!(text.matches("HTTP/1.1 100 Continue\r\n\r\n").count(), 10_000);
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 1);
}

// fault 14
#[tokio::test]
async fn a_drip_comes_byte_by_byte() {
    let issuer = Emulator::start(Options::default()).await.unwrap();
    issuer.inject("drip".parse::<FaultPlan>().unwrap());
    let (mut stream, mut buffer) = (ask(&issuer).await, [0; 1024]);
    let mut text = String::new();
    while text.len() < 8 {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!((1..100).contains(&read), "{read} bytes at once");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(text.starts_with("HTTP/1.1"));
}

// fault 13
#[tokio::test]
async fn endless_chunks_do_not_end() {
    let issuer = Emulator::start(Options::default()).await.unwrap();
    issuer.inject("endless".parse::<FaultPlan>().unwrap());
    let (mut stream, mut buffer) = (ask(&issuer).await, vec![0; 1 << 20]);
    timeout(PATIENCE, stream.read_exact(&mut buffer)).await.unwrap().unwrap();
    assert!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(!buffer.windows(5).any(|five| five == b"\r\n0\r\n"));
}

#[tokio::test]
async fn a_fault_befalls_what_it_is_meant_for_as_often_as_planned() {
    let bench = bench().await;
    let token = bench.token().await;
    let refuse = "503".parse::<Fault>().unwrap();
    bench.issuer.inject(FaultPlan::from(refuse.clone()).on(Scope::Mint).times(2));
    assert_eq!(bench.get(&token, "current_user").await.status, 200);
    let mut seen = vec![];
    for _ in 0..3 {
        seen.push(bench.mint(&bench.issuer.key()).await.status);
    }
    assert_eq!(seen, [503, 503, 200]);
    bench.issuer.inject(refuse);
    assert_eq!(bench.get(&token, "current_user").await.status, 503);
    bench.issuer.clear_faults();
    assert_eq!(bench.get(&token, "current_user").await.status, 200);
}

#[tokio::test]
async fn a_spoiled_grant_leaves_a_refusal_alone() {
    let bench = bench().await;
    bench.issuer.inject("no-token".parse::<FaultPlan>().unwrap());
    let (id, _) = bench.issuer.key();
    let reply = bench.mint(&(id, "wrong".into())).await;
    assert_eq!(reply.error(), (401, "authentication_error"));
    let call = bench.send(Method::GET, "/v1/teams/acme/current_user", &[], None).await.unwrap();
    assert_eq!(call.error(), (401, "authentication_error"));
}
