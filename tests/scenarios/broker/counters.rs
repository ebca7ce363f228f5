//! The numbers that a history leaves behind, and settings that change while it goes on.

use std::collections::BTreeMap;

use bearerd::token::{
    handle::{Claim, Handle, Refreshed},
    timing::RefreshSettings,
};
use tokio::task::JoinSet;

use super::{millis, secs};
use crate::bench::{
    Bench,
    clock::{BOOT, DAWN},
    issuer::{FakeIssuer, token},
};

fn counts<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.map(|(label, count)| (label.to_owned(), count)).into()
}

async fn report(handle: &Handle, claim: &str) {
    handle.reject(Claim::Token(claim.as_bytes())).await;
}

#[tokio::test(start_paused = true)]
async fn mints_are_counted_by_trigger_and_reports_by_what_came_of_them() {
    let answers = ["unavailable", "1h", "1h", "busy", "1h"];
    let issuer = FakeIssuer::says(answers);
    let bench = Bench::started(RefreshSettings::default(), issuer, 'A').await;
    bench.pass(secs(600)).await;
    report(&bench.handle, &token(1)).await;
    bench.pass(secs(600)).await;
    report(&bench.handle, &token(1)).await;
    report(&bench.handle, "SNTL.never.granted").await;
    report(&bench.handle, &token(2)).await;
    bench.pass(secs(60)).await;
    assert!(matches!(bench.handle.refresh().await, Refreshed::New(_)));
    assert!(matches!(bench.handle.refresh().await, Refreshed::Throttled(_)));
    bench.pass(secs(600)).await;
    bench.handle.with_life(secs(59 * 60)).await;
    bench.pass(secs(1860)).await;

    let refreshed =
        [("startup", 1), ("rejected", 1), ("scheduled", 2), ("manual", 1), ("min_ttl", 1)];
    assert_eq!(bench.refreshes("success"), counts(refreshed));
    assert_eq!(bench.refreshes("failure"), counts([("startup", 1), ("rejected", 1)]));
    let failures = bench.counts("bearerd_token_refresh_failures_total", "reason", "");
    assert_eq!(failures, counts([("server_error", 1), ("rate_limited", 1)]));
    let outcomes = bench.counts("bearerd_token_rejections_total", "outcome", "");
    assert_eq!(outcomes, counts([("refreshed", 1), ("stale", 1), ("unknown", 1), ("failed", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_report_is_counted_as_such() {
    let issuer = FakeIssuer::says(["1h"]);
    let bench = Bench::started(RefreshSettings::default(), issuer, 'A').await;
    bench.pass(secs(10)).await;
    // Mints at 10 s, 13 s and 16 s; then the budget is spent until 20 s, and a probe finds no flaw.
    let mut clients = JoinSet::new();
    for _ in 0..14 {
        let handle = bench.handle.clone();
        clients.spawn(async move {
            let (current, _) = handle.current().expect("a valid token");
            handle.reject(Claim::TokenId(current.token_id())).await;
        });
        bench.pass(millis(700)).await;
    }
    clients.join_all().await;
    let outcomes = bench.counts("bearerd_token_rejections_total", "outcome", "");
    assert_eq!(outcomes, counts([("refreshed", 9), ("throttled", 5)]));
}

#[tokio::test(start_paused = true)]
async fn the_gauges_tell_the_life_of_the_token_in_wall_time() {
    let issuer = FakeIssuer::says(["1h in 2s"]);
    let bench = Bench::started(RefreshSettings::default(), issuer, 'A').await;
    bench.pass(secs(600)).await;
    let text = String::from_utf8(bench.metrics.render()).expect("text");
    let dawn = DAWN.since_epoch().as_secs();
    for (gauge, seconds) in [("issued", 0), ("expiry", 3600), ("next_refresh", 1800)] {
        let name = format!("bearerd_token_{gauge}_timestamp_seconds{{credential=\"default\"}}");
        assert!(text.contains(&format!("{name} {}\n", dawn + seconds)), "{gauge}\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn new_settings_hold_for_the_token_at_hand() {
    let issuer = FakeIssuer::says(["1h"]);
    let bench = Bench::started(RefreshSettings::default(), issuer, 'A').await;
    let next = |bench: &Bench| bench.handle.state().next_refresh.map(|at| at.since(BOOT));
    assert_eq!(next(&bench), Some(secs(1800)));
    let earlier = RefreshSettings { at: 0.25, ..RefreshSettings::default() };
    bench.settings.send_replace(earlier);
    bench.settle().await;
    assert_eq!(next(&bench), Some(secs(900)));
    bench.settings.send_replace(RefreshSettings::default());
    bench.settle().await;
    assert_eq!(next(&bench), Some(secs(900)), "never put off");
    let shorter = RefreshSettings { max_lifetime: secs(600), ..RefreshSettings::default() };
    bench.settings.send_replace(shorter);
    bench.settle().await;
    assert_eq!(next(&bench), Some(secs(300)));
    bench.pass(secs(301)).await;
    assert_eq!((bench.serves(), next(&bench)), (Some(2), Some(secs(600))));
}
