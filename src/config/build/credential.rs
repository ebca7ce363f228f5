//! Builds `[credentials.NAME]`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use reqwest::Url;

use super::rotation::rotation;
#[cfg(feature = "kubernetes")]
use crate::config::model::SecretName;
use crate::{
    config::{
        finding::shown_names,
        kind::{FileName, Fraction, IssuerUrl, ObjectName, PathTo, Span, Switch, TeamName},
        model::{Credential, KeySource},
        places::Surroundings,
        reader::Section,
    },
    token::timing::RefreshSettings,
};

/// Where systemd puts credentials of the packaged unit, for commands that run outside of it.
const USUAL_CREDENTIALS_DIRECTORY: &str = "/run/credentials/bearerd.service";

/// Shortest distance of calls that `check` lets pass without a word.
const POLITE: Duration = Duration::from_secs(1);

/// Builds all credentials; `None` only where something was reported.
pub(super) fn all(
    root: &Section<'_>,
    base_url: Option<&Url>,
    around: &Surroundings,
) -> Option<BTreeMap<String, Credential>> {
    let sections = root.children("credentials");
    if sections.is_empty() {
        let remedy = "add [credentials.default] with `team_name` and `key_file`, or name the \
                      configuration with --config";
        root.complain("credentials", "names no credential", remedy);
    }
    let okta = root.table("okta");
    let all_have_their_own = sections.iter().all(|(_, section)| section.has("base_url"));
    if !okta.has("base_url") && (sections.is_empty() || !all_have_their_own) {
        okta.complain("base_url", "is missing", "set it, as \"https://TEAM.pam.okta.com\"");
    }
    // All are built before the first failure counts: every finding is to be seen at once.
    let built: Vec<_> = sections
        .iter()
        .map(|(name, section)| Some((name.clone(), credential(section, base_url, around)?)))
        .collect();
    built.into_iter().collect::<Option<BTreeMap<_, _>>>().filter(|all| !all.is_empty())
}

/// Reports a name that no credential has.
pub(super) fn check_known(section: &Section<'_>, key: &str, name: &str, known: &[String]) {
    if !known.iter().any(|credential| credential == name) {
        let remedy = match known {
            [] => "configure a credential".to_owned(),
            known => format!("write one of {}", shown_names(known)),
        };
        section.complain(key, "names a credential that is not configured", remedy);
    }
}

fn credential(
    section: &Section<'_>,
    base_url: Option<&Url>,
    around: &Surroundings,
) -> Option<Credential> {
    let own_url = section.find("base_url", &IssuerUrl);
    let team_name = section.need("team_name", &TeamName, "set it to the team's name");
    let key = key(section, around);
    let rotation = rotation(&section.table("rotation"));
    let allow_group_readable_key = section.get("allow_group_readable_key", &Switch, false);
    let required = section.get("required", &Switch, true);
    let refresh = refresh(&section.table("refresh"));
    Some(Credential {
        base_url: own_url.or_else(|| base_url.cloned())?,
        team_name: team_name?,
        key: key?,
        allow_group_readable_key,
        required,
        refresh,
        rotation,
    })
}

fn key(section: &Section<'_>, around: &Surroundings) -> Option<KeySource> {
    const KEYS: [&str; 4] = ["key_file", "key_dir", "key_credential", "key_kubernetes"];
    let file = section.find("key_file", &PathTo).map(KeySource::File);
    let dir = section.find("key_dir", &PathTo).map(KeySource::Directory);
    let credential = section.find("key_credential", &FileName);
    let credential = credential.map(|name| systemd_credential(section, &name, around));
    let secret = secret(section);
    let given: Vec<_> = KEYS.into_iter().filter(|key| section.has(key)).collect();
    match given.as_slice() {
        [_] => file.or(dir).or(credential).or(secret),
        [] => {
            let remedy = "set it, or `key_dir`, `key_credential` or `key_kubernetes`";
            section.complain("key_file", "is missing", remedy);
            None
        }
        [first, second, ..] => {
            let problem = format!("is set beside `{first}`, and a credential has one key");
            section.complain(second, problem, "keep one of them");
            None
        }
    }
}

