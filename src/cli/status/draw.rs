//! The state of the daemon as text, at most 80 columns wide for names of usual length.

use crate::{
    cli::{
        span::span,
        table::{Cell, Table},
        terminal::{Tone, paint},
        text::{clean, wrap},
    },
    control::status::{Credential, Listener, Sink, State, Status},
};

/// Width that every terminal has.
const WIDTH: usize = 80;
/// Cells of a bar, the fewest and the most.
const BARS: (usize, usize) = (4, 10);
/// Longest name that is shown whole.
const NAME: usize = 24;

/// Draws everything; the same text whatever the terminal, but for the colours.
pub(super) fn draw(status: &Status, colour: bool) -> String {
    let (word, tone) = if status.ready { ("ready", Tone::Good) } else { ("not ready", Tone::Bad) };
    let word = paint(word, tone, colour);
    let up = span(status.uptime);
    let mut text =
        format!("bearerd {}  {word}  up {up}  pid {}\n", clean(&status.version), status.pid);
    if let Some(refused) = &status.refused_reload {
        let refused = format!(
            "the reload at {} was refused, so the old configuration stays in force: {}",
            refused.at, refused.problem
        );
        text.push_str(&notice(&refused, colour));
    }
    text.push('\n');
    text.push_str(&credentials(&status.credentials, colour));
    for credential in &status.credentials {
        for trouble in credential.troubles() {
            text.push_str(&notice(&format!("{}: {trouble}", credential.name), colour));
        }
    }
    text.push('\n');
    let heads = ["LISTENER", "OPEN", "REQUESTS", "REFUSED", "ADDRESS"];
    let rows = status.listeners.iter().flat_map(listener_rows).collect::<Vec<_>>();
    text.push_str(&Table::new(&heads, colour).draw(&rows));
    if !status.sinks.is_empty() {
        text.push('\n');
        let rows = status.sinks.iter().map(sink_row).collect::<Vec<_>>();
        text.push_str(&Table::new(&["SINK", "STATE", "FILE"], colour).draw(&rows));
        for sink in status.sinks.iter().filter(|sink| !sink.good) {
            text.push_str(&notice(&format!("{}: {}", sink.name, sink.reason), colour));
        }
    }
    text
}

fn sink_row(sink: &Sink) -> Vec<Cell> {
    let (word, tone) = if sink.good { ("fresh", Tone::Good) } else { ("not fresh", Tone::Odd) };
    vec![(name(&sink.name), None), (word.to_owned(), Some(tone)), (clean(&sink.path), None)]
}

/// What a status says but for times and counts: two with the same essence are no news.
pub(super) fn essence(status: &Status) -> String {
    let mut same = status.clone();
    same.uptime = 0;
    for credential in &mut same.credentials {
        credential.token_age = None;
        credential.expires_in = None;
        credential.next_refresh_in = None;
        credential.key_age = None;
    }
    for listener in &mut same.listeners {
        (listener.connections, listener.requests, listener.denied) = (0, 0, 0);
    }
    // What cannot be written is never the same.
    serde_json::to_string(&same).unwrap_or_default()
}

/// Draws the table; longer names leave less room for the bars.
fn credentials(credentials: &[Credential], colour: bool) -> String {
    let heads = ["CREDENTIAL", "STATE", "TOKEN LIFE", "AGE", "NEXT", "KEY"];
    let longest = credentials.iter().map(|one| name(&one.name).chars().count()).max();
    let over = longest.unwrap_or(0).saturating_sub(heads[0].len());
    let bar = BARS.1.saturating_sub(over).max(BARS.0);
    let rows = credentials.iter().map(|one| row(one, bar)).collect::<Vec<_>>();
    Table::new(&heads, colour).draw(&rows)
}

