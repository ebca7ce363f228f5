//! `bearerd check`: everything that is wrong, at once, and what is in force.

use std::{fmt::Display, path::Path, sync::Arc};

use super::{
    exit::Exit,
    settings::Settings,
    terminal::{self, Tone, paint},
};
use crate::{
    config::{
        Config, Entry, Loaded,
        model::{Bind, Credential, Listener, Okta, SocketFile, Tls},
    },
    key::{self, KeyError, KeyReading},
    local::{access_token::AccessTokenFile, bind::unix, tls::Certificate},
    okta::{
        client::IssuerClient,
        issuer::{Issuer, Outcome},
    },
    process::{
        clock::{Clock, SystemClock},
        feed::Source,
        trusted_dir::{Trail, TrustedDir},
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Mint one token for each credential, too
    #[arg(long)]
    online: bool,
    /// Print findings only
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    settings: Settings,
}

/// What has been found so far; each line has been said already.
struct Tally {
    /// What is well is not worth a line.
    quiet: bool,
    wrong: bool,
    /// Why no token came, for the last credential that got none.
    unminted: Option<Exit>,
}

impl Tally {
    fn ok(&self, text: &str) -> Result<(), Exit> {
        if self.quiet { Ok(()) } else { mark(Tone::Good, "ok", text) }
    }

    fn wrong(&mut self, text: &str) -> Result<(), Exit> {
        self.wrong = true;
        mark(Tone::Bad, "wrong", text)
    }
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let loaded = args.settings.load()?;
    if !args.quiet {
        terminal::say(&effective(&loaded))?;
    }
    for warning in &loaded.warnings {
        warn(warning)?;
    }
    let mut tally = Tally { quiet: args.quiet, wrong: false, unminted: None };
    let config = &loaded.config;
    for (name, listener) in &config.listeners {
        check_listener(name, listener, &mut tally)?;
    }
    check_places(config, &mut tally)?;
    for (name, credential) in &config.credentials {
        let key = check_key(name, credential, &mut tally)?;
        let client = check_client(&config.okta, credential, &mut tally)?;
        if let (Some(key), Some(client), true) = (key, client, args.online) {
            report_mint(name, credential, &client.mint(&key.key).await, &mut tally)?;
        }
    }
    match tally {
        Tally { wrong: true, .. } => Err(Exit::configuration("mend what is marked as wrong above")),
        Tally { unminted: Some(exit), .. } => Err(exit),
        Tally { .. } => mark(Tone::Good, "ok", "the configuration can be used"),
    }
}

fn check_listener(name: &str, listener: &Listener, tally: &mut Tally) -> Result<(), Exit> {
    for bind in &listener.bind {
        check_socket(&format!("listeners.{name}"), bind, &listener.socket, tally)?;
    }
    if let Some(file) = &listener.guard.access_token_file {
        check_access_token(name, file, tally)?;
    }
    listener.tls.as_ref().map_or(Ok(()), |files| check_certificate(name, files, tally))
}

/// Looks where a socket is to be, and changes nothing there.
fn check_socket(what: &str, bind: &Bind, file: &SocketFile, tally: &mut Tally) -> Result<(), Exit> {
    let Bind::Unix(path) = bind else { return Ok(()) };
    match unix::look(path, file) {
        Ok(()) => tally.ok(&format!("{what}: a socket can be at {}", path.display())),
        Err(error) => tally.wrong(&format!("{what}: {error}")),
    }
}

/// Looks at what belongs to the daemon as a whole.
fn check_places(config: &Config, tally: &mut Tally) -> Result<(), Exit> {
    // Without a default that cannot be used the daemon goes on.
    if let Some(control) = config.control.as_ref().filter(|control| !control.is_default) {
        check_socket("control", &Bind::Unix(control.path.clone()), &control.socket(), tally)?;
    }
    match &config.state_dir {
        Some(dir) if config.listeners.values().any(Listener::keeps_local_token) => {
            let opened = TrustedDir::open(dir, &mut Trail::default());
            opened.map_or_else(|error| warn(&format!("state.dir: {error}")), |_| Ok(()))
        }
        _ => Ok(()),
    }
}

/// Reads the access token of a listener; one that is missing is made by the daemon, not here.
fn check_access_token(listener: &str, file: &Path, tally: &mut Tally) -> Result<(), Exit> {
    let path = file.display();
    match AccessTokenFile(file.to_owned()).read(&mut Trail::default()) {
        Ok(_) => tally.ok(&format!("listeners.{listener}: access token {path} can be read")),
        Err(error) if error.is_missing() && file.parent().is_some_and(Path::is_dir) => tally.ok(
            &format!("listeners.{listener}: access token {path} is made when the daemon starts"),
        ),
        Err(error) => tally.wrong(&format!("listeners.{listener}: {error}")),
    }
}

fn check_certificate(listener: &str, files: &Tls, tally: &mut Tally) -> Result<(), Exit> {
    match Certificate::load(files).map(|certificate| certificate.warning(SystemClock.wall())) {
        Ok(None) => tally.ok(&format!("listeners.{listener}: the certificate can be shown")),
        Ok(Some(warning)) => warn(&format!("listeners.{listener}: {warning}")),
        Err(error) => tally.wrong(&format!("listeners.{listener}: {error}")),
    }
}

fn check_key(
    name: &str,
    credential: &Credential,
    tally: &mut Tally,
) -> Result<Option<KeyReading>, Exit> {
    match key::file::read(&credential.key, credential.allow_group_readable_key) {
        Ok(reading) => {
            for warning in &reading.warnings {
                warn(&format!("credentials.{name}: {warning}"))?;
            }
            tally.ok(&format!("credentials.{name}: key {} can be read", reading.key.id()))?;
            if let Some(Err(error)) = credential.rotated_file().map(key::shelf::look_at) {
                // The daemon serves it all the same.
                warn(&format!("credentials.{name}.rotation: {error}"))?;
            }
            Ok(Some(reading))
        }
        Err(error @ KeyError::Elsewhere { .. }) => {
            // Nothing is wrong with that: it is out of sight from here.
            warn(&format!("credentials.{name}: {error}")).map(|()| None)
        }
        Err(error) => tally.wrong(&format!("credentials.{name}: {error}")).map(|()| None),
    }
}

fn check_client(
    okta: &Okta,
    credential: &Credential,
    tally: &mut Tally,
) -> Result<Option<IssuerClient>, Exit> {
    match IssuerClient::new(okta, credential, Arc::new(SystemClock)) {
        Ok(client) => Ok(Some(client)),
        Err(error) => tally.wrong(&error.to_string()).map(|()| None),
    }
}

fn report_mint(
    name: &str,
    credential: &Credential,
    outcome: &Outcome,
    tally: &mut Tally,
) -> Result<(), Exit> {
    match &outcome.result {
        Ok(grant) => {
            let (life, took) = (grant.lifetime.as_secs(), outcome.took.as_millis());
            tally.ok(&format!("credentials.{name}: a token for {life} s was minted in {took} ms"))
        }
        Err(error) => {
            tally.unminted = Some(Exit::unminted("no token could be minted", error.reason));
            let issuer = &credential.base_url;
            mark(Tone::Bad, "failed", &format!("credentials.{name}: {issuer}: {error}"))
        }
    }
}

/// The configuration in force, each value with where it comes from.
fn effective(loaded: &Loaded) -> String {
    let colour = terminal::has_colour();
    let width = loaded.effective.iter().map(|entry| entry.key.len()).max().unwrap_or(0);
    let line = |entry: &Entry| {
        let value = entry.value.as_deref().unwrap_or("(not set)");
        let origin = paint(&format!("# {}", entry.origin), Tone::Faint, colour);
        format!("{:width$} = {value}  {origin}", entry.key)
    };
    loaded.effective.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn warn(text: &impl Display) -> Result<(), Exit> {
    mark(Tone::Odd, "warning", &text.to_string())
}

fn mark(tone: Tone, word: &str, text: &str) -> Result<(), Exit> {
    terminal::say(&format!("{} {text}", paint(&format!("{word}:"), tone, terminal::has_colour())))
}
