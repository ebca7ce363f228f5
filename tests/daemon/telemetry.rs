//! Metrics and probes.

use crate::bench::{Place, Stand, Visitor, until};

#[tokio::test]
async fn probes_and_metrics_are_read_without_our_header() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let place = daemon.place("telemetry");
    let plain = async |method: &str, path: &str, host: &str| {
        let mut visitor = Visitor::connect(&place).await;
        visitor.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
        if method == "HEAD" { visitor.head().await } else { visitor.reply().await }
    };
    for path in ["/livez", "/readyz", "/metrics"] {
        let reply = plain("GET", path, "localhost").await;
        assert_eq!(reply.status, 200, "{path}");
        reply.assert_common_headers();
        assert!(reply.header("content-type").unwrap().starts_with("text/plain"));
        assert_eq!(plain("GET", path, "evil.example").await.status, 421, "{path}");
        assert_eq!(plain("HEAD", path, "127.0.0.1").await.status, 200, "{path}");
        for method in ["POST", "DELETE"] {
            let reply = plain(method, path, "localhost").await;
            assert_eq!(reply.header("allow"), Some("GET, HEAD"), "{path}");
            assert_eq!(reply.problem(), "method-not-allowed");
        }
        assert_eq!(plain("GET", &format!("{path}?x=y"), "localhost").await.status, 400);
    }
    for path in ["/", "/v1/token", "/v1/status", "/v1/ready"] {
        assert_eq!(plain("GET", path, "localhost").await.status, 404, "{path}");
    }
    let verbose = plain("GET", "/readyz?verbose", "localhost").await;
    assert!(verbose.text().starts_with("[+] default: valid for 3"), "{verbose:?}");
    assert_eq!(plain("GET", "/livez?verbose", "localhost").await.status, 200);
}

#[tokio::test]
async fn counters_exist_from_the_start_and_gauges_say_what_is() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let metrics = daemon.metrics().await;
    let credential = ("credential", "default");
    for trigger in ["startup", "scheduled", "rejected", "min_ttl", "key_changed", "manual"] {
        for result in ["success", "failure"] {
            let labels = [credential, ("trigger", trigger), ("result", result)];
            let expected = f64::from(u8::from((trigger, result) == ("startup", "success")));
            let family = "bearerd_token_refreshes_total";
            assert_eq!(metrics.get(family, &labels), expected, "{labels:?}");
        }
    }
    let reasons = [
        "dns",
        "connect",
        "tls",
        "timeout",
        "unauthorized",
        "forbidden",
        "not_found",
        "bad_request",
        "rate_limited",
        "server_error",
        "malformed",
        "expired",
        "wrong_team",
        "redirect",
    ];
    for reason in reasons {
        let labels = [credential, ("reason", reason)];
        assert_eq!(metrics.get("bearerd_token_refresh_failures_total", &labels), 0.0);
    }
    for outcome in ["refreshed", "stale", "unknown", "throttled", "failed"] {
        let labels = [credential, ("outcome", outcome)];
        assert_eq!(metrics.get("bearerd_token_rejections_total", &labels), 0.0);
    }
    for result in ["success", "failure"] {
        assert_eq!(metrics.get("bearerd_config_reloads_total", &[("result", result)]), 0.0);
    }
    assert_eq!(metrics.get("bearerd_log_lines_dropped_total", &[]), 0.0);
    assert_eq!(metrics.get("bearerd_credential_ready", &[credential]), 1.0);
    assert_eq!(metrics.get("bearerd_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    let moment = |family: &str| metrics.get(family, &[credential]);
    let issued = moment("bearerd_token_issued_timestamp_seconds");
    let next = moment("bearerd_token_next_refresh_timestamp_seconds");
    let expiry = moment("bearerd_token_expiry_timestamp_seconds");
    assert!((expiry - issued - 3600.0).abs() < 5.0, "{issued} to {expiry}");
    assert!((0.35..0.65).contains(&((next - issued) / 3600.0)), "{issued} to {next}");
    assert_eq!(moment("bearerd_token_refresh_duration_seconds_count"), 1.0);
    assert_eq!(moment("bearerd_issuer_clock_skew_seconds"), 0.0);
    assert_eq!(moment("bearerd_issuer_rate_limit_remaining"), 9999.0);
    assert!(metrics.get("process_resident_memory_bytes", &[]) > 0.0);
    assert!(metrics.get("bearerd_config_last_reload_success_timestamp_seconds", &[]) > 1e9);
}

// fault 192
#[tokio::test]
async fn no_request_can_make_a_new_series() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let visit = async || {
        for place in daemon.places() {
            for number in 0..50 {
                let mut visitor = Visitor::connect(&place).await;
                visitor.get(&format!("/{number}")).await;
                visitor.get(&format!("/v1/token?credential=c{number}")).await;
                let agent = format!("agent{number}");
                visitor.request(&format!("M{number}"), "/v1/token", &[("X", &agent)], b"").await;
            }
        }
        // A scrape is counted when it is over, so the second one knows of scrapes too.
        daemon.metrics().await;
        daemon.metrics().await.len()
    };
    let first = visit().await;
    assert_eq!(visit().await, first);
}

// fault 193
#[tokio::test]
async fn a_hundred_scrapes_at_once_are_all_answered() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let place = daemon.place("telemetry");
    let mut scrapes = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let place = place.clone();
        scrapes.spawn(async move { Visitor::connect(&place).await.get("/metrics").await.status });
    }
    assert!(scrapes.join_all().await.into_iter().all(|status| status == 200));
    assert!(matches!(place, Place::Tcp(_)));
}

#[tokio::test]
async fn readiness_counts_only_what_is_required() {
    let mut stand = Stand::new().await;
    stand.home.credential("spare", Some("http://127.0.0.1:9"));
    stand.home.set("credentials.spare.required", false);
    stand.home.credential("needed", Some("http://127.0.0.1:9"));
    let daemon = stand.home.start().await;
    daemon.until_failed("needed").await;
    assert!(!daemon.is_ready().await);
    stand.home.unset("credentials.needed");
    stand.home.write();
    daemon.signal(rustix::process::Signal::HUP);
    daemon.until_ready().await;
    until("the default is ready too", async || {
        let text = daemon.get("telemetry", "/readyz?verbose").await.text().to_owned();
        text.contains("[+] default") && text.contains("[-] spare (not required)")
    })
    .await;
}
