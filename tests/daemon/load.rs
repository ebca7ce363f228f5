//! Many clients at once, most of them no good: the others notice little, and memory stays small.
//!
//! Each test has a short form, which compares generously, and a long one behind a variable.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::bench::{
    Daemon, Place, Stand, Visitor, allow_descriptors, client::request, scale, tell, until,
};

async fn connections(daemon: &Daemon) -> f64 {
    let metrics = daemon.metrics().await;
    ["apps", "web"]
        .map(|listener| metrics.get("bearerd_connections", &[("listener", listener)]))
        .iter()
        .sum()
}

/// Asks for the token on a new connection each time; tells how long each took, in order.
async fn fresh_requests(places: &[Place], count: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for place in places.iter().cycle().take(count) {
        let began = Instant::now();
        assert_eq!(Visitor::connect(place).await.get("/v1/token").await.status, 200);
        took.push(began.elapsed());
    }
    took.sort();
    took
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

// faults 181, 182
#[tokio::test]
async fn silent_and_half_sent_connections_slow_nobody_and_are_gone_in_time() {
    let count = scale("BEARERD_TEST_SILENT", 100);
    let is_campaign = count >= 600;
    let mut stand = Stand::new().await;
    let deadline = Duration::from_secs(if is_campaign { 5 } else { 2 });
    for listener in ["apps", "web"] {
        stand.home.set(&format!("listeners.{listener}.header_timeout"), format!("{deadline:?}"));
    }
    let daemon = stand.start().await;
    let places = daemon.places();
    let mut bad = Vec::new();
    for (number, place) in places.iter().cycle().take(count).enumerate() {
        let mut visitor = Visitor::connect(place).await;
        // In pairs, so that each kind comes to both listeners.
        if number / 2 % 2 == 0 {
            visitor.send(b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\nX-Be").await;
        }
        bad.push(visitor);
    }
    let last = Instant::now();
    let took = fresh_requests(&places, if is_campaign { 1000 } else { 50 }).await;
    let p99 = percentile(&took, 99);
    assert!(last.elapsed() < deadline, "they were still there: {:?}", last.elapsed());
    until("they are gone", async || connections(&daemon).await == 0.0).await;
    let gone = last.elapsed();
    tell(&format!(
        "beside {count}: median {:?}, p99 {p99:?}; gone after {gone:?}",
        took[took.len() / 2]
    ));
    assert!(p99 < Duration::from_millis(if is_campaign { 50 } else { 1000 }), "{p99:?}");
    assert!(gone < deadline + Duration::from_secs(10), "{gone:?}");
}

// faults 184, 189
#[tokio::test]
async fn thousands_of_open_connections_take_little_memory() {
    let count = scale("BEARERD_TEST_CONNECTIONS", 1000);
    let mut stand = Stand::new().await;
    for listener in ["apps", "web"] {
        let mut set = |key: &str, value: &str| {
            stand.home.set(&format!("listeners.{listener}.{key}"), value);
        };
        set("header_timeout", "10m");
        set("idle_timeout", "10m");
        let most = i64::try_from(count + 10).unwrap();
        stand.home.set(&format!("listeners.{listener}.max_connections"), most);
    }
    allow_descriptors();
    let daemon = stand.start().await;
    let before = daemon.resident();
    let mut open = Vec::new();
    for (number, place) in daemon.places().iter().cycle().take(count).enumerate() {
        let mut visitor = Visitor::connect(place).await;
        // Half have never asked, half have and may ask again.
        if number / 2 % 2 == 0 {
            assert_eq!(visitor.get("/v1/token").await.status, 200);
        }
        open.push(visitor);
    }
    until("all are in", async || connections(&daemon).await >= count as f64).await;
    let resident = daemon.resident();
    let each = (resident - before) * 1024 / i64::try_from(count).unwrap();
    tell(&format!("{count} connections: {resident} KiB resident, {each} bytes for each"));
    assert!(resident < 64 * 1024, "{resident} KiB");
    assert!(each < 6 * 1024, "{each} bytes for each");
    assert_eq!(open[0].get("/v1/token").await.status, 200);
}

// faults 175, 177: however many report one token, one mint answers all of them
#[tokio::test]
async fn ten_thousand_reports_of_one_token_are_two_mints_at_most() {
    const CLIENTS: usize = 100;
    let count = scale("BEARERD_TEST_REPORTS", 1000);
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let token_id = daemon.get("apps", "/v1/token").await.json()["token_id"].clone();
    let report = json!({ "token_id": token_id }).to_string();
    let json = [("Content-Type", "application/json")];
    let report = request("POST", "/v1/token/rejected", &json, report.as_bytes());
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for place in daemon.places().into_iter().cycle().take(CLIENTS) {
        let report = report.clone();
        clients.spawn(async move {
            let mut visitor = Visitor::connect(&place).await;
            let (mut asked, mut ids) = (0, Vec::new());
            while asked < count / CLIENTS {
                let batch = 10.min(count / CLIENTS - asked);
                visitor.send(&report.repeat(batch)).await;
                for _ in 0..batch {
                    let reply = visitor.reply().await;
                    assert_eq!(reply.status, 200, "{reply:?}");
                    ids.push(reply.json()["token_id"].clone());
                }
                asked += batch;
            }
            ids
        });
    }
    let ids = clients.join_all().await.concat();
    let (took, mints) = (began.elapsed(), stand.issuer.mint_calls() - 1);
    tell(&format!("{} reports in {took:?}: {mints} mints", ids.len()));
    assert_eq!(ids.len(), count);
    assert!(ids.iter().all(|id| *id != token_id), "each got another token");
    assert!((1..=2).contains(&mints), "{mints} mints");
}

// fault 175: whoever reports every token for ever costs little, and the others less
#[tokio::test]
async fn reports_for_ever_cost_few_mints_and_slow_the_others_little() {
    let seconds = scale("BEARERD_TEST_REPORT_SECONDS", 4) as u64;
    let is_campaign = seconds >= 60;
    let rate: u64 = if is_campaign { 1000 } else { 200 };
    let mut stand = Stand::new().await;
    stand.home.set("listeners.apps.max_connections", 8192);
    allow_descriptors();
    let daemon = stand.start().await;
    let web = daemon.place("web");
    let quiet = paced_requests(&web, Duration::from_secs(2)).await;
    let apps = daemon.place("apps");
    let span = Duration::from_secs(seconds);
    let (reports, loud) = tokio::join!(report_for(apps, span, rate), paced_requests(&web, span));
    let mints = stand.issuer.mint_calls();
    let [before, during] = [&quiet, &loud].map(|took| percentile(took, 50));
    let p99 = [&quiet, &loud].map(|took| percentile(took, 99));
    tell(&format!(
        "{reports} reports in {seconds} s: {mints} mints; others {before:?} before, {during:?} \
         during (p99 {p99:?})"
    ));
    assert!(reports >= rate * seconds / 2, "{reports} reports are too few");
    assert!((2..=20).contains(&mints), "{mints} mints");
    let most = if is_campaign { 2 * before } else { 20 * before + Duration::from_millis(200) };
    assert!(during <= most, "{before:?} before, {during:?} during");
}

/// Asks fifty times a second on one connection; tells how long each took, in order.
async fn paced_requests(place: &Place, span: Duration) -> Vec<Duration> {
    let mut visitor = Visitor::connect(place).await;
    let mut pace = interval(Duration::from_millis(20));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (began, mut took) = (Instant::now(), Vec::new());
    while began.elapsed() < span {
        pace.tick().await;
        let asked = Instant::now();
        assert_eq!(visitor.get("/v1/token").await.status, 200);
        took.push(asked.elapsed());
    }
    took.sort();
    took
}

/// Reports whatever the current token is, so many times a second; tells how often it was heard.
async fn report_for(place: Place, span: Duration, rate: u64) -> u64 {
    let (began, mut reports) = (Instant::now(), JoinSet::new());
    let (mut count, mut heard) = (0, 0);
    let mut watcher = Visitor::connect(&place).await;
    while began.elapsed() < span {
        let current = watcher.get("/v1/token").await.json()["token_id"].clone();
        let due = u64::try_from(began.elapsed().as_millis()).unwrap() * rate / 1000;
        for _ in count..due {
            let (place, report) = (place.clone(), json!({ "token_id": current }));
            reports.spawn(async move {
                // The line before the door may be full for a moment.
                let Ok(mut visitor) = Visitor::try_connect(&place).await else { return 0 };
                let reply = visitor.report(&report).await;
                assert!([200, 429].contains(&reply.status), "{reply:?}");
                1
            });
        }
        count = count.max(due);
        while let Some(ended) = reports.try_join_next() {
            heard += ended.unwrap();
        }
        sleep(Duration::from_millis(5)).await;
    }
    heard + reports.join_all().await.into_iter().sum::<u64>()
}

// fault 170
#[tokio::test]
async fn who_comes_while_nobody_accepts_waits_in_the_line_and_is_served() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for place in daemon.places() {
        daemon.signal(Signal::STOP);
        let mut line = Vec::new();
        for _ in 0..300 {
            let mut visitor = Visitor::connect(&place).await;
            visitor.send(&request("GET", "/v1/token", &[], b"")).await;
            line.push(visitor);
        }
        daemon.signal(Signal::CONT);
        for visitor in &mut line {
            assert_eq!(visitor.reply().await.status, 200);
        }
    }
}
