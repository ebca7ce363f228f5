//! Every metric family, declared once. Names and labels are the contract's.

use std::{
    marker::PhantomData,
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
    process_collector::ProcessCollector,
};

use crate::token::timing::Wall;

/// Upper bounds of a call to the issuer, in seconds.
const CALL_BUCKETS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of an answer of ours, in seconds: microseconds usually, a wait at times.
const ANSWER_BUCKETS: [f64; 10] =
    [0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1, 1.0, 5.0, 60.0];

/// Holds all families of the process.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    expiry: GaugeVec,
    issued: GaugeVec,
    next_refresh: GaugeVec,
    refreshes: IntCounterVec,
    refresh_failures: IntCounterVec,
    refresh_duration: HistogramVec,
    rejections: IntCounterVec,
    clock_skew: GaugeVec,
    rate_limit_remaining: GaugeVec,
    key_expiry: GaugeVec,
    key_issued: GaugeVec,
    key_reloads: IntCounterVec,
    key_rotations: IntCounterVec,
    ready: GaugeVec,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    denied: IntCounterVec,
    upstream: IntCounterVec,
    replays: IntCounterVec,
    connections: IntGaugeVec,
    sink_writes: IntCounterVec,
    command_runs: IntCounterVec,
    config_reloads: IntCounterVec,
    config_reloaded: Gauge,
    /// `bearerd_log_lines_dropped_total`: lines lost because nobody read them.
    pub log_lines_dropped: IntCounter,
}

