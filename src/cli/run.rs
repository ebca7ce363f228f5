//! `bearerd run`

use super::{exit::Exit, settings::Settings};
use crate::{
    app::{self, End},
    process::signals::Signals,
    telemetry::logs,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    // First of all: a signal that comes before somebody waits for it would end the process.
    let signals = signals()?;
    let loaded = args.settings.load()?;
    let logs = logs::start(&loaded.config.log);
    let bound = app::build(args.settings.sources(), loaded, logs)?;
    ended(bound.serve(signals).await)
}

/// Takes over the signals of the process.
pub(super) fn signals() -> Result<Signals, Exit> {
    Signals::new().map_err(|error| Exit::failed(format!("no signals: {}", error.kind())))
}

/// Tells whether a daemon ended as it should.
pub(super) fn ended(end: End) -> Result<(), Exit> {
    match end {
        End::Stopped => Ok(()),
        End::Failed => Err(Exit::failed("a task failed again and again: see the log above")),
    }
}
