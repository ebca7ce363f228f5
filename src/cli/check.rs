//! `bearerd check`: everything that is wrong, at once, and what is in force.

use std::{fmt::Display, path::Path, sync::Arc};

use super::{
    exit::Exit,
    settings::Settings,
    terminal::{self, Tone, paint},
};
use crate::{
    config::{
        Entry, Loaded,
        model::{Credential, Okta, Tls},
    },
    key::{self, KeyReading},
    local::{access_token::AccessTokenFile, tls::Certificate},
    okta::{
        client::IssuerClient,
        issuer::{Issuer, Outcome},
    },
    process::{
        clock::{Clock, SystemClock},
        feed::Source,
        trusted_dir::Trail,
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
#[derive(Default)]
struct Tally {
    wrong: bool,
    unreachable: bool,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let loaded = args.settings.load()?;
    if !args.quiet {
        terminal::say(&effective(&loaded))?;
    }
    for warning in &loaded.warnings {
        mark(Tone::Odd, "warning", &warning.to_string())?;
    }
    let mut tally = Tally::default();
    for (name, listener) in &loaded.config.listeners {
        if let Some(file) = &listener.guard.access_token_file {
            check_access_token(name, file, &mut tally)?;
        }
    }
    for (name, credential) in &loaded.config.credentials {
        let key = check_key(name, credential, &mut tally)?;
        let client = check_client(&loaded.config.okta, credential, &mut tally)?;
        if let (Some(key), Some(client), true) = (key, client, args.online) {
            let outcome = client.mint(&key.key).await;
            tally.unreachable |= outcome.result.is_err();
            report_mint(name, credential, &outcome)?;
        }
    }
    for (name, listener) in &loaded.config.listeners {
        if let Some(files) = &listener.tls {
            check_certificate(name, files, &mut tally)?;
        }
    }
    match tally {
        Tally { wrong: true, .. } => Err(Exit::configuration("see what is marked as wrong")),
        Tally { unreachable: true, .. } => Err(Exit::unreachable("no token could be minted")),
        Tally { .. } => mark(Tone::Good, "ok", "the configuration can be used"),
    }
}

/// Reads the access token of a listener; one that is missing is made by the daemon, not here.
fn check_access_token(listener: &str, file: &Path, tally: &mut Tally) -> Result<(), Exit> {
    let path = file.display();
    let (tone, word, found) = match AccessTokenFile(file.to_owned()).read(&mut Trail::default()) {
        Ok(_) => (Tone::Good, "ok", format!("access token {path} can be read")),
        Err(error) if error.is_missing() => {
            (Tone::Good, "ok", format!("access token {path} is made when the daemon starts"))
        }
        Err(error) => {
            tally.wrong = true;
            (Tone::Bad, "wrong", error.to_string())
        }
    };
    mark(tone, word, &format!("listeners.{listener}: {found}"))
}

fn check_key(
    name: &str,
    credential: &Credential,
    tally: &mut Tally,
) -> Result<Option<KeyReading>, Exit> {
    match key::file::read(&credential.key, credential.allow_group_readable_key) {
        Ok(reading) => {
            for warning in &reading.warnings {
                mark(Tone::Odd, "warning", &format!("credentials.{name}: {warning}"))?;
            }
            let id = reading.key.id();
            mark(Tone::Good, "ok", &format!("credentials.{name}: key {id} can be read"))?;
            Ok(Some(reading))
        }
        Err(error) => {
            tally.wrong = true;
            mark(Tone::Bad, "wrong", &format!("credentials.{name}: {error}"))?;
            Ok(None)
        }
    }
}

fn check_client(
    okta: &Okta,
    credential: &Credential,
    tally: &mut Tally,
) -> Result<Option<IssuerClient>, Exit> {
    match IssuerClient::new(okta, credential, Arc::new(SystemClock)) {
        Ok(client) => Ok(Some(client)),
        Err(error) => {
            tally.wrong = true;
            mark(Tone::Bad, "wrong", &error.to_string())?;
            Ok(None)
        }
    }
}

fn check_certificate(name: &str, files: &Tls, tally: &mut Tally) -> Result<(), Exit> {
    let say =
        |tone, word, text: &dyn Display| mark(tone, word, &format!("listeners.{name}: {text}"));
    match Certificate::load(files).map(|certificate| certificate.warning(SystemClock.wall())) {
        Ok(None) => say(Tone::Good, "ok", &"the certificate can be shown"),
        Ok(Some(warning)) => say(Tone::Odd, "warning", &warning),
        Err(error) => {
            tally.wrong = true;
            say(Tone::Bad, "wrong", &error)
        }
    }
}

fn report_mint(name: &str, credential: &Credential, outcome: &Outcome) -> Result<(), Exit> {
    match &outcome.result {
        Ok(grant) => {
            let (life, took) = (grant.lifetime.as_secs(), outcome.took.as_millis());
            let text = format!("credentials.{name}: a token for {life} s was minted in {took} ms");
            mark(Tone::Good, "ok", &text)
        }
        Err(error) => {
            let (reason, issuer) = (error.reason, &credential.base_url);
            mark(Tone::Bad, "failed", &format!("credentials.{name}: {issuer}: {reason}"))
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

fn mark(tone: Tone, word: &str, text: &str) -> Result<(), Exit> {
    terminal::say(&format!("{} {text}", paint(&format!("{word}:"), tone, terminal::has_colour())))
}
