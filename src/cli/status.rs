//! `bearerd status`

use std::time::Duration;

use http::{Method, StatusCode};

use super::{
    exit::Exit,
    place::ControlPlace,
    settings::Settings,
    span::span,
    table::{Cell, Table},
    terminal::{self, Tone, paint},
    token::refused,
};
use crate::control::{
    client,
    status::{Credential, Listener, State, Status},
};

/// A daemon answers at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Cells of a bar.
const BAR: usize = 16;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: ControlPlace,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let address = args.place.find(&args.settings)?;
    let answer = client::call(&address, Method::GET, "/v1/status", PATIENCE).await?;
    if answer.status() != StatusCode::OK {
        return Err(refused(&answer));
    }
    let status: Status = serde_json::from_slice(answer.body())
        .map_err(|_| Exit::failed("the daemon is of another version than this command"))?;
    if args.json {
        terminal::say(&String::from_utf8_lossy(answer.body()))?;
    } else {
        terminal::print(render(&status, terminal::has_colour()).as_bytes())?;
    }
    if status.ready { Ok(()) } else { Err(Exit::silent()) }
}

/// Draws the state for people, at most 80 columns wide for names of usual length.
fn render(status: &Status, colour: bool) -> String {
    let (word, tone) = if status.ready { ("ready", Tone::Good) } else { ("not ready", Tone::Bad) };
    let word = paint(word, tone, colour);
    let up = span(status.uptime);
    let mut text = format!("bearerd {}  {word}  up {up}  pid {}\n\n", status.version, status.pid);
    let heads = ["CREDENTIAL", "STATE", "TOKEN LIFE", "NEXT", "KEY"];
    let rows = status.credentials.iter().map(row).collect::<Vec<_>>();
    text.push_str(&Table::new(&heads, colour).draw(&rows));
    for credential in &status.credentials {
        for line in troubles(credential) {
            text.push_str(&paint(&format!("  {}: {line}\n", credential.name), Tone::Odd, colour));
        }
    }
    text.push('\n');
    let heads = ["LISTENER", "OPEN", "REQUESTS", "REFUSED", "ADDRESS"];
    let rows = status.listeners.iter().flat_map(listener_rows).collect::<Vec<_>>();
    text.push_str(&Table::new(&heads, colour).draw(&rows));
    text
}

fn row(credential: &Credential) -> Vec<Cell> {
    let (word, tone) = match credential.state {
        State::Valid => ("valid", Tone::Good),
        State::Failing => ("failing", Tone::Odd),
        State::NoToken => ("no token", Tone::Bad),
        State::NoKey => ("no key", Tone::Bad),
    };
    vec![
        (credential.name.clone(), None),
        (word.to_owned(), Some(tone)),
        (life(credential), Some(tone)),
        (next(credential), None),
        (key(credential), None),
    ]
}

fn life(credential: &Credential) -> String {
    let (Some(left), Some(whole)) = (credential.expires_in, credential.lifetime) else {
        return "-".to_owned();
    };
    format!("{} {} of {}", bar(left, whole), span(left), span(whole))
}

fn next(credential: &Credential) -> String {
    match (&credential.key_id, credential.next_refresh_in) {
        (None, _) => "-".to_owned(),
        (Some(_), None) => "now".to_owned(),
        (Some(_), Some(wait)) => format!("in {}", span(wait)),
    }
}

fn key(credential: &Credential) -> String {
    let Some(id) = &credential.key_id else {
        return "-".to_owned();
    };
    let short = id.split('-').next().unwrap_or(id);
    format!("{short}… {}", credential.key_age.map(span).unwrap_or_default())
}

/// A bar of the life that is left.
fn bar(left: u64, whole: u64) -> String {
    let cells = BAR as u64;
    let full = left.min(whole).saturating_mul(cells).div_ceil(whole.max(1)).min(cells);
    let full = usize::try_from(full).unwrap_or(BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

fn troubles(credential: &Credential) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(error) = &credential.last_error {
        let times = if error.times == 1 { "once" } else { &format!("{} times", error.times) };
        lines.push(format!("{} ({times}, last at {})", error.problem, error.at));
    }
    if let Some(id) = &credential.candidate_key_id {
        lines.push(format!("the newer key {id} has not minted yet"));
    }
    lines.extend(credential.key_trouble.clone());
    lines.extend(credential.rotation_trouble.clone());
    lines
}

fn listener_rows(listener: &Listener) -> Vec<Vec<Cell>> {
    let counts = [listener.connections, listener.requests, listener.denied].map(|n| n.to_string());
    let mut rows = Vec::new();
    for (index, address) in listener.addresses.iter().enumerate() {
        let first = |text: &String| if index == 0 { text.clone() } else { String::new() };
        let mut row = vec![(first(&listener.name), None)];
        row.extend(counts.iter().map(|count| (first(count), None)));
        row.push((address.clone(), None));
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_empty_only_when_nothing_is_left() {
        let full = |left, whole| bar(left, whole).chars().filter(|cell| *cell == '█').count();
        let table =
            [(0, 60, 0), (1, 3600, 1), (1800, 3600, 8), (3600, 3600, 16), (9, 1, 16), (0, 0, 0)];
        for (left, whole, cells) in table {
            assert_eq!(full(left, whole), cells, "{left} of {whole}");
            assert_eq!(bar(left, whole).chars().count(), BAR);
        }
    }
}
