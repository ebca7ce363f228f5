//! Sockets that a service manager hands over.

use std::{
    net::{TcpListener, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixListener,
    },
    process::Command,
    time::Duration,
};

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::task::JoinSet;
use toml::Value;

use crate::{
    bench::{Daemon, Place, Stand, Visitor, daemon::run, until},
    reload::reload,
};

/// Makes a command that gets these descriptors from 3 on, as from a service manager.
pub(crate) fn handed(stand: &Stand, sockets: &[&dyn AsFd], count: usize, names: &str) -> Command {
    let inner = stand.home.command(&["run"]);
    let mut moves = String::new();
    for (at, socket) in sockets.iter().enumerate() {
        fcntl_setfd(socket, FdFlags::empty()).unwrap();
        moves += &format!(" {}<&{}", at + 3, socket.as_fd().as_raw_fd());
    }
    // Its redirections take descriptors of any number, unlike those of a smaller shell.
    let mut command = Command::new("/bin/bash");
    command.env_clear().current_dir(stand.home.path(""));
    command.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names);
    command.args(["-c", &format!("LISTEN_PID=$$ exec \"$0\" \"$@\"{moves}")]);
    command.arg(inner.get_program()).args(inner.get_args());
    command
}

fn serve_from(stand: &mut Stand, listener: &str, name: &str) {
    stand.home.set(&format!("listeners.{listener}.bind"), format!("systemd:{name}"));
}

#[tokio::test]
async fn sockets_of_both_kinds_are_served_by_their_names() {
    let mut stand = Stand::new().await;
    serve_from(&mut stand, "apps", "unix");
    serve_from(&mut stand, "web", "tcp");
    let path = stand.home.path("handed.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut daemon = Daemon::start(handed(&stand, &[&tcp, &unix], 2, "tcp:unix")).await;
    daemon.until_ready().await;
    for place in [Place::Unix(path.clone()), Place::Tcp(tcp.local_addr().unwrap())] {
        assert_eq!(Visitor::connect(&place).await.get("/v1/token").await.status, 200);
    }
    let listeners = daemon.status().await["listeners"].to_string();
    assert!(listeners.contains(path.to_str().unwrap()), "{listeners}");
    assert!(daemon.stop().await.0.success());
    assert!(path.exists(), "it is not ours to remove");
}

// fault 213: who comes while nobody is there waits in the line, and is served
#[tokio::test]
async fn no_request_is_lost_over_restarts() {
    let mut stand = Stand::new().await;
    serve_from(&mut stand, "apps", "apps");
    let path = stand.home.path("handed.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let place = Place::Unix(path);
    for _ in 0..5 {
        let mut early = Visitor::connect(&place).await;
        early.send(b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        let mut daemon = Daemon::start(handed(&stand, &[&unix], 1, "apps")).await;
        assert_eq!(early.reply().await.status, 200);
        let mut asking = JoinSet::new();
        asking.spawn(ask_for(place.clone(), Duration::from_millis(150)));
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(daemon.stop().await.0.success());
        let mut next = Daemon::start(handed(&stand, &[&unix], 1, "apps")).await;
        let (asked, served) = asking.join_next().await.unwrap().unwrap();
        assert!(asked > 0 && asked == served, "{served} of {asked}");
        assert!(next.stop().await.0.success());
    }
}

/// Asks on a new connection each time; tells how often, and how often it was served.
async fn ask_for(place: Place, time: Duration) -> (usize, usize) {
    let end = tokio::time::Instant::now() + time;
    let (mut asked, mut served) = (0, 0);
    while tokio::time::Instant::now() < end {
        asked += 1;
        let mut visitor = Visitor::connect(&place).await;
        visitor
            .send(b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await;
        served += usize::from(visitor.reply().await.status == 200);
    }
    (asked, served)
}

// fault 171
#[tokio::test]
async fn what_does_not_fit_is_refused_with_what_to_do() {
    let path = |stand: &Stand| stand.home.path("handed.sock");
    let mut stand = Stand::new().await;
    serve_from(&mut stand, "apps", "apps");
    let unix = UnixListener::bind(path(&stand)).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let open = TcpListener::bind("0.0.0.0:0").unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let rows: [(&dyn AsFd, usize, &str, &str); 6] = [
        (&unix, 1, "other", "FileDescriptorName="),
        (&unix, 5, "apps", "LISTEN_FDS"),
        (&unix, 1, "", "FileDescriptorName="),
        (&udp, 1, "apps", "ListenStream="),
        (&null, 1, "apps", "ListenStream="),
        (&open, 1, "apps", "other machines"),
    ];
    for (socket, count, names, said) in rows {
        let ended = run(handed(&stand, &[socket], count, names)).await;
        assert!(ended.code == Some(1) && ended.err.contains(said), "{said}: {ended:?}");
    }
    let ended = run(stand.home.command(&["run"])).await;
    assert!(ended.code == Some(1) && ended.err.contains("systemd:apps"), "{ended:?}");
    let ended = run(stand.home.command(&["check", "--quiet"])).await;
    assert_eq!(ended.code, Some(0), "only the service manager knows: {ended:?}");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    stand.home.set("listeners.apps.serve", Value::from(vec!["auth"]));
    let ended = run(handed(&stand, &[&tcp], 1, "apps")).await;
    assert!(ended.code == Some(1) && ended.err.contains("access_token_file"), "{ended:?}");
}

#[tokio::test]
async fn a_listener_can_come_back_to_its_socket() {
    let mut stand = Stand::new().await;
    let path = stand.home.path("handed.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let without = stand.home.saved();
    serve_from(&mut stand, "more", "more");
    let with = stand.home.saved();
    let daemon = Daemon::start(handed(&stand, &[&unix], 1, "more")).await;
    for saved in [&without, &with] {
        stand.home.restore(saved);
        assert!(reload(&stand, &daemon).await);
    }
    let place = Place::Unix(path);
    until("it is served again", async || {
        Visitor::connect(&place).await.get("/v1/token").await.status == 200
    })
    .await;
}
