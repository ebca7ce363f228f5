//! `bearerd keys rotate`

use std::{
    path::{Path, PathBuf, absolute},
    sync::Arc,
};

use http::{Method, StatusCode};

use super::{
    api::call::UserRef, exit::Exit, place::ControlPlace, settings::Settings, terminal, token,
};
use crate::{
    config::{
        Config,
        model::{Credential, Okta},
    },
    control::{
        client::{self, Address},
        routes::ROTATE,
        status::RotateAnswer,
    },
    key,
    okta::{client::IssuerClient, issuer::Issuer, key_answers::KeyError, keys::KeyIssuer},
    outlet::command::{
        Hook,
        runner::{Runner, Started},
    },
    process::{
        clock::SystemClock,
        durable_file::{Draft, Look},
        secret::Secret,
        trusted_dir::{Trail, TrustedDir},
    },
    rotator::{
        alone::{self, AloneError},
        told as handed,
    },
    telemetry::metrics::Metrics,
};

/// Longer than a daemon waits for its rotation.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
/// More than the longest key takes when it is written down.
const ROOM: usize = 8 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct RotateArgs {
    /// Credential whose key is replaced, or that asks for another user's [default: the only one]
    #[arg(long, value_name = "C")]
    credential: Option<String>,
    /// Make a new key for this service user instead; all others of that user end in two days
    #[arg(long, requires = "out")]
    user: Option<UserRef>,
    /// New file for that key, with mode 0600; nothing that is there is replaced
    #[arg(long, value_name = "FILE", requires = "user")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: ControlPlace,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn rotate(args: RotateArgs) -> Result<(), Exit> {
    match (&args.user, &args.out) {
        (Some(user), Some(out)) => another(&args, user.as_str(), out).await,
        _ => own(&args).await,
    }
}

/// Lets the daemon replace its key, or does it if there is none.
async fn own(args: &RotateArgs) -> Result<(), Exit> {
    let wanted = args.credential.as_deref();
    if let Some(address) = args.place.named() {
        return asked(&address, wanted).await.unwrap_or_else(|error| Err(error.into()));
    }
    let config = args.settings.load()?.config;
    if let Some(control) = &config.control {
        match asked(&Address::Unix(control.path.clone()), wanted).await {
            Err(error) if error.is_nobody() => {}
            answer => return answer.unwrap_or_else(|error| Err(error.into())),
        }
    }
    by_ourselves(&config, wanted).await
}

/// Asks the daemon; the error tells that it did not answer.
async fn asked(
    address: &Address,
    wanted: Option<&str>,
) -> Result<Result<(), Exit>, client::ClientError> {
    let query = wanted.map(|name| format!("?credential={name}")).unwrap_or_default();
    let answer = client::call(address, Method::POST, &format!("{ROTATE}{query}"), PATIENCE).await?;
    if answer.status() != StatusCode::OK {
        return Ok(Err(token::refused(&answer)));
    }
    let answer = serde_json::from_slice(answer.body());
    let stranger = |_| Exit::failed("the daemon is of another version than this command");
    Ok(answer.map_err(stranger).and_then(|answer: RotateAnswer| told(&answer)))
}

fn told(answer: &RotateAnswer) -> Result<(), Exit> {
    let name = &answer.credential;
    match (&answer.key_id, &answer.old_key_id, &answer.old_ends_at) {
        (Some(new), Some(old), Some(ends)) => terminal::say(&format!(
            "{name}: key {new} is in use; the old one, {old}, ends at {ends} at the latest"
        )),
        _ => {
            let problem = answer.problem.as_deref().unwrap_or("the daemon does not say why");
            Err(Exit::failed(format!("{name}: the key was not rotated: {problem}")))
        }
    }
}

async fn by_ourselves(config: &Config, wanted: Option<&str>) -> Result<(), Exit> {
    let rotated: Vec<_> =
        config.credentials.iter().filter(|(_, it)| it.rotation.is_some()).collect();
    let (name, credential) = match (wanted, rotated.as_slice()) {
        (Some(wanted), all) => *all.iter().find(|(name, _)| *name == wanted).ok_or_else(|| {
            Exit::configuration(format!("credentials.{wanted}.rotation.user is not set: {NAME_IT}"))
        })?,
        (None, [only]) => *only,
        (None, []) => {
            return Err(Exit::configuration(format!(
                "no credential has rotation.user set: {NAME_IT}"
            )));
        }
        (None, _) => return Err(Exit::usage("there is more than one: name it by --credential")),
    };
    let issuer = client_of(&config.okta, credential)?;
    let with = credential.rotation.as_ref().and_then(|it| it.with.as_deref());
    let with = with.filter(|with| with != name).and_then(|with| config.credentials.get(with));
    let asking = match with {
        Some(with) => Some(minted(&config.okta, with).await?),
        None => None,
    };
    let done = alone::rotate(credential, Arc::new(issuer), asking, &SystemClock).await;
    let done = done.map_err(|error| match error {
        AloneError::Mint(error) => Exit::unminted(format!("{name}: {error}"), error.reason),
        error => Exit::failed(format!("{name}: the key was not rotated: {error}")),
    })?;
    told(&RotateAnswer::done(name, &done))?;
    hand_on(name, credential).await
}

