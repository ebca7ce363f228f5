//! When what is stored is the answer, and when a request has to go the long way.

use std::sync::{Arc, OnceLock};

use http::Response;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    config::model::{Guard, Limits},
    local::{
        body::Body,
        busy::Busy,
        guard::{Denial, Proof},
        routes::Endpoint,
        server::Common,
    },
    process::{clock::StandingClock, peer::Peer},
    proxy::{
        Proxy,
        brief::tests::{LOCAL, PLAIN, issuer, proxy, warm},
    },
    telemetry::{audit::Audit, metrics::Metrics},
    token::timing::Wall,
};

const UNIX: Peer = Peer::Unix { uid: 1000, gid: 100, groups: Vec::new(), pid: None };
const REQUEST: &[u8] = b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\n\r\n";
const STORED: Bytes = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");

/// Stores one answer.
#[derive(Default)]
struct Store {
    /// What ends while the answer is looked up.
    ends: OnceLock<CancellationToken>,
}

impl App for Store {
    type Endpoint = Endpoint;

    fn endpoint(&self, _request: &Parts) -> Endpoint {
        Endpoint::Token
    }

    fn at_once(&self, _endpoint: Endpoint, _request: &Parts) -> Option<Bytes> {
        self.ends.get().inspect(|token| token.cancel());
        Some(STORED)
    }

    async fn answer(&self, _: Endpoint, _: Request<Incoming>, _: &Busy) -> Response<Body> {
        unreachable!("no request goes the long way here")
    }
}

fn server(limits: Limits) -> (Server<Store>, Metrics) {
    server_of(Store::default(), limits)
}

fn server_of<A: App<Endpoint = Endpoint>>(app: A, limits: Limits) -> (Server<A>, Metrics) {
    let (clock, metrics) = (Arc::new(StandingClock(Wall::default())), Metrics::new());
    let audit = Audit::new("a", Arc::clone(&clock) as _);
    let counted = metrics.listener("a", &Denial::ALL.map(Denial::label));
    let descriptors = Arc::new(Semaphore::new(10));
    let common = Common { clock, owners: Arc::default(), descriptors };
    (Server::new(app, Guard::default(), limits, counted, audit, common), metrics)
}

fn at_once(server: &Server<Store>, came: &[u8], visit: &Visit) -> Option<Bytes> {
    server.take(came, visit).map(|taken| match taken {
        Taken::Answer(answer) => answer,
        Taken::Call(_) => unreachable!("nothing is sent on here"),
    })
}

