//! One call, as data.

use std::str::FromStr;

use bytes::Bytes;
use http::Method;

use crate::{
    cli::text::clean,
    key::api_key::is_key_id,
    proxy::path::{Path, encoded},
};

/// Longest name of a service user, in characters.
const LONGEST_NAME: usize = 255;

/// Holds one call of the service-user API.
pub(in crate::cli) struct Call {
    pub(super) method: Method,
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// The command that shows whether a call that changes something was carried out.
    pub(super) look: Option<String>,
}

impl Call {
    /// Asks for something below the team, and changes nothing.
    pub(in crate::cli) fn read(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments)
    }

    /// Changes something; `look` is the command by which a person sees whether it has.
    pub(in crate::cli) fn write(method: Method, segments: &[&str], look: &str) -> Self {
        Self { look: Some(clean(look)), ..Self::new(method, segments) }
    }

    fn new(method: Method, segments: &[&str]) -> Self {
        let segments = segments.iter().map(|segment| (*segment).to_owned()).collect();
        Self { method, segments, query: Vec::new(), body: Bytes::new(), look: None }
    }

    pub(in crate::cli) fn with_query(self, query: Vec<(&'static str, String)>) -> Self {
        Self { query, ..self }
    }

    pub(in crate::cli) fn with_body(self, body: &serde_json::Value) -> Self {
        Self { body: body.to_string().into(), ..self }
    }

    /// Names the roles that may make this call.
    pub(super) const fn roles(&self) -> &'static str {
        match self.look {
            Some(_) => "resource_admin",
            None => "pam_admin, resource_admin, security_admin or delegated_resource_admin",
        }
    }

    /// Writes path and query.
    pub(super) fn target(&self, team: &str) -> String {
        let path = Path { team: team.to_owned(), segments: self.segments.clone() };
        let pairs = self.query.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        match pairs.collect::<Vec<_>>().join("&") {
            query if query.is_empty() => path.encode(team),
            query => format!("{}?{query}", path.encode(team)),
        }
    }

    /// Tells whether a raw path is that of this call, however it is encoded.
    pub(super) fn is_at(&self, team: &str, raw: &str) -> bool {
        Path::parse(raw).is_ok_and(|path| {
            path.team.eq_ignore_ascii_case(team) && path.segments == self.segments
        })
    }
}

/// Names a service user as a path can: by name, or by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct UserRef(String);

impl UserRef {
    pub(in crate::cli) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserRef {
    type Err = &'static str;

    /// Refuses what no path could carry, or two readers of a path would read in two ways.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let NewName(name) = text.parse()?;
        let is_dots = name == "." || name == "..";
        if is_dots || name.contains(['/', '\\', '%']) {
            return Err("a path cannot carry this name: write the user's id instead");
        }
        Ok(Self(name))
    }
}

/// Holds a name that a service user can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct NewName(pub(in crate::cli) String);

impl FromStr for NewName {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.chars().any(char::is_control) {
            return Err("a name has no control characters");
        }
        if !(1..=LONGEST_NAME).contains(&name.chars().count()) {
            return Err("a name has 1 to 255 characters");
        }
        Ok(Self(name.to_owned()))
    }
}

/// Names an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct KeyId(String);

impl KeyId {
    pub(in crate::cli) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = &'static str;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let is_one = is_key_id(id);
        is_one
            .then(|| Self(id.to_owned()))
            .ok_or("the id of a key is a UUID: see 'bearerd keys list'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_encoded_part_by_part() {
        let call = Call::read(&["service_users", "é @/?#"])
            .with_query(vec![("contains", "a b&c=%".into()), ("id", "x".into())]);
        let path = "/v1/teams/acme%20inc/service_users/%C3%A9%20%40%2F%3F%23";
        assert_eq!(call.target("acme inc"), format!("{path}?contains=a%20b%26c%3D%25&id=x"));
        assert_eq!(Call::read(&["current_user"]).target("acme"), "/v1/teams/acme/current_user");
    }

    #[test]
    fn a_path_is_known_however_it_is_encoded() {
        let call = Call::read(&["service_users", "a@b", "keys"]);
        for (raw, is_same) in [
            ("/v1/teams/ACME/service_users/a@b/keys", true),
            ("/v1/teams/acme/service%5Fusers/a%40b/keys", true),
            ("/v1/teams/other/service_users/a@b/keys", false),
            ("/v1/teams/acme/service_users/a@c/keys", false),
            ("/v1/teams/acme/service_users/a@b/keys/", false),
            ("/v1/teams/acme/x/../service_users/a@b/keys", false),
            ("/elsewhere", false),
        ] {
            assert_eq!(call.is_at("acme", raw), is_same, "{raw}");
        }
    }

    #[test]
    fn what_no_path_can_carry_is_refused_before_anybody_is_asked() {
        for good in
            ["robot", "é bot", "6ac84721-a7ba-4034-9c39-41ef7b38819d", "...", &"é".repeat(255)]
        {
            assert!(good.parse::<UserRef>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\\b", "a%2fb", "a\nb", "\u{1b}[2J", &"x".repeat(256)] {
            assert!(bad.parse::<UserRef>().is_err(), "{bad:?}");
        }
        assert!("a/b".parse::<NewName>().is_ok(), "a body can carry it");
        assert!("robot".parse::<KeyId>().is_err());
        assert!("6AC84721-a7ba-4034-9c39-41ef7b38819d".parse::<KeyId>().is_ok());
    }
}
