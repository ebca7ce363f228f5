//! Who asks the issuer, and on which road: through the running daemon, else straight.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::{
    call::Call,
    refused,
    road::Road,
    show::{Output, Row},
};
use crate::{
    cli::{exit::Exit, place::ControlPlace, settings::Settings, token},
    config::Config,
    control::{
        client::{self, Address, ClientError},
        status::{Credential, State, Status},
    },
    key,
    process::clock::{Clock, SystemClock},
    token::timing::Wall,
};

/// Longest wait for a word of the daemon about itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Holds the flags that say who asks, and through whom.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct WayArgs {
    /// Credential whose service user asks [default: the first]
    #[arg(long, value_name = "C")]
    credential: Option<String>,
    #[command(flatten)]
    place: ControlPlace,
    #[command(flatten)]
    settings: Settings,
}

/// Asks the issuer for one credential.
pub(in crate::cli) struct Way {
    road: Road,
    pub(in crate::cli) credential: String,
    pub(super) team_name: String,
    /// The key that the tokens are minted with.
    pub(in crate::cli) key_id: Option<String>,
}

impl Way {
    /// Finds the daemon that `--control` names, else the configuration's if it runs, else none.
    pub(in crate::cli) async fn find(args: &WayArgs) -> Result<Self, Exit> {
        let wanted = args.credential.as_deref();
        if let Some(address) = args.place.named() {
            let status = status(&address).await?;
            return Self::through(address, read(&status)?, wanted);
        }
        let config = args.settings.load()?.config;
        let Some(control) = &config.control else {
            return Self::straight(&config, wanted).await;
        };
        let address = Address::Unix(control.path.clone());
        match status(&address).await {
            Err(error) if error.is_nobody() => Self::straight(&config, wanted).await,
            status => Self::through(address, read(&status?)?, wanted),
        }
    }

    fn through(address: Address, status: Status, wanted: Option<&str>) -> Result<Self, Exit> {
        let names = status.credentials.iter().map(|credential| credential.name.as_str());
        let place = chosen(&names.collect::<Vec<_>>(), wanted)?;
        let credential = status.credentials.into_iter().nth(place).ok_or_else(stranger)?;
        check_state(&credential)?;
        Ok(Self {
            road: Road::through(address, &credential.name)?,
            credential: credential.name,
            team_name: credential.team_name,
            key_id: credential.key_id,
        })
    }

    async fn straight(config: &Config, wanted: Option<&str>) -> Result<Self, Exit> {
        let names: Vec<_> = config.credentials.keys().map(String::as_str).collect();
        let place = chosen(&names, wanted)?;
        let (name, credential) = config.credentials.iter().nth(place).ok_or_else(stranger)?;
        let key = key::file::read(&credential.key, credential.allow_group_readable_key);
        let key = key.map_err(|error| Exit::configuration(error.to_string()))?.key;
        Ok(Self {
            road: Road::straight(&config.okta, name, credential, &key).await?,
            credential: name.clone(),
            team_name: credential.team_name.clone(),
            key_id: Some(key.id().to_owned()),
        })
    }

    /// Makes a call and reads what it answers.
    pub(in crate::cli) async fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Exit> {
        let answer = self.send(call, &call.target(&self.team_name)).await?;
        self.read(call, answer.body())
    }

    /// Makes a call that has nothing to answer.
    pub(in crate::cli) async fn done(&self, call: &Call) -> Result<(), Exit> {
        self.send(call, &call.target(&self.team_name)).await.map(drop)
    }

    /// Makes a call and shows the one object that it answers.
    pub(in crate::cli) async fn show<T: Row>(&self, call: &Call, json: bool) -> Result<(), Exit> {
        let row: T = self.ask(call).await?;
        Output::new::<T>(json).rows(&[row], self.now()).map(|_has_seen_enough| ())
    }

    /// Makes a call at a path and query of its own, once.
    pub(super) async fn send(&self, call: &Call, target: &str) -> Result<Response<Bytes>, Exit> {
        match self.road.send(call, target).await {
            Ok(answer) => refused::check(answer, call, self, self.now()),
            Err(silence) if silence.is_unsent => Err(Exit::unreachable(silence.what)),
            Err(silence) => Err(refused::lost(call, &silence.what)),
        }
    }

    /// Reads the body of an answer.
    pub(super) fn read<T: DeserializeOwned>(&self, call: &Call, body: &[u8]) -> Result<T, Exit> {
        let what = "the answer is not what an Okta issuer sends: check base_url";
        serde_json::from_slice(body).map_err(|_quotes_its_input| refused::lost(call, what))
    }

    pub(super) fn origin(&self) -> &str {
        self.road.origin()
    }

    pub(super) fn now(&self) -> Wall {
        SystemClock.wall()
    }
}

async fn status(address: &Address) -> Result<Response<Bytes>, ClientError> {
    client::call(address, Method::GET, "/v1/status", PATIENCE).await
}

fn read(answer: &Response<Bytes>) -> Result<Status, Exit> {
    if answer.status() != StatusCode::OK {
        return Err(token::refused(answer));
    }
    serde_json::from_slice(answer.body()).map_err(|_| stranger())
}

/// Finds the place of the credential that is wanted, or of the first.
fn chosen(names: &[&str], wanted: Option<&str>) -> Result<usize, Exit> {
    let Some(wanted) = wanted else { return Ok(0) };
    names.iter().position(|name| *name == wanted).ok_or_else(|| {
        let known = names.join(", ");
        Exit::usage(format!("--credential names none that is configured: there is {known}"))
    })
}

/// Says at once why the daemon could not ask.
fn check_state(credential: &Credential) -> Result<(), Exit> {
    let name = &credential.name;
    match (credential.state, &credential.key_trouble, &credential.last_error) {
        (State::NoKey, Some(trouble), _) => Err(Exit::configuration(trouble)),
        (State::NoToken, _, Some(error)) => {
            Err(Exit::unreachable(format!("credential {name}: {}", error.problem)))
        }
        _ => Ok(()),
    }
}

fn stranger() -> Exit {
    Exit::failed("the daemon is of another version than this command")
}
