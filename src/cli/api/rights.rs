//! What a token may do of the service-user API, found out without changing anything.

use http::StatusCode;

use super::{
    call::Call,
    road::{Road, Silence},
};
use crate::{
    cli::text::clean,
    config::model::{Credential, Okta},
    okta::{transport::TransportError, wire::CurrentUser},
    process::secret::Secret,
};

/// Tells what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Rights {
    /// The service user that the token belongs to, or what was answered instead.
    pub(in crate::cli) user: Result<String, String>,
    /// Whether it may list service users; `None` if that could not be told.
    pub(in crate::cli) may_list: Option<bool>,
}

/// Asks two questions with a token that was minted for it.
pub(in crate::cli) async fn ask(
    okta: &Okta,
    credential: &Credential,
    token: Secret,
) -> Result<Rights, TransportError> {
    let road = Road::of_token(okta, credential, token)?;
    let team = &credential.team_name;
    let user = Call::read(&["current_user"]);
    let user = road.send(&user, &user.target(team)).await;
    let list = Call::read(&["service_users"]).with_query(vec![("count", "1".to_owned())]);
    let list = road.send(&list, &list.target(team)).await;
    Ok(Rights {
        user: user.map_err(|Silence { what, .. }| what).and_then(|answer| match answer.status() {
            StatusCode::OK => serde_json::from_slice::<CurrentUser>(answer.body())
                .map(|user| clean(&user.name))
                .map_err(|_quotes_its_input| "an answer that makes no sense".to_owned()),
            status => Err(format!("the status {}", status.as_u16())),
        }),
        may_list: list.ok().and_then(|answer| match answer.status() {
            StatusCode::OK => Some(true),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(false),
            _ => None,
        }),
    })
}
