//! Group A: whatever the issuer answers, a good token stays and nobody dies of it.
//!
//! One daemon serves many credentials, each with an emulated issuer of its own that answers well
//! once and then badly: a whole table in the time of its slowest row.

use std::time::Duration;

use bearerd::emulator::{Emulator, Fault, FaultPlan, Options};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::bench::{Daemon, Home, issuer::grant, until_ok};

/// What the issuer does, and the reason under which it is to be counted.
type Row = (Fault, &'static str);

fn fault(text: &str) -> Fault {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn rows<'a>(faults: impl IntoIterator<Item = &'a str>, reason: &'static str) -> Vec<Row> {
    faults.into_iter().map(|text| (fault(text), reason)).collect()
}

/// Writes a raw answer of JSON that is said to be good.
fn raw(head: &str, body: &[u8]) -> Fault {
    let head = format!(
        "HTTP/1.1 {head}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Fault::Raw([head.as_bytes(), body].concat().into())
}

/// A daemon with a credential for each row, all of which hold a good token.
struct Table {
    _home: Home,
    issuers: Vec<Emulator>,
    names: Vec<String>,
    daemon: Daemon,
    tokens: Vec<String>,
}

impl Table {
    async fn new(rows: usize, change: impl FnOnce(&mut Home)) -> Self {
        let first = Emulator::start(Options::default()).await.unwrap();
        let mut home = Home::new(&first.base_url(), &first.key());
        let mut issuers = vec![first];
        while issuers.len() < rows {
            let key_file = Some(home.path("key.json"));
            issuers
                .push(Emulator::start(Options { key_file, ..Options::default() }).await.unwrap());
        }
        let names: Vec<_> = (0..rows).map(|row| format!("row{row}")).collect();
        for (name, issuer) in names.iter().zip(&issuers) {
            home.credential(name, Some(&issuer.base_url()));
        }
        home.serve(&names);
        change(&mut home);
        let daemon = home.start().await;
        daemon.until_ready().await;
        let mut table = Self { _home: home, issuers, names, daemon, tokens: vec![] };
        table.tokens = table.served().await;
        table
    }

    async fn served(&self) -> Vec<String> {
        let mut tokens = Vec::new();
        for name in &self.names {
            let path = format!("/v1/token?format=raw&credential={name}");
            let reply = self.daemon.get("apps", &path).await;
            assert_eq!(reply.status, 200, "{name}: {reply:?}");
            tokens.push(reply.text().to_owned());
        }
        tokens
    }

    fn inject(&self, rows: &[Row]) {
        for (issuer, (fault, _)) in self.issuers.iter().zip(rows) {
            issuer.inject(FaultPlan::from(fault.clone()));
        }
    }

    /// Lets every credential mint once more, and waits until each has another token.
    async fn refresh(&self) {
        self.daemon.signal(Signal::USR1);
        until_ok(async || {
            let served = self.served().await;
            let is_old = |(row, token): &(usize, &String)| self.tokens[*row] == **token;
            match served.iter().enumerate().find(is_old) {
                None => Ok(()),
                Some((row, _)) => {
                    Err((row, self.daemon.metrics().await.failures(&self.names[row])))
                }
            }
        })
        .await;
    }

    /// Lets every credential mint once more, and waits until each has failed.
    async fn refresh_in_vain(&self) {
        self.daemon.signal(Signal::USR1);
        until_ok(async || {
            let metrics = self.daemon.metrics().await;
            let fine = |name: &&String| metrics.failures(name).is_empty();
            self.names.iter().find(fine).map_or(Ok(()), |name| Err(format!("{name} is fine")))
        })
        .await;
    }

    async fn assert_failed_as(&mut self, rows: &[Row]) {
        let metrics = self.daemon.metrics().await;
        for (name, (fault, reason)) in self.names.iter().zip(rows) {
            let failures = metrics.failures(name);
            let reasons: Vec<_> = failures.iter().map(|(reason, _)| reason.as_str()).collect();
            assert_eq!(reasons, [*reason], "{name}: {fault:?}");
        }
        assert_eq!(self.served().await, self.tokens, "the good tokens stay");
        assert!(self.daemon.is_ready().await);
        assert!(self.daemon.is_running());
        let log = self.daemon.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

async fn assert_harmless(rows: &[Row], change: impl FnOnce(&mut Home)) {
    let mut table = Table::new(rows.len(), change).await;
    let before = table.daemon.resident();
    table.inject(rows);
    table.refresh_in_vain().await;
    table.assert_failed_as(rows).await;
    let grown = table.daemon.resident() - before;
    assert!(grown < 24 * 1024, "{grown} KiB more for {} rows", rows.len());
}

// faults 1, 4 to 7, 9 to 12, 34
#[tokio::test]
async fn bad_grants_are_harmless() {
    let malformed = [
        "no-expiry",
        "null-expiry",
        "number-expiry",
        "zero-expiry",
        "expiry=",
        "no-token",
        "empty-token",
        "bad-token",
        "huge-token",
        "duplicate-token",
        "no-team",
        "token= ",
        "expiry=2031-01-01T00:00:00",
        "expiry=2031-01-01 00:00:00Z",
        "expiry=2031-01-01t00:00:00z",
        "expiry=2031-01-01T00:00:60Z",
        "expiry=2031-01-01T00:00:00-00:00",
        "expiry=tomorrow",
        "expiry=2031-01-01T00:00:00.0123456789012Z",
        "expiry=2031-01-01T00:00:00+2400",
        "body=",
        "body=null",
        "body=[]",
        "body={}",
        "body=\"token\"",
        "body={\"bearer_token\":",
    ];
    let many: String = (0..4000).map(|n| format!("\"{n}\":0,")).collect();
    let odd: Vec<&[u8]> = vec![
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"{\"bearer_token\":\"\xff\"}",
        b"{\"bearer_token\":\"\\ud800\"}",
        b"{\"bearer_token\":\"a\0b\"}",
    ];
    let good = grant("a.good.token");
    let mut table = rows(malformed, "malformed");
    table.extend(odd.iter().map(|body| (raw("200 OK", body), "malformed")));
    // A grant that is good but for what surrounds it.
    let spoiled = [
        good.replace('{', &format!("{{{many}{many}")),
        format!("\u{feff}{good}"),
        format!("{good}{good}"),
    ];
    table.extend(spoiled.iter().map(|body| (raw("200 OK", body.as_bytes()), "malformed")));
    table.extend(rows(["past-expiry", "expiry=1970-01-01T00:00:00Z"], "expired"));
    table.extend(rows(["team=other", "team=acme2"], "wrong_team"));
    assert_harmless(&table, |_| {}).await;
}

// faults 16, 17, 20 to 26, 31, 32
#[tokio::test]
async fn refusals_and_foreign_pages_are_harmless() {
    let mut table = rows(["400", "status=422", "status=418"], "bad_request");
    table.extend(rows(["401", "401-authorization", "echo"], "unauthorized"));
    table.extend(rows(["403"], "forbidden"));
    table.extend(rows(["404"], "not_found"));
    table.extend(rows(["429", "429=retry-after"], "rate_limited"));
    let server = ["500", "503", "504", "status=502", "status=599", "html=503", "echo=500"];
    table.extend(rows(server, "server_error"));
    let malformed = [
        "html",
        "empty",
        "204",
        "content-type",
        "gzip",
        "status=201",
        "status=206",
        "html=401",
        "html=403",
        "html=404",
        "html=400",
    ];
    table.extend(rows(malformed, "malformed"));
    table.extend(rows(["status=300", "status=304", "status=399"], "redirect"));
    assert_harmless(&table, |_| {}).await;
}

// faults 24, 25: no header makes the daemon sleep for a day, or spin
#[tokio::test]
async fn odd_times_to_come_back_are_clamped() {
    let headers = [
        "X-RateLimit-Retry-At: 1",
        "X-RateLimit-Retry-At: 99999999999999",
        "X-RateLimit-Retry-At: -5",
        "X-RateLimit-Retry-At: soon",
        "Retry-After: -1",
        "Retry-After: 1.5",
        "Retry-After: 1000000000000",
        "Retry-After: 5\r\nRetry-After: 900000",
        "Retry-After: Fri, 31 Dec 9998 23:59:59 GMT",
        "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT",
    ];
    let long = format!("Retry-After: {}", "9".repeat(100 * 1024));
    let answer = |header: &str| {
        let text = format!("HTTP/1.1 429 No\r\n{header}\r\nContent-Length: 2\r\n\r\n{{}}");
        (Fault::Raw(text.into_bytes().into()), "rate_limited")
    };
    let mut table: Vec<Row> = headers.into_iter().map(answer).collect();
    table.push(answer(&long));
    let mut bench = Table::new(table.len(), |_| {}).await;
    bench.inject(&table);
    bench.refresh_in_vain().await;
    bench.assert_failed_as(&table).await;
    let status = bench.daemon.status().await;
    for credential in status["credentials"].as_array().unwrap() {
        // 15 min at most, a back-off of 5 min at most on top.
        let wait = credential["next_refresh_in"].as_u64().unwrap();
        assert!(wait <= 20 * 60, "{credential}");
    }
    sleep(Duration::from_millis(1500)).await;
    let calls: Vec<_> = bench.issuers.iter().map(Emulator::mint_calls).collect();
    assert!(calls.iter().all(|calls| *calls <= 8), "{calls:?}");
}

// faults 13, 35, 46
#[tokio::test]
async fn broken_http_is_harmless() {
    let mut table = rows(["huge-body", "endless"], "malformed");
    table.extend(rows(["close", "reset", "lost"], "connect"));
    let malformed: [&[u8]; 7] = [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nA: \x0b\x01\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        b"{\"bearer_token\":\"naked\"}",
    ];
    table.extend(malformed.map(|bytes| (Fault::Raw(bytes.into()), "malformed")));
    let headers: String = (0..200).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{headers}\r\n{{}}");
    table.push((Fault::Raw(many.into_bytes().into()), "malformed"));
    table.extend(rows(["huge-header"], "malformed"));
    let lie = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
               Content-Length: 10737418240\r\n\r\n{}";
    table.push((Fault::Raw(lie.into()), "connect"));
    table.extend(rows(["cut-off"], "connect"));
    assert_harmless(&table, |_| {}).await;
}

// fault 14
#[tokio::test]
async fn slow_answers_end_at_the_deadline() {
    let table = rows(["drip", "hang", "drip", "hang"], "timeout");
    let short = |home: &mut Home| {
        home.set("okta.connect_timeout", "500ms").set("okta.request_timeout", "1s");
    };
    assert_harmless(&table, short).await;
}

// faults 12, 18, 29, 35, 278, 279: odd, but good
#[tokio::test]
async fn odd_but_good_answers_are_taken() {
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    let body = |token: &str| grant(token).replace('{', &format!(r#"{{"extra":{deep},"#));
    let chunked = |token: &str| {
        let body = grant(token);
        let (first, second) = body.split_at(10);
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
             Trailer: X-End\r\n\r\na;name=\"value\"\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\
             X-End: yes\r\n\r\n",
            second.len()
        )
    };
    let old = |token: &str| {
        format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}", grant(token))
    };
    let answers = [
        raw("200 Fine", body("odd.extra").as_bytes()),
        raw("200 OK", grant("odd.case").replace("acme", "ACME").as_bytes()),
        Fault::Raw(chunked("odd.chunked").into()),
        Fault::Raw(old("odd.old").into()),
        fault("token=odd.opaque"),
        fault("continue-flood"),
    ];
    let table = Table::new(answers.len(), |_| {}).await;
    table.inject(&answers.map(|answer| (answer, "")));
    table.refresh().await;
    let served = table.served().await;
    let expected = ["odd.extra", "odd.case", "odd.chunked", "odd.old", "odd.opaque"];
    assert_eq!(served[..expected.len()], expected);
}

// fault 30
#[tokio::test]
async fn an_issuer_whose_clock_is_wrong_grants_lives_of_the_right_length() {
    let table = Table::new(3, |_| {}).await;
    let skews = [("row0", 0), ("row1", -300), ("row2", 86_400)];
    for (issuer, (_, skew)) in table.issuers.iter().zip(skews) {
        issuer.set_clock_skew(skew);
    }
    table.refresh().await;
    let metrics = table.daemon.metrics().await;
    for (row, skew) in skews {
        let seen = metrics.get("bearerd_issuer_clock_skew_seconds", &[("credential", row)]);
        assert!((seen - skew as f64).abs() < 5.0, "{row}: {seen}");
        let reply = table.daemon.get("apps", &format!("/v1/token?credential={row}")).await;
        let left = reply.json()["expires_in"].as_u64().unwrap();
        assert!((3500..=3600).contains(&left), "{row}: {left}");
    }
}

// fault 3
#[tokio::test]
async fn a_life_beyond_all_measure_is_clamped() {
    let table = Table::new(3, |home| {
        home.set("credentials.row2.refresh.max_lifetime", "90s");
    })
    .await;
    let far = ["far-expiry", "expiry=2100-01-01T00:00:00Z", "far-expiry"];
    table.inject(&rows(far, ""));
    table.refresh().await;
    for (name, most) in [("row0", 86_400), ("row1", 86_400), ("row2", 90)] {
        let reply = table.daemon.get("web", &format!("/v1/token?credential={name}")).await;
        let left = reply.json()["expires_in"].as_u64().unwrap();
        assert!((most - 30..=most).contains(&left), "{name}: {left}");
    }
}

// fault 2
#[tokio::test]
async fn lives_too_short_to_be_useful_do_not_make_the_daemon_spin() {
    let issuer =
        Emulator::start(Options { lifetime: Duration::from_secs(1), ..Options::default() });
    let issuer = issuer.await.unwrap();
    let home = Home::new(&issuer.base_url(), &issuer.key());
    let mut daemon = home.start().await;
    sleep(Duration::from_secs(4)).await;
    // One a second at most, and the first.
    assert!(issuer.mint_calls() <= 6, "{}", issuer.mint_calls());
    assert!(daemon.is_running());
}
