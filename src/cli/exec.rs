//! `bearerd exec`: a program with the token in its environment, or in files of its own.

mod daemon;
mod follow;
mod job;

use std::{
    collections::BTreeSet, convert::Infallible, ffi::OsString, os::unix::process::CommandExt,
    time::Duration,
};

use self::{daemon::OwnDaemon, job::Job};
use super::{exit::Exit, in_runtime, place::ListenerPlace, settings::Settings, token::Wish};
use crate::{
    outlet::{child::OnRefresh, environment, init, relay::Relay},
    token::format::Format,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Set a variable to the token in a shape: raw, header, env, json or oauth2; may be repeated
    /// [default without --file and --okta: `OKTA_BEARER_TOKEN=raw`]
    #[arg(long = "env", value_name = "NAME=FORMAT", value_parser = variable)]
    variables: Vec<(String, Format)>,
    /// Set a variable to the path of a private file that always holds the current token in a shape;
    /// may be repeated
    #[arg(long = "file", value_name = "NAME=FORMAT", value_parser = variable)]
    token_files: Vec<(String, Format)>,
    /// Point Okta's SDK and Terraform provider at the configured listener that serves `proxy` on TCP
    #[arg(long)]
    okta: bool,
    /// What to do with the program when there is a new token: none, restart or signal:NAME
    #[arg(long, value_name = "WHAT", default_value = "none")]
    on_refresh: OnRefresh,
    /// How long the program may take to end before it is killed for a restart
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// Run a daemon for this program alone, with the same configuration; it ends with the program
    #[arg(long)]
    daemon: bool,
    /// Longest wait for that daemon to have a token
    #[arg(long, default_value = "30s", requires = "daemon")]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    wish: Wish,
    #[command(flatten)]
    place: ListenerPlace,
    #[command(flatten)]
    settings: Settings,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn variable(text: &str) -> Result<(String, Format), String> {
    let wrong = "write NAME=FORMAT, as TOKEN=raw";
    let (name, format) = text.split_once('=').ok_or(wrong)?;
    let format: Format = format.parse().map_err(|error| format!("{error}"))?;
    if environment::is_name(name) { Ok((name.to_owned(), format)) } else { Err(wrong.to_owned()) }
}

impl Args {
    /// Tells whether there is nothing to do any more once the program runs.
    fn is_over_at_once(&self) -> bool {
        self.on_refresh == OnRefresh::None && self.token_files.is_empty() && !self.daemon
    }

    /// Finds a name that is to have two values.
    fn named_twice(&self) -> Option<&str> {
        let mut seen = BTreeSet::new();
        let mut names =
            self.variables.iter().chain(&self.token_files).map(|(name, _)| name.as_str());
        names.find(|name| !seen.insert(*name))
    }
}

/// Runs the program; as the first process of a container, in a process of its own.
pub(super) fn run(args: Args) -> Result<(), Exit> {
    if init::is_our_place() {
        return run_below_init();
    }
    in_runtime(run_here(args))
}

fn run_below_init() -> Result<(), Exit> {
    let mut same = daemon::ourselves();
    same.args(std::env::args_os().skip(1));
    let ended = init::run(same);
    let code = ended.map_err(|error| Exit::failed(format!("no second process: {error}")))?;
    Err(Exit::with_code(code, ""))
}

async fn run_here(args: Args) -> Result<(), Exit> {
    if let Some(name) = args.named_twice() {
        return Err(Exit::usage(format!("{name} is to have two values: rename one of them")));
    }
    match args.is_over_at_once() {
        true => become_it(args).await.map(|never| match never {}),
        false => stay_beside(args).await,
    }
}

/// Gives our own process to the program: signals, terminal and exit code are then its own.
async fn become_it(args: Args) -> Result<Infallible, Exit> {
    let job = Job::new(args)?;
    let error = job.prepare().await?.command.exec();
    Err(job.not_started(&error))
}

/// Starts the program beside us, perhaps with a daemon; all that is ours ends with it.
async fn stay_beside(args: Args) -> Result<(), Exit> {
    // First of all: a signal that ended us later would leave something behind.
    let relay = Relay::new();
    let mut relay = relay.map_err(|error| Exit::failed(format!("no signals: {}", error.kind())))?;
    let job = Job::new(args)?;
    if !job.args.daemon {
        return job.follow(&mut relay).await;
    }
    let mut daemon = OwnDaemon::start(&job)?;
    let outcome = with_daemon(&job, &mut daemon, &mut relay).await;
    daemon.stop().await;
    outcome
}

async fn with_daemon(job: &Job, daemon: &mut OwnDaemon, relay: &mut Relay) -> Result<(), Exit> {
    tokio::select! {
        ready = daemon.until_ready(job) => ready?,
        signal = relay.end() => return Err(job::ended_early(signal)),
    }
    tokio::select! {
        outcome = job.follow(relay) => outcome,
        never = daemon.keep() => match never {},
    }
}
