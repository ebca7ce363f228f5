//! The command line: what people type, what they read, and the exit code.

mod api;
mod check;
#[cfg(feature = "emulator")]
mod dev;
mod doctor;
#[cfg(feature = "emulator")]
mod emulator;
mod exec;
mod exit;
mod health;
mod init;
mod keys;
mod okta_clients;
mod operate;
mod place;
mod rotate;
mod run;
mod settings;
mod shell;
mod span;
mod status;
mod table;
mod terminal;
mod text;
mod token;
mod users;
mod wait;

use std::{future::Future, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use self::exit::Exit;
use crate::{
    outlet::command::{helper, runner::HELPER},
    process::harden,
};

/// Most threads that answer requests; the brokers need next to nothing of them.
const MOST_WORKERS: usize = 2;
/// Each so many tasks a worker takes one of the queue that all share. A crowd of clients does not fit into
/// a worker's own queue: whoever is left over would wait until that is empty, which it never is. With
/// 1 it is the worker's own that waits.
const QUEUE_TURN: u32 = 2;
/// Tasks after which a worker looks for new requests, so that those of a crowd are answered as they came.
const EVENT_TURN: u32 = 256;
/// Threads for what blocks: name look-ups and key files.
const BLOCKING: usize = 4;
/// Time after which such a thread ends: longer than the tick, which would otherwise begin one each time.
const KEPT_ALIVE: Duration = Duration::from_secs(60);

/// What every command has in common, below the long help and in the manual page.
const MORE: &str = "\
Exit codes:
  0   done
  1   failed, or not ready, or not known whether done
  2   wrong usage
  69  the daemon or the issuer cannot be reached, or there is no token
  77  permission denied
  78  the configuration, a key file or an access token is wrong

Files:
  /etc/bearerd/bearerd.toml  the configuration, unless --config names another
  /run/bearerd/bearerd.sock  the listener of a daemon that runs as root without a configured one
  /run/bearerd/control.sock  its control socket

Environment:
  BEARERD_SOCKET  unix socket of the listener that commands ask
  BEARERD_…       any key of the configuration, as BEARERD_OKTA__BASE_URL
  NO_COLOR        no colours";

/// Turns an Okta Privileged Access API key into a local bearer token that is always fresh.
#[derive(Debug, Parser)]
#[command(name = "bearerd", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_long_help = MORE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(run::Args),
    /// Run an emulated issuer and the daemon on loopback, with nothing to set up
    #[cfg(feature = "emulator")]
    Dev(dev::Args),
    /// Validate the configuration and the key files; print what is in force and why
    Check(check::Args),
    /// Write a first configuration and key file, asking for what no flag says
    Init(init::Args),
    /// Find out why it does not work: configuration, issuer, key, daemon, sockets
    ///
    /// Mints one token for each credential, as 'check --online' does, and changes nothing.
    Doctor(doctor::Args),
    /// Print the current token of the running daemon
    Token(token::Args),
    /// Run a program with the token in its environment or in private files
    ///
    /// The exit code is the program's own, 128 and the number if a signal ended it, 127 if there is no
    /// such program and 126 if it cannot be run.
    Exec(exec::Args),
    /// Show how the running daemon is getting on
    Status(status::Args),
    /// Ask the running daemon to mint a new token now
    Refresh(operate::RefreshArgs),
    /// Wait until the daemon is ready, also for one that is yet to start
    Wait(wait::Args),
    /// Ask the running daemon to stop
    Quit(operate::QuitArgs),
    /// List, show, create, enable, disable and delete service users of the team
    ///
    /// The running daemon is asked if there is one, on its control socket; else a token is minted for
    /// this command alone, with the configured key.
    #[command(subcommand)]
    Users(users::Command),
    /// List, rotate and delete API keys of service users
    ///
    /// The running daemon is asked if there is one, on its control socket; else a token is minted for
    /// this command alone, with the configured key.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Tell by the exit code whether the daemon is alive or ready, for probes
    Health(health::Args),
    /// Run the emulated issuer alone, for testing applications
    #[cfg(feature = "emulator")]
    Emulator(emulator::Args),
    /// Print a completion script
    Completions(shell::CompletionArgs),
    /// Print the manual page
    Man,
    /// Run the commands that the daemon asks for
    #[command(name = HELPER, hide = true)]
    RunCommands,
}

/// Parses the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    // Whoever was started by way of /proc/self/exe is called `exe`.
    rustix::thread::set_name(c"bearerd").ok();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no error.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
        }
    };
    match &cli.command {
        // Its limits would be those of the program that it runs.
        Command::Exec(_) => harden::hide(),
        _ => harden::harden(),
    }
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}

fn dispatch(command: Command) -> Result<(), Exit> {
    match command {
        Command::Run(args) => run::run(&args),
        #[cfg(feature = "emulator")]
        Command::Dev(args) => in_runtime(dev::run(args)),
        Command::Check(args) => in_runtime(check::run(args)),
        Command::Init(args) => in_runtime(init::run(args)),
        Command::Doctor(args) => in_runtime(doctor::run(args)),
        Command::Token(args) => in_runtime(token::run(args)),
        Command::Exec(args) => exec::run(args),
        Command::Status(args) => in_runtime(status::run(args)),
        Command::Refresh(args) => in_runtime(operate::refresh(args)),
        Command::Wait(args) => in_runtime(wait::run(args)),
        Command::Quit(args) => in_runtime(operate::quit(args)),
        Command::Users(command) => in_runtime(users::run(command)),
        Command::Keys(command) => in_runtime(keys::run(command)),
        Command::Health(args) => in_runtime(health::run(args)),
        #[cfg(feature = "emulator")]
        Command::Emulator(args) => in_runtime(emulator::run(args)),
        Command::Completions(args) => shell::completions(&args),
        Command::Man => shell::man(),
        Command::RunCommands => run_commands(),
    }
}

/// Is the helper of a daemon, which is what standard input leads to.
fn run_commands() -> Result<(), Exit> {
    helper::run().map_err(|_| Exit::usage("the daemon alone starts this"))
}

/// Tells how many threads have cores of their own; more would only get in each other's way.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_WORKERS))
}

/// Runs a command to its end; a look-up or a file system that hangs does not hold the end up.
fn in_runtime(command: impl Future<Output = Result<(), Exit>>) -> Result<(), Exit> {
    let runtime = builder(workers())
        .global_queue_interval(QUEUE_TURN)
        .event_interval(EVENT_TURN)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(KEPT_ALIVE)
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(format!("no runtime: {}", error.kind())))?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

/// On one core one thread does it all: it wakes nobody, and a crowd of any size waits in one queue.
fn builder(workers: usize) -> Builder {
    if workers == 1 {
        return Builder::new_current_thread();
    }
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers);
    builder
}
