//! The emulator as a server: many at once, clients that leave, start and stop, its key file.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use bearerd::emulator::{Emulator, Options};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::client::{bench, bench_with};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_calls_at_once_all_get_their_own_token() {
    let bench = std::sync::Arc::new(bench().await);
    let mut calls = JoinSet::new();
    // Both ends are in this process, which may have no more than 1024 descriptors.
    for _ in 0..400 {
        let bench = bench.clone();
        calls.spawn(async move { bench.token().await });
    }
    let tokens = calls.join_all().await;
    assert_eq!(tokens.iter().collect::<std::collections::HashSet<_>>().len(), 400);
    assert_eq!((bench.issuer.mint_calls(), bench.issuer.mints()), (400, 400));
}

#[tokio::test]
async fn a_client_that_leaves_disturbs_nobody() {
    let bench = bench().await;
    for part in ["", "POST /v1/teams/acme/service_token HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"] {
        let mut stream = TcpStream::connect(bench.issuer.address()).await.unwrap();
        stream.write_all(part.as_bytes()).await.unwrap();
        drop(stream);
    }
    assert_eq!(bench.mint(&bench.issuer.key()).await.status, 200);
    assert_eq!(bench.issuer.mint_calls(), 1);
}

#[tokio::test]
async fn a_stop_closes_what_is_open_and_what_hangs() {
    let issuer = Emulator::start(Options::default()).await.unwrap();
    let address = issuer.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    issuer.inject("hang".parse::<bearerd::emulator::FaultPlan>().unwrap());
    stream.write_all(b"GET /v1/teams/acme/current_user HTTP/1.1\r\n\r\n").await.unwrap();
    timeout(PATIENCE, issuer.stop()).await.unwrap();
    let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    assert!(!matches!(read, Ok(1..)), "{read:?}");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let first = Emulator::start(Options::default()).await.unwrap();
    let options = Options { bind: first.address(), ..Options::default() };
    let error = Emulator::start(options).await.err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
}

#[tokio::test]
async fn dropping_it_closes_the_listener() {
    let issuer = Emulator::start(Options::default()).await.unwrap();
    let address = issuer.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    drop(issuer);
    let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    assert!(!matches!(read, Ok(1..)), "{read:?}");
}

#[tokio::test]
async fn every_answer_takes_the_latency_at_least() {
    let bench = bench_with(|options| options.latency = Duration::from_secs(3600)).await;
    let key = bench.issuer.key();
    tokio::select! {
        reply = bench.mint(&key) => panic!("an answer within the hour: {reply:?}"),
        () = bench.until_mint_calls(1) => {}
    }
    assert_eq!((bench.issuer.mint_calls(), bench.issuer.mints()), (1, 0));
    bench.issuer.set_latency(Duration::ZERO);
    assert_eq!(bench.mint(&key).await.status, 200);
}

#[tokio::test]
async fn the_key_file_is_written_once_and_then_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.json");
    let with_file = || bench_with(|options| options.key_file = Some(path.clone()));
    let first = with_file().await;
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let (id, secret) = first.issuer.key();
    assert!(text.contains(&id) && text.contains(&secret));

    let second = with_file().await;
    assert_eq!(second.issuer.key(), (id, secret));
    assert_eq!(second.mint(&first.issuer.key()).await.status, 200);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_file_that_holds_no_key_is_neither_used_nor_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.json");
    fs::write(&path, "{\"key_id\": \"precious\"}").unwrap();
    let options = Options { key_file: Some(path.clone()), ..Options::default() };
    let error = Emulator::start(options).await.err().unwrap().to_string();
    assert!(error.contains("key.json") && !error.contains("precious"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"key_id\": \"precious\"}");
}

#[tokio::test]
async fn the_initial_key_can_have_a_given_id() {
    let id = "3F2504E0-4F89-41D3-9A0C-0305E82C3301";
    let bench = bench_with(|options| options.key_id = Some(id.into())).await;
    assert_eq!(bench.issuer.key().0, id);
    assert_eq!(bench.mint(&bench.issuer.key()).await.status, 200);
    let options = Options { key_id: Some("robot".into()), ..Options::default() };
    assert!(Emulator::start(options).await.is_err());
}

// fault 29
#[tokio::test]
async fn tokens_are_opaque_unless_they_are_to_be_jwts() {
    let bench = bench_with(|options| options.jwt = true).await;
    let reply = bench.mint(&bench.issuer.key()).await;
    let token = reply.token();
    assert!(token.starts_with("eyJhbGciOiJSUzI1NiIs"), "{token}");
    assert_eq!(bench.get(&token, "current_user").await.status, 200);
}

#[tokio::test]
async fn times_have_as_many_digits_as_wanted() {
    for (digits, length) in [(0, 20), (3, 24)] {
        let bench = bench_with(|options| options.fraction = digits).await;
        let reply = bench.mint(&bench.issuer.key()).await;
        assert_eq!(reply.json["expires_at"].as_str().unwrap().len(), length);
    }
}
