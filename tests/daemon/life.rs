//! Group I: how the daemon starts, is told things by signals, and ends.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::bench::{
    Daemon, Home, Place, Stand, Visitor,
    client::request,
    daemon::run,
    home::{NOBODY, any_key},
    skip, until,
};

/// The contract: an ordinary stop takes no longer.
const STOP: Duration = Duration::from_millis(5500);

/// Starts a long poll that only a change of the token ends.
async fn long_poll(place: &Place) -> Visitor {
    let mut visitor = Visitor::connect(place).await;
    let etag = visitor.get("/v1/token").await.header("etag").unwrap().to_owned();
    let wait = request("GET", "/v1/token?wait=60s", &[("If-None-Match", &etag)], b"");
    visitor.send(&wait).await;
    visitor
}

// fault 205
#[tokio::test]
async fn a_stop_answers_long_polls_closes_idle_connections_and_takes_its_files_away() {
    let stand = Stand::new().await;
    let mut daemon = stand.start().await;
    let (mut idle, mut waiting) = (Vec::new(), Vec::new());
    for place in daemon.places() {
        let mut visitor = Visitor::connect(&place).await;
        assert_eq!(visitor.get("/v1/token").await.status, 200);
        idle.extend([visitor, Visitor::connect(&place).await]);
        waiting.push(long_poll(&place).await);
    }
    until("all are connected", async || {
        daemon.metrics().await.get("bearerd_connections", &[("listener", "apps")]) >= 3.0
    })
    .await;
    let (status, took) = daemon.stop().await;
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(took < STOP, "{took:?}");
    for mut visitor in waiting {
        let reply = visitor.reply().await;
        assert_eq!((reply.status, reply.is_last()), (304, true), "{reply:?}");
    }
    for mut visitor in idle {
        assert_eq!(visitor.rest().await, b"");
    }
    let left: Vec<_> = fs::read_dir(stand.home.path("")).unwrap().flatten().collect();
    assert!(!left.iter().any(|file| file.file_type().unwrap().is_socket()), "{left:?}");
}

// faults 183, 205
#[tokio::test]
async fn a_stop_does_not_wait_for_clients_that_are_stuck() {
    let mut stand = Stand::new().await;
    for listener in ["apps", "web"] {
        stand.home.set(&format!("listeners.{listener}.write_timeout"), "60s");
        stand.home.set(&format!("listeners.{listener}.header_timeout"), "60s");
    }
    let mut daemon = stand.start().await;
    let mut stuck = Vec::new();
    for place in daemon.places() {
        let mut half = Visitor::connect(&place).await;
        half.send(b"GET /v1/token HTTP/1.1\r\nHost: loc").await;
        let mut body = Visitor::connect(&place).await;
        let head = [("Content-Type", "application/json"), ("Content-Length", "100")];
        body.send(&request("POST", "/v1/token/rejected", &head, b"")).await;
        let mut deaf = Visitor::connect(&place).await;
        deaf.flood(&request("GET", "/v1/token", &[], b"")).await;
        stuck.extend([half, body, deaf]);
    }
    let (status, took) = daemon.stop().await;
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(took < STOP, "{took:?}");
}

// fault 207
#[tokio::test]
async fn a_second_signal_ends_a_stop_that_waits_for_clients() {
    let mut stand = Stand::new().await;
    stand.home.set("listeners.apps.header_timeout", "60s");
    let mut daemon = stand.start().await;
    let mut half = Visitor::connect(&daemon.place("apps")).await;
    half.send(b"GET /v1/token HTTP/1.1\r\nHost: loc").await;
    until("it is connected", async || {
        daemon.metrics().await.get("bearerd_connections", &[("listener", "apps")]) == 1.0
    })
    .await;
    daemon.signal(Signal::TERM);
    until("it is stopping", async || daemon.has_said("stopping")).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit().await.code(), Some(0));
    assert!(!daemon.has_said("stopped"), "it did not wait for the end of the client's time");
}

// fault 207
#[tokio::test]
async fn a_second_signal_ends_a_daemon_that_lingers() {
    for signals in [[Signal::TERM, Signal::TERM], [Signal::INT, Signal::INT]] {
        let mut stand = Stand::new().await;
        stand.home.set("process.linger", "10m");
        let mut daemon = stand.start().await;
        daemon.signal(signals[0]);
        until("it lingers", async || daemon.has_said("stopping, but serving for a while")).await;
        assert_eq!(daemon.get("apps", "/v1/token").await.status, 200);
        daemon.signal(signals[1]);
        assert_eq!(daemon.exit().await.code(), Some(0));
    }
}