/// Times are padded: a table that is drawn anew each second must not twitch.
fn row(credential: &Credential, bar: usize) -> Vec<Cell> {
    let tone = match credential.state {
        State::Valid => Tone::Good,
        State::Failing => Tone::Odd,
        State::NoToken | State::NoKey => Tone::Bad,
    };
    vec![
        (name(&credential.name), None),
        (credential.state.word().to_owned(), Some(tone)),
        (life(credential, bar), Some(tone)),
        (format!("{:7}", credential.token_age.map_or_else(none, span)), None),
        (format!("{:10}", next(credential)), None),
        (key(credential), None),
    ]
}

fn none() -> String {
    "-".to_owned()
}

fn name(name: &str) -> String {
    let name = clean(name);
    match name.char_indices().nth(NAME) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name,
    }
}

fn life(credential: &Credential, cells: usize) -> String {
    let (Some(left), Some(whole)) = (credential.expires_in, credential.lifetime) else {
        return none();
    };
    format!("{} {:7}", bar(left, whole, cells), span(left))
}

fn next(credential: &Credential) -> String {
    match (&credential.key_id, credential.next_refresh_in) {
        (None, _) => none(),
        (Some(_), None) => "now".to_owned(),
        (Some(_), Some(wait)) => format!("in {}", span(wait)),
    }
}

fn key(credential: &Credential) -> String {
    let Some(id) = &credential.key_id else { return none() };
    let short = clean(id.split('-').next().unwrap_or(id));
    format!("{short}… {}", credential.key_age.map(span).unwrap_or_default())
}

/// A bar of the life that is left.
fn bar(left: u64, whole: u64, cells: usize) -> String {
    let most = u64::try_from(cells).unwrap_or(u64::MAX);
    let full = left.min(whole).saturating_mul(most).div_ceil(whole.max(1)).min(most);
    let full = usize::try_from(full).unwrap_or(cells);
    format!("{}{}", "█".repeat(full), "░".repeat(cells - full))
}

/// A sentence of its own, as wide as the tables.
fn notice(sentence: &str, colour: bool) -> String {
    let lines = wrap(&clean(sentence), WIDTH - 4);
    let line = |(index, line): (usize, &String)| {
        let mark = if index == 0 { "! " } else { "  " };
        paint(&format!("  {mark}{line}"), Tone::Odd, colour) + "\n"
    };
    lines.iter().enumerate().map(line).collect()
}

