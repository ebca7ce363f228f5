//! The control endpoint below `/_emulator/`: what a test or a person does to the issuer.

use std::{borrow::Cow, time::Duration};

use clap::ValueEnum;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Kind, Refusal, json as answer_json},
    api::no_such_call,
    call::Call,
    fault::UnknownFault,
    schedule::FaultPlan,
    service_users::ShownKey,
    state::State,
    users::{Role, Status, User},
};

/// First segment of the paths that are not the issuer's own.
pub(super) const PREFIX: &str = "_emulator";

/// Answers a call to the control endpoint.
pub(super) fn answer(state: &mut State, call: &Call) -> Answer {
    let parts = call.parts();
    let path = parts.get(1..).unwrap_or_default();
    let done = match (&call.method, path) {
        (&Method::GET, [] | [""]) => Ok(show(state)),
        (&Method::GET, ["requests"]) => Ok(json!({ "list": state.traffic.latest() })),
        (&Method::POST, ["faults"]) => add_fault(state, call),
        (&Method::DELETE, ["faults"]) => Ok(clear_faults(state)),
        (&Method::POST, ["lifetime"]) => set_lifetime(state, call),
        (&Method::POST, ["skew"]) => set_skew(state, call),
        (&Method::POST, ["rate_limit"]) => set_rate_limit(state, call),
        (&Method::POST, ["team"]) => set_team(state, call),
        (&Method::POST, ["revoke"]) => Ok(json!({ "revoked": state.tokens.clear() })),
        (&Method::POST, ["users", user]) => set_user(state, call, user),
        (&Method::POST, ["keys"]) => add_key(state, call),
        (&Method::POST, ["keys", key, "expire"]) => found(state.end_key(key, Duration::ZERO)),
        (&Method::DELETE, ["keys", key]) => found(state.keys.delete(key)),
        _ => Err(no_such_call()),
    };
    done.map_or_else(Answer::from, |shown| answer_json(StatusCode::OK, &shown))
}

fn show(state: &State) -> Value {
    let now = state.now();
    json!({
        "team": state.options.team,
        "team_disabled": state.is_team_disabled,
        "now": state.written(now),
        "lifetime_seconds": state.options.lifetime.as_secs_f64(),
        "rate_limit": state.limits.limit,
        "requests": state.traffic.requests,
        "mint_calls": state.traffic.mint_calls,
        "mints": state.traffic.mints,
        "tokens": state.tokens.count_alive(now),
        "users": state.users.iter().map(|user| show_user(state, user)).collect::<Vec<_>>(),
        "faults": shown_faults(state),
    })
}

fn show_user(state: &State, user: &User) -> Value {
    let keys = state.keys.iter().filter(|key| key.user == user.id);
    json!({
        "id": user.id,
        "name": user.name,
        "status": user.status,
        "role": user.role.to_possible_value().map(|role| role.get_name().to_owned()),
        "keys": keys.map(|key| ShownKey::of(key, state)).collect::<Vec<_>>(),
    })
}

fn shown_faults(state: &State) -> Value {
    state.faults.iter().map(ToString::to_string).collect()
}

#[derive(Deserialize)]
struct NewFault {
    fault: String,
}

fn add_fault(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let NewFault { fault } = call.json()?;
    let plan: FaultPlan =
        fault.parse().map_err(|error: UnknownFault| invalid(error.to_string()))?;
    state.faults.plan(plan);
    Ok(json!({ "faults": shown_faults(state) }))
}

fn clear_faults(state: &mut State) -> Value {
    state.faults.clear();
    json!({ "faults": [] })
}

#[derive(Deserialize)]
struct NewLifetime {
    lifetime: String,
}

fn set_lifetime(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let NewLifetime { lifetime } = call.json()?;
    let duration = humantime::parse_duration(&lifetime);
    state.options.lifetime = duration.map_err(|_| invalid("lifetime must be as `90s` or `1h`"))?;
    Ok(json!({ "lifetime_seconds": state.options.lifetime.as_secs_f64() }))
}

#[derive(Deserialize)]
struct NewSkew {
    seconds: i64,
}

fn set_skew(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let NewSkew { seconds } = call.json()?;
    state.options.clock_skew = seconds;
    Ok(json!({ "now": state.written(state.now()) }))
}

#[derive(Deserialize)]
struct NewRateLimit {
    limit: u32,
}

fn set_rate_limit(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let NewRateLimit { limit } = call.json()?;
    state.limits.limit = limit;
    Ok(json!({ "rate_limit": limit }))
}

#[derive(Deserialize)]
struct TeamUpdate {
    disabled: bool,
}

fn set_team(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let TeamUpdate { disabled } = call.json()?;
    state.is_team_disabled = disabled;
    Ok(json!({ "team_disabled": disabled }))
}

#[derive(Deserialize)]
struct UserChange {
    status: Option<Status>,
    role: Option<String>,
}

/// Changes a user, who is made if there is none of that name.
fn set_user(state: &mut State, call: &Call, user: &str) -> Result<Value, Refusal> {
    let UserChange { status, role } = call.json()?;
    let role = role.map(|name| Role::from_str(&name, false)).transpose();
    let role = role.map_err(|_| invalid("there is no such role"))?;
    let id = state.user_id(user);
    let user = state.users.find_mut(&id).ok_or_else(nothing)?;
    user.role = role.unwrap_or(user.role);
    user.turn(status.unwrap_or(user.status), call.now);
    state.users.by_id(&id).map(|user| show_user(state, user)).ok_or_else(nothing)
}

#[derive(Deserialize)]
struct NewKey {
    user: String,
}

fn add_key(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let NewKey { user } = call.json()?;
    let key = state.add_key(&user);
    Ok(json!({ "key_id": key.id, "key_secret": key.secret }))
}

fn found(is_found: bool) -> Result<Value, Refusal> {
    is_found.then(|| json!({})).ok_or_else(nothing)
}

fn nothing() -> Refusal {
    Refusal::new(Kind::NotFound, "There is no such thing")
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Kind::InvalidRequest, message)
}
