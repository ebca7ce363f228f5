//! The end of a key that somebody else has rotated: told in time, and no token outlives it.

use std::{fs, time::Duration};

use crate::bench::{Daemon, Stand, rotating, until, until_ok, wall};

/// Lets the key end so soon, as if somebody else had rotated it.
async fn ending_in(seconds: u64) -> Stand {
    let stand = rotating::stand().await;
    let (id, _) = stand.issuer.key();
    assert!(stand.issuer.expire_key(&id, Duration::from_secs(seconds)));
    stand
}

async fn until_told(daemon: &Daemon) {
    until_ok(async || {
        let status = daemon.status().await;
        let trouble = status["credentials"][0]["rotation_trouble"].as_str().unwrap_or_default();
        let is_told = trouble.contains("somebody else has rotated it");
        is_told.then_some(()).ok_or_else(|| format!("{trouble}: {}", daemon.log()))
    })
    .await;
}

// faults 114 and 124
#[tokio::test]
async fn a_key_that_somebody_else_has_rotated_is_told_of_before_it_ends() {
    let stand = ending_in(40 * 3600).await;
    let daemon = stand.start().await;
    until_told(&daemon).await;
    let ends = daemon
        .metrics()
        .await
        .get("bearerd_key_expiry_timestamp_seconds", &[("credential", "default")]);
    let left = ends - wall();
    assert!((39.0 * 3600.0..41.0 * 3600.0).contains(&left), "{left}");
}

// fault 124: else the end would be known six hours later
#[tokio::test]
async fn whoever_gets_a_token_late_asks_for_the_end_of_the_key_then() {
    let stand = ending_in(40 * 3600).await;
    let (path, later) = (stand.home.path("rotator.json"), stand.home.path("later.json"));
    fs::rename(&path, &later).unwrap();
    let daemon = stand.home.start().await;
    until("a token is there", async || daemon.get("apps", "/v1/token").await.status == 200).await;
    // Nothing tells that it has looked in vain.
    tokio::time::sleep(Duration::from_millis(200)).await;
    fs::rename(&later, &path).unwrap();
    until_told(&daemon).await;
}

// fault 116: no token outlives its key
#[tokio::test]
async fn a_token_ends_with_its_key_at_the_latest() {
    let stand = ending_in(600).await;
    let daemon = stand.start().await;
    until_ok(async || {
        let left = daemon.get("apps", "/v1/token").await.json()["expires_in"].as_u64().unwrap();
        if left <= 600 { Ok(()) } else { Err(format!("{left}: {}", daemon.log())) }
    })
    .await;
    assert!(daemon.get("apps", "/v1/token").await.json()["expires_in"].as_u64().unwrap() > 500);
}
