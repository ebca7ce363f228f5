//! Clients that report a 401: one mint for all of them, and none for an old token.

use std::time::Duration;

use bearerd::emulator::{FaultPlan, Seen};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use crate::bench::{Daemon, Reply, Stand, Visitor, set};

async fn token_id(daemon: &Daemon) -> String {
    daemon.get("apps", "/v1/token").await.json()["token_id"].as_str().unwrap().to_owned()
}

/// Counts the reports by outcome.
async fn outcome(daemon: &Daemon, outcome: &str) -> f64 {
    let labels = [("credential", "default"), ("outcome", outcome)];
    daemon.metrics().await.get("bearerd_token_rejections_total", &labels)
}

#[tokio::test]
async fn two_hundred_reports_of_one_token_cause_one_mint_and_all_get_the_new_one() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let reported = token_id(&daemon).await;
    let mut reports = JoinSet::new();
    for place in daemon.places().into_iter().cycle().take(200) {
        let report = json!({ "token_id": reported });
        reports.spawn(async move { Visitor::connect(&place).await.report(&report).await });
    }
    let replies = reports.join_all().await;
    let ids = replies.iter().map(|reply| {
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["token_id"].as_str().unwrap().to_owned()
    });
    assert_eq!(set(ids), set([token_id(&daemon).await]));
    assert_ne!(token_id(&daemon).await, reported);
    assert_eq!(stand.issuer.mint_calls(), 2);
    assert_eq!(outcome(&daemon, "refreshed").await, 200.0);
}

#[tokio::test]
async fn a_report_about_an_old_or_unknown_token_mints_nothing() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let (old, old_id) = (daemon.token().await, token_id(&daemon).await);
    assert!(daemon.refresh("default").await["token_id"].is_string());
    let current = token_id(&daemon).await;
    let reports = [
        (json!({ "token_id": old_id }), "stale"),
        (json!({ "bearer_token": old }), "stale"),
        (json!({ "token_id": "0123456789abcdef" }), "unknown"),
        (json!({ "bearer_token": "never.heard.of" }), "unknown"),
    ];
    for (report, _) in &reports {
        for place in daemon.places() {
            let reply = Visitor::connect(&place).await.report(report).await;
            assert_eq!((reply.status, &reply.json()["token_id"]), (200, &json!(current)));
        }
    }
    assert_eq!(stand.issuer.mint_calls(), 2);
    assert_eq!((outcome(&daemon, "stale").await, outcome(&daemon, "unknown").await), (4.0, 4.0));
}

// faults 27, 175: once the budget is spent, the issuer's word counts, not the client's
#[tokio::test]
async fn beyond_the_budget_a_report_is_tried_with_the_issuer() {
    let (wrong, right) =
        tokio::join!(report_beyond_the_budget(false), report_beyond_the_budget(true));
    assert_eq!((wrong.status, wrong.problem().as_str()), (429, "too-many-requests"));
    let wait: u64 = wrong.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    assert_eq!(right.status, 200, "{right:?}");
}

/// Reports each new token until the budget is spent and one has been tried with the issuer.
async fn report_beyond_the_budget(revoked: bool) -> Reply {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    for _ in 0..3 {
        assert_eq!(report_current(&daemon).await.status, 200);
    }
    if revoked {
        stand.issuer.revoke_all_tokens();
    }
    let is_trial = |seen: &Seen| seen.path.ends_with("/current_user");
    for _ in 0..400 {
        let reply = report_current(&daemon).await;
        if stand.issuer.requests().iter().any(is_trial) {
            return reply;
        }
        assert_eq!(reply.status, 429, "before the token is old enough: {reply:?}");
        sleep(Duration::from_millis(20)).await;
    }
    panic!("no report was tried");
}

async fn report_current(daemon: &Daemon) -> Reply {
    let report = json!({ "token_id": token_id(daemon).await });
    Visitor::connect(&daemon.place("apps")).await.report(&report).await
}

#[tokio::test]
async fn a_report_that_brings_no_newer_token_leaves_the_old_one_to_the_others() {
    let mut stand = Stand::new().await;
    // So that the back-off, which is drawn, is not over before the second report.
    stand.home.set("credentials.default.refresh.retry_min", "60s");
    let daemon = stand.start().await;
    let token = daemon.token().await;
    stand.issuer.inject("mint@503".parse::<FaultPlan>().unwrap());
    for place in daemon.places() {
        let reply = Visitor::connect(&place).await.report(&json!({ "bearer_token": token })).await;
        assert_eq!((reply.status, reply.problem().as_str()), (503, "no-newer-token"));
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
    }
    assert_eq!(daemon.token().await, token);
    assert_eq!(outcome(&daemon, "failed").await, 2.0);
}
