//! Too few descriptors: the refresh, the key, probes and operators have theirs all the same.

use std::{
    fs::File,
    io::{IoSlice, Read},
    mem::MaybeUninit,
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    process::Command,
    time::Duration,
};

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{Pid, Resource, Rlimit, getrlimit, prlimit},
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::bench::{
    Daemon, Place, Stand, Visitor, client::request, injection::Injection, tell, until,
};

/// Starts the daemon with so many descriptors, and waits until it is ready.
async fn start_with(stand: &Stand, descriptors: u32) -> Daemon {
    let inner = stand.home.command(&["run"]);
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""));
    command.arg(inner.get_program()).args(inner.get_args()).env_clear();
    let daemon = Daemon::start(command).await;
    daemon.until_ready().await;
    daemon
}

/// Connects so many times to each of the two listeners, and asks nothing.
async fn flood(daemon: &Daemon, connections: usize) -> Vec<Visitor> {
    let places = daemon.places();
    let mut flood = Vec::new();
    for place in places.iter().cycle().take(2 * connections) {
        flood.push(Visitor::connect(place).await);
    }
    flood
}

/// Ticks of a second in `/proc`, the same on every Linux that we know.
const USER_HZ: f64 = 100.0;

/// Tells the processor time that the daemon has used, in seconds.
pub(crate) fn processor(daemon: &Daemon) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    ticks.sum::<u64>() as f64 / USER_HZ
}

/// Tells what the control socket says of the one credential.
async fn state(daemon: &Daemon, what: &str) -> Value {
    daemon.status().await["credentials"][0][what].clone()
}

// faults 93, 185, 187
#[tokio::test]
async fn with_few_descriptors_a_flood_takes_nothing_that_the_daemon_needs() {
    for descriptors in [64, 128] {
        let mut stand = Stand::new().await;
        for listener in ["apps", "web"] {
            // As long as the test, so that only their leaving makes room.
            stand.home.set(&format!("listeners.{listener}.header_timeout"), "10m");
        }
        let daemon = start_with(&stand, descriptors).await;
        let mut known = Visitor::connect(&daemon.place("apps")).await;
        assert_eq!(known.get("/v1/token").await.status, 200);
        let flood = flood(&daemon, 200).await;
        let mut outside = Visitor::connect(&daemon.place("web")).await;
        outside.send(&request("GET", "/v1/token", &[], b"")).await;
        until("the listeners are full", async || {
            daemon.metrics().await.get("bearerd_connections", &[]) >= f64::from(descriptors) / 4.0
        })
        .await;

        let before = state(&daemon, "token_id").await;
        daemon.refresh("default").await;
        assert_ne!(state(&daemon, "token_id").await, before, "{}", daemon.log());
        let key = stand.issuer.add_key("robot");
        stand.home.write_key(&key);
        let in_use = async || state(&daemon, "key_id").await == key.0.as_str();
        until("the new key is in use", in_use).await;
        assert!(daemon.is_ready().await);
        assert_eq!(known.get("/v1/token").await.status, 200, "whoever is in stays in");

        let used = processor(&daemon);
        sleep(Duration::from_secs(2)).await;
        let used = processor(&daemon) - used;
        assert!(used < 0.1, "{used} s of 2 s");

        drop(flood);
        let began = Instant::now();
        assert_eq!(outside.reply().await.status, 200, "and the next comes in");
        let took = began.elapsed();
        tell(&format!("{used} s of 2 s used; the next is in after {took:?}"));
        assert!(!daemon.has_said("a connection could not be accepted"), "{}", daemon.log());
    }
}

/// Lets the daemon open so many descriptors from now on.
fn limit(daemon: &Daemon, descriptors: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    let all = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: descriptors.or(all), maximum: all };
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

// faults 93, 187
#[tokio::test]
async fn without_any_descriptor_it_waits_for_one_says_so_and_does_not_spin() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let mut known = Visitor::connect(&daemon.place("apps")).await;
    assert_eq!(known.get("/v1/token").await.status, 200);
    limit(&daemon, Some(4));
    let mut waiting = Visitor::connect(&daemon.place("web")).await;
    waiting.send(&request("GET", "/v1/token", &[], b"")).await;
    until("it says so", async || daemon.has_said("a connection could not be accepted")).await;
    let said = &daemon.events("a connection could not be accepted")[0];
    assert!(said["problem"].as_str().unwrap().starts_with("EMFILE: "), "{said}");
    let used = processor(&daemon);
    sleep(Duration::from_secs(2)).await;
    let used = processor(&daemon) - used;
    assert!(used < 0.1, "{used} s of 2 s");
    assert_eq!(known.get("/v1/token").await.status, 200, "whoever is in stays in");
    limit(&daemon, None);
    assert_eq!(waiting.reply().await.status, 200, "and the next comes in");
}

// fault 165
#[tokio::test]
async fn descriptors_that_a_client_sends_along_are_nobodys() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let Place::Unix(path) = daemon.place("apps") else { panic!("apps is a unix socket") };
    let held = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = held();
    let stream = UnixStream::connect(path).unwrap();
    // As many as the kernel takes in one message.
    let gift = File::open("/dev/null").unwrap();
    let gifts = vec![gift.as_fd(); 253];
    let question = request("GET", "/v1/token", &[], b"");
    for _ in 0..20 {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&gifts)));
        let bytes = [IoSlice::new(&question)];
        sendmsg(&stream, &bytes, &mut ancillary, SendFlags::empty()).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    (&stream).read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 20, "{answers}");
    until("none is left", async || held() <= before + 1).await;
}

// fault 187: an accept that fails takes nobody's place, and the next one is tried
#[tokio::test]
async fn a_failed_accept_is_followed_by_a_good_one() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for error in ["ECONNABORTED", "EPROTO", "ENOBUFS", "ENOMEM", "ENETDOWN"] {
        let how = format!("error={error}:when=1");
        let Some(injection) = Injection::start(&daemon, "accept4", &how).await else { return };
        for place in daemon.places() {
            let began = Instant::now();
            let mut visitor = Visitor::connect(&place).await;
            assert_eq!(visitor.get("/v1/token").await.status, 200, "{error}");
            assert!(began.elapsed() < Duration::from_secs(2), "{error}: {:?}", began.elapsed());
        }
        drop(injection);
    }
}