// fault 215
#[tokio::test]
async fn a_lingering_daemon_serves_and_refreshes_until_its_time_is_over() {
    let mut stand = Stand::new().await;
    stand.home.set("process.linger", "1500ms");
    let mut daemon = stand.start().await;
    daemon.signal(Signal::TERM);
    until("it lingers", async || daemon.has_said("stopping, but serving for a while")).await;
    assert!(daemon.refresh("default").await["token_id"].is_string());
    for place in daemon.places() {
        assert_eq!(Visitor::connect(&place).await.get("/v1/token").await.status, 200);
    }
    assert_eq!(daemon.exit().await.code(), Some(0));
    assert!(Visitor::try_connect(&stand.home.unix()).await.is_err());
}

// fault 207
#[tokio::test]
async fn usr1_refreshes_and_pipe_is_ignored() {
    let stand = Stand::new().await;
    let mut daemon = stand.start().await;
    let first = daemon.token().await;
    daemon.signal(Signal::PIPE);
    daemon.signal(Signal::USR1);
    until("the token is new", async || daemon.token().await != first).await;
    let labels = [("trigger", "manual"), ("result", "success")];
    assert_eq!(daemon.metrics().await.get("bearerd_token_refreshes_total", &labels), 1.0);
    daemon.signal(Signal::INT);
    assert_eq!(daemon.exit().await.code(), Some(0));
}

/// Nobody reads the log any more; that is no reason to end.
// faults 207, 219
#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    let stand = Stand::new().await;
    let mut command = stand.home.command(&["run", "--set", "log.level=trace"]);
    let (reader, writer) = std::io::pipe().unwrap();
    command.stderr(writer).stdout(std::process::Stdio::null());
    let mut child = Guarded(command.spawn().unwrap());
    drop((command, reader));
    let place = stand.home.unix();
    until("it serves", async || Visitor::try_connect(&place).await.is_ok()).await;
    let mut visitor = Visitor::connect(&place).await;
    until("it has a token", async || visitor.get("/v1/token").await.status == 200).await;
    for _ in 0..100 {
        assert_eq!(visitor.get("/v1/token").await.status, 200);
    }
    assert!(child.0.try_wait().unwrap().is_none());
}

/// Ends a child of our own at its drop.
struct Guarded(std::process::Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

// faults 154, 208
#[tokio::test]
async fn after_twenty_kills_the_twenty_first_start_serves() {
    let stand = Stand::new().await;
    for round in 0..20 {
        let mut daemon = stand.home.start().await;
        if round % 2 == 0 {
            daemon.until_ready().await;
        }
        daemon.signal(Signal::KILL);
        daemon.exit().await;
        assert!(fs::metadata(stand.home.path("apps.sock")).is_ok(), "the stale socket is there");
    }
    let daemon = stand.start().await;
    assert_eq!(stand.accepts(&daemon.token().await).await, 200);
    let mode = fs::metadata(stand.home.path("apps.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
}

// fault 155
#[tokio::test]
async fn a_second_instance_is_refused_and_the_first_keeps_its_socket() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let inode = |name: &str| fs::metadata(stand.home.path(name)).unwrap().ino();
    let before = [inode("apps.sock"), inode("control.sock")];
    let mut rivals = JoinSet::new();
    for _ in 0..5 {
        rivals.spawn(run(stand.home.command(&["run"])));
    }
    for ended in rivals.join_all().await {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("in use by a running instance"), "{ended:?}");
    }
    assert_eq!([inode("apps.sock"), inode("control.sock")], before);
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200);
}

// faults 154, 156: what is no stale socket of ours is not replaced
#[tokio::test]
async fn a_file_in_the_place_of_a_socket_is_left_alone() {
    let home = Home::new("http://127.0.0.1:9", &any_key());
    fs::write(home.path("apps.sock"), "precious").unwrap();
    let ended = run(home.command(&["run"])).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("apps.sock"), "{ended:?}");
    assert_eq!(fs::read_to_string(home.path("apps.sock")).unwrap(), "precious");
}

// faults 139, 252
#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    for key in ["listeners.web.bind", "telemetry.bind"] {
        let mut home = Home::new("http://127.0.0.1:9", &any_key());
        home.set(key, format!("tcp:{address}"));
        let ended = run(home.command(&["run"])).await;
        assert_eq!(ended.code, Some(1), "{key}: {ended:?}");
        assert!(ended.err.contains(&address.to_string()), "{key}: {ended:?}");
        assert!(!home.path("apps.sock").exists(), "{key}: nothing is left behind");
    }
}

