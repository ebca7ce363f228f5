//! One key, many daemons: it is rotated once, whoever dies of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    task::{JoinSet, LocalSet},
    time::sleep,
};

use crate::{
    bench::{Daemon, Visitor, until},
    pod::{Pods, can_be_run, until_long},
};

/// The calls of a daemon from the first look at its key to the end of a rotation.
const FIRST: usize = 2;
const LAST: usize = 21;
/// Each of them mostly waits for a Lease to end.
const AT_ONCE: usize = 8;

async fn due() -> Pods {
    let pods = Pods::new().await.rotated();
    pods.put_due_key();
    pods
}

/// Tells what is not as it is after a rotation: one key, and no trace of another.
///
/// The Lease may still name one who has died when all was done: nobody needs it.
fn unsettled(pods: &Pods) -> Result<(), String> {
    let (cluster, journal) = (&pods.cluster, pods.cluster.journal());
    let key = cluster.field("key_id");
    let journal = journal.ok_or("there is no journal")?;
    let is_settled = key.as_deref() != Some(&pods.stand.issuer.key().0)
        && journal["asked"].is_null()
        && journal["lost"].is_null()
        && journal["key_id"].as_str() == key.as_deref()
        && cluster.field("next_key_id").is_none()
        && cluster.field("next_key_secret").is_none();
    let told = || format!("{key:?} {journal} {:?} {:?}", cluster.holder(), cluster.calls());
    if is_settled { Ok(()) } else { Err(told()) }
}

/// Tells whether a rotation was begun, came to nothing, and is put off without any harm.
fn is_put_off(pods: &Pods) -> bool {
    let journal = pods.cluster.journal().unwrap_or_default();
    let is_quiet = journal["asked"].is_null() && journal["lost"].is_null();
    let is_old = pods.cluster.field("key_id") == Some(pods.stand.issuer.key().0);
    is_quiet && is_old && journal["rest_until"].is_u64() && pods.cluster.holder().is_none()
}

