//! The key is read, followed and missed.

use std::time::Duration;

use crate::{
    bench::{Daemon, until, until_ok},
    pod::{Pods, can_be_run},
};

/// Waits until the daemon says what is wrong with the key, in this sentence.
async fn until_told(daemon: &Daemon, part: &str) {
    until_ok(async || {
        let told = daemon.events("the API key cannot be read");
        let found = told.iter().any(|it| it["problem"].as_str().unwrap().contains(part));
        if found { Ok(()) } else { Err(daemon.log()) }
    })
    .await;
}

async fn until_used(daemon: &Daemon, id: &str) {
    until_ok(async || {
        let used = daemon.status().await["credentials"][0]["key_id"].clone();
        if used == *id { Ok(()) } else { Err(daemon.log()) }
    })
    .await;
}

// faults 77 and 78: and no secret of it is in the log
#[tokio::test]
async fn a_key_is_read_and_its_successor_followed() {
    if !can_be_run() {
        return;
    }
    let mut pods = Pods::new().await;
    pods.put_key();
    let daemon = pods.start().await;
    daemon.until_ready().await;
    until("it is watched", async || !pods.cluster.watches().is_empty()).await;
    let new = pods.stand.issuer.add_key("robot");
    pods.cluster.put_key(&new);
    until_used(&daemon, &new.0).await;
    for secret in [&new.1, &pods.stand.issuer.key().1, "token-1"] {
        assert!(!daemon.log().contains(secret), "{}", daemon.log());
    }
    assert!(daemon.has_said("confined"), "{}", daemon.log());
}

#[tokio::test]
async fn a_secret_that_comes_later_is_found_and_one_that_goes_is_missed() {
    if !can_be_run() {
        return;
    }
    let mut pods = Pods::new().await;
    let daemon = pods.start().await;
    until_told(&daemon, "the Secret apps/okta-key does not exist: make it").await;
    pods.put_key();
    daemon.until_ready().await;
    let (id, secret) = pods.stand.issuer.key();
    for (fields, told) in [
        (vec![("key_id", &*id)], "okta-key lacks the field key_secret: add it"),
        (vec![("key_id", "x"), ("key_secret", &secret)], "has a key_id that is not a UUID"),
        (vec![], "lacks the field key_id"),
    ] {
        pods.cluster.put(&fields);
        until_told(&daemon, told).await;
    }
    pods.cluster.delete();
    let missed = || daemon.events("the API key cannot be read").len();
    until_ok(async || if missed() >= 5 { Ok(()) } else { Err(daemon.log()) }).await;
    assert!(daemon.is_ready().await, "the old key stays");
    let status = daemon.status().await;
    let trouble = status["credentials"][0].to_string();
    assert!(trouble.contains("does not exist"), "{trouble}");
    // A line end that an editor leaves is not part of it.
    pods.cluster.put(&[("key_id", &format!("{id}\n")), ("key_secret", &format!("{secret}\n"))]);
    until_ok(async || {
        let trouble = daemon.status().await["credentials"][0].to_string();
        if trouble.contains("does not exist") { Err(trouble) } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn who_lacks_a_right_is_told_which_to_grant() {
    if !can_be_run() {
        return;
    }
    let mut pods = Pods::new().await;
    pods.put_key();
    pods.cluster.deny("get", "secrets");
    pods.cluster.deny("watch", "secrets");
    let daemon = pods.start().await;
    until_told(&daemon, "grant it the verbs get and watch on this Secret").await;
    pods.cluster.take_tokens(&["another"]);
    until_told(&daemon, "does not take the pod's token").await;
    pods.cluster.grant_all();
    // The kubelet renews the token, and nobody has to be started again.
    pods.cluster.take_tokens(&["token-2"]);
    pods.mount(2);
    daemon.until_ready().await;
}

#[tokio::test]
async fn without_a_watch_the_poll_finds_it() {
    if !can_be_run() {
        return;
    }
    let mut pods = Pods::new().await;
    pods.put_key();
    pods.cluster.deny("watch", "secrets");
    let daemon = pods.start().await;
    daemon.until_ready().await;
    until("it says so", async || daemon.has_said("the Secret is only looked at each 30 s")).await;
    let new = pods.stand.issuer.add_key("robot");
    pods.cluster.put_key(&new);
    crate::pod::until_long(async || {
        let used = daemon.status().await["credentials"][0]["key_id"].clone();
        if used == *new.0 { Ok(()) } else { Err(daemon.log()) }
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_ends_is_resumed_and_one_that_is_forgotten_begun_anew() {
    if !can_be_run() {
        return;
    }
    let mut pods = Pods::new().await;
    pods.put_key();
    pods.cluster.end_watches_after(Duration::from_millis(300));
    pods.cluster.answer_after(Duration::from_millis(50));
    let daemon = pods.start().await;
    daemon.until_ready().await;
    until("it is resumed", async || pods.cluster.watches().iter().flatten().count() >= 2).await;
    let before = pods.cluster.watches().len();
    pods.cluster.forget();
    let anew = || pods.cluster.watches().iter().skip(before).any(Option::is_none);
    until("it is begun anew", async || anew()).await;
    let new = pods.stand.issuer.add_key("robot");
    pods.cluster.put_key(&new);
    until_used(&daemon, &new.0).await;
    assert!(pods.cluster.watches().len() < 60, "it is not asked for again and again");
}