fn answered(metrics: &Metrics) -> bool {
    let text = String::from_utf8(metrics.render()).unwrap();
    text.contains(r#"bearerd_requests_total{code="200",endpoint="token",listener="a"} 1"#)
}

#[tokio::test]
async fn what_is_stored_is_the_answer_and_is_counted() {
    let (server, metrics) = server(Limits::default());
    let visit = server.visit(UNIX, CancellationToken::new()).await;
    assert_eq!(at_once(&server, b"GET /v1/ready HTTP/1.1\r\nHost: a\r\n\r\n", &visit), None);
    assert!(!answered(&metrics));
    assert_eq!(at_once(&server, REQUEST, &visit), Some(STORED));
    assert!(answered(&metrics), "{}", String::from_utf8_lossy(&metrics.render()));
}

// faults 205, 259
#[tokio::test]
async fn at_a_stop_and_under_rules_that_are_over_nothing_is_answered_at_once() {
    for while_it_is_looked_up in [false, true] {
        for by_a_stop in [false, true] {
            let (server, metrics) = server(Limits::default());
            let visit = server.visit(UNIX, CancellationToken::new()).await;
            let end = if by_a_stop { &visit.stop } else { &visit.rules.superseded };
            if while_it_is_looked_up {
                server.app.ends.set(end.clone()).unwrap();
            } else {
                end.cancel();
            }
            assert_eq!(at_once(&server, REQUEST, &visit), None);
            assert!(!answered(&metrics));
        }
    }
}

// fault 188
#[tokio::test]
async fn whoever_has_asked_enough_is_not_answered_at_once() {
    let limits = Limits { max_requests_per_second_per_uid: 1, ..Limits::default() };
    let (server, _) = server(limits);
    let visit = server.visit(UNIX, CancellationToken::new()).await;
    assert_eq!(at_once(&server, REQUEST, &visit), Some(STORED));
    assert_eq!(at_once(&server, REQUEST, &visit), None);
}

/// Sends on what is brief, and nothing else.
struct Road(Proxy);

impl App for Road {
    type Endpoint = Endpoint;

    fn endpoint(&self, _request: &Parts) -> Endpoint {
        Endpoint::Proxy
    }

    fn proof(&self, _endpoint: Endpoint) -> Proof {
        Proof::LocalToken
    }

    fn brief(&self, _endpoint: Endpoint, request: &Parts) -> Option<Brief> {
        self.0.brief(request)
    }

    async fn answer(&self, _: Endpoint, _: Request<Incoming>, _: &Busy) -> Response<Body> {
        unreachable!("no request goes the long way here")
    }
}

fn call() -> Vec<u8> {
    let head = "GET /v1/teams/acme/x HTTP/1.1\r\nHost: localhost\r\nAuthorization:";
    format!("{head} {LOCAL}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_call_is_sent_on_without_the_machinery() {
    let (address, _heard) = issuer(&[PLAIN; 4]).await;
    let proxy = proxy(&address);
    warm(&proxy).await;
    let (server, metrics) = server_of(Road(proxy), Limits::default());
    let (near, mut far) = duplex(1 << 10);
    let talk = async {
        for _ in 0..3 {
            far.write_all(&call()).await.unwrap();
            let mut told = Vec::new();
            while !told.ends_with(b"{}") {
                far.read_buf(&mut told).await.unwrap();
            }
            let told = String::from_utf8(told).unwrap();
            let start = "HTTP/1.1 200 OK\r\ncache-control: no-store\r\n\
                         x-content-type-options: nosniff\r\ncontent-length: 2\r\ndate: ";
            assert!(told.starts_with(start), "{told}");
        }
        drop(far);
    };
    let tasks = TaskTracker::new();
    tokio::join!(server.serve(near, UNIX, &tasks), talk);
    let text = String::from_utf8(metrics.render()).unwrap();
    for series in [
        r#"bearerd_requests_total{code="200",endpoint="proxy",listener="a"} 3"#,
        r#"bearerd_proxy_upstream_requests_total{code="200",listener="a"} 3"#,
    ] {
        assert!(text.contains(series), "{text}");
    }
}

// fault 287
#[tokio::test]
async fn an_answer_points_to_the_listener_as_it_was_asked() {
    const MOVED: &str =
        "HTTP/1.1 302 Found\r\nLocation: /v1/teams/acme/y\r\nContent-Length: 2\r\n\r\n{}";
    for scheme in [Scheme::HTTP, Scheme::HTTPS] {
        let (address, _heard) = issuer(&[PLAIN, MOVED]).await;
        let proxy = proxy(&address);
        warm(&proxy).await;
        let (server, _) = server_of(Road(proxy), Limits::default());
        let mut visit = server.visit(UNIX, CancellationToken::new()).await;
        visit.scheme = scheme.clone();
        let Some(Taken::Call(call)) = server.take(&call(), &visit) else { panic!("it is brief") };
        let Told::Answer(answer) = call.brief.tell().await else { panic!("it was whole") };
        let expected = format!("{scheme}://localhost/v1/teams/acme/y");
        assert_eq!(answer.headers()[header::LOCATION], expected);
    }
}

// faults 205, 259
#[tokio::test]
async fn an_answer_that_comes_under_other_rules_or_at_a_stop_is_none_or_the_last() {
    for by_a_stop in [false, true] {
        let (address, _heard) = issuer(&[PLAIN, PLAIN]).await;
        let proxy = proxy(&address);
        warm(&proxy).await;
        let (server, _) = server_of(Road(proxy), Limits::default());
        let visit = server.visit(UNIX, CancellationToken::new()).await;
        let Some(Taken::Call(call)) = server.take(&call(), &visit) else { panic!("it is brief") };
        let told = call.brief.tell().await;
        if by_a_stop { &visit.stop } else { &visit.rules.superseded }.cancel();
        match server.step(*call, told, &visit) {
            Step::Answer { answer, is_last } => {
                assert!(by_a_stop && is_last);
                let answer = String::from_utf8_lossy(&answer).into_owned();
                assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
            }
            Step::Over => assert!(!by_a_stop),
            Step::Rest(..) => panic!("it was whole"),
        }
    }
}
