//! `bearerd init`: writes a sound first configuration and key file, asked for or from flags.

mod ask;
mod files;
mod text;

use std::path::{Path, PathBuf, absolute};

use zeroize::Zeroizing;

use self::{
    ask::Asker,
    files::{Draft, make_directory},
    text::Answers,
};
use super::{exit::Exit, terminal};
use crate::{
    config::{self, DEFAULT_FILE, Sources, model::Bind},
    key::{ApiKey, api_key::is_key_id},
    local::bind::unix,
    process::{
        path_error::our_uid,
        trusted_dir::{Trail, TrustedDir},
    },
};

/// Why no flag takes the secret.
const NO_SECRET_FLAG: &str = "there is no --key-secret: every user can read a command line (ps). \
    Leave it out to be asked, or give it on standard input with --key-secret-stdin. A secret that \
    was typed there should be replaced";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address of the issuer, as `https://acme.pam.okta.com`
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Team in the issuer's paths
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// Id of the API key
    #[arg(long, value_name = "UUID")]
    key_id: Option<String>,
    /// Read the key's secret from standard input, one line
    #[arg(long)]
    key_secret_stdin: bool,
    /// Refused: a command line is no place for a secret
    #[arg(long, hide = true, num_args = 0..=1, value_name = "SECRET")]
    key_secret: Option<Option<String>>,
    /// Directory for the key file, made with mode 0700 [default: /etc/bearerd for root, else
    /// ~/.config/bearerd]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Configuration file to write [default: bearerd.toml in that directory]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replace files that are there; they are kept beside the new ones, as NAME.old
    #[arg(long)]
    force: bool,
}

/// Where everything is to be.
struct Places {
    dir: PathBuf,
    config: PathBuf,
    key: PathBuf,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    if args.key_secret.is_some() {
        return Err(Exit::usage(NO_SECRET_FLAG));
    }
    let places = Places::of(&args)?;
    // Nobody is to answer questions first and hear of it then.
    [&places.config, &places.key]
        .into_iter()
        .try_for_each(|path| files::check(path, args.force))?;
    let mut asker = Asker::new(args.key_secret_stdin)?;
    let (answers, secret) = questions(&args, &places, &mut asker).await?;
    write(&args, &places, &answers, &secret)
}

impl Places {
    fn of(args: &Args) -> Result<Self, Exit> {
        let dir = args.dir.clone().map_or_else(default_directory, Ok)?;
        let whole = |path: &Path| {
            let path = absolute(path).ok().filter(|path| path.to_str().is_some());
            path.ok_or_else(|| Exit::usage("--dir and --config name paths, in UTF-8"))
        };
        let dir = whole(&dir)?;
        let config = args.config.as_deref().map_or_else(|| Ok(dir.join("bearerd.toml")), whole)?;
        Ok(Self { key: dir.join("key.json"), config, dir })
    }
}

fn default_directory() -> Result<PathBuf, Exit> {
    if our_uid() == 0 {
        return Ok("/etc/bearerd".into());
    }
    let home = |name, below: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(PathBuf::from(value).join(below))
    };
    home("XDG_CONFIG_HOME", "bearerd")
        .or_else(|| home("HOME", ".config/bearerd"))
        .ok_or_else(|| Exit::usage("neither $HOME nor $XDG_CONFIG_HOME is set: name a --dir"))
}

/// Asks for whatever no flag has said.
async fn questions(
    args: &Args,
    places: &Places,
    asker: &mut Asker,
) -> Result<(Answers, ApiKey), Exit> {
    let base_url = match &args.base_url {
        Some(url) => {
            text::base_url(url).map_err(|flaw| Exit::usage(format!("--base-url {flaw}")))?
        }
        None => {
            let question = "Address of the issuer, as https://acme.pam.okta.com";
            asker.ask("--base-url", question, None, text::base_url).await?
        }
    };
    let team = match &args.team {
        Some(team) => team.clone(),
        None => {
            let guess = text::team_of(&base_url);
            asker.ask("--team", "Team", guess.as_deref(), text::team).await?
        }
    };
    let id = |id: &str| match id.trim() {
        id if is_key_id(id) => Ok(id.to_owned()),
        _ => Err("is not a UUID: copy it again from Okta"),
    };
    let key_id = match &args.key_id {
        Some(key_id) => id(key_id).map_err(|flaw| Exit::usage(format!("--key-id {flaw}")))?,
        None => asker.ask("--key-id", "Id of the API key", None, id).await?,
    };
    let key = asker.secret(|secret: &str| ApiKey::new(&key_id, secret, None)).await?;
    let runtime = if places.dir == Path::new("/etc/bearerd") {
        "/run/bearerd".into()
    } else {
        places.dir.clone()
    };
    Ok((Answers { base_url, team, key_file: places.key.clone(), runtime }, key))
}

/// Writes both files, the key first; nothing is in its place before all of it is known to be good.
fn write(args: &Args, places: &Places, answers: &Answers, key: &ApiKey) -> Result<(), Exit> {
    make_directory(&places.dir)?;
    let config = Draft::write(&places.config, answers.toml().as_bytes(), 0o644)?;
    accept(config.path(), places)?;
    let key = Draft::write(&places.key, &key_json(key), 0o600)?;
    let kept = [key.publish(&places.key, args.force)?, config.publish(&places.config, args.force)?];
    terminal::say(&format!(
        "wrote {} (mode 0600) and {}",
        shown(&places.key),
        shown(&places.config)
    ))?;
    for old in kept.into_iter().flatten() {
        terminal::say(&format!("what was there before is {} now", shown(&old)))?;
    }
    let flag = match places.config.as_path() {
        path if path == Path::new(DEFAULT_FILE) => String::new(),
        path => format!(" --config {}", text::quoted(&shown(path))),
    };
    terminal::say(&format!("next:\n  bearerd check --quiet --online{flag}\n  bearerd run{flag}"))
}

/// Loads what was written as a daemon would, but for the environment, and looks where it points.
fn accept(draft: &Path, places: &Places) -> Result<(), Exit> {
    let refused = |why: String| Exit::configuration(format!("nothing was written: {why}"));
    let gid = rustix::process::getegid().as_raw();
    let sources = Sources::new(vec![draft.to_owned()], Vec::new(), Vec::new(), our_uid(), gid);
    let loaded = config::load(&sources).map_err(|findings| {
        refused(findings.to_string().replace(&shown(draft), &shown(&places.config)))
    })?;
    // Whoever can replace the key's file would choose the key.
    TrustedDir::open(&places.dir, &mut Trail::default()).map_err(|e| refused(e.to_string()))?;
    for listener in loaded.config.listeners.values() {
        for bind in &listener.bind {
            if let Bind::Unix(path) = bind {
                unix::look(path, &listener.socket).map_err(|error| refused(error.to_string()))?;
            }
        }
    }
    Ok(())
}

fn key_json(key: &ApiKey) -> Zeroizing<Vec<u8>> {
    // Room for a secret whose every character has to be escaped: it must not grow and leave copies.
    let mut json = Zeroizing::new(Vec::with_capacity(4096));
    let object = text::KeyFile { key_id: key.id(), key_secret: key.expose_secret() };
    serde_json::to_writer(&mut *json, &object).expect("two strings can be written to memory");
    json.push(b'\n');
    json
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
