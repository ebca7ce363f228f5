//! Service users and their keys: the calls below `service_users`.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    answer::{Answer, Kind, Refusal, bare, json as answer_json},
    api::no_such_call,
    call::Call,
    clock,
    keys::ApiKey,
    pages::{self, Links},
    state::State,
    users::{Role, Status, User},
};

/// End of a key that never ends (fault 276).
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Answers a call that changes nothing.
pub(super) fn read(state: &State, call: &Call, path: &[&str]) -> Result<Answer, Refusal> {
    match path {
        [] => list_users(state, call),
        [user] => Ok(answer_json(StatusCode::OK, &show_user(state, find(state, user)?))),
        [user, "keys"] => list_keys(state, call, find(state, user)?),
        _ => Err(no_such_call()),
    }
}

/// Answers a call that changes something; `caller` is the id of the user who asks.
pub(super) fn write(
    state: &mut State,
    call: &Call,
    path: &[&str],
    caller: &str,
) -> Result<Answer, Refusal> {
    match (&call.method, path) {
        (&Method::POST, []) => create_user(state, call),
        (&Method::PUT, [user]) => update_user(state, call, user, caller),
        (&Method::POST, [user, "keys"]) => rotate_key(state, call, user),
        (&Method::DELETE, [user, "keys", key]) => delete_key(state, user, key),
        _ => Err(no_such_call()),
    }
}

fn list_users(state: &State, call: &Call) -> Result<Answer, Refusal> {
    let filter = Filter::of(call)?;
    let users: Vec<_> = state.users.iter().filter(|user| filter.passes(user)).collect();
    pages::answer(users, |user| &user.id, |user| show_user(state, user), call, links(state))
}

/// Holds what a user must be to be listed.
struct Filter<'a> {
    contains: &'a str,
    starts_with: &'a str,
    /// Empty: any.
    ids: Vec<&'a str>,
    status: Option<Status>,
}

impl<'a> Filter<'a> {
    fn of(call: &'a Call) -> Result<Self, Refusal> {
        let status = |name| {
            let refusal = || invalid("status must be ACTIVE, DISABLED or DELETED");
            Status::from_name(name).ok_or_else(refusal)
        };
        Ok(Self {
            contains: call.parameter("contains").unwrap_or_default(),
            starts_with: call.parameter("starts_with").unwrap_or_default(),
            ids: call.parameters("id").collect(),
            status: call.parameter("status").map(status).transpose()?,
        })
    }

    fn passes(&self, user: &User) -> bool {
        user.name.contains(self.contains)
            && user.name.starts_with(self.starts_with)
            && (self.ids.is_empty() || self.ids.contains(&user.id.as_str()))
            && self.status.is_none_or(|status| user.status == status)
    }
}

fn list_keys(state: &State, call: &Call, user: &User) -> Result<Answer, Refusal> {
    let keys: Vec<_> = state.keys.iter().filter(|key| key.user == user.id).collect();
    pages::answer(keys, |key| &key.id, |key| ShownKey::of(key, state), call, links(state))
}

fn links(state: &State) -> Links<'_> {
    Links { origin: &state.origin, form: state.options.links }
}

#[derive(Deserialize)]
struct NewUser {
    name: String,
}

fn create_user(state: &mut State, call: &Call) -> Result<Answer, Refusal> {
    let NewUser { name } = call.json()?;
    check_name(&name)?;
    let taken = || Refusal::new(Kind::Conflict, "The name is in use");
    let id = state.users.add(&name, Role::None).ok_or_else(taken)?.id.clone();
    Ok(answer_json(StatusCode::CREATED, &show_user(state, find(state, &id)?)))
}

#[derive(Deserialize)]
struct UserUpdate {
    status: Status,
    /// Sent by some clients; must make sense, and changes nothing.
    name: Option<String>,
}

fn update_user(
    state: &mut State,
    call: &Call,
    user: &str,
    caller: &str,
) -> Result<Answer, Refusal> {
    let UserUpdate { status, name } = call.json()?;
    name.as_deref().map_or(Ok(()), check_name)?;
    let user = state.users.find_mut(user).ok_or_else(no_user)?;
    if user.id == caller && status != Status::Active {
        return Err(Refusal::new(Kind::Forbidden, "Nobody disables or deletes himself"));
    }
    user.turn(status, call.now);
    let id = user.id.clone();
    Ok(answer_json(StatusCode::OK, &show_user(state, find(state, &id)?)))
}

/// Makes a new key and limits the others. Has no body, so no content type is asked for.
fn rotate_key(state: &mut State, call: &Call, user: &str) -> Result<Answer, Refusal> {
    let user = find(state, user)?.id.clone();
    let deadline = clock::after(call.now, state.options.grace);
    let id = state.keys.rotate(&user, deadline, state.options.rotation_end, call.now).id.clone();
    let key = state.keys.find(&id).ok_or_else(no_key)?;
    let shown = ShownKey { secret: Some(&key.secret), ..ShownKey::of(key, state) };
    Ok(answer_json(StatusCode::OK, &shown))
}

fn delete_key(state: &mut State, user: &str, key: &str) -> Result<Answer, Refusal> {
    let user = &find(state, user)?.id;
    let key = state.keys.find(key).filter(|key| key.user == *user).ok_or_else(no_key)?;
    let id = key.id.clone();
    state.keys.delete(&id);
    Ok(bare(StatusCode::NO_CONTENT))
}

fn find<'a>(state: &'a State, user: &str) -> Result<&'a User, Refusal> {
    state.users.find(user).ok_or_else(no_user)
}

fn no_user() -> Refusal {
    Refusal::new(Kind::NotFound, "Service user not found")
}

fn no_key() -> Refusal {
    Refusal::new(Kind::NotFound, "Key not found")
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let is_good = (1..=255).contains(&name.chars().count());
    is_good.then_some(()).ok_or_else(|| invalid("name must have 1 to 255 characters"))
}

fn invalid(message: &'static str) -> Refusal {
    Refusal::new(Kind::InvalidRequest, message)
}

fn show_user(state: &State, user: &User) -> Value {
    json!({
        "id": user.id,
        "name": user.name,
        "status": user.status,
        "team_name": state.options.team,
        "user_type": "service",
        "details": null,
        "deleted_at": user.deleted_at.map(|moment| state.written(moment)),
    })
}

/// Shows a key, without its secret unless it has just been made.
#[derive(Serialize)]
pub(super) struct ShownKey<'a> {
    id: &'a str,
    issued_at: String,
    expires_at: String,
    last_used: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

impl<'a> ShownKey<'a> {
    pub(super) fn of(key: &'a ApiKey, state: &State) -> Self {
        let written = |moment: Timestamp| state.written(moment);
        Self {
            id: &key.id,
            issued_at: written(key.issued_at),
            expires_at: key.ends.map_or_else(|| NEVER.to_owned(), written),
            last_used: key.last_used.map(written),
            secret: None,
        }
    }
}
