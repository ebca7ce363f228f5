//! The API below `/v1/teams/{team}/`: who calls, whether he may, and who answers.

use http::{HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use serde_json::json;

use super::{
    answer::{Answer, Kind, Refusal, json},
    call::Call,
    clock,
    keys::is_key_id,
    limits::Standing,
    options::{DeletedKeyTokens, UnknownTeam},
    service_users,
    state::State,
    tokens::Token,
    users::{Status, User},
};
use crate::okta::wire::{MintRequest, MintResponse};

/// Names who calls, and by which key.
struct Caller {
    /// Id of the user.
    user: String,
    /// Id of the key he shows, or that his token was made with.
    key: String,
}

/// Answers a call as the real issuer would.
pub(super) fn answer(state: &mut State, call: &Call) -> Answer {
    let caller = identify(state, call);
    let standing = match &caller {
        Ok(caller) => state.limits.count(&caller.user, call.now),
        Err(_) => state.limits.stranger(call.now),
    };
    let mut answer = if standing.is_throttled {
        state.options.throttle.answer(standing.reset, call.now)
    } else {
        caller.and_then(|caller| dispatch(state, call, &caller)).unwrap_or_else(Answer::from)
    };
    dress(&mut answer, standing, call.now);
    answer
}

/// Puts the headers on that every answer has.
pub(super) fn dress(answer: &mut Answer, standing: Standing, now: Timestamp) {
    let date = HeaderValue::try_from(clock::http_date(now)).expect("a date is plain text");
    answer.headers_mut().insert(header::DATE, date);
    standing.mark(answer.headers_mut());
}

fn identify(state: &State, call: &Call) -> Result<Caller, Refusal> {
    match call.parts().as_slice() {
        ["v1", "teams", team, ..] => admit_team(state, team)?,
        _ => return Err(no_such_call()),
    }
    if call.is_mint() { by_key(state, call) } else { by_token(state, call) }
}

fn admit_team(state: &State, team: &str) -> Result<(), Refusal> {
    if !team.eq_ignore_ascii_case(&state.options.team) {
        return Err(match state.options.unknown_team {
            UnknownTeam::Unauthorized => stranger(),
            UnknownTeam::NotFound => Refusal::new(Kind::NotFound, "Team not found"),
        });
    }
    if state.is_team_disabled {
        return Err(Refusal::new(Kind::DisabledTeam, "The team is disabled"));
    }
    Ok(())
}

/// Recognises one who asks for a token. A wrong secret and an unknown key look alike (T5).
fn by_key(state: &State, call: &Call) -> Result<Caller, Refusal> {
    let request: MintRequest<String> = call.json()?;
    let secret = request.key_secret;
    if !is_key_id(&request.key_id) {
        return Err(Refusal::new(Kind::InvalidRequest, "key_id must be a UUID"));
    }
    if !(1..=512).contains(&secret.chars().count()) {
        return Err(Refusal::new(Kind::InvalidRequest, "key_secret must have 1 to 512 characters"));
    }
    let key = state.keys.find(&request.key_id).filter(|key| key.secret == secret);
    let key = key.filter(|key| key.is_alive(call.now)).ok_or_else(stranger)?;
    admit_user(state, &key.user)?;
    Ok(Caller { user: key.user.clone(), key: key.id.clone() })
}

/// Recognises one who shows a token.
fn by_token(state: &State, call: &Call) -> Result<Caller, Refusal> {
    let token = call.bearer().and_then(|text| state.tokens.find(text)).ok_or_else(stranger)?;
    if token.expires_at <= call.now {
        return Err(Refusal::new(Kind::Authentication, "Authentication token expired"));
    }
    let outlives = state.options.deleted_key_tokens == DeletedKeyTokens::Live;
    if !state.keys.find(&token.key).map_or(outlives, |key| key.is_alive(call.now)) {
        return Err(stranger());
    }
    admit_user(state, &token.user)?;
    Ok(Caller { user: token.user.clone(), key: token.key.clone() })
}

fn admit_user(state: &State, id: &str) -> Result<(), Refusal> {
    let is_active = |user: &&User| user.status == Status::Active;
    state.users.by_id(id).filter(is_active).map(|_| ()).ok_or_else(stranger)
}

fn stranger() -> Refusal {
    Refusal::new(Kind::Authentication, "Authentication failed")
}

fn dispatch(state: &mut State, call: &Call, caller: &Caller) -> Result<Answer, Refusal> {
    let parts = call.parts();
    let below_team = parts.get(3..).unwrap_or_default();
    match (&call.method, below_team) {
        (&Method::POST, ["service_token"]) => Ok(mint(state, caller, call.now)),
        (&Method::GET, ["current_user"]) => current_user(state, caller),
        (&Method::GET, ["service_users", rest @ ..]) => {
            let may = state.users.by_id(&caller.user).is_some_and(|user| user.role.reads());
            capable(may, "service_users.read")?;
            service_users::read(state, call, rest)
        }
        (_, ["service_users", rest @ ..]) => {
            let may = state.users.by_id(&caller.user).is_some_and(|user| user.role.writes());
            capable(may, "service_users.write")?;
            service_users::write(state, call, rest, &caller.user)
        }
        _ => Err(no_such_call()),
    }
}

fn capable(may: bool, capability: &str) -> Result<(), Refusal> {
    let refusal = || Refusal::new(Kind::Authorization, format!("Missing capability: {capability}"));
    may.then_some(()).ok_or_else(refusal)
}

/// Refuses a path or method that the API does not have.
pub(super) fn no_such_call() -> Refusal {
    Refusal::new(Kind::NotFound, "There is no such call")
}

fn mint(state: &mut State, caller: &Caller, now: Timestamp) -> Answer {
    let expires_at = clock::after(now, state.options.lifetime);
    let token = Token { user: caller.user.clone(), key: caller.key.clone(), expires_at };
    let bearer_token = state.tokens.grant(token, state.options.jwt, now);
    if let Some(key) = state.keys.find_mut(&caller.key) {
        key.last_used = Some(now);
    }
    state.traffic.mints += 1;
    let expires_at = state.written(expires_at);
    let team_name = state.options.team.clone();
    json(StatusCode::OK, &MintResponse { bearer_token, expires_at, team_name })
}

fn current_user(state: &State, caller: &Caller) -> Result<Answer, Refusal> {
    let user = state.users.by_id(&caller.user).ok_or_else(stranger)?;
    let team_name = &state.options.team;
    Ok(json(StatusCode::OK, &json!({ "id": user.id, "name": user.name, "team_name": team_name })))
}
