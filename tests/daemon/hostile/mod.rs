//! Hostile requests, byte for byte: each gets one clean refusal, at every socket that it can reach.

mod tables;

use std::{collections::BTreeSet, time::Duration};

use tables::{BODIES, CLIENTS, GROUPS, Group};
use tokio::task::JoinSet;

use crate::bench::{Daemon, Place, Stand, Visitor, until};

/// One of our sockets, and what matters there.
#[derive(Clone)]
struct Target {
    place: Place,
    here: &'static str,
    ready: &'static str,
    is_listener: bool,
}

/// One request and what it is to get.
struct Row {
    name: &'static str,
    bytes: Vec<u8>,
    allowed: &'static [u16],
    /// Whether it tells so much of its sender that no other is taken from him.
    is_last: bool,
}

fn targets(daemon: &Daemon) -> [Target; 4] {
    let target = |listener: &str, here, ready, is_listener| Target {
        place: daemon.place(listener),
        here,
        ready,
        is_listener,
    };
    [
        target("apps", "/v1/token", "/v1/ready", true),
        target("web", "/v1/token", "/v1/ready", true),
        target("telemetry", "/metrics", "/livez", false),
        target("control", "/v1/status", "/v1/status", false),
    ]
}

impl Target {
    /// Writes the requests that are for this socket.
    fn rows(&self) -> Vec<Row> {
        let groups = GROUPS.iter().filter(|group| self.is_listener || group.everywhere);
        groups.flat_map(|group| group.rows.iter().map(|row| self.row(group, row))).collect()
    }

    fn row(&self, group: &Group, row: &str) -> Row {
        let smuggled = "GET HERE HTTP/1.1\r\nHost: localhost\r\nX-Bearerd: 1\r\n\r\n";
        let text = group.frame.replace("ROW", row).replace("SMUGGLED", smuggled);
        let text = text.replace("HERE", self.here).replace("READY", self.ready);
        let allowed = if matches!(self.place, Place::Unix(_)) { group.unix } else { group.tcp };
        let is_last = allowed.iter().all(|status| [400, 403, 421].contains(status));
        Row { name: group.name, bytes: bytes(&text), allowed, is_last: is_last && group.everywhere }
    }
}

/// Takes each character as one byte.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

/// Sends bytes, and when there is an answer says that there will be no more; gives all answers.
async fn send(place: &Place, bytes: &[u8]) -> String {
    let mut visitor = Visitor::connect(place).await;
    visitor.try_send(bytes).await;
    visitor.wait_a_little().await;
    visitor.try_finish().await;
    String::from_utf8_lossy(&visitor.rest().await).into_owned()
}

/// Tells the statuses of all answers in a text, whatever their bodies.
fn statuses(answers: &str) -> Vec<u16> {
    let heads = answers.split("HTTP/1.").skip(1);
    heads.map(|head| head.get(2..5).and_then(|code| code.parse().ok()).unwrap_or(0)).collect()
}

// faults 126, 127, 129 to 134, 136, 140, 141, 144: no token, no second answer, nothing for a page
#[tokio::test]
async fn each_hostile_request_gets_one_refusal_at_every_socket() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    let mut visits = JoinSet::new();
    for target in targets(&daemon) {
        let token = token.clone();
        visits.spawn(async move {
            let mut wrong = Vec::new();
            for row in target.rows() {
                let answers = send(&target.place, &row.bytes).await;
                let low = answers.to_lowercase();
                let statuses = statuses(&answers);
                // Only what was let in may hold the token: on a unix socket no host is refused.
                let is_fine = statuses.len() == row.allowed.len().min(1)
                    && statuses.iter().all(|status| row.allowed.contains(status))
                    && (!row.is_last || statuses.is_empty() || low.contains("connection: close"))
                    && (statuses == [200] || !answers.contains(&token))
                    && !low.contains("access-control-")
                    && !low.contains("server:");
                if !is_fine {
                    let sent = String::from_utf8_lossy(&row.bytes).into_owned();
                    wrong.push(format!(
                        "{} at {:?}:\n{sent:?}\n{answers:?}",
                        row.name, target.place
                    ));
                }
            }
            wrong
        });
    }
    let wrong = visits.join_all().await.concat();
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(!daemon.log().contains("panicked"));
    assert_eq!(daemon.token().await, token, "nobody made it mint");
}

#[tokio::test]
async fn what_honest_clients_send_passes_untouched() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    let head = "POST /v1/token/rejected HTTP/1.1\r\nHost: localhost\r\nX-Bearerd: 1\r\n\
        Content-Type: application/json\r\n";
    let reports = BODIES.iter().map(|rest| format!("{head}{rest}"));
    let requests: Vec<_> = CLIENTS.iter().map(|text| (*text).to_owned()).chain(reports).collect();
    for place in daemon.places() {
        for request in &requests {
            // Twice on one connection: what follows a body is found again.
            let mut visitor = Visitor::connect(&place).await;
            let stays = !request.contains("close") && !request.contains("HTTP/1.0");
            for _ in 0..=u8::from(stays) {
                visitor.send(request.as_bytes()).await;
                let mut reply = visitor.reply().await;
                if reply.status == 100 {
                    reply = visitor.reply().await;
                }
                assert_eq!(reply.status, 200, "{request}");
                assert!(reply.text().contains(&token), "{request}");
                reply.assert_common_headers();
            }
        }
    }
    let denied = daemon.metrics().await.get("bearerd_requests_denied_total", &[]);
    assert_eq!(denied, 0.0);
}

