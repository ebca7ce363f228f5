//! Hostile requests, byte for byte: each gets one clean refusal, at every socket that it can reach.

mod tables;

use std::collections::BTreeSet;

use tables::{GROUPS, Group};
use tokio::task::JoinSet;

use crate::bench::{Daemon, Place, Stand, Visitor};

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

// faults 126 to 145: no token, no second answer, nothing that a page could read, and none of our faults
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
