//! The real binary within its sandbox; all other tests of this folder run in there, too.

use std::fs;

use rustix::process::geteuid;
use serde_json::Value;

use crate::{
    bench::{Daemon, Stand, daemon::run, injection::command_with, skip},
    reload::reload,
};

/// Reads what the kernel says of each thread.
fn threads(daemon: &Daemon) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).collect()
}

fn held(daemon: &Daemon) -> String {
    daemon.events("confined").first().map_or(String::new(), |event| event["held"].to_string())
}

// faults 221 and 229
#[tokio::test]
async fn every_thread_is_confined() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    if held(&daemon).is_empty() {
        return skip("this kernel has no landlock or no seccomp");
    }
    daemon.token().await;
    let threads = threads(&daemon);
    assert!(threads.len() >= 3, "{threads:?}");
    for status in threads {
        let says = |line: &str| status.contains(line);
        assert!(says("Seccomp:\t2") && says("NoNewPrivs:\t1"), "{status}");
        assert!(says("CapEff:\t0000000000000000") && says("CapPrm:\t0000000000000000"), "{status}");
        assert!(!geteuid().is_root() || says("CapBnd:\t0000000000000000"), "{status}");
    }
}

// fault 221
#[tokio::test]
async fn whoever_insists_gets_a_sandbox_or_no_daemon() {
    let mut stand = Stand::new().await;
    stand.home.set("process.sandbox", "require");
    let ended = run(stand.home.command(&["check", "--quiet"])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let Some(command) = without_landlock(&stand) else {
        return;
    };
    let ended = run(command).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for word in ["process.sandbox", "require", "landlock", "best-effort"] {
        assert!(ended.err.contains(word), "{ended:?}");
    }
}

// fault 221
#[tokio::test]
async fn without_landlock_it_goes_on_and_says_so() {
    let stand = Stand::new().await;
    let Some(command) = without_landlock(&stand) else {
        return;
    };
    let daemon = Daemon::start(command).await;
    let events = daemon.events("confined as far as the kernel can");
    let said = |name: &str| events[0][name].as_str().unwrap().to_owned();
    assert!(said("missing").contains("landlock"), "{events:?}");
    assert_eq!(said("held"), "system calls, capabilities");
    daemon.until_ready().await;
}

/// Makes the command of a daemon whose kernel seems to know no landlock.
fn without_landlock(stand: &Stand) -> Option<std::process::Command> {
    command_with(&stand.home, "landlock_create_ruleset", "error=EOPNOTSUPP")
}

#[tokio::test]
async fn off_is_off_and_said() {
    let mut stand = Stand::new().await;
    stand.home.set("process.sandbox", "off");
    let daemon = stand.start().await;
    assert!(daemon.has_said("process.sandbox is off: nothing confines us"));
    for status in threads(&daemon) {
        assert!(status.contains("Seccomp:\t0"), "{status}");
    }
}

// faults 212 and 221
#[tokio::test]
async fn a_reload_that_needs_more_is_refused_by_name() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    if held(&daemon).is_empty() {
        return skip("this kernel has no landlock or no seccomp");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let socket = elsewhere.path().join("more.sock");
    let cert = elsewhere.path().join("ca.pem");
    let state = stand.home.saved();
    let rows: [(&str, Value, String); 4] = [
        (
            "listeners.more.bind",
            format!("unix:{}", socket.display()).into(),
            elsewhere.path().display().to_string(),
        ),
        ("listeners.more.bind", "tcp:127.0.0.1:1".into(), "TCP port 1".into()),
        ("okta.base_url", "http://127.0.0.1:2".into(), "TCP port 2".into()),
        ("okta.ca_file", cert.to_str().unwrap().into(), elsewhere.path().display().to_string()),
    ];
    for (number, (key, value, named)) in rows.into_iter().enumerate() {
        stand.home.set(key, toml::Value::String(value.as_str().unwrap().to_owned()));
        assert!(!reload(&stand, &daemon).await, "{key}");
        let events = daemon.events("the old configuration stays");
        let problem = events[number]["problem"].as_str().unwrap().to_owned();
        assert!(problem.starts_with("needs a restart: ") && problem.contains(&named), "{problem}");
        stand.home.restore(&state);
    }
    // What lies within reach is taken.
    let socket = format!("unix:{}", stand.home.path("more.sock").display());
    stand.home.set("listeners.more.bind", socket);
    assert!(reload(&stand, &daemon).await);
    assert_eq!(daemon.get("more", "/v1/token").await.status, 200);
}
