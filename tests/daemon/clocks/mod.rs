//! Group C on the real binary: suspend, and clocks that are set, by a preloaded clock.

pub(crate) mod shim;

use std::{process::Command, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::shim::Clocks;
use crate::bench::{Daemon, Stand, daemon::run, seconds_of, skip, until, wall};

const HOUR: i64 = 3600;
/// Time in which all must be well again, on a busy machine too.
const SOON: Duration = Duration::from_secs(15);

/// A stand whose daemon has clocks that can be set; `None`, told aloud, where there is no compiler.
async fn start(stand: &Stand, ahead: i64) -> Option<(Daemon, Clocks)> {
    let clocks = Clocks::new(&stand.home.path("clocks"), ahead)?;
    let mut command = stand.home.command(&["run"]);
    clocks.give_to(&mut command);
    Some((Daemon::start(command).await, clocks))
}

async fn current(daemon: &Daemon) -> Option<Value> {
    let reply = daemon.get("apps", "/v1/token").await;
    (reply.status == 200).then(|| reply.json())
}

fn id(token: &Value) -> &str {
    token["token_id"].as_str().unwrap()
}

/// Waits for another token than one that was seen; every answer until then is checked by `is_right`.
async fn until_newer(daemon: &Daemon, seen: &Value, is_right: impl Fn(&Value) -> bool) -> Value {
    let late = Instant::now() + SOON;
    loop {
        if let Some(token) = current(daemon).await {
            if id(&token) != id(seen) {
                return token;
            }
            assert!(is_right(&token), "{token}");
        }
        assert!(Instant::now() < late, "no newer token: {}", daemon.log());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_clocks_bite() {
    let stand = Stand::new().await;
    stand.issuer.set_clock_skew(365 * 24 * HOUR);
    let Some((daemon, _clocks)) = start(&stand, 365 * 24 * HOUR).await else {
        return;
    };
    daemon.until_ready().await;
    let event = daemon.events("ready").swap_remove(0);
    let ahead = seconds_of(event["timestamp"].as_str().unwrap()) - wall();
    assert!(ahead > 364.0 * 24.0 * 3600.0, "{event}");
}

// fault 63: eight hours of suspend
#[tokio::test]
async fn after_a_long_suspend_the_ended_token_is_never_served_and_a_new_one_is_soon_there() {
    let stand = Stand::new().await;
    let Some((daemon, clocks)) = start(&stand, 0).await else {
        return;
    };
    daemon.until_ready().await;
    let before = current(&daemon).await.unwrap();
    stand.issuer.set_latency(Duration::from_millis(300));
    stand.issuer.set_clock_skew(8 * HOUR);
    clocks.suspend(8 * HOUR);
    let after = until_newer(&daemon, &before, |_old| false).await;
    assert!((3500..=3600).contains(&after["expires_in"].as_u64().unwrap()), "{after}");
    assert_eq!(stand.issuer.mint_calls(), 2, "and no storm");
}

// fault 64: a suspend past the time of the refresh, within the life
#[tokio::test]
async fn after_a_short_suspend_what_is_due_is_done_at_once() {
    let stand = Stand::new().await;
    let Some((daemon, clocks)) = start(&stand, 0).await else {
        return;
    };
    daemon.until_ready().await;
    let before = current(&daemon).await.unwrap();
    stand.issuer.set_clock_skew(2500);
    clocks.suspend(2500);
    let after = until_newer(&daemon, &before, |old| {
        (1000..=1100).contains(&old["expires_in"].as_u64().unwrap())
    })
    .await;
    assert!(after["expires_in"].as_u64().unwrap() > 3500);
    assert_eq!(stand.issuer.mint_calls(), 2);
}

// fault 66: the wall clock jumps ahead, the issuer's does not
#[tokio::test]
async fn a_step_forward_costs_one_mint_and_no_storm() {
    let stand = Stand::new().await;
    let Some((daemon, clocks)) = start(&stand, 0).await else {
        return;
    };
    daemon.until_ready().await;
    let before = current(&daemon).await.unwrap();
    clocks.set_wall(HOUR + 60);
    let after = until_newer(&daemon, &before, |_old| false).await;
    // The issuer's own clock says how long it lives.
    assert!((3500..=3600).contains(&after["expires_in"].as_u64().unwrap()), "{after}");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(id(&current(&daemon).await.unwrap()), id(&after));
    assert_eq!(stand.issuer.mint_calls(), 2);
    let skew = daemon.metrics().await;
    let skew = skew.get("bearerd_issuer_clock_skew_seconds", &[("credential", "default")]);
    assert!((-3700.0..-3600.0).contains(&skew), "{skew}");
}

// fault 67: the wall clock is set back
#[tokio::test]
async fn a_step_back_never_lengthens_a_life() {
    let mut stand = Stand::with(|options| options.lifetime = Duration::from_secs(8)).await;
    // The back-off is drawn, up to longer than anybody here waits.
    stand.home.set("credentials.default.refresh.retry_max", "4s");
    let Some((daemon, clocks)) = start(&stand, 0).await else {
        return;
    };
    daemon.until_ready().await;
    let before = current(&daemon).await.unwrap();
    let began = Instant::now();
    clocks.set_wall(-HOUR);
    stand.issuer.inject("503".parse::<bearerd::emulator::FaultPlan>().unwrap());
    let (mut newest, mut last) = (before, Duration::ZERO);
    while let Some(token) = current(&daemon).await {
        // One that was on its way may still have come.
        if id(&token) != id(&newest) {
            newest = token;
        }
        last = Instant::now() - began;
        assert!(last < Duration::from_secs(20), "it is served past its life");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(last < Duration::from_secs(13), "{last:?}");
    stand.issuer.clear_faults();
    until("it comes back", async || current(&daemon).await.is_some()).await;
}

// faults 68 and 69: no clock to speak of at boot, or one far ahead
#[tokio::test]
async fn in_1970_and_in_2100_the_issuers_clock_counts() {
    for year in [1970, 2100] {
        let stand = Stand::new().await;
        let ahead = seconds_to(year);
        let Some((daemon, clocks)) = start(&stand, ahead).await else {
            return;
        };
        daemon.until_ready().await;
        let token = current(&daemon).await.unwrap();
        assert!((3500..=3600).contains(&token["expires_in"].as_u64().unwrap()), "{year}: {token}");
        assert_eq!(stand.issuer.mint_calls(), 1);
        // Then somebody sets it right.
        clocks.set_wall(0);
        until("there is a token", async || current(&daemon).await.is_some()).await;
        sleep(Duration::from_secs(1)).await;
        assert!(stand.issuer.mint_calls() <= 2, "{year}");
        let served = current(&daemon).await.unwrap();
        assert_eq!(stand.accepts(served["bearer_token"].as_str().unwrap()).await, 200);
    }
}

// fault 74
#[tokio::test]
async fn a_clock_that_drifts_is_measured_anew_at_each_mint() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for drift in [60, 120, -300, 0] {
        stand.issuer.set_clock_skew(drift);
        // An operator gets one a second.
        until("it mints", async || daemon.refresh("default").await["token_id"].is_string()).await;
        let token = current(&daemon).await.unwrap();
        assert!((3590..=3600).contains(&token["expires_in"].as_u64().unwrap()), "{token}");
        let labels = [("credential", "default")];
        let skew = daemon.metrics().await.get("bearerd_issuer_clock_skew_seconds", &labels);
        assert!((skew - drift as f64).abs() < 3.0, "{skew} for {drift}");
    }
}

// fault 76
#[tokio::test]
async fn a_boot_time_with_an_offset_changes_nothing() {
    let unshare = |offset: &str| {
        let mut command = Command::new("unshare");
        command.args(["--time", "--boottime", offset, "--fork", "--kill-child", "--"]);
        command
    };
    let stand = Stand::with(|options| options.lifetime = Duration::from_secs(8)).await;
    for offset in ["86400", "1000000000"] {
        if !unshare(offset).arg("true").output().is_ok_and(|tried| tried.status.success()) {
            return skip("time namespaces cannot be made here (unshare --time)");
        }
        let inner = stand.home.command(&["run"]);
        let mut command = unshare(offset);
        command.arg(inner.get_program()).args(inner.get_args());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let daemon = Daemon::start(command).await;
        daemon.until_ready().await;
        let before = current(&daemon).await.unwrap();
        assert!((5..=8).contains(&before["expires_in"].as_u64().unwrap()), "{before}");
        let after =
            until_newer(&daemon, &before, |old| old["expires_in"].as_u64() <= Some(8)).await;
        assert_eq!(stand.accepts(after["bearer_token"].as_str().unwrap()).await, 200);
        // Its control socket is free only when it has ended.
        assert!(run(stand.home.command(&["quit"])).await.code == Some(0));
        until("it has ended", async || !stand.home.path("apps.sock").exists()).await;
    }
}

fn seconds_to(year: i16) -> i64 {
    let there: jiff::Timestamp = format!("{year}-01-02T00:00:00Z").parse().unwrap();
    there.as_second() - jiff::Timestamp::now().as_second()
}
