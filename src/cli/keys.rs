//! `bearerd keys`

use clap::Subcommand;
use http::Method;

use super::{
    api::{
        call::{Call, KeyId, UserRef},
        list::{self, ListArgs},
        way::{Way, WayArgs},
    },
    exit::Exit,
    rotate::{RotateArgs, rotate},
    terminal,
};
use crate::okta::wire::ServiceKey;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the API keys of a service user, all pages of them; never a secret
    List(ListKeys),
    /// Replace the key of a credential, crash-safe; or make one for another service user
    ///
    /// The running daemon does it if there is one, so that no secret crosses its socket; else this
    /// command does, with the same lock and journal. [credentials.NAME.rotation] names the user.
    Rotate(RotateArgs),
    /// Delete an API key, and with it the tokens that it made
    Delete(DeleteKey),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListKeys {
    /// Name or id of the service user
    user: UserRef,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    way: WayArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct DeleteKey {
    /// Name or id of the service user
    user: UserRef,
    /// Id of the key
    key: KeyId,
    #[command(flatten)]
    way: WayArgs,
}

pub(super) async fn run(command: Command) -> Result<(), Exit> {
    match command {
        Command::List(args) => list(args).await,
        Command::Rotate(args) => rotate(args).await,
        Command::Delete(args) => delete(args).await,
    }
}

async fn list(args: ListKeys) -> Result<(), Exit> {
    let call = Call::read(&["service_users", args.user.as_str(), "keys"]);
    let call = call.with_query(args.list.query());
    let way = Way::find(&args.way).await?;
    list::show::<ServiceKey>(&way, &call, &args.list).await
}

async fn delete(args: DeleteKey) -> Result<(), Exit> {
    let (user, key) = (args.user.as_str(), args.key.as_str());
    let way = Way::find(&args.way).await?;
    if way.key_id.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(key)) {
        return Err(Exit::denied(format!(
            "this is the key of credential {} itself, which would be left without tokens: \
             use another one's, by --credential",
            way.credential
        )));
    }
    let look = format!("bearerd keys list {user}");
    let path = ["service_users", user, "keys", key];
    way.done(&Call::write(Method::DELETE, &path, &look)).await?;
    terminal::say(&format!("deleted {key}"))
}