/// Rotates now, as an operator.
async fn rotate(daemon: &Daemon) {
    let mut visitor = Visitor::connect(&daemon.place("control")).await;
    let reply = visitor.request("POST", "/v1/rotate?credential=default", &[], b"").await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

async fn until_settled(pods: &Pods, daemons: &[&Daemon], told: &str) {
    until_long(async || {
        let logs = || daemons.iter().map(|it| it.log()).collect::<Vec<_>>().join("\n");
        unsettled(pods).map_err(|it| format!("{told}: {it}\n{}", logs()))
    })
    .await;
}

async fn until_used(daemon: &Daemon, id: &str) {
    until_long(async || {
        let used = daemon.status().await["credentials"][0]["key_id"].clone();
        if used == *id { Ok(()) } else { Err(daemon.log()) }
    })
    .await;
}

// faults 113 and 238
#[tokio::test]
async fn five_daemons_with_one_secret_rotate_it_once() {
    if !can_be_run() {
        return;
    }
    let mut pods = due().await;
    let mut daemons = Vec::new();
    for number in 0..5 {
        daemons.push(Daemon::spawn(pods.command(number)));
    }
    let all: Vec<_> = daemons.iter().collect();
    until_settled(&pods, &all, "five").await;
    let id = pods.cluster.field("key_id").unwrap();
    for daemon in &daemons {
        until("it listens", async || daemon.has_said("ready")).await;
        until_used(daemon, &id).await;
    }
    until("the Lease is given back", async || pods.cluster.holder().is_none()).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(pods.asked(), 1, "{:?}", pods.cluster.calls());
    let secret = pods.stand.issuer.key().1;
    assert!(daemons.iter().all(|it| !it.log().contains(&secret)));
}

// faults 98, 112 and 206: at each call of a rotation
#[tokio::test]
async fn whenever_a_daemon_is_killed_another_one_goes_on() {
    if !can_be_run() {
        return;
    }
    // What is left before a call is what was left after the one before it, but for Okta's part.
    let sides: &[bool] = match std::env::var("BEARERD_TEST_CRASH").as_deref() {
        Ok("all") => &[false, true],
        _ => &[false],
    };
    let blows = async {
        let (mut blows, mut hit) = (JoinSet::new(), 0);
        for n in FIRST..=LAST {
            for &is_after in sides {
                blows.spawn_local(struck(n, is_after));
                while blows.len() >= AT_ONCE {
                    hit += usize::from(blows.join_next().await.unwrap().unwrap());
                }
            }
        }
        while let Some(blow) = blows.join_next().await {
            hit += usize::from(blow.unwrap());
        }
        hit
    };
    let hit = LocalSet::new().run_until(blows).await;
    assert!(hit * 4 > (LAST - FIRST) * 3, "the blows fall beside it: {hit}");
}

/// Strikes at one call, and tells whether that hit.
async fn struck(n: usize, is_after: bool) -> bool {
    let mut pods = due().await;
    let told = format!("call {n}, {}", if is_after { "after" } else { "before" });
    let pid = Arc::new(AtomicU32::new(0));
    let at = Arc::clone(&pid);
    pods.cluster.strike_at(n, is_after, move || {
        while at.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let pid = i32::try_from(at.load(Ordering::SeqCst)).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    });
    let mut first = Daemon::spawn(pods.command(1));
    pid.store(first.pid(), Ordering::SeqCst);
    until_long(async || {
        let is_over = !first.is_running() || unsettled(&pods).is_ok();
        if is_over { Ok(()) } else { Err(format!("{told}: {}", first.log())) }
    })
    .await;
    let (asked, was_hit) = (pods.asked(), !pods.cluster.is_armed());
    // Okta has issued a key that nobody has, if it was asked and nothing was saved.
    let is_lost = asked == 1
        && pods.cluster.field("next_key_id").is_none()
        && pods.cluster.field("key_id").unwrap() == pods.stand.issuer.key().0;
    let second = Daemon::spawn(pods.command(2));
    until("it listens", async || second.has_said("ready")).await;
    until_long(async || {
        let state = unsettled(&pods);
        if state.is_ok() || is_put_off(&pods) {
            return Ok(());
        }
        let logs = format!("{}\n{}", first.log(), second.log());
        state.map_err(|it| format!("{told}: {it}\n{logs}"))
    })
    .await;
    if is_put_off(&pods) {
        // The intent was written down, and Okta says that nobody has rotated: an hour's rest.
        assert_eq!(pods.asked(), 0, "{told}");
        rotate(&second).await;
        until_settled(&pods, &[&first, &second], &told).await;
    }
    until_used(&second, &pods.cluster.field("key_id").unwrap()).await;
    let expected = if is_lost { 2 } else { 1 };
    assert_eq!(pods.asked(), expected, "{told}: {}\n{}", first.log(), second.log());
    // What is in the Secret mints, and has no end.
    second.refresh("default").await;
    assert!(second.is_ready().await, "{told}");
    was_hit
}

#[tokio::test]
async fn a_change_of_the_rest_of_the_secret_loses_nothing() {
    if !can_be_run() {
        return;
    }
    // The patches of a rotation: the intent, the new key, its place, the journal.
    for n in 1..=4 {
        let mut pods = due().await;
        pods.cluster.before_patch(n, |secret| {
            secret["metadata"]["labels"] = serde_json::json!({ "a": "b" });
        });
        let daemon = pods.start().await;
        until_settled(&pods, &[&daemon], "labelled").await;
        assert_eq!(pods.asked(), 1, "{}", daemon.log());
        pods.cluster.edit(|secret| assert_eq!(secret["metadata"]["labels"]["a"], "b"));
    }
}

#[tokio::test]
async fn a_key_that_a_person_puts_in_meanwhile_stays() {
    if !can_be_run() {
        return;
    }
    for n in 1..=3 {
        let mut pods = due().await;
        let theirs = pods.stand.issuer.add_key("robot");
        let (id, secret) = theirs.clone();
        let encoded = |text: &str| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text);
        pods.cluster.before_patch(n, move |object| {
            object["data"]["key_id"] = encoded(&id).into();
            object["data"]["key_secret"] = encoded(&secret).into();
        });
        let daemon = pods.start().await;
        until_settled(&pods, &[&daemon], "theirs").await;
        assert_eq!(pods.asked(), usize::from(n > 1), "{}", daemon.log());
        until_used(&daemon, &pods.cluster.field("key_id").unwrap()).await;
    }
}

// A holder who shows no sign of life is replaced; his clock is not believed.
#[tokio::test]
async fn who_does_not_hold_the_lease_never_rotates() {
    if !can_be_run() {
        return;
    }
    let mut pods = due().await;
    pods.cluster.hold("another-pod_1");
    let daemon = pods.start().await;
    let told = "the place of the key is taken anew";
    until("it gives way", async || daemon.has_said(told)).await;
    assert_eq!(pods.asked(), 0);
    // Each sign of life counts from when it was seen.
    for sign in 2..8 {
        sleep(Duration::from_secs(4)).await;
        pods.cluster.hold(&format!("another-pod_{sign}"));
        assert_eq!(pods.asked(), 0, "{}", daemon.log());
    }
    until_settled(&pods, &[&daemon], "dead").await;
    assert_eq!(pods.asked(), 1);
}

#[tokio::test]
async fn who_may_not_change_the_secret_is_told_so_and_asks_for_nothing() {
    if !can_be_run() {
        return;
    }
    let mut pods = due().await;
    pods.cluster.deny("patch", "secrets");
    let daemon = pods.start().await;
    daemon.until_ready().await;
    until("it says so", async || {
        let told = daemon.status().await["credentials"][0].to_string();
        told.contains("rotated, patch on it")
    })
    .await;
    assert_eq!(pods.asked(), 0);
}
