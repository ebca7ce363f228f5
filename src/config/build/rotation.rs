//! Builds `[credentials.NAME.rotation]`, and finds what does not go with it.

use std::time::Duration;

use super::overlap::section;
use crate::config::{
    kind::{ListOf, Name, Span, Switch, UserName, Word},
    model::{Config, Credential, KeySource, Rotation},
    reader::Section,
};

/// Shortest period that makes sense, with three keys a day at the most.
const SENSIBLE: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the table; `None` if there is no rotation, or something was reported.
pub(super) fn rotation(section: &Section<'_>) -> Option<Rotation> {
    let every = section.find("every", &Span::LIFE);
    let user = section.find("user", &UserName);
    let with = section.find("with", &Name);
    let delete_old = section.get("delete_old", &Switch, false);
    let on_rotated = section.find("on_rotated", &ListOf::some(Word));
    let is_meant = ["every", "with", "on_rotated"].iter().any(|key| section.has(key)) || delete_old;
    if is_meant && !section.has("user") {
        section.complain("user", "is missing", "name the service user whose key this is");
    }
    if every.is_some_and(|every| every < SENSIBLE) {
        let problem = "is under 1d, and Okta is asked for three keys a day at the most";
        section.warn("every", problem, "lengthen it");
    }
    Some(Rotation { every, user: user?, with, delete_old, on_rotated })
}

/// Reports what the other tables have to do with it.
pub(super) fn check(root: &Section<'_>, config: &Config) {
    for (name, credential) in &config.credentials {
        let Some(rotation) = &credential.rotation else { continue };
        let section = section(root, &format!("credentials.{name}.rotation"));
        check_source(&section, credential);
        let outlets = |credential: &str| outlets(config, credential);
        match rotation.with.as_deref().filter(|with| *with != name) {
            Some(with) => check_with(&section, config, credential, with, &outlets(with)),
            None => check_own_role(&section, &outlets(name)),
        }
    }
}

/// Only a file can be replaced; what others mount is theirs to change (fault 97).
fn check_source(section: &Section<'_>, credential: &Credential) {
    let key = match credential.key {
        KeySource::File(_) => return,
        KeySource::Directory(_) => "key_dir",
        KeySource::SystemdCredential(_) => "key_credential",
        #[cfg(feature = "kubernetes")]
        KeySource::Secret(_) => return check_fleet(section, credential),
    };
    let problem = format!("is set, and a key from `{key}` is not rotated: it is only read here");
    section.warn("user", problem, "use `key_file`, or rotate the key where it comes from");
}

/// Of other pods nobody knows when their last token of the old key ends, and who wants the key of a
/// fleet finds it in the Secret.
#[cfg(feature = "kubernetes")]
fn check_fleet(section: &Section<'_>, credential: &Credential) {
    let Some(rotation) = &credential.rotation else { return };
    if rotation.delete_old {
        let problem = "is for a key that one daemon uses, and a key from `key_kubernetes` may be a \
                       fleet's, whose other tokens would end early";
        section.complain("delete_old", problem, "leave it out: the old key ends by itself in 2d");
    }
    if rotation.on_rotated.is_some() {
        let problem = "is for a key file, and this key is in a Secret";
        section.complain("on_rotated", problem, "let what wants the key watch the Secret");
    }
}

fn check_with(
    section: &Section<'_>,
    config: &Config,
    credential: &Credential,
    with: &str,
    outlets: &[String],
) {
    let Some(other) = config.credentials.get(with) else {
        let known: Vec<_> = config.credentials.keys().cloned().collect();
        return super::credential::check_known(section, "with", with, &known);
    };
    let is_same_team = other.team_name.eq_ignore_ascii_case(&credential.team_name)
        && other.base_url == credential.base_url;
    if !is_same_team {
        let problem = "is a credential of another team or issuer";
        section.complain("with", problem, "name one of the same team");
    }
    for outlet in outlets {
        let problem = format!(
            "is given out by `{outlet}`: who gets that token can rotate the key of every service \
             user"
        );
        section.complain("with", problem, "take that credential off every listener and sink");
    }
}

/// The role is a power over others (fault 281).
fn check_own_role(section: &Section<'_>, outlets: &[String]) {
    if let Some(outlet) = outlets.first() {
        let problem = format!(
            "is not set, so the token that `{outlet}` gives out has resource_admin: whoever gets it \
             can rotate the key of every service user"
        );
        let remedy = "name a credential that no listener or sink has";
        section.warn("with", problem, remedy);
    }
}

/// Names the tables that give a credential's tokens out.
fn outlets(config: &Config, credential: &str) -> Vec<String> {
    let listeners = config.listeners.iter();
    let serving = listeners.filter(|(_, it)| it.credentials.iter().any(|name| name == credential));
    let writing = config.sinks.iter().filter(|(_, sink)| sink.credential == credential);
    let serving = serving.map(|(name, _)| format!("listeners.{name}"));
    serving.chain(writing.map(|(name, _)| format!("sinks.{name}"))).collect()
}
