//! `bearerd refresh` and `bearerd quit`

use std::time::Duration;

use http::{Method, StatusCode};

use super::{exit::Exit, place::ControlPlace, settings::Settings, terminal, token::refused};
use crate::control::{client, status::RefreshAnswer};

/// Longer than a daemon waits for all its mints.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(super) struct RefreshArgs {
    /// Credential to refresh [default: all of them]
    #[arg(long)]
    credential: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: ControlPlace,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn refresh(args: RefreshArgs) -> Result<(), Exit> {
    let address = args.place.find(&args.settings)?;
    let query = args.credential.map(|name| format!("?credential={name}")).unwrap_or_default();
    let path = format!("/v1/refresh{query}");
    let answer = client::call(&address, Method::POST, &path, PATIENCE).await?;
    if answer.status() != StatusCode::OK {
        return Err(refused(&answer));
    }
    let answers: Vec<RefreshAnswer> = serde_json::from_slice(answer.body())
        .map_err(|_| Exit::failed("the daemon is of another version than this command"))?;
    if args.json {
        terminal::say(&String::from_utf8_lossy(answer.body()))?;
    } else {
        answers.iter().try_for_each(|answer| terminal::say(&sentence(answer)))?;
    }
    if answers.iter().any(|answer| answer.problem.is_some()) { Err(Exit::silent()) } else { Ok(()) }
}

#[derive(Debug, clap::Args)]
pub(super) struct QuitArgs {
    #[command(flatten)]
    place: ControlPlace,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn quit(args: QuitArgs) -> Result<(), Exit> {
    let address = args.place.find(&args.settings)?;
    let answer = client::call(&address, Method::POST, "/v1/quit", PATIENCE).await?;
    if answer.status() == StatusCode::OK { Ok(()) } else { Err(refused(&answer)) }
}

fn sentence(answer: &RefreshAnswer) -> String {
    match (&answer.token_id, answer.expires_in, &answer.problem) {
        (Some(id), Some(left), _) => {
            format!("{}: new token {id}, valid for {left} s", answer.credential)
        }
        (_, _, Some(problem)) => format!("{}: no new token: {problem}", answer.credential),
        _ => format!("{}: no new token", answer.credential),
    }
}
