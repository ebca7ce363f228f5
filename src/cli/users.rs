//! `bearerd users`

use clap::{Subcommand, ValueEnum};
use http::Method;
use serde_json::json;

use super::{
    api::{
        call::{Call, NewName, UserRef},
        list::{self, ListArgs},
        way::{Way, WayArgs},
    },
    exit::Exit,
};
use crate::okta::wire::{CurrentUser, ServiceUser};

/// Where all calls about users are.
const USERS: &str = "service_users";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the service users of the team, all pages of them
    List(ListUsers),
    /// Show one service user
    Get(OneUser),
    /// Create a service user; it has neither role nor key yet
    Create(NewUser),
    /// Enable, disable or delete a service user, but not the one who asks
    SetStatus(NewStatus),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListUsers {
    /// Only those whose name contains this
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// Only those whose name starts with this
    #[arg(long, value_name = "TEXT")]
    starts_with: Option<String>,
    /// Only those with this id; may be repeated
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// Only those with this status
    #[arg(long, ignore_case = true)]
    status: Option<Status>,
    /// Ask the issuer to include service users
    #[arg(long)]
    include_service_users: bool,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    way: WayArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct OneUser {
    /// Name or id
    user: UserRef,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    way: WayArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct NewUser {
    /// Name, 1 to 255 characters
    name: NewName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    way: WayArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct NewStatus {
    /// Name or id
    user: UserRef,
    /// What the user is to be
    #[arg(ignore_case = true)]
    status: Status,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    way: WayArgs,
}

/// Names the state of a service user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Status {
    /// May do what its role allows.
    Active,
    /// May do nothing, and its keys and tokens count for nothing.
    Disabled,
    /// The same, and its name stays taken.
    Deleted,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Disabled => "DISABLED",
            Self::Deleted => "DELETED",
        }
    }
}

pub(super) async fn run(command: Command) -> Result<(), Exit> {
    match command {
        Command::List(args) => list(args).await,
        Command::Get(args) => {
            let call = Call::read(&[USERS, args.user.as_str()]);
            Way::find(&args.way).await?.show::<ServiceUser>(&call, args.json).await
        }
        Command::Create(args) => create(args).await,
        Command::SetStatus(args) => set_status(args).await,
    }
}

async fn list(args: ListUsers) -> Result<(), Exit> {
    let call = Call::read(&[USERS]).with_query(args.query());
    let way = Way::find(&args.way).await?;
    list::show::<ServiceUser>(&way, &call, &args.list).await
}

impl ListUsers {
    fn query(&self) -> Vec<(&'static str, String)> {
        let one = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let status = self.status.map(|status| ("status", status.name().to_owned()));
        let included = self.include_service_users;
        let included = included.then(|| ("include_service_users", "true".to_owned()));
        let filters = [
            one("contains", &self.contains),
            one("starts_with", &self.starts_with),
            status,
            included,
        ];
        let ids = self.id.iter().map(|id| ("id", id.clone()));
        filters.into_iter().flatten().chain(ids).chain(self.list.query()).collect()
    }
}

async fn create(args: NewUser) -> Result<(), Exit> {
    let NewName(name) = args.name;
    let look = format!("bearerd users list --contains {name}");
    let call = Call::write(Method::POST, &[USERS], &look).with_body(&json!({ "name": name }));
    Way::find(&args.way).await?.show::<ServiceUser>(&call, args.json).await
}

async fn set_status(args: NewStatus) -> Result<(), Exit> {
    let user = args.user.as_str();
    let way = Way::find(&args.way).await?;
    let own: CurrentUser = way.ask(&Call::read(&["current_user"])).await?;
    if [&own.id, &own.name].iter().any(|name| name.eq_ignore_ascii_case(user)) {
        return Err(Exit::denied(format!(
            "this is the service user of credential {} itself, which cannot change its own status: \
             use another one's, by --credential",
            way.credential
        )));
    }
    let look = format!("bearerd users get {user}");
    let call = Call::write(Method::PUT, &[USERS, user], &look)
        .with_body(&json!({ "status": args.status.name() }));
    way.show::<ServiceUser>(&call, args.json).await
}
