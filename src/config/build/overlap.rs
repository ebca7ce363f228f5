//! Finds what is given out twice: addresses, keys, descriptors (fault 250).

use std::{net::SocketAddr, path::Path};

use crate::config::{
    model::{Bind, Config, KeySource, Listener},
    places::Surroundings,
    reader::Section,
};

/// Reports what two settings cannot both mean.
pub(super) fn check(root: &Section<'_>, config: &Config, around: &Surroundings) {
    check_addresses(root, config);
    check_access_tokens(root, config);
    check_descriptors(root, config, around);
    check_sinks(root, config);
}

/// Warns of more connections than there can be; those beyond wait, so nothing breaks.
fn check_descriptors(root: &Section<'_>, config: &Config, around: &Surroundings) {
    let wanted: usize = config.listeners.values().map(descriptors).sum();
    if let Some(room) = around.descriptors.filter(|room| *room < wanted) {
        let problem = format!(
            "may take {wanted} descriptors for connections, two where `proxy` is served, and the \
             limit of open files leaves {room}: the others wait"
        );
        let remedy = "raise the limit (`ulimit -n`, LimitNOFILE=), or lower `max_connections`";
        root.warn("listeners", problem, remedy);
    }
}

fn descriptors(listener: &Listener) -> usize {
    let each = if listener.proxy.is_some() { 2 } else { 1 };
    listener.limits.max_connections.saturating_mul(each)
}

/// Reports each address that an earlier one already takes.
fn check_addresses(root: &Section<'_>, config: &Config) {
    let all = addresses(config);
    for (index, (place, bind)) in all.iter().enumerate() {
        let earlier = all.iter().take(index).find(|(_, other)| overlap(bind, other));
        if let Some((other, _)) = earlier {
            let problem = format!("has an address that `{other}.bind` takes too");
            section(root, place).complain("bind", problem, "choose another one");
        }
    }
}

/// Reports API keys that clients would have to know, who must never see one.
fn check_access_tokens(root: &Section<'_>, config: &Config) {
    for (name, listener) in &config.listeners {
        let Some(token) = &listener.guard.access_token_file else { continue };
        let owner = config.credentials.iter().find(|(_, it)| is_of(&it.key, token));
        if let Some((owner, _)) = owner {
            let problem = format!("is the API key of `credentials.{owner}`, which no client gets");
            let place = section(root, &format!("listeners.{name}"));
            place.complain("access_token_file", problem, "name a file of its own");
        }
    }
}

/// Reports sinks that would write over something else: another sink, a key, a token, a socket.
fn check_sinks(root: &Section<'_>, config: &Config) {
    for (index, (name, sink)) in config.sinks.iter().enumerate() {
        let other = config.sinks.iter().take(index).find(|(_, other)| other.path == sink.path);
        let owner = other.map(|(name, _)| format!("sinks.{name}"));
        if let Some(owner) = owner.or_else(|| owner_of(config, &sink.path)) {
            let problem = format!("is a file of `{owner}`, which would be lost");
            let place = section(root, &format!("sinks.{name}"));
            place.complain("path", problem, "name a file of its own");
        }
    }
}

/// Names the table whose file a path is.
fn owner_of(config: &Config, path: &Path) -> Option<String> {
    let key = config.credentials.iter().find(|(_, it)| is_of(&it.key, path));
    let key = key.map(|(name, _)| format!("credentials.{name}"));
    let listener = config.listeners.iter().find(|(_, it)| has_file(it, path));
    let listener = || listener.map(|(name, _)| format!("listeners.{name}"));
    let control = config.control.as_ref().filter(|control| control.path == path);
    key.or_else(listener).or_else(|| control.map(|_| "control".to_owned()))
}

fn has_file(listener: &Listener, path: &Path) -> bool {
    let socket = listener.bind.iter().any(|bind| matches!(bind, Bind::Unix(it) if it == path));
    let tls = listener.tls.iter().any(|tls| tls.cert_file == path || tls.key_file == path);
    socket || tls || listener.guard.access_token_file.as_deref() == Some(path)
}

fn is_of(key: &KeySource, file: &Path) -> bool {
    match key {
        KeySource::File(key) | KeySource::SystemdCredential(key) => key == file,
        KeySource::Directory(directory) => file.starts_with(directory),
        #[cfg(feature = "kubernetes")]
        KeySource::Secret(_) => false,
    }
}

/// Goes down to a table by its path.
pub(super) fn section<'t>(root: &Section<'t>, place: &str) -> Section<'t> {
    place.split('.').fold(root.clone(), |section, key| section.table(key))
}

/// Lists every address with the table that names it.
fn addresses(config: &Config) -> Vec<(String, Bind)> {
    let listeners = config.listeners.iter().flat_map(|(name, listener)| {
        listener.bind.iter().map(move |bind| (format!("listeners.{name}"), bind.clone()))
    });
    let control = config.control.iter().map(|control| Bind::Unix(control.path.clone()));
    listeners
        .chain([("telemetry".to_owned(), config.telemetry.bind.clone())])
        .chain(control.map(|bind| ("control".to_owned(), bind)))
        .collect()
}

fn overlap(one: &Bind, other: &Bind) -> bool {
    match (one, other) {
        // Paths compare part by part: `//` and `/./` make no difference.
        (Bind::Unix(one), Bind::Unix(other)) => one == other,
        (Bind::Tcp(one), Bind::Tcp(other)) => same_port(one, other),
        (Bind::Systemd(one), Bind::Systemd(other)) => one == other,
        _ => false,
    }
}

fn same_port(one: &SocketAddr, other: &SocketAddr) -> bool {
    let wildcard = one.ip().is_unspecified() || other.ip().is_unspecified();
    let same_family = one.is_ipv4() == other.is_ipv4();
    // Port 0 is a different one each time.
    let same_port = one.port() == other.port() && one.port() != 0;
    same_port && (one.ip() == other.ip() || wildcard && same_family)
}
