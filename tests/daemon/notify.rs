//! What the service manager hears (`sd_notify`).

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use rustix::process::Signal;

use crate::bench::{Daemon, Stand, until, until_ok};

/// Listens like a service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// Waits for the next message; gives its lines.
    async fn hear(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = until_ok(async || self.0.recv(&mut buffer)).await;
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a message with this line.
    async fn hear_of(&self, line: &str) -> Vec<String> {
        until_ok(async || {
            let lines = self.hear().await;
            if lines.iter().any(|heard| heard == line) { Ok(lines) } else { Err(lines) }
        })
        .await
    }
}

// fault 222
#[tokio::test]
async fn ready_comes_when_the_sockets_are_there_whatever_the_token() {
    let stand = Stand::new().await;
    let socket = stand.home.path("notify.sock");
    let manager = Manager::new(UnixDatagram::bind(&socket).unwrap());
    stand.issuer.inject("hang".parse::<bearerd::emulator::FaultPlan>().unwrap());
    let mut command = stand.home.command(&["run"]);
    command.env("NOTIFY_SOCKET", &socket);
    let mut daemon = Daemon::spawn(command);
    let lines = manager.hear().await;
    assert!(lines.contains(&"READY=1".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("STATUS=")), "{lines:?}");
    assert!(stand.home.path("apps.sock").exists() && stand.home.path("control.sock").exists());
    assert!(!daemon.is_ready().await);
    assert!(daemon.stop().await.0.success());
    manager.hear_of("STOPPING=1").await;
}

// fault 222
#[tokio::test]
async fn reloads_are_announced_with_their_time_and_ended_with_ready() {
    let mut stand = Stand::new().await;
    let name = format!("bearerd-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::new(UnixDatagram::bind_addr(&address).unwrap());
    let mut command = stand.home.command(&["run"]);
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let daemon = Daemon::start(command).await;
    manager.hear_of("READY=1").await;
    for (key, value) in [("log.level", "debug"), ("log.level", "nonsense=[")] {
        stand.home.set(key, value);
        stand.home.write();
        daemon.signal(Signal::HUP);
        let lines = manager.hear_of("RELOADING=1").await;
        let micros = lines.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(micros.is_some_and(|micros| micros.parse::<u64>().unwrap() > 0), "{lines:?}");
        manager.hear_of("READY=1").await;
    }
    until("the second was refused", async || daemon.has_said("the old configuration stays")).await;
}

// faults 204, 222
#[tokio::test]
async fn a_watchdog_is_fed_twice_in_its_time() {
    let stand = Stand::new().await;
    let socket = stand.home.path("notify.sock");
    let manager = Manager::new(UnixDatagram::bind(&socket).unwrap());
    let mut command = stand.home.command(&["run"]);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "600000");
    let began = tokio::time::Instant::now();
    let _daemon = Daemon::start(command).await;
    for _ in 0..5 {
        manager.hear_of("WATCHDOG=1").await;
    }
    assert!(began.elapsed() >= Duration::from_millis(1400), "not more often than asked");
}
