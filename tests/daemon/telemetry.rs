//! Metrics and probes.

use crate::bench::{Daemon, Place, Reply, Stand, Visitor, until};

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
    for path in ["//", "/v1/token", "/v1/status", "/v1/ready"] {
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
    // The first refresh may lie at any point of a period.
    assert!((0.05..0.65).contains(&((next - issued) / 3600.0)), "{issued} to {next}");
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

/// What a browser sends when somebody types an address.
const VISIT: &str = "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n\
                     Sec-Fetch-Dest: document\r\nUpgrade-Insecure-Requests: 1\r\n";

async fn visit(daemon: &Daemon, path: &str, headers: &str) -> Reply {
    let mut visitor = Visitor::connect(&daemon.place("telemetry")).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    visitor.send(request.as_bytes()).await;
    visitor.reply().await
}

#[tokio::test]
async fn the_page_shows_what_status_shows_and_holds_no_secret() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    let page = visit(&daemon, "/", VISIT).await;
    assert_eq!(page.status, 200, "{page:?}");
    page.assert_common_headers();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("script"), "what is not named falls back to nothing: {policy}");
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let html = page.text();
    for word in ["default", "valid", "apps", "web", "1 request,", "1 mint, 0 failed", "<meter"] {
        assert!(html.contains(word), "{word}: {html}");
    }
    assert!(!html.contains(&token) && !html.contains(&stand.issuer.key().1));
    assert!(!html.contains("<script") && !html.contains("http"), "nothing comes from elsewhere");
}

// faults 130, 133, 136, 149
#[tokio::test]
async fn only_a_person_comes_to_the_page_by_a_browser() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let from_a_page = VISIT.replace("Site: none", "Site: cross-site");
    let in_a_frame = VISIT.replace("Dest: document", "Dest: iframe");
    let by_a_script = VISIT.replace("Mode: navigate", "Mode: no-cors");
    let with_origin = format!("{VISIT}Origin: http://localhost\r\n");
    let with_referer = format!("{VISIT}Referer: http://localhost/\r\n");
    for headers in [from_a_page, in_a_frame, by_a_script, with_origin, with_referer] {
        let refused = visit(&daemon, "/", &headers).await;
        assert_eq!(refused.problem(), "refused", "{headers}");
    }
    for path in ["/metrics", "/readyz", "/livez", "/other"] {
        assert_eq!(visit(&daemon, path, VISIT).await.problem(), "refused", "{path}");
    }
    let forwarded = visit(&daemon, "/", "X-Forwarded-For: 192.0.2.1\r\n").await;
    assert_eq!(forwarded.problem(), "refused");
    assert_eq!(visit(&daemon, "/?x", "").await.status, 400);
    assert_eq!(visit(&daemon, "/", "").await.status, 200, "curl comes in, too");
}

#[tokio::test]
async fn hostile_names_stay_text_on_the_page() {
    let mut stand = Stand::new().await;
    let key = stand.home.path("<b>key<script>.json");
    stand.home.set("credentials.default.key_file", key.to_str().unwrap());
    let daemon = stand.home.start().await;
    until("the key is missed", async || {
        daemon.status().await["credentials"][0]["key_trouble"].is_string()
    })
    .await;
    let page = visit(&daemon, "/", VISIT).await;
    let html = page.text();
    assert!(html.contains("&lt;b&gt;key&lt;script&gt;.json"), "{html}");
    assert!(!html.contains("<b>") && !html.contains("<script"), "{html}");
}
