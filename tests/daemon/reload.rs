//! HUP: the whole new configuration, or the whole old one.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use toml::Value;

use crate::bench::{
    Daemon, Place, Stand, Visitor, client::request, injection::Injection, scale, stay_on_one_core,
    until,
};

/// Reloads and waits until that is over; tells whether the new configuration was taken.
pub(crate) async fn reload(stand: &Stand, daemon: &Daemon) -> bool {
    let count = |daemon: &Daemon| {
        let taken = daemon.events("the configuration was read again").len();
        (taken, daemon.events("the old configuration stays").len())
    };
    let before = count(daemon);
    stand.home.write();
    daemon.signal(Signal::HUP);
    until("the reload is over", async || count(daemon) != before).await;
    count(daemon).0 > before.0
}

async fn assert_reloads(daemon: &Daemon, success: f64, failure: f64) {
    let metrics = daemon.metrics().await;
    let count = |result| metrics.get("bearerd_config_reloads_total", &[("result", result)]);
    assert_eq!((count("success"), count("failure")), (success, failure));
}

// fault 212
#[tokio::test]
async fn a_wrong_configuration_leaves_the_old_one_in_force() {
    let mut stand = Stand::new().await;
    let mut daemon = stand.start().await;
    let token = daemon.token().await;
    let mut open = Visitor::connect(&daemon.place("apps")).await;
    let rows: [(&str, Value, &str); 5] = [
        ("listeners.apps.colour", "red".into(), "colour"),
        ("listeners.apps.idle_timeout", "60".into(), "idle_timeout"),
        ("listeners.apps.credentials", vec!["nobody"].into(), "listeners.apps.credentials"),
        ("okta.base_url", "http://issuer.example".into(), "base_url"),
        ("okta.ca_file", "/no/such/file.pem".into(), "/no/such/file.pem"),
    ];
    let saved = stand.home.saved();
    for (number, (key, value, named)) in rows.into_iter().enumerate() {
        stand.home.set(key, value);
        assert!(!reload(&stand, &daemon).await, "{key}");
        let events = daemon.events("the old configuration stays");
        let problem = events[number]["problem"].as_str().unwrap().to_owned();
        assert!(problem.contains(named), "{problem}");
        stand.home.restore(&saved);
    }
    assert_reloads(&daemon, 0.0, 5.0).await;
    let refused = daemon.status().await["refused_reload"].clone();
    assert!(refused["problem"].as_str().unwrap().contains("/no/such/file.pem"), "{refused}");
    assert_eq!(open.get("/v1/token").await.json()["bearer_token"], token);
    assert!(daemon.is_running());
    assert!(reload(&stand, &daemon).await);
    assert_reloads(&daemon, 1.0, 5.0).await;
    assert!(daemon.status().await["refused_reload"].is_null(), "it is mended");
}

// faults 212, 221
#[tokio::test]
async fn what_needs_a_restart_is_refused_by_name() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    let other = format!("unix:{}", stand.home.path("other.sock").display());
    let rows: [(&str, &str, &str); 6] = [
        ("telemetry.bind", "tcp:127.0.0.1:1", "telemetry"),
        ("control.bind", &other, "control"),
        ("state.dir", "/var/empty", "state.dir"),
        ("log.format", "text", "log.format"),
        ("listeners.apps.bind", &other, "listeners.apps.bind"),
        ("listeners.apps.mode", "0600", "listeners.apps.mode"),
    ];
    let saved = stand.home.saved();
    for (number, (key, value, named)) in rows.into_iter().enumerate() {
        stand.home.set(key, value);
        assert!(!reload(&stand, &daemon).await, "{key}");
        let problem = daemon.events("the old configuration stays")[number]["problem"].clone();
        assert_eq!(problem, format!("needs a restart: {named}"));
        stand.home.restore(&saved);
    }
    assert!(reload(&stand, &daemon).await);
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200);
}

#[tokio::test]
async fn listeners_come_and_go_and_the_token_survives() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    let extra = stand.home.path("extra.sock");
    let place = Place::Unix(extra.clone());
    stand.home.set("listeners.extra.bind", format!("unix:{}", extra.display()));
    let mut kept = Visitor::connect(&daemon.place("apps")).await;
    assert!(reload(&stand, &daemon).await);
    let mut visitor = Visitor::connect(&place).await;
    assert_eq!(visitor.get("/v1/token").await.json()["bearer_token"], token);
    stand.home.unset("listeners.extra");
    assert!(reload(&stand, &daemon).await);
    assert!(!extra.exists());
    assert!(Visitor::try_connect(&place).await.is_err());
    assert_eq!(visitor.rest().await, b"", "its connections end with it");
    assert_eq!(kept.get("/v1/token").await.json()["bearer_token"], token);
    assert_eq!(stand.issuer.mint_calls(), 1);
    let listeners = daemon.status().await["listeners"].clone();
    assert_eq!(listeners.as_array().unwrap().len(), 2, "{listeners}");
}