fn listener_rows(listener: &Listener) -> Vec<Vec<Cell>> {
    let counts = [listener.connections, listener.requests, listener.denied].map(|n| n.to_string());
    let mut rows = Vec::new();
    for (index, address) in listener.addresses.iter().enumerate() {
        let first = |text: String| if index == 0 { text } else { String::new() };
        let mut row = vec![(first(name(&listener.name)), None)];
        row.extend(counts.iter().map(|count| (first(count.clone()), None)));
        row.push((clean(address), None));
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{LastError, RefusedReload};

    fn credential() -> Credential {
        Credential {
            name: "default".into(),
            team_name: "acme".into(),
            required: true,
            state: State::Valid,
            token_id: Some("90341f1c7a2b3c4d".into()),
            token_age: Some(899),
            expires_at: None,
            expires_in: Some(2_701),
            lifetime: Some(3_600),
            next_refresh_in: Some(799),
            refreshes: 1,
            failures: 0,
            key_id: Some("6ac84721-a7ba-4034-9c39-41ef7b38819d".into()),
            key_age: Some(86_400 * 30 + 4 * 3_600),
            candidate_key_id: None,
            candidate_error: None,
            key_trouble: None,
            key_expires_at: None,
            next_rotation_in: None,
            rotation_trouble: None,
            last_error: None,
        }
    }

    fn status() -> Status {
        Status {
            version: "0.1.0".into(),
            pid: 4711,
            uptime: 11_520,
            ready: true,
            refused_reload: None,
            credentials: vec![credential()],
            listeners: vec![Listener {
                name: "apps".into(),
                addresses: vec!["unix:/run/bearerd/bearerd.sock".into(), "tcp:[::1]:8420".into()],
                connections: 2,
                requests: 1_234,
                denied: 0,
            }],
            sinks: Vec::new(),
        }
    }

    #[test]
    fn a_whole_picture() {
        let expected = "\
bearerd 0.1.0  ready  up 3h 12m  pid 4711

CREDENTIAL  STATE  TOKEN LIFE          AGE      NEXT        KEY
default     valid  ████████░░ 45m 1s   14m 59s  in 13m 19s  6ac84721… 30d 4h

LISTENER  OPEN  REQUESTS  REFUSED  ADDRESS
apps      2     1234      0        unix:/run/bearerd/bearerd.sock
                                   tcp:[::1]:8420
";
        assert_eq!(draw(&status(), false), expected);
    }

    #[test]
    fn sinks_are_shown_where_there_are_some() {
        let sink = |name: &str, good| Sink {
            name: name.into(),
            path: format!("/run/{name}"),
            good,
            reason: format!("/run/{name} waits for a token"),
        };
        let drawn =
            draw(&Status { sinks: vec![sink("a", true), sink("b", false)], ..status() }, false);
        let expected = "
SINK  STATE      FILE
a     fresh      /run/a
b     not fresh  /run/b
  ! b: /run/b waits for a token
";
        assert!(drawn.ends_with(expected), "{drawn}");
    }

    #[test]
    fn whatever_goes_wrong_fits_into_80_columns() {
        let mut status = status();
        let error = |times| LastError {
            reason: "unauthorized".into(),
            problem: "the issuer does not accept this API key for this team (401): correct \
                      team_name, or replace the key file"
                .into(),
            at: "2026-01-31T08:00:00Z".into(),
            times,
        };
        status.refused_reload = Some(RefusedReload {
            at: "2026-01-31T08:00:00Z".into(),
            problem: "needs a restart: listeners.apps.bind".into(),
        });
        let credential = &mut status.credentials[0];
        credential.name = "payroll-production-eu-west-1-and-more".into();
        credential.state = State::Failing;
        credential.last_error = Some(error(1));
        credential.candidate_key_id = Some("00000000-0000-4000-8000-000000000001".into());
        credential.candidate_error = Some(error(12));
        credential.key_trouble = Some("API key: /etc/bearerd/key.json\u{1b}[31m is odd".into());
        let drawn = draw(&status, false);
        let widest = drawn.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(96), "only the longest of names is wider: {drawn}");
        assert!(!drawn.contains('\u{1b}'));
        let words = drawn.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["reload", "(once, last", "(12 times", "newer key", "needs a restart"] {
            assert!(words.contains(part), "{part}: {drawn}");
        }
        status.credentials[0].name = "payroll-eu-west".into();
        let drawn = draw(&status, false);
        assert!(drawn.lines().all(|line| line.chars().count() <= WIDTH), "{drawn}");
    }

    #[test]
    fn only_what_changes_by_itself_is_no_news() {
        let (before, mut after) = (status(), status());
        after.uptime += 1;
        after.listeners[0].requests += 1;
        after.credentials[0].expires_in = Some(1);
        assert_eq!(essence(&before), essence(&after));
        after.credentials[0].token_id = Some("1".into());
        assert_ne!(essence(&before), essence(&after));
        let mut reload = status();
        reload.refused_reload = Some(RefusedReload { at: String::new(), problem: "x".into() });
        assert_ne!(essence(&before), essence(&reload));
    }

    #[test]
    fn a_bar_is_empty_only_when_nothing_is_left() {
        let full = |left, whole| bar(left, whole, 16).chars().filter(|cell| *cell == '█').count();
        let table =
            [(0, 60, 0), (1, 3600, 1), (1800, 3600, 8), (3600, 3600, 16), (9, 1, 16), (0, 0, 0)];
        for (left, whole, cells) in table {
            assert_eq!(full(left, whole), cells, "{left} of {whole}");
            assert_eq!(bar(left, whole, 16).chars().count(), 16);
        }
    }
}
