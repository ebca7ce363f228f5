//! `bearerd health`: for probes in an image without a shell.

use std::time::Duration;

use http::Method;

use super::{exit::Exit, place::plain_http};
use crate::control::client::{self, Address};

/// Where the telemetry is unless somebody says otherwise.
const DEFAULT: &str = "http://127.0.0.1:9420";
/// Shorter than any probe's own patience.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ask whether the event loop turns
    #[arg(long, conflicts_with = "ready")]
    live: bool,
    /// Ask whether every required credential has a valid token (the default)
    #[arg(long)]
    ready: bool,
    /// Address of the telemetry [default: `$BEARERD_TELEMETRY__BIND`, else `http://127.0.0.1:9420`]
    #[arg(long)]
    url: Option<String>,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let path = if args.live { "/livez" } else { "/readyz" };
    let answer = client::call(&address(args.url)?, Method::GET, path, PATIENCE).await?;
    if answer.status().is_success() { Ok(()) } else { Err(Exit::failed("not ready")) }
}

/// No configuration is read: a probe must work where only the daemon can read it.
fn address(url: Option<String>) -> Result<Address, Exit> {
    let bind = || std::env::var("BEARERD_TELEMETRY__BIND").ok();
    let named = url.or_else(|| bind()?.strip_prefix("tcp:").map(|at| format!("http://{at}")));
    plain_http(&named.unwrap_or_else(|| DEFAULT.to_owned()))
}
