//! The variables that Okta's own clients read, set so that they call a listener of ours.

use super::{exit::Exit, place::read_access_token, settings::Settings};
use crate::{
    config::model::{Bind, Config, Listener},
    outlet::environment::Variable,
    process::secret::Secret,
};

/// Stand for the real key, which never leaves the daemon: any well-formed pair will do.
const PLACEHOLDER_ID: &str = "00000000-0000-4000-8000-000000000000";
const PLACEHOLDER_SECRET: &[u8] = b"placeholder";

/// Makes the variables for the first listener that serves `proxy` on TCP.
///
/// Okta's Terraform provider and its Go SDK have other names for the same; both read the last one,
/// the only host outside Okta's own domains that they accept.
pub(super) fn variables(
    settings: &Settings,
    credential: Option<&str>,
) -> Result<Vec<Variable>, Exit> {
    let config = settings.load()?.config;
    let (host, url, listener) =
        config.listeners.values().find_map(pointed_at).ok_or_else(nowhere)?;
    let team = team(&config, listener, credential)?;
    let secret = match &listener.guard.access_token_file {
        Some(file) => read_access_token(file)?,
        None => Secret::copy_of(PLACEHOLDER_SECRET),
    };
    let values = [
        (["OKTAPAM_API_HOST", "OKTAPAM_HOST"], url.as_bytes()),
        (["OKTAPAM_TEAM", "OKTAPAM_TEAM_NAME"], team.as_bytes()),
        (["OKTAPAM_KEY", "OKTAPAM_API_KEY"], PLACEHOLDER_ID.as_bytes()),
        (["OKTAPAM_SECRET", "OKTAPAM_API_SECRET"], secret.expose()),
    ];
    let named = values.into_iter().flat_map(|(names, value)| names.map(|name| (name, value)));
    let named = named.chain([("OKTAPAM_TRUSTED_DOMAIN_OVERRIDE", host.as_bytes())]);
    Ok(named.map(|(name, value)| Variable::new(name, value)).collect())
}

/// Gives a listener's host and URL, if it serves Okta's paths at an address that is known.
fn pointed_at(listener: &Listener) -> Option<(String, String, &Listener)> {
    listener.proxy.as_ref()?;
    let address = listener.bind.iter().find_map(|bind| match bind {
        Bind::Tcp(address) if address.port() != 0 => Some(address),
        _ => None,
    })?;
    let host = address.ip().to_string();
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    Some((host, format!("{scheme}://{address}"), listener))
}

fn nowhere() -> Exit {
    Exit::configuration(
        "no configured listener serves Okta's paths on a TCP port of its own: \
         give one bind = \"tcp:127.0.0.1:8420\" and serve = [\"proxy\"]",
    )
}

/// Finds the team of the credential that is asked for, or of the listener's first.
fn team<'a>(
    config: &'a Config,
    listener: &Listener,
    credential: Option<&str>,
) -> Result<&'a str, Exit> {
    let mut names = listener.credentials.iter().map(String::as_str);
    let name = match credential {
        None => names.next(),
        Some(wanted) => names.find(|name| *name == wanted),
    };
    let found = name.and_then(|name| config.credentials.get(name));
    found.map(|credential| credential.team_name.as_str()).ok_or_else(|| {
        Exit::configuration("the listener that serves Okta's paths has no such credential")
    })
}
