//! When what is stored is the answer, and when a request has to go the long way.

use std::sync::{Arc, OnceLock};

use http::Response;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    config::model::{Guard, Limits},
    local::{body::Body, busy::Busy, guard::Denial, routes::Endpoint, server::Common},
    process::{clock::StandingClock, peer::Peer},
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
    let (clock, metrics) = (Arc::new(StandingClock(Wall::default())), Metrics::new());
    let audit = Audit::new("a", Arc::clone(&clock) as _);
    let counted = metrics.listener("a", &Denial::ALL.map(Denial::label));
    let descriptors = Arc::new(Semaphore::new(10));
    let common = Common { clock, owners: Arc::default(), descriptors };
    (Server::new(Store::default(), Guard::default(), limits, counted, audit, common), metrics)
}

fn answered(metrics: &Metrics) -> bool {
    let text = String::from_utf8(metrics.render()).unwrap();
    text.contains(r#"bearerd_requests_total{code="200",endpoint="token",listener="a"} 1"#)
}

#[tokio::test]
async fn what_is_stored_is_the_answer_and_is_counted() {
    let (server, metrics) = server(Limits::default());
    let visit = server.visit(UNIX, CancellationToken::new()).await;
    assert_eq!(server.answer_at_once(b"GET /v1/ready HTTP/1.1\r\nHost: a\r\n\r\n", &visit), None);
    assert!(!answered(&metrics));
    assert_eq!(server.answer_at_once(REQUEST, &visit), Some(STORED));
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
            assert_eq!(server.answer_at_once(REQUEST, &visit), None);
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
    assert_eq!(server.answer_at_once(REQUEST, &visit), Some(STORED));
    assert_eq!(server.answer_at_once(REQUEST, &visit), None);
}