#[tokio::test]
async fn credentials_come_and_go_and_the_others_keep_their_tokens() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    stand.home.credential("second", None);
    stand.home.set("listeners.apps.credentials", vec!["default", "second"]);
    assert!(reload(&stand, &daemon).await);
    until("the new one has a token", async || {
        daemon.get("apps", "/v1/token?credential=second").await.status == 200
    })
    .await;
    assert_eq!(daemon.get("web", "/v1/token?credential=second").await.status, 404);
    assert_eq!(daemon.token().await, token);
    stand.home.unset("credentials.second");
    stand.home.set("listeners.apps.credentials", vec!["default"]);
    assert!(reload(&stand, &daemon).await);
    assert_eq!(daemon.get("apps", "/v1/token?credential=second").await.status, 404);
    let labels = [("credential", "second")];
    assert_eq!(daemon.metrics().await.find("bearerd_credential_ready", &labels), None);
    assert_eq!((daemon.token().await, stand.issuer.mint_calls()), (token, 2));
}

#[tokio::test]
async fn a_guard_that_changes_closes_open_connections() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    let mut apps = Visitor::connect(&daemon.place("apps")).await;
    let mut web = Visitor::connect(&daemon.place("web")).await;
    let etag = web.get("/v1/token").await.header("etag").unwrap().to_owned();
    let wait = [("If-None-Match", etag.as_str())];
    let held = request("GET", "/v1/token?wait=60s", &wait, b"");
    web.send(&held).await;
    stand.home.set("listeners.web.allowed_hosts", vec!["bearerd.internal"]);
    assert!(reload(&stand, &daemon).await);
    assert_eq!(web.rest().await, b"");
    assert_eq!(apps.get("/v1/token").await.status, 200, "the other listener's stay");
    let reply = daemon.get("web", "/v1/token").await;
    assert_eq!((reply.status, reply.problem().as_str()), (421, "wrong-host"));
}

#[tokio::test]
async fn another_base_url_or_key_place_starts_the_credential_anew() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    let moved = stand.home.path("moved.json");
    std::fs::copy(stand.home.path("key.json"), &moved).unwrap();
    stand.home.set("credentials.default.key_file", moved.to_str().unwrap());
    assert!(reload(&stand, &daemon).await);
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200, "the token is still good");
    until("the new broker has minted", async || stand.issuer.mints() == 2).await;
    until("its token is served", async || daemon.token().await != token).await;
}

// a new refresh setting is in force for the token at hand
#[tokio::test]
async fn a_shorter_life_takes_effect_at_once() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    stand.home.set("credentials.default.refresh.max_lifetime", "4s");
    assert!(reload(&stand, &daemon).await);
    until("a token of a shorter life is served", async || {
        daemon.get("apps", "/v1/token").await.json()["expires_in"].as_u64().unwrap() <= 4
    })
    .await;
    assert!(stand.issuer.mints() >= 2, "it was refreshed early");
}

// fault 259
#[tokio::test]
async fn reloads_in_quick_succession_end_with_the_last_one() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    for number in 0..20 {
        let path = stand.home.path(&format!("extra{number}.sock"));
        stand.home.set("listeners.web.first_token_wait", format!("{}ms", 100 + number));
        stand
            .home
            .set(&format!("listeners.extra{number}.bind"), format!("unix:{}", path.display()));
        stand.home.write();
        daemon.signal(Signal::HUP);
    }
    let last = stand.home.path("extra19.sock");
    until("the last one is in force", async || last.exists()).await;
    let reply = Visitor::connect(&Place::Unix(last)).await.get("/v1/token").await;
    assert_eq!(reply.status, 200);
    assert_eq!(stand.issuer.mint_calls(), 1);
}

#[tokio::test]
async fn the_log_level_changes_with_a_reload() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    stand.home.set("log.level", "error");
    stand.home.write();
    daemon.signal(Signal::HUP);
    let labels = [("result", "success")];
    until("the reload is over", async || {
        daemon.metrics().await.get("bearerd_config_reloads_total", &labels) == 1.0
    })
    .await;
    let said = daemon.events("connected").len();
    drop(Visitor::connect(&daemon.place("apps")).await.get("/v1/token").await);
    drop(Visitor::connect(&daemon.place("apps")).await.get("/v1/token").await);
    assert_eq!(daemon.events("connected").len(), said);
}