impl Metrics {
    /// Declares every family.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let new = Families(&registry);
        let metrics = Self {
            expiry: new.gauges("token_expiry_timestamp_seconds", "End of the token."),
            issued: new.gauges("token_issued_timestamp_seconds", "Start of the token's life."),
            next_refresh: new
                .gauges("token_next_refresh_timestamp_seconds", "When the next mint is due."),
            refreshes: new.counters("token_refreshes_total", "Mints.", &["trigger", "result"]),
            refresh_failures: new.counters(
                "token_refresh_failures_total",
                "Failed mints by reason.",
                &["reason"],
            ),
            refresh_duration: new.histograms(
                "token_refresh_duration_seconds",
                "Time of a mint.",
                &["credential"],
                &CALL_BUCKETS,
            ),
            rejections: new.counters(
                "token_rejections_total",
                "Clients' reports of a 401 by what came of them.",
                &["outcome"],
            ),
            clock_skew: new
                .gauges("issuer_clock_skew_seconds", "How far the issuer's clock is ahead."),
            rate_limit_remaining: new
                .gauges("issuer_rate_limit_remaining", "Calls left of the user's budget."),
            key_expiry: new.gauges("key_expiry_timestamp_seconds", "End of the key, if any."),
            key_issued: new.gauges("key_issued_timestamp_seconds", "When the key was issued."),
            key_reloads: new.counters("key_reloads_total", "Reads of a new key.", &["result"]),
            key_rotations: new.counters(
                "key_rotations_total",
                "Times that Okta was asked for a new key.",
                &["result"],
            ),
            ready: new.gauges("credential_ready", "1 while a valid token is held."),
            requests: new.plain_counters(
                "requests_total",
                "Answers.",
                &["listener", "endpoint", "code"],
            ),
            request_duration: new.histograms(
                "request_duration_seconds",
                "Time from a request's head to its answer.",
                &["listener", "endpoint"],
                &ANSWER_BUCKETS,
            ),
            denied: new.plain_counters(
                "requests_denied_total",
                "Refusals by reason.",
                &["listener", "reason"],
            ),
            upstream: new.plain_counters(
                "proxy_upstream_requests_total",
                "Forwarded calls by the issuer's answer.",
                &["listener", "code"],
            ),
            replays: new.plain_counters(
                "proxy_replays_total",
                "Calls sent again with a new token, by the issuer's second answer.",
                &["listener", "code"],
            ),
            connections: new.connections(),
            sink_writes: new.plain_counters(
                "sink_writes_total",
                "Files written with a token.",
                &["sink", "result"],
            ),
            command_runs: new.plain_counters(
                "command_runs_total",
                "Commands run because something changed.",
                &["command", "result"],
            ),
            config_reloads: new.plain_counters("config_reloads_total", "Reloads.", &["result"]),
            config_reloaded: new.config_reloaded(),
            log_lines_dropped: new.log_lines_dropped(),
            registry: registry.clone(),
        };
        metrics.describe_process(&new);
        metrics
    }

    fn describe_process(&self, new: &Families<'_>) {
        let revision = option_env!("BEARERD_REVISION").unwrap_or("unknown");
        new.build_info().with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1);
        for result in RESULTS {
            self.config_reloads.with_label_values(&[result]);
        }
        new.register(ProcessCollector::for_self());
    }

    /// Opens the metrics of one credential, with the counters of these labels at zero.
    #[must_use]
    pub fn credential(
        &self,
        name: &str,
        triggers: &[&'static str],
        reasons: &[&'static str],
    ) -> CredentialMetrics {
        for trigger in triggers {
            for result in RESULTS {
                self.refreshes.with_label_values(&[name, trigger, result]);
            }
        }
        for reason in reasons {
            self.refresh_failures.with_label_values(&[name, reason]);
        }
        for outcome in REJECTIONS {
            self.rejections.with_label_values(&[name, outcome]);
        }
        for result in RESULTS {
            self.key_reloads.with_label_values(&[name, result]);
            self.key_rotations.with_label_values(&[name, result]);
        }
        CredentialMetrics { name: name.to_owned(), triggers: triggers.into(), all: self.clone() }
    }

    /// Takes away what would look like a token of a credential that is no longer configured.
    pub fn forget_credential(&self, name: &str) {
        let token = [&self.expiry, &self.issued, &self.next_refresh, &self.ready];
        let gauges = token.into_iter().chain([&self.key_expiry, &self.key_issued]);
        for gauge in gauges {
            // It is not there if there never was a token.
            gauge.remove_label_values(&[name]).ok();
        }
    }

    /// Opens the counters of what is written into one sink.
    #[must_use]
    pub fn sink(&self, name: &str) -> Outcomes {
        Outcomes::new(&self.sink_writes, name)
    }

    /// Opens the counters of what becomes of one command.
    #[must_use]
    pub fn command(&self, name: &str) -> Outcomes {
        Outcomes::new(&self.command_runs, name)
    }

    /// Opens the metrics of one listener, with the refusals for these reasons at zero.
    #[must_use]
    pub fn listener<E: Endpoint>(
        &self,
        name: &str,
        reasons: &[&'static str],
    ) -> ListenerMetrics<E> {
        let denied =
            reasons.iter().map(|reason| (*reason, self.denied.with_label_values(&[name, reason])));
        ListenerMetrics {
            connections: self.connections.with_label_values(&[name]),
            endpoints: E::ALL.iter().map(|endpoint| self.endpoint(name, *endpoint)).collect(),
            denied: denied.collect(),
            upstream: PerCode::new(&self.upstream, &[name]),
            replays: PerCode::new(&self.replays, &[name]),
            endpoint: PhantomData,
        }
    }

    fn endpoint<E: Endpoint>(&self, listener: &str, endpoint: E) -> EndpointMetrics {
        let labels = [listener, endpoint.label()];
        EndpointMetrics {
            requests: PerCode::new(&self.requests, &labels),
            duration: self.request_duration.with_label_values(&labels),
        }
    }

    /// Counts a reload of the configuration; `at` is set when it succeeded.
    pub fn count_config_reload(&self, at: Option<Wall>) {
        self.config_reloads.with_label_values(&[result(at.is_some())]).inc();
        if let Some(at) = at {
            self.config_reloaded.set(seconds(at));
        }
    }

    /// Notes when the first configuration was read.
    pub fn set_configured(&self, at: Wall) {
        self.config_reloaded.set(seconds(at));
    }

    /// Writes everything in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        let families = self.registry.gather();
        if TextEncoder::new().encode(&families, &mut text).is_err() {
            text.clear();
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The values of every `result` label.
const RESULTS: [&str; 2] = ["success", "failure"];
/// The values of the `outcome` of a rejection.
const REJECTIONS: [&str; 5] = ["refreshed", "stale", "unknown", "throttled", "failed"];

const fn result(success: bool) -> &'static str {
    if success { "success" } else { "failure" }
}

/// Counts how often something went well, and how often not.
#[derive(Clone)]
pub struct Outcomes {
    success: IntCounter,
    failure: IntCounter,
}

impl Outcomes {
    fn new(family: &IntCounterVec, name: &str) -> Self {
        let [success, failure] = RESULTS.map(|result| family.with_label_values(&[name, result]));
        Self { success, failure }
    }

    /// Counts one more.
    pub fn count(&self, success: bool) {
        if success { self.success.inc() } else { self.failure.inc() }
    }
}

/// Counts what happens to one credential.
#[derive(Clone)]
pub struct CredentialMetrics {
    name: String,
    triggers: Arc<[&'static str]>,
    all: Metrics,
}

impl CredentialMetrics {
    /// Counts a mint and the time that it took.
    pub fn count_refresh(
        &self,
        trigger: &'static str,
        failed: Option<&'static str>,
        took: Duration,
    ) {
        let labels = [self.name.as_str(), trigger, result(failed.is_none())];
        self.all.refreshes.with_label_values(&labels).inc();
        self.all.refresh_duration.with_label_values(&[&self.name]).observe(took.as_secs_f64());
        if let Some(reason) = failed {
            let labels = [self.name.as_str(), reason];
            self.all.refresh_failures.with_label_values(&labels).inc();
        }
    }

    /// Tells how many mints have succeeded, and how many have failed.
    #[must_use]
    pub fn refreshes(&self) -> (u64, u64) {
        let count = |result| {
            let of = |trigger: &&str| {
                self.all.refreshes.with_label_values(&[self.name.as_str(), trigger, result]).get()
            };
            self.triggers.iter().map(of).sum()
        };
        (count(result(true)), count(result(false)))
    }

    /// Shows the life of the token that is served from now on.
    pub fn set_token(&self, issued: Wall, expires: Wall) {
        self.all.issued.with_label_values(&[&self.name]).set(seconds(issued));
        self.all.expiry.with_label_values(&[&self.name]).set(seconds(expires));
    }

    /// Shows when the next mint is due.
    pub fn set_next_refresh(&self, at: Wall) {
        self.all.next_refresh.with_label_values(&[&self.name]).set(seconds(at));
    }

    /// Shows how the issuer's clock differs from ours, in seconds.
    pub fn set_skew(&self, skew: f64) {
        self.all.clock_skew.with_label_values(&[&self.name]).set(skew);
    }

    /// Shows how many calls are left of the user's budget at the issuer.
    pub fn set_rate_limit_remaining(&self, calls: u64) {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        self.all.rate_limit_remaining.with_label_values(&[&self.name]).set(calls.into());
    }

    /// Counts a client's report by its outcome.
    pub fn count_rejection(&self, outcome: &'static str) {
        self.all.rejections.with_label_values(&[self.name.as_str(), outcome]).inc();
    }

    /// Counts a read of a changed key.
    pub fn count_key_reload(&self, success: bool) {
        self.all.key_reloads.with_label_values(&[self.name.as_str(), result(success)]).inc();
    }

    /// Counts a rotation, and those that came to nothing.
    pub fn count_key_rotation(&self, success: bool) {
        self.all.key_rotations.with_label_values(&[self.name.as_str(), result(success)]).inc();
    }

    /// Shows the life of the key in use; `None` hides what is not known, or never comes.
    pub fn set_key(&self, issued: Option<Wall>, ends: Option<Wall>) {
        for (gauge, at) in [(&self.all.key_issued, issued), (&self.all.key_expiry, ends)] {
            match at {
                Some(at) => gauge.with_label_values(&[&self.name]).set(seconds(at)),
                // It is not there if it never was known.
                None => drop(gauge.remove_label_values(&[&self.name])),
            }
        }
    }

    /// Shows whether a valid token is held.
    pub fn set_ready(&self, ready: bool) {
        self.all.ready.with_label_values(&[&self.name]).set(if ready { 1.0 } else { 0.0 });
    }
}

/// Names the endpoints of one kind of listener, as a label.
pub trait Endpoint: Copy + Send + Sync + 'static {
    /// Every endpoint, in the order of [`Endpoint::index`].
    const ALL: &'static [Self];

    /// Tells the place in `ALL`.
    fn index(self) -> usize;

    /// Tells the label.
    fn label(self) -> &'static str;
}

/// Counts what happens at one listener.
pub struct ListenerMetrics<E> {
    /// Open connections.
    pub connections: IntGauge,
    endpoints: Box<[EndpointMetrics]>,
    denied: Box<[(&'static str, IntCounter)]>,
    upstream: PerCode,
    replays: PerCode,
    endpoint: PhantomData<E>,
}

struct EndpointMetrics {
    requests: PerCode,
    duration: Histogram,
}

/// Counters of one family that differ in the status code, found without a look-up.
struct PerCode {
    family: IntCounterVec,
    /// The labels before the code.
    labels: Vec<String>,
    usual: [OnceLock<IntCounter>; CODES.len()],
}

impl PerCode {
    fn new(family: &IntCounterVec, labels: &[&str]) -> Self {
        Self {
            family: family.clone(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            usual: CODES.map(|_| OnceLock::new()),
        }
    }

    fn count(&self, code: u16) {
        let usual = self.usual.iter().zip(CODES).find(|(_, (known, _))| *known == code);
        match usual {
            Some((cell, (_, label))) => cell.get_or_init(|| self.counter(label)).inc(),
            // What an issuer answers besides: some hundred codes at the most (fault 192).
            None => self.counter(&code.to_string()).inc(),
        }
    }

    fn counter(&self, code: &str) -> IntCounter {
        let labels: Vec<_> = self.labels.iter().map(String::as_str).chain([code]).collect();
        self.family.with_label_values(&labels)
    }

    fn total(&self) -> u64 {
        self.usual.iter().filter_map(OnceLock::get).map(IntCounter::get).sum()
    }
}

/// The statuses that a listener of ours answers with.
const CODES: [(u16, &str); 18] = [
    (200, "200"),
    (204, "204"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (414, "414"),
    (415, "415"),
    (421, "421"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
];

impl<E: Endpoint> ListenerMetrics<E> {
    /// Counts one answer and the time that it took.
    pub fn count(&self, endpoint: E, code: u16, took: Duration) {
        let Some(metrics) = self.endpoints.get(endpoint.index()) else {
            return;
        };
        metrics.duration.observe(took.as_secs_f64());
        metrics.requests.count(code);
    }

    /// Counts a forwarded call by the issuer's answer.
    pub fn count_upstream(&self, code: u16) {
        self.upstream.count(code);
    }

    /// Counts a call that was sent again by the issuer's second answer.
    pub fn count_replay(&self, code: u16) {
        self.replays.count(code);
    }

    /// Tells how many requests have been answered.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.endpoints.iter().map(|endpoint| endpoint.requests.total()).sum()
    }

    /// Tells how many requests have been refused.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.denied.iter().map(|(_, counter)| counter.get()).sum()
    }

    /// Counts a refusal.
    pub fn count_denied(&self, reason: &'static str) {
        if let Some((_, counter)) = self.denied.iter().find(|(known, _)| *known == reason) {
            counter.inc();
        }
    }
}

/// Declares families under the project's prefix.
struct Families<'a>(&'a Registry);

impl Families<'_> {
    fn gauges(&self, name: &str, help: &str) -> GaugeVec {
        self.registered(GaugeVec::new(opts(name, help), &["credential"]))
    }

    /// Counters of a credential.
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.plain_counters(name, help, &[&["credential"], labels].concat())
    }

    fn plain_counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.registered(IntCounterVec::new(opts(name, help), labels))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], bounds: &[f64]) -> HistogramVec {
        let opts = HistogramOpts { common_opts: opts(name, help), buckets: bounds.to_vec() };
        self.registered(HistogramVec::new(opts, labels))
    }

    fn connections(&self) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(opts("connections", "Open connections."), &["listener"]))
    }

    fn build_info(&self) -> IntGaugeVec {
        let info = opts("build_info", "What runs here.");
        self.registered(IntGaugeVec::new(info, &["version", "revision"]))
    }

    fn config_reloaded(&self) -> Gauge {
        self.registered(Gauge::with_opts(opts(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration in force was read.",
        )))
    }

    fn log_lines_dropped(&self) -> IntCounter {
        self.registered(IntCounter::with_opts(opts(
            "log_lines_dropped_total",
            "Log lines lost because nobody read them.",
        )))
    }

    fn registered<C: Collector + Clone + 'static>(&self, family: prometheus::Result<C>) -> C {
        let family = family.expect("names and labels are constants");
        self.register(family.clone());
        family
    }

    fn register(&self, collector: impl Collector + 'static) {
        self.0.register(Box::new(collector)).expect("each family is declared once");
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("bearerd_{name}"), help)
}

fn seconds(moment: Wall) -> f64 {
    moment.since_epoch().as_secs_f64()
}
