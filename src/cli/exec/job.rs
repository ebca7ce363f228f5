//! A program to run, and the token that it is given.

use std::{ffi::OsStr, io, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;
use rustix::process::Signal;
use tokio::{task::spawn_blocking, time::sleep};

use super::Args;
use crate::{
    cli::{exit::Exit, okta_clients, place::Door, token},
    outlet::{
        child::OnRefresh,
        environment::{self, Variable},
    },
    process::private_dir::PrivateDir,
    token::format::Format,
};

/// What a program reads when nobody says otherwise.
const USUAL: &str = "OKTA_BEARER_TOKEN";
/// What to do where no daemon runs.
const REMEDY: &str = " Or let exec run one for the program alone: --daemon";
/// Rest before what did not work is tried again, while the program runs.
pub(super) const REST: Duration = Duration::from_secs(5);
/// What shells answer when a program is not there, or cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// Holds what is to be run, where its token comes from, and where its files lie.
pub(super) struct Job {
    pub(super) args: Args,
    pub(super) door: Door,
    variables: Vec<(String, Format)>,
    /// Goes with the job.
    home: Option<Arc<PrivateDir>>,
}

/// A command that is ready to start, and the tag of the token that it is given.
pub(super) struct Prepared {
    pub(super) command: Command,
    pub(super) tag: String,
}

impl Job {
    pub(super) fn new(mut args: Args) -> Result<Self, Exit> {
        let mut variables = args.variables.clone();
        if variables.is_empty() && args.token_files.is_empty() && !args.okta {
            variables.push((USUAL.to_owned(), Format::Raw));
        }
        let needs_home = args.daemon || !args.token_files.is_empty();
        let home = needs_home.then(PrivateDir::make).transpose();
        let home = home.map_err(|error| Exit::failed(format!("no private directory: {error}")))?;
        let door = match home.as_ref().filter(|_| args.daemon) {
            Some(home) => {
                args.settings.fall_back_to(home.path().to_owned());
                args.place.find_own(&args.settings)?
            }
            None => args.place.find(&args.settings)?.or(REMEDY),
        };
        Ok(Self { args, door, variables, home: home.map(Arc::new) })
    }

    /// Gives the directory that is for this job alone, if it needs one.
    pub(super) fn home(&self) -> Option<&PrivateDir> {
        self.home.as_deref()
    }

    /// Makes the command with its environment and its files.
    pub(super) async fn prepare(&self) -> Result<Prepared, Exit> {
        let (variables, tag) = self.variables().await?;
        let mut words = self.args.command.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words).env_clear().envs(environment::inherited(std::env::vars_os()));
        for variable in &variables {
            command.env(&variable.name, variable.value());
        }
        for (name, home) in
            self.args.token_files.iter().filter_map(|(name, _)| Some((name, self.home()?)))
        {
            command.env(name, home.path().join(name));
        }
        Ok(Prepared { command, tag })
    }

    /// Writes every file anew; tells the tag of the token that is in them.
    ///
    /// What was fetched first counts: a token that comes between two of them is news.
    pub(super) async fn fill_files(&self) -> Result<Option<String>, Exit> {
        let mut first = None;
        for (name, format) in &self.args.token_files {
            let token = token::fetch(&self.door, &self.args.wish, *format).await?;
            first.get_or_insert_with(|| token::tag(&token));
            self.put(name, token).await?;
        }
        Ok(first)
    }

    async fn put(&self, name: &str, token: Response<Bytes>) -> Result<(), Exit> {
        let Some(home) = self.home.clone() else { return Ok(()) };
        let path = home.path().join(name);
        let file = name.to_owned();
        // On a disk this may take a while, and nothing else is to wait for it.
        let put = spawn_blocking(move || home.put(OsStr::new(&file), token.body()));
        let put = put.await.map_err(|error| Exit::failed(error.to_string()))?;
        put.map_err(|error| Exit::failed(format!("{}: {error}: make room there", path.display())))
    }

    async fn variables(&self) -> Result<(Vec<Variable>, String), Exit> {
        let mut variables = Vec::new();
        let mut first = self.fill_files().await?;
        for (name, format) in &self.variables {
            let token = token::fetch(&self.door, &self.args.wish, *format).await?;
            variables.push(Variable::new(name, token.body().trim_ascii_end()));
            first.get_or_insert_with(|| token::tag(&token));
        }
        if first.is_none() && self.args.on_refresh != OnRefresh::None {
            let token = token::fetch(&self.door, &self.args.wish, Format::Raw).await?;
            first = Some(token::tag(&token));
        }
        if self.args.okta {
            let credential = self.args.wish.credential.as_deref();
            variables.extend(okta_clients::variables(&self.args.settings, credential)?);
        }
        Ok((variables, first.unwrap_or_default()))
    }

    /// Waits for another token than the one that was seen; gives its tag.
    pub(super) async fn newer(&self, seen: &str) -> String {
        loop {
            match token::changed(&self.door, &self.args.wish, seen).await {
                Ok(Some(newer)) => return newer,
                Ok(None) => {}
                // The program goes on, and so does the daemon, some day.
                Err(_) => sleep(REST).await,
            }
        }
    }

    pub(super) fn not_started(&self, error: &io::Error) -> Exit {
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

/// Ends as a program would that the signal has ended.
pub(super) fn ended_early(signal: Signal) -> Exit {
    let code = u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX);
    Exit::with_code(code, "")
}