// fault 259: what an open listener never has, and a closed one never gives, nobody gets in between
#[tokio::test]
async fn no_request_meets_the_old_guard_and_the_new_credentials() {
    let mut stand = Stand::new().await;
    stand.home.credential("other", None);
    stand.home.serve(&["default".to_owned(), "other".to_owned()]);
    let open = stand.home.set("listeners.apps.credentials", vec!["default"]).saved();
    let closed = stand.home.set("listeners.apps.credentials", vec!["other"]);
    let closed = closed.set("listeners.apps.allow_uids", vec![12345]).saved();
    stand.home.restore(&open);
    let daemon = stand.start().await;
    daemon.until_ready().await;
    let place = daemon.place("apps");
    let asking = AtomicBool::new(true);
    let reloads = async {
        for round in 0..scale("BEARERD_TEST_RELOADS", 60) {
            stand.home.restore(if round % 2 == 0 { &closed } else { &open });
            assert!(reload(&stand, &daemon).await);
        }
        asking.store(false, Ordering::Relaxed);
    };
    let (halves, whole) = (ask_on(&place, 6, &asking), ask_on(&place, usize::MAX, &asking));
    let ((), halved, whole) = tokio::join!(reloads, halves, whole);
    for statuses in [halved, whole] {
        assert!(statuses.contains(&404) && statuses.contains(&403), "{statuses:?}");
        assert!(!statuses.contains(&200), "{statuses:?}");
    }
}

/// Asks for the other token again and again, in two pieces or whole; tells which statuses came.
async fn ask_on(place: &Place, first: usize, asking: &AtomicBool) -> BTreeSet<u16> {
    let bytes = request("GET", "/v1/token?credential=other", &[], b"");
    let (start, rest) = bytes.split_at(first.min(bytes.len()));
    let mut statuses = BTreeSet::new();
    while asking.load(Ordering::Relaxed) {
        let Ok(mut visitor) = Visitor::try_connect(place).await else { continue };
        loop {
            visitor.try_send(start).await;
            visitor.try_send(rest).await;
            let Some(reply) = visitor.try_reply().await else { break };
            statuses.insert(reply.status);
            if reply.status != 404 || !asking.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    statuses
}

/// Has a daemon on one core, and lets each read of its configuration take so long.
async fn with_slow_files(stand: &Stand, millis: u32) -> Option<(Daemon, Injection)> {
    stay_on_one_core();
    let daemon = stand.start().await;
    daemon.token().await;
    let (file, how) = (stand.home.path("bearerd.toml"), format!("delay_enter={millis}ms"));
    let injection = Injection::start_on(&daemon, &file, "read", &how).await?;
    daemon.signal(Signal::HUP);
    Some((daemon, injection))
}

#[tokio::test]
async fn who_is_served_does_not_wait_for_files_that_are_slow() {
    let stand = Stand::new().await;
    let Some((daemon, injection)) = with_slow_files(&stand, 500).await else { return };
    let mut visitor = Visitor::connect(&daemon.place("web")).await;
    let (mut longest, mut asked) = (Duration::ZERO, 0);
    sleep(Duration::from_millis(100)).await;
    // For what may have been written since it was read: it is not lost.
    daemon.signal(Signal::HUP);
    while daemon.events("the configuration was read again").len() < 2 {
        let began = Instant::now();
        assert_eq!(visitor.get("/v1/token").await.status, 200);
        longest = longest.max(began.elapsed());
        asked += 1;
        sleep(Duration::from_millis(20)).await;
    }
    assert!(asked > 20 && longest < Duration::from_millis(300), "{asked}, {longest:?}");
    drop(injection);
    assert!(reload(&stand, &daemon).await);
}

// fault 205
#[tokio::test]
async fn a_stop_waits_for_a_reload_but_not_for_ever() {
    for (millis, is_in_order) in [(300, true), (6_000, false)] {
        let stand = Stand::new().await;
        let Some((mut daemon, _injection)) = with_slow_files(&stand, millis).await else { return };
        sleep(Duration::from_millis(200)).await;
        let (status, took) = daemon.stop().await;
        assert!(status.success() && took < Duration::from_secs(10), "{status:?}, {took:?}");
        assert_eq!(daemon.has_said("stopped"), is_in_order, "{}", daemon.log());
    }
}