// fault 144: a head that comes in one piece may be answered without HTTP's own machinery
#[tokio::test]
async fn a_request_in_two_pieces_gets_the_same_bytes_as_in_one() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    daemon.token().await;
    let mut visits = JoinSet::new();
    for target in targets(&daemon).into_iter().filter(|target| target.is_listener) {
        let shapes =
            ["", "?format=raw", "?format=header", "?format=env", "?format=oauth2&", "?a=b"].map(
                |query| {
                    let line = format!("GET /v1/token{query} HTTP/1.1\r\n");
                    format!("{line}Host: localhost\r\nX-Bearerd: 1\r\n\r\n").into_bytes()
                },
            );
        let rows = target.rows().into_iter().map(|row| row.bytes);
        let clients = CLIENTS.iter().map(|text| text.as_bytes().to_vec());
        for bytes in rows.chain(clients).chain(shapes).filter(|bytes| bytes.starts_with(b"GET ")) {
            let place = target.place.clone();
            visits.spawn(async move {
                let (whole, halved) =
                    (send(&place, &bytes).await, send_halved(&place, &bytes).await);
                let sent = String::from_utf8_lossy(&bytes);
                assert_eq!(timeless(&whole), timeless(&halved), "{sent:?} at {place:?}");
            });
        }
    }
    assert!(visits.len() > 300, "{}", visits.len());
    visits.join_all().await;
}

/// Sends the start of a request alone, and the rest when that has surely been read.
async fn send_halved(place: &Place, bytes: &[u8]) -> String {
    let mut visitor = Visitor::connect(place).await;
    visitor.try_send(&bytes[..6]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    visitor.try_send(&bytes[6..]).await;
    visitor.wait_a_little().await;
    visitor.try_finish().await;
    String::from_utf8_lossy(&visitor.rest().await).into_owned()
}

/// Takes away what differs from one second to the next.
fn timeless(answer: &str) -> String {
    let lines = answer.lines().filter(|line| !line.starts_with("date: "));
    let lines = lines.map(|line| match line.split_once("\"expires_in\":") {
        Some((start, _seconds)) => start,
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn there_are_hundreds_of_rows_and_each_is_another() {
    let all: BTreeSet<String> = GROUPS
        .iter()
        .flat_map(|group| group.rows.iter().map(|row| group.frame.replace("ROW", row)))
        .collect();
    let rows: usize = GROUPS.iter().map(|group| group.rows.len()).sum();
    assert_eq!(all.len(), rows, "some row is there twice");
    assert!(rows >= 250, "{rows}");
}

// faults 148, 225: at any level, whatever a client sends can forge no line and colour no terminal
#[tokio::test]
async fn nothing_that_clients_send_reaches_the_log_as_it_is() {
    for (format, level) in
        [("json", "info"), ("text", "info"), ("json", "trace"), ("text", "trace")]
    {
        let mut stand = Stand::new().await;
        let (mut daemon, targets) = start(&mut stand, format, level).await;
        for target in targets {
            for header in ["User-Agent", "Authorization", "X-Bearerd", "Host", "Origin", "Cookie"] {
                for value in INJECTIONS {
                    let path = format!("/{value}");
                    let request = format!("GET {path} HTTP/1.1\r\n{header}: {value}\r\n\r\n");
                    send(&target.place, &bytes(&request)).await;
                    let here = target.here;
                    let request =
                        format!("GET {here}?{value} HTTP/1.1\r\n{header}: {value}\r\n\r\n");
                    send(&target.place, &bytes(&request)).await;
                }
            }
        }
        daemon.stop().await;
        let log = daemon.log();
        assert!(log.contains("refused"), "{log}");
        for character in ['\x1b', '\r', '\0', '\u{9b}', '\u{7f}', '\u{202e}'] {
            assert!(!log.contains(character), "{character:?} in {format} at {level}");
        }
        for line in log.lines() {
            assert!(!line.starts_with("FORGED") && line.len() < 4096, "{line}");
            assert!(level == "trace" || !line.contains("FORGED"), "{line}");
            let is_json = serde_json::from_str::<serde_json::Value>(line).is_ok();
            assert_eq!(is_json, format == "json", "{line}");
        }
    }
}

/// What would forge a line or speak to a terminal, if it were written as it is.
const INJECTIONS: &[&str] = &[
    "FORGED\u{9b}31m",
    "FORGED\x1b[31mred\x1b]0;title\x07",
    "a\nFORGED: line",
    "a\r\nFORGED: line",
    "a\rFORGED",
    "a%0d%0aFORGED%1b[2J",
    "FORGED\0\x08\x7f",
    "FORGED\u{e2}\u{80}\u{ae}",
    "\",\"message\":\"FORGED",
    "{FORGED} %s %n ${FORGED}",
];

/// Starts a daemon whose log is written so, and finds its sockets, whatever the log looks like.
async fn start(stand: &mut Stand, format: &str, level: &str) -> (Daemon, [Target; 4]) {
    let daemon = stand.start().await;
    let targets = targets(&daemon);
    for target in &targets {
        if let Place::Tcp(address) = target.place {
            let listener = if target.is_listener { "listeners.web" } else { "telemetry" };
            stand.home.set(&format!("{listener}.bind"), format!("tcp:{address}"));
        }
    }
    drop(daemon);
    stand.home.set("log.format", format).set("log.level", level);
    let daemon = Daemon::spawn(stand.home.command(&["run"]));
    let apps = targets[0].place.clone();
    until("it serves", async || {
        let Ok(mut visitor) = Visitor::try_connect(&apps).await else { return false };
        visitor.get("/v1/ready").await.status == 200
    })
    .await;
    (daemon, targets)
}
