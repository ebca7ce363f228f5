//! `bearerd exec`: a program with the token in its environment.

use std::{
    convert::Infallible, ffi::OsString, io, os::unix::process::CommandExt, process::Command,
    time::Duration,
};

use super::{
    exit::Exit,
    okta_clients,
    place::{Door, ListenerPlace},
    settings::Settings,
    token::{self, Wish},
};
use crate::{
    outlet::{
        child::{self, Child, Forwarded, OnRefresh},
        environment::{self, Variable},
    },
    token::format::Format,
};

/// What a program reads when nobody says otherwise.
const USUAL: &str = "OKTA_BEARER_TOKEN";
/// Rest before a daemon that gave no answer is asked again for news.
const REST: Duration = Duration::from_secs(5);
/// What shells answer when a program is not there, or cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Set a variable to the token in a shape: raw, header, env, json or oauth2; may be repeated
    /// [default without --okta: `OKTA_BEARER_TOKEN=raw`]
    #[arg(long = "env", value_name = "NAME=FORMAT", value_parser = variable)]
    variables: Vec<(String, Format)>,
    /// Point Okta's SDK and Terraform provider at the configured listener that serves `proxy` on TCP
    #[arg(long)]
    okta: bool,
    /// What to do with the program when there is a new token: none, restart or signal:NAME
    #[arg(long, value_name = "WHAT", default_value = "none")]
    on_refresh: OnRefresh,
    /// How long the program may take to end before it is killed for a restart
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    grace: Duration,
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

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let job = Job::new(args)?;
    match job.args.on_refresh {
        OnRefresh::None => job.become_it().await.map(|never| match never {}),
        _ => job.follow().await,
    }
}

/// A program to run, and where its token comes from.
struct Job {
    args: Args,
    variables: Vec<(String, Format)>,
    daemon: Door,
}

impl Job {
    fn new(args: Args) -> Result<Self, Exit> {
        let mut variables = args.variables.clone();
        if variables.is_empty() && !args.okta {
            variables.push((USUAL.to_owned(), Format::Raw));
        }
        let daemon = args.place.find(&args.settings)?;
        Ok(Self { args, variables, daemon })
    }

    /// Gives our own process to the program: signals, terminal and exit code are then its own.
    async fn become_it(&self) -> Result<Infallible, Exit> {
        let (mut command, _) = self.command().await?;
        let error = command.exec();
        Err(self.not_started(&error))
    }

    /// Starts the program beside us and tells it of each new token.
    async fn follow(&self) -> Result<(), Exit> {
        let signals = Forwarded::new();
        let mut signals =
            signals.map_err(|error| Exit::failed(format!("no signals: {}", error.kind())))?;
        loop {
            let (command, seen) = self.command().await?;
            let child = Child::start(command).map_err(|error| self.not_started(&error))?;
            if let Some(code) = self.attend(child, &mut signals, seen).await? {
                return Err(Exit::with_code(code, ""));
            }
        }
    }

    /// Stays with a child to its end, which has a code, or until it is to be started anew.
    async fn attend(
        &self,
        mut child: Child,
        signals: &mut Forwarded,
        mut seen: String,
    ) -> Result<Option<u8>, Exit> {
        let lost = |error: io::Error| Exit::failed(format!("the program was lost: {error}"));
        loop {
            tokio::select! {
                ended = child.ended() => return Ok(Some(child::code(ended.map_err(lost)?))),
                signal = signals.next() => child.signal(signal),
                newer = self.newer(&seen) => match self.args.on_refresh {
                    OnRefresh::Signal(signal) => {
                        child.signal(signal);
                        seen = newer;
                    }
                    OnRefresh::None | OnRefresh::Restart => {
                        child.stop(self.args.grace).await.map_err(lost)?;
                        return Ok(None);
                    }
                },
            }
        }
    }

    /// Waits for another token than the one that was seen; gives its tag.
    async fn newer(&self, seen: &str) -> String {
        loop {
            match token::changed(&self.daemon, &self.args.wish, seen).await {
                Ok(Some(newer)) => return newer,
                Ok(None) => {}
                // The program goes on, and so does the daemon, some day.
                Err(_) => tokio::time::sleep(REST).await,
            }
        }
    }

    /// Makes the command with its environment; tells the tag of the token that is in it.
    async fn command(&self) -> Result<(Command, String), Exit> {
        let (variables, tag) = self.variables().await?;
        let mut words = self.args.command.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words).env_clear().envs(environment::inherited(std::env::vars_os()));
        for variable in &variables {
            command.env(&variable.name, variable.value());
        }
        Ok((command, tag))
    }

    async fn variables(&self) -> Result<(Vec<Variable>, String), Exit> {
        let mut variables = Vec::new();
        let mut tag = String::new();
        for (name, format) in &self.variables {
            let token = token::fetch(&self.daemon, &self.args.wish, *format).await?;
            variables.push(Variable::new(name, token.body().trim_ascii_end()));
            tag = token::tag(&token);
        }
        if variables.is_empty() && self.args.on_refresh != OnRefresh::None {
            tag = token::tag(&token::fetch(&self.daemon, &self.args.wish, Format::Raw).await?);
        }
        if self.args.okta {
            let credential = self.args.wish.credential.as_deref();
            variables.extend(okta_clients::variables(&self.args.settings, credential)?);
        }
        Ok((variables, tag))
    }

    fn not_started(&self, error: &io::Error) -> Exit {
        let name = self.args.command.first().map(|name| name.to_string_lossy());
        let name = name.unwrap_or_default();
        let (code, flaw) = match error.kind() {
            io::ErrorKind::NotFound => (NOT_FOUND, "there is no such program on the path"),
            io::ErrorKind::PermissionDenied => (NOT_RUNNABLE, "it is no program that you may run"),
            _ => (NOT_RUNNABLE, "the system does not run it: is it a program for this machine?"),
        };
        Exit::with_code(code, format!("{name} cannot be started: {flaw}"))
    }
}
