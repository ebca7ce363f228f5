//! `bearerd status`

mod draw;
mod watch;

use std::time::Duration;

use http::{Method, StatusCode};

use super::{exit::Exit, place::ControlPlace, settings::Settings, terminal, token::refused};
use crate::control::{
    client::{self, Address},
    status::Status,
};

/// A daemon answers at once.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Look again each second until Ctrl-C; where it is piped, print only what has changed
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    place: ControlPlace,
    #[command(flatten)]
    settings: Settings,
}

/// Names what is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Table,
    Json,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let address = args.place.find(&args.settings)?;
    let shape = if args.json { Shape::Json } else { Shape::Table };
    if args.watch {
        return watch::watch(&address, shape).await;
    }
    let (status, json) = ask(&address).await?;
    match shape {
        Shape::Json => terminal::say(&json)?,
        Shape::Table => {
            terminal::print(draw::draw(&status, terminal::has_colour()).as_bytes())?;
        }
    }
    if status.ready { Ok(()) } else { Err(Exit::silent()) }
}

/// Asks the daemon how it stands; gives its very words, too.
async fn ask(address: &Address) -> Result<(Status, String), Exit> {
    let answer = client::call(address, Method::GET, "/v1/status", PATIENCE).await?;
    if answer.status() != StatusCode::OK {
        return Err(refused(&answer));
    }
    let status = serde_json::from_slice(answer.body())
        .map_err(|_| Exit::failed("the daemon is of another version than this command"))?;
    Ok((status, String::from_utf8_lossy(answer.body()).into_owned()))
}
