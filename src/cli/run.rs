//! `bearerd run`

use super::{exit::Exit, in_runtime, settings::Settings, terminal};
use crate::{
    app::{self, Confinement, End, Failure, Unminted},
    config::{Loaded, Sources},
    process::{
        companion::Companion,
        signals::{Caught, Signals},
    },
    telemetry::logs,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Stop when the process with this id has ended
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    exit_with: Option<i32>,
    /// Mint one token for each credential, fill the sinks, and end: for init containers; no socket
    /// is opened
    #[arg(long, conflicts_with = "exit_with")]
    once: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &Args) -> Result<(), Exit> {
    // First of all: a signal that comes before somebody waits for it would end the process.
    let caught = catch_signals()?;
    // Before anything takes time: the process may end, and another one get its number.
    let companion = args.exit_with.map(companion).transpose()?;
    let loaded = args.settings.load()?;
    let sources = args.settings.sources();
    // While there is one thread, and before there is a secret or anything from outside.
    let confinement = Confinement::enter(&loaded.config, &sources)?;
    if args.once {
        return in_runtime(once(loaded, confinement, caught));
    }
    in_runtime(serve(sources, loaded, confinement, caught, companion))
}

async fn serve(
    sources: Sources,
    loaded: Loaded,
    confinement: Confinement,
    caught: Caught,
    companion: Option<Companion>,
) -> Result<(), Exit> {
    let signals = signals(caught)?;
    let logs = logs::start(&loaded.config.log);
    let bound = app::build(sources, loaded, logs, confinement)?;
    if let Some(companion) = companion {
        bound.stop_after(companion.ended());
    }
    ended(bound.serve(signals).await)
}

async fn once(loaded: Loaded, confinement: Confinement, caught: Caught) -> Result<(), Exit> {
    let mut signals = signals(caught)?;
    let _logs = logs::start(&loaded.config.log);
    tokio::select! {
        unminted = app::once(loaded, &confinement) => minted(&unminted?),
        _signal = signals.next() => Err(Exit::failed("stopped before there was a token")),
    }
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

fn companion(pid: i32) -> Result<Companion, Exit> {
    Companion::find(pid).map_err(|error| Exit::failed(format!("--exit-with {pid}: {error}")))
}

/// Tells whether every required credential got a token, and every sink its file; complains of the
/// others, too.
fn minted(unminted: &[Unminted]) -> Result<(), Exit> {
    let (required, optional): (Vec<_>, Vec<_>) = unminted.iter().partition(|one| one.required);
    optional.into_iter().for_each(|one| terminal::complain(&sentence(one)));
    let Some((last, others)) = required.split_last() else { return Ok(()) };
    others.iter().for_each(|one| terminal::complain(&sentence(one)));
    Err(match &last.failure {
        Failure::Mint(error) => Exit::unminted(sentence(last), error.reason),
        Failure::Key(_) => Exit::configuration(sentence(last)),
        Failure::Sink(_) => Exit::failed(sentence(last)),
    })
}

fn sentence(unminted: &Unminted) -> String {
    match &unminted.failure {
        Failure::Sink(_) => format!("sink {}: {}", unminted.name, unminted.failure),
        failure => format!("credential {}: no token: {failure}", unminted.name),
    }
}
