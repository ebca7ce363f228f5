//! The issuer goes and comes back; the key is replaced.

use std::time::Duration;

use bearerd::emulator::{Emulator, FaultPlan, Options};

use crate::{
    bench::{Reply, Stand, Visitor, rotating, seconds_of, until, wall},
    descriptors::processor,
    reload::reload,
};

/// Room for clocks that are read one after the other.
const CLOCKS: f64 = 0.1;

// faults 42, 201, 202, 203
#[tokio::test]
async fn without_an_issuer_a_token_lives_to_its_end_and_comes_back_without_help() {
    let mut stand = Stand::with(|options| options.lifetime = Duration::from_secs(5)).await;
    stand.home.set("credentials.default.refresh.retry_max", "1s");
    let (key_file, address) = (stand.home.path("key.json"), stand.issuer.address());
    let daemon = stand.start().await;
    let first = daemon.get("apps", "/v1/token").await.json();
    let Stand { issuer, home } = stand;
    issuer.stop().await;

    let mut visitor = Visitor::connect(&home.unix()).await;
    let gone = loop {
        let asked = wall();
        let reply = visitor.get("/v1/token").await;
        if reply.status != 200 {
            break reply;
        }
        let served = reply.json();
        assert!(asked < seconds_of(served["expires_at"].as_str().unwrap()), "{served}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // It may have been refreshed once more before the issuer went.
    assert!(wall() > seconds_of(first["expires_at"].as_str().unwrap()) - CLOCKS);
    assert_no_token(&gone, "connected to");
    for place in daemon.places() {
        let reply = Visitor::connect(&place).await.get("/v1/token").await;
        assert_no_token(&reply, "connected to");
    }
    assert_eq!(daemon.get("telemetry", "/livez").await.status, 200);
    let ready = daemon.get("telemetry", "/readyz?verbose").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready
            .text()
            .contains("[-] default: the issuer could not be connected to: connection refused")
    );
    assert_eq!(daemon.get("apps", "/v1/ready").await.status, 503);

    let options = Options { bind: address, key_file: Some(key_file), ..Options::default() };
    let issuer = Emulator::start(options).await.unwrap();
    daemon.until_ready().await;
    let back = daemon.token().await;
    assert_eq!(Stand { issuer, home }.accepts(&back).await, 200);
    let failures = daemon.metrics().await.failures("default");
    assert!(failures.iter().all(|(reason, _)| reason == "connect"), "{failures:?}");
}

fn assert_no_token(reply: &Reply, reason: &str) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.problem(), "no-token");
    assert!(reply.json()["detail"].as_str().unwrap().contains(reason), "{reply:?}");
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
}

// fault 202: neither a sink nor the rotation takes the token that is over for a new one
#[tokio::test]
async fn an_outage_past_the_end_of_the_token_keeps_nobody_busy() {
    let mut stand = rotating::fresh().await;
    stand.issuer.set_lifetime(Duration::from_secs(3));
    let sink = stand.home.path("token").to_str().unwrap().to_owned();
    stand.home.set("sinks.app.path", sink);
    let daemon = stand.start().await;
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200);
    stand.issuer.inject("503".parse::<FaultPlan>().unwrap());
    until("the token is over", async || daemon.get("apps", "/v1/token").await.status == 503).await;
    // The sink is another one now, and the rotation looks around.
    stand.home.set("sinks.app.format", "json");
    assert!(reload(&stand, &daemon).await);
    let before = processor(&daemon);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let took = processor(&daemon) - before;
    assert!(took < 0.3, "{took} s of 3 s");
}

// fault 81
#[tokio::test]
async fn a_new_key_is_adopted_and_the_token_changes_with_it() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let old = daemon.token().await;
    let (old_key, new_key) = (stand.issuer.key(), stand.issuer.add_key("robot"));
    stand.home.write_key(&new_key);
    until("the new key has minted", async || daemon.token().await != old).await;
    assert_eq!(daemon.status().await["credentials"][0]["key_id"], new_key.0);
    assert!(stand.issuer.expire_key(&old_key.0, Duration::ZERO));
    assert_eq!(stand.accepts(&daemon.token().await).await, 200);
    let labels = [("credential", "default"), ("trigger", "key_changed"), ("result", "success")];
    assert_eq!(daemon.metrics().await.get("bearerd_token_refreshes_total", &labels), 1.0);
}

// faults 20, 91: a key that the issuer refuses replaces nothing
#[tokio::test]
async fn a_new_key_that_is_refused_leaves_token_and_old_key_in_place() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    let (id, _) = stand.issuer.add_key("robot");
    stand.home.write_key(&(id.clone(), "wrong".into()));
    until("the new key was tried", async || stand.issuer.mint_calls() == 2).await;
    until("its failure was counted", async || {
        !daemon.metrics().await.failures("default").is_empty()
    })
    .await;
    assert_eq!(daemon.metrics().await.failures("default"), [("unauthorized".into(), 1.0)]);
    assert_eq!(daemon.token().await, token);
    assert!(daemon.is_ready().await);
    // The old key is heard when somebody asks, whatever the new one did.
    let (key_id, _) = stand.issuer.key();
    assert_eq!(daemon.status().await["credentials"][0]["key_id"], key_id);
}
