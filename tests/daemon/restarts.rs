//! A daemon that is started anew again and again, while a crowd asks that never tries twice.

use std::{
    fs,
    net::TcpListener,
    os::{fd::AsFd, unix::net::UnixListener},
    process::Command,
    time::Duration,
};

use rustix::net::listen;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    activation::handed,
    bench::{
        Daemon, Place, Stand, Visitor, allow_descriptors,
        crowd::{Answers, Crowd, Manner},
        scale, tell,
    },
};

/// Serves the token that was kept: an issuer so slow has none in time for who asks at a start.
async fn stand() -> Stand {
    let mut stand = Stand::new().await;
    fs::create_dir(stand.home.path("state")).unwrap();
    stand.home.set("state.cache_token", true);
    stand
}

async fn restart_under(place: Place, socket: &dyn AsFd, manner: Manner) {
    // As long a line as systemd makes.
    listen(socket, 4096).unwrap();
    let mut stand = stand().await;
    stand.home.set("listeners.apps.bind", "systemd:apps");
    let answers = restart(&stand, || handed(&stand, &[socket], 1, "apps"), &place, manner).await;
    assert!(answers.failures().is_empty(), "{answers:?}");
}

/// Starts a daemon anew again and again; tells what its clients got.
async fn restart(
    stand: &Stand,
    command: impl Fn() -> Command,
    place: &Place,
    manner: Manner,
) -> Answers {
    let restarts = scale("BEARERD_TEST_RESTARTS", 4);
    let rate = scale("BEARERD_TEST_RESTART_RATE", 250);
    allow_descriptors();
    let mut daemon = Daemon::start(command()).await;
    daemon.until_ready().await;
    stand.issuer.set_latency(Duration::from_secs(3));
    let crowd = Crowd::gather(place, u64::try_from(rate).unwrap(), manner);
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    for _ in 0..restarts {
        sleep(Duration::from_millis(200)).await;
        let stopped = Instant::now();
        assert_eq!(daemon.stop().await.0.code(), Some(0), "{}", daemon.log());
        daemon = Daemon::start(command()).await;
        slowest = slowest.max(stopped.elapsed());
        // Behind all who came while nobody was there.
        assert_eq!(Visitor::connect(place).await.get("/v1/token").await.status, 200);
    }
    let answers = crowd.disperse().await;
    tell(&format!(
        "{restarts} restarts, {slowest:?} at most; {} requests in {:?}, {manner:?}: {:?} failed",
        answers.asked(),
        began.elapsed(),
        answers.failures()
    ));
    assert!(answers.asked() >= u64::try_from(restarts * rate / 5).unwrap(), "{answers:?}");
    answers
}

// fault 213
#[tokio::test]
async fn no_request_fails_over_restarts_where_systemd_holds_a_unix_socket() {
    for manner in [Manner::Anew, Manner::Stays] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("handed.sock");
        let socket = UnixListener::bind(&path).unwrap();
        restart_under(Place::Unix(path), &socket, manner).await;
    }
}

// fault 213
#[tokio::test]
async fn no_request_fails_over_restarts_where_systemd_holds_a_port() {
    for manner in [Manner::Anew, Manner::Stays] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        restart_under(Place::Tcp(socket.local_addr().unwrap()), &socket, manner).await;
    }
}

// fault 213: without systemd, who comes while nobody is there is turned away at once, and nobody else
#[tokio::test]
async fn a_restart_fails_none_but_those_who_find_nobody() {
    for manner in [Manner::Anew, Manner::Stays] {
        let mut stand = stand().await;
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Place::Tcp(free.local_addr().unwrap());
        drop(free);
        for place in [stand.home.unix(), port] {
            let bind = match &place {
                Place::Unix(path) => format!("unix:{}", path.display()),
                Place::Tcp(address) => format!("tcp:{address}"),
            };
            stand.home.set("listeners.apps.bind", bind);
            stand.issuer.set_latency(Duration::ZERO);
            let answers = restart(&stand, || stand.home.command(&["run"]), &place, manner).await;
            let mut failures = answers.failures().into_keys();
            assert!(failures.all(|what| what.starts_with("no connection")), "{answers:?}");
        }
    }
}

// faults 205, 213: whoever is just about to ask when a stop comes
#[tokio::test]
async fn a_client_that_keeps_its_connection_is_told_that_it_ends_and_not_cut_off() {
    // Asked so often HTTP's own machinery is at work, and so seldom it rests.
    for every in [2, 60].map(Duration::from_millis) {
        let stand = Stand::new().await;
        let mut daemon = stand.start().await;
        let mut asking = JoinSet::new();
        for place in daemon.places() {
            let mut visitor = Visitor::connect(&place).await;
            assert_eq!(visitor.get("/v1/token").await.status, 200);
            asking.spawn(async move {
                while !visitor.get("/v1/token").await.is_last() {
                    sleep(every).await;
                }
                visitor.rest().await
            });
        }
        sleep(Duration::from_millis(100)).await;
        assert_eq!(daemon.stop().await.0.code(), Some(0), "{}", daemon.log());
        assert_eq!(asking.join_all().await, [b"", b""], "nothing is behind the last answer");
    }
}