// faults 200, 203, 42
#[tokio::test]
async fn with_the_issuer_down_it_starts_lives_and_becomes_ready_alone() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let bind = free.local_addr().unwrap();
    drop(free);
    let mut home = Home::new(&format!("http://{bind}"), &any_key());
    home.set("credentials.default.refresh.retry_max", "1s");
    let daemon = home.start().await;
    daemon.until_failed("default").await;
    assert_eq!(daemon.get("telemetry", "/livez").await.status, 200);
    assert_eq!(daemon.get("telemetry", "/readyz").await.status, 503);
    let reply = daemon.get("web", "/v1/token").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "no-token"));
    let key_file = Some(home.path("key.json"));
    let options = bearerd::emulator::Options { bind, key_file, ..Default::default() };
    let issuer = bearerd::emulator::Emulator::start(options).await.unwrap();
    daemon.until_ready().await;
    assert_eq!(issuer.mints(), 1);
}

// faults 229, 230: no core, no readers of our memory, no new privileges
#[tokio::test]
async fn the_process_is_hardened_from_its_first_moment() {
    let stand = Stand::new().await;
    let mut command = stand.home.command(&["run"]);
    if rustix::process::geteuid().is_root() {
        stand.home.give_to(NOBODY);
        command.uid(NOBODY).gid(NOBODY);
    }
    let daemon = Daemon::start(command).await;
    let proc = |name: &str| PathBuf::from(format!("/proc/{}/{name}", daemon.pid()));
    let limits = fs::read_to_string(proc("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<_> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{core}");
    let status = fs::read_to_string(proc("status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(status.contains("Umask:\t0077"), "{status}");
    // The files of a process that cannot be dumped belong to root, whoever runs it.
    assert_eq!(fs::metadata(proc("environ")).unwrap().uid(), 0);
}

// faults 70, 260
#[tokio::test]
async fn odd_time_zones_and_languages_change_nothing() {
    let odd = [
        ("TZ", "Australia/Lord_Howe"),
        ("TZ", ":/dev/zero"),
        ("TZ", "%\u{7}"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("LANG", "ar_EG"),
    ];
    let stand = Stand::new().await;
    for (name, value) in odd {
        let mut command = stand.home.command(&["run"]);
        command.env(name, value);
        let mut daemon = Daemon::start(command).await;
        daemon.until_ready().await;
        let token = daemon.get("apps", "/v1/token").await.json();
        let end = token["expires_at"].as_str().unwrap();
        assert!(end.ends_with('Z') && end.len() == 20, "{name}={value}: {token}");
        assert!((3500..=3600).contains(&token["expires_in"].as_u64().unwrap()), "{token}");
        assert_eq!(daemon.stop().await.0.code(), Some(0));
    }
}

// fault 217
#[tokio::test]
async fn without_a_state_directory_it_goes_on() {
    let mut stand = Stand::new().await;
    stand.home.set("state.dir", "/proc/no/such/place");
    let daemon = stand.start().await;
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200);
    assert!(!Path::new("/proc/no").exists());
}

// faults 20, 172: what waits for a mint is not held up by those who leave
#[tokio::test]
async fn a_mint_survives_the_caller_that_asked_for_it() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let first = daemon.get("apps", "/v1/token").await.json();
    stand.issuer.set_latency(Duration::from_millis(300));
    let mut visitor = Visitor::connect(&daemon.place("control")).await;
    visitor.send(&request("POST", "/v1/refresh", &[], b"")).await;
    until("the mint is under way", async || stand.issuer.mint_calls() == 2).await;
    drop(visitor);
    until("the mint has brought a token", async || {
        daemon.get("apps", "/v1/token").await.json()["token_id"] != first["token_id"]
    })
    .await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(stand.issuer.mint_calls(), 2);
    let status: Value = daemon.status().await;
    assert_eq!(status["credentials"][0]["state"], json!("valid"));
}

// fault 220
#[tokio::test]
async fn without_proc_devices_and_a_name_service_it_serves() {
    let hide = "mount -t tmpfs none /proc && mount -t tmpfs none /dev &&
        mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    let stand = Stand::new().await;
    let nothing = stand.home.replace("nothing", b"", 0o644);
    let hidden = |program: &Command| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation=private", "sh", "-c", hide]).arg(&nothing);
        command.arg(program.get_program()).args(program.get_args());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    };
    if !hidden(&Command::new("true")).output().is_ok_and(|tried| tried.status.success()) {
        return skip("no mount namespace of one's own is to be had here");
    }
    let mut daemon = Daemon::start(hidden(&stand.home.command(&["run"]))).await;
    daemon.until_ready().await;
    assert_eq!(stand.accepts(&daemon.token().await).await, 200);
    assert!(daemon.refresh("default").await["token_id"].is_string());
    assert!(!daemon.log().contains("panicked"));
    assert!(daemon.stop().await.0.success());
}
