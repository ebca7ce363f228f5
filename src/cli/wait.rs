//! `bearerd wait`: for start-up ordering.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::time::{sleep, timeout};

use super::{
    exit::Exit,
    place::{Door, ListenerPlace},
    settings::Settings,
    token::{self, Wish},
};
use crate::token::format::Format;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time for one look, however short the wait.
const LEAST: Duration = Duration::from_millis(200);
/// Pauses between two looks: at first the daemon is likely to come soon.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Longest wait, as 30s or 2m
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    place: ListenerPlace,
    #[command(flatten)]
    settings: Settings,
}

/// Says what is still missing.
enum Missing {
    /// The daemon, or the way to it.
    Daemon(Exit),
    /// A token.
    Token,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let door = args.place.find(&args.settings)?;
    until_ready(&door, args.timeout).await
}

/// Waits for so long, at most, until the daemon behind a door is ready.
pub(super) async fn until_ready(door: &Door, limit: Duration) -> Result<(), Exit> {
    let mut missing = None;
    match timeout(limit.max(LEAST), come(door, &mut missing)).await {
        Ok(outcome) => outcome,
        Err(_late) => {
            let reason = reason(door, missing).await;
            let limit = humantime::format_duration(limit);
            Err(Exit::unreachable(format!("not ready within {limit}: {reason}")))
        }
    }
}

/// Looks until the daemon is ready, or never will be.
async fn come(door: &Door, missing: &mut Option<Missing>) -> Result<(), Exit> {
    let mut pause = PAUSES.0;
    loop {
        match look(door).await? {
            None => return Ok(()),
            still => *missing = still,
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn look(door: &Door) -> Result<Option<Missing>, Exit> {
    if let Some(file) = door.missing_access_token() {
        let sentence = format!("{} is not there: the daemon makes it at its start", file.display());
        return Ok(Some(Missing::Daemon(Exit::unreachable(sentence))));
    }
    let request = Request::get("/v1/ready").body(Bytes::new());
    let request = request.map_err(|_| Exit::failed("no request could be made"))?;
    match door.ask(request, PATIENCE).await {
        Ok(answer) if answer.status() == StatusCode::OK => Ok(None),
        Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
            Ok(Some(Missing::Token))
        }
        Ok(answer) => Err(token::refused(&answer)),
        Err(exit) if exit.is_unreachable() => Ok(Some(Missing::Daemon(exit))),
        Err(exit) => Err(exit),
    }
}

/// Says what was missing last; the daemon itself knows best why there is no token.
async fn reason(door: &Door, missing: Option<Missing>) -> String {
    match missing {
        None => "there was no time for an answer".to_owned(),
        Some(Missing::Daemon(exit)) => exit.sentence().to_owned(),
        Some(Missing::Token) => {
            let why = timeout(PATIENCE, token::fetch(door, &Wish::any(), Format::Raw)).await;
            match why {
                Ok(Err(exit)) if exit.is_unreachable() => exit.sentence().to_owned(),
                _ => "a credential that the daemon requires has no token, see 'bearerd status'"
                    .to_owned(),
            }
        }
    }
}