/// Reads the name of a Kubernetes Secret; refuses it where this program cannot read one.
#[cfg(feature = "kubernetes")]
fn secret(section: &Section<'_>) -> Option<KeySource> {
    let is_set = section.has("key_kubernetes");
    let table = section.table("key_kubernetes");
    let namespace = table.find("namespace", &ObjectName);
    let name = match is_set {
        true => table.need("name", &ObjectName, "set it to the name of the Secret"),
        false => table.find("name", &ObjectName),
    };
    Some(KeySource::Secret(SecretName { namespace, name: name? }))
}

#[cfg(not(feature = "kubernetes"))]
fn secret(section: &Section<'_>) -> Option<KeySource> {
    let is_set = section.has("key_kubernetes");
    let table = section.table("key_kubernetes");
    table.find("namespace", &ObjectName);
    table.find("name", &ObjectName);
    if is_set {
        let remedy = "build it with `cargo build --release --features kubernetes`, or mount the \
                      Secret and name its directory in `key_dir`";
        section.complain("key_kubernetes", "is not part of this build of bearerd", remedy);
    }
    None
}

fn systemd_credential(section: &Section<'_>, name: &str, around: &Surroundings) -> KeySource {
    let directory = around.credentials_directory.clone().unwrap_or_else(|| {
        // Not an error: commands that only ask the daemon read the same file, outside its unit.
        let problem = format!(
            "is looked for in {USUAL_CREDENTIALS_DIRECTORY}, as $CREDENTIALS_DIRECTORY is not set"
        );
        section.warn("key_credential", problem, "if this is the daemon, set LoadCredential=");
        PathBuf::from(USUAL_CREDENTIALS_DIRECTORY)
    });
    KeySource::SystemdCredential(directory.join(name))
}

fn refresh(section: &Section<'_>) -> RefreshSettings {
    let default = RefreshSettings::default();
    let part = |least, most| Fraction { least, most };
    let settings = RefreshSettings {
        at: section.get("at", &part(0.1, 0.9), default.at),
        jitter: section.get("jitter", &part(0.0, 0.3), default.jitter),
        min_interval: section.get("min_interval", &Span::WAIT, default.min_interval),
        retry_min: section.get("retry_min", &Span::WAIT, default.retry_min),
        retry_max: section.get("retry_max", &Span::WAIT, default.retry_max),
        max_lifetime: section.get("max_lifetime", &Span::LIFE, default.max_lifetime),
    };
    check_window(section, &settings);
    check_spacing(section, &settings);
    settings
}

/// Refuses times between which no refresh fits (fault 250).
fn check_window(section: &Section<'_>, settings: &RefreshSettings) {
    // 0.9 + 0.05 is a little more than 0.95 to a computer.
    if settings.at + settings.jitter > 0.95 + 1e-9 {
        let problem = "plus `jitter` is more than 0.95: too late to try twice";
        section.complain("at", problem, "lower one of them");
    }
    if settings.at - settings.jitter < 1e-9 {
        section.complain("jitter", "is not less than `at`", "lower it");
    }
    if settings.min_interval >= settings.max_lifetime {
        let problem = "is not longer than `min_interval`: every token would run out";
        section.complain("max_lifetime", problem, "lengthen it");
    }
}

/// Refuses waits that contradict each other, or are none (fault 250).
fn check_spacing(section: &Section<'_>, settings: &RefreshSettings) {
    if settings.retry_min > settings.retry_max {
        section.complain("retry_min", "is longer than `retry_max`", "shorten it");
    }
    let short = [("min_interval", settings.min_interval), ("retry_min", settings.retry_min)];
    for (key, _) in short.into_iter().filter(|(_, span)| *span < POLITE) {
        section.warn(key, "is under 1s: hard on the issuer", "keep that for tests");
    }
}
