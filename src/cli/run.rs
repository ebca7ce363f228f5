//! `bearerd run`

use super::{exit::Exit, in_runtime, settings::Settings};
use crate::{
    app::{self, Confinement, End},
    config::{Loaded, Sources},
    process::signals::{Caught, Signals},
    telemetry::logs,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &Args) -> Result<(), Exit> {
    // First of all: a signal that comes before somebody waits for it would end the process.
    let caught = catch_signals()?;
    let loaded = args.settings.load()?;
    let sources = args.settings.sources();
    // While there is one thread, and before there is a secret or anything from outside.
    let confinement = Confinement::enter(&loaded.config, &sources)?;
    in_runtime(serve(sources, loaded, confinement, caught))
}

async fn serve(
    sources: Sources,
    loaded: Loaded,
    confinement: Confinement,
    caught: Caught,
) -> Result<(), Exit> {
    let signals = signals(caught)?;
    let logs = logs::start(&loaded.config.log);
    let bound = app::build(sources, loaded, logs, confinement)?;
    ended(bound.serve(signals).await)
}

/// Takes over the signals of the process.
pub(super) fn catch_signals() -> Result<Caught, Exit> {
    Caught::new().map_err(|error| no_signals(&error))
}

/// Begins to wait for them.
pub(super) fn signals(caught: Caught) -> Result<Signals, Exit> {
    Signals::new(caught).map_err(|error| no_signals(&error))
}

fn no_signals(error: &std::io::Error) -> Exit {
    Exit::failed(format!("no signals: {}", error.kind()))
}

/// Tells whether a daemon ended as it should.
pub(super) fn ended(end: End) -> Result<(), Exit> {
    match end {
        End::Stopped => Ok(()),
        End::Failed => Err(Exit::failed("a task failed again and again: see the log above")),
    }
}
