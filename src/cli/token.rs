//! `bearerd token`

use std::{fmt::Write, time::Duration};

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::{exit::Exit, place::ListenerPlace, settings::Settings, terminal};
use crate::{control::client, token::format::Format};

/// Longer than a daemon lets anybody wait.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Credential of the listener [default: its first one]
    #[arg(long)]
    credential: Option<String>,
    /// Shape of the output: raw, json, header, env or oauth2
    #[arg(long, default_value = "raw")]
    format: Format,
    /// Least life that the token should have left, as 2m
    #[arg(long, value_parser = humantime::parse_duration)]
    min_ttl: Option<Duration>,
    #[command(flatten)]
    place: ListenerPlace,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let door = args.place.find(&args.settings)?;
    let (known, path) = (door.access_token()?, path(&args));
    let answer =
        client::call_with(&door.address, known.as_ref(), Method::GET, &path, PATIENCE).await?;
    if answer.status() == StatusCode::UNAUTHORIZED {
        return Err(door.refused());
    }
    if answer.status() != StatusCode::OK {
        return Err(refused(&answer));
    }
    let mut body = answer.into_body().to_vec();
    if !body.ends_with(b"\n") {
        body.push(b'\n');
    }
    terminal::print(&body)
}

fn path(args: &Args) -> String {
    let mut path = format!("/v1/token?format={}", args.format.name());
    if let Some(credential) = &args.credential {
        path.push_str("&credential=");
        path.push_str(credential);
    }
    if let Some(life) = args.min_ttl {
        // Writing to a string cannot fail.
        write!(path, "&min_ttl={}ms", life.as_millis()).ok();
    }
    path
}

/// Says in the daemon's own words why there is no answer.
pub(super) fn refused(answer: &Response<Bytes>) -> Exit {
    let problem: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = |field: &str| problem.get(field).and_then(|value| value.as_str());
    let sentence = match (text("title"), text("detail")) {
        (Some(title), Some(detail)) => format!("{title}: {detail}"),
        _ => format!("bearerd answered {}", answer.status()),
    };
    match answer.status() {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Exit::denied(sentence),
        StatusCode::SERVICE_UNAVAILABLE => Exit::unreachable(sentence),
        _ => Exit::failed(sentence),
    }
}