/// Lets the command have the new key, if there is one: by a helper, as the daemon does.
async fn hand_on(name: &str, credential: &Credential) -> Result<(), Exit> {
    let (Some(command), Some(path)) =
        (handed::command(name, credential), credential.rotated_file())
    else {
        return Ok(());
    };
    let not_run = |problem: String| {
        Exit::failed(format!("{name}: the key was rotated, but {problem}: hand it on by hand"))
    };
    let started = Started::new(vec![command.clone()]).and_then(|it| Runner::new(&it));
    let (runner, carried) = started.map_err(|error| not_run(error.kind().to_string()))?;
    let hook = Hook::new(command.clone(), runner, Metrics::new().command(&command.name));
    let allow_group_readable = credential.allow_group_readable_key;
    tokio::select! {
        taken = handed::hand_over(&hook, name, path.to_owned(), allow_group_readable) => {
            taken.map_err(not_run)
        }
        () = carried => Ok(()),
    }
}

const NAME_IT: &str = "name the service user whose key it is, so that no other user's is replaced";

/// Makes a key for another service user, into a file of its own.
async fn another(args: &RotateArgs, user: &str, out: &Path) -> Result<(), Exit> {
    let config = args.settings.load()?.config;
    let wanted = args.credential.as_deref();
    let mut all = config.credentials.iter();
    let found = all.find(|(name, _)| wanted.is_none_or(|wanted| *name == wanted));
    let (_, credential) =
        found.ok_or_else(|| Exit::usage("--credential names none that is configured"))?;
    let issuer = client_of(&config.okta, credential)?;
    let token = minted(&config.okta, credential).await?;
    let (name, id) = issuer.whose(&token).await.result.map_err(failed)?;
    if user == name || user.eq_ignore_ascii_case(&id) {
        return Err(Exit::usage(
            "this is the credential's own user, whose key the daemon would lose: leave --user out",
        ));
    }
    // All that can fail here fails before Okta is asked: its answer is shown this once.
    let mut draft = reserve(out)?;
    let look = format!("bearerd keys list {user}");
    let new = issuer.rotate_key(&token, user).await.result.map_err(|error| {
        let again = format!("{error}: whether a key was made is not known, so look with '{look}'");
        if error.may_be_done() { Exit::failed(again) } else { failed(error) }
    })?;
    draft.keep();
    let at = draft.path();
    let name = out.file_name().unwrap_or_default();
    let written = draft.write(&new.key.to_json(None)).and_then(|()| draft.publish(name));
    written.map_err(|error| {
        Exit::failed(format!("{error}; what could be written is in {}", at.display()))
    })?;
    let id = new.key.id();
    terminal::say(&format!(
        "{}: the new key {id} of {user}; when the others end is told by '{look}'",
        out.display()
    ))
}

/// Takes the room for a key beside a name at which nothing may be.
fn reserve(out: &Path) -> Result<Draft, Exit> {
    let out = absolute(out).map_err(|error| Exit::failed(format!("--out: {}", error.kind())))?;
    if out.symlink_metadata().is_ok() {
        let path = out.display();
        return Err(Exit::failed(format!("{path} is there already, and is never replaced")));
    }
    let parent_and_name = out.parent().zip(out.file_name());
    let (parent, name) = parent_and_name.ok_or_else(|| Exit::usage("--out names no file"))?;
    let directory = TrustedDir::open(parent, &mut Trail::default());
    let directory = directory.map_err(|error| Exit::failed(error.to_string()))?;
    let draft = Draft::reserve(&directory, name, Look::PRIVATE, ROOM);
    draft.map_err(|error| Exit::failed(format!("{}: {error}", out.display())))
}

fn client_of(okta: &Okta, credential: &Credential) -> Result<IssuerClient, Exit> {
    let client = IssuerClient::new(okta, credential, Arc::new(SystemClock));
    client.map_err(|error| Exit::configuration(error.to_string()))
}

async fn minted(okta: &Okta, credential: &Credential) -> Result<Secret, Exit> {
    let read = key::file::read(&credential.key, credential.allow_group_readable_key);
    let key = read.map_err(|error| Exit::configuration(error.to_string()))?.key;
    let grant = client_of(okta, credential)?.mint(&key).await.result;
    grant.map(|grant| grant.token).map_err(|error| Exit::unminted(error.to_string(), error.reason))
}

fn failed(error: KeyError) -> Exit {
    match error {
        KeyError::Role | KeyError::Token => Exit::denied(error.to_string()),
        KeyError::Unsent(_) | KeyError::NotReached(_) | KeyError::Silence => {
            Exit::unreachable(error.to_string())
        }
        KeyError::Malformed | KeyError::Refused(_) => Exit::failed(error.to_string()),
    }
}
