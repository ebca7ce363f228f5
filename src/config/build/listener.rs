//! Builds `[listeners.NAME]`.

use std::{collections::BTreeMap, time::Duration};

use super::{credential::check_known, local_hosts, reach};
use crate::{
    config::{
        finding::shown_names,
        kind::{
            Address, BindAddress, Choice, Count, FileMode, GROUP, HostName, ListOf, Name, PathTo,
            Rule, Size, Span, Switch, USER,
        },
        model::{Guard, Limits, Listener, Proxy, SocketFile, Tls},
        places::Surroundings,
        reader::Section,
    },
    proxy::rules::Rules,
};

/// Name of the listener that there is when none is configured.
const DEFAULT_NAME: &str = "default";

/// Builds all listeners; `None` only where something was reported.
pub(super) fn all(
    root: &Section<'_>,
    credentials: &[String],
    around: &Surroundings,
) -> Option<BTreeMap<String, Listener>> {
    let sections = root.children("listeners");
    if sections.is_empty() {
        return default_listener(root, credentials, around);
    }
    let built: Vec<_> = sections
        .iter()
        .map(|(name, section)| Some((name.clone(), configured(section, credentials)?)))
        .collect();
    built.into_iter().collect()
}

/// Makes the listener of the contract's default place, still by the same keys and defaults.
fn default_listener(
    root: &Section<'_>,
    credentials: &[String],
    around: &Surroundings,
) -> Option<BTreeMap<String, Listener>> {
    let Some(path) = around.listener_socket() else {
        let problem = "has no listener, and neither $RUNTIME_DIRECTORY nor $XDG_RUNTIME_DIR gives \
                       a place for one";
        root.complain("listeners", problem, "add [listeners.apps] with `bind`");
        return None;
    };
    let section = root.table("listeners").table(DEFAULT_NAME);
    let bind = [section.get("bind", &BindAddress::ANY, Address::Unix(path))];
    let listener = listener(&section, &bind, credentials)?;
    Some(BTreeMap::from([(DEFAULT_NAME.to_owned(), listener)]))
}

fn configured(section: &Section<'_>, known: &[String]) -> Option<Listener> {
    let kind = ListOf::one_or_more(BindAddress::ANY);
    let remedy = "set it, as \"unix:/run/bearerd/bearerd.sock\" or \"tcp:127.0.0.1:8420\"";
    let bind = section.need("bind", &kind, remedy);
    // Without an address the rest is read all the same: every finding is to be seen at once.
    let listener = listener(section, bind.as_deref().unwrap_or_default(), known);
    bind.and(listener)
}

fn listener(section: &Section<'_>, bind: &[Address], known: &[String]) -> Option<Listener> {
    let credentials = credentials(section, known);
    let services = services(section);
    let proxy = proxy(section);
    let tls = tls(section);
    let guard = guard(section);
    let socket = socket_file(section);
    let limits = limits(section);
    let first_token_wait = section.get("first_token_wait", &Span::WAIT, Duration::from_millis(900));
    let allow_non_loopback = reach::check(section, bind, &guard, &limits);
    reach::check_auth(section, bind, &guard, &services);
    check_exposure(section, bind, &guard);
    check_file_keys(section, bind, &guard);
    let bind = bind.iter().flat_map(Address::binds).collect::<Vec<_>>();
    check_places(section, bind.len(), &limits);
    Some(Listener {
        bind,
        credentials: credentials?,
        serves_token: services.contains(&"token"),
        serves_auth: services.contains(&"auth"),
        proxy: services.contains(&"proxy").then_some(proxy),
        guard,
        allow_non_loopback,
        socket,
        limits,
        tls,
        first_token_wait,
    })
}

fn services(section: &Section<'_>) -> Vec<&'static str> {
    const SERVICES: Choice = Choice(&["token", "auth", "proxy"]);
    section.get("serve", &ListOf::some(SERVICES), vec!["token"])
}

fn proxy(section: &Section<'_>) -> Proxy {
    let proxy = section.table("proxy");
    Proxy {
        allow: proxy.find("allow", &ListOf::some(Rule)).map_or_else(Rules::default, Rules::new),
        replay_body_limit: proxy.get("replay_body_limit", &Size, 1 << 20),
        replay_memory: proxy.get("replay_memory", &Size, 16 << 20),
        idle_timeout: proxy.get("idle_timeout", &Span::WAIT, Duration::from_secs(60)),
    }
}

/// Reads which credentials are served: by default `default`, or the only one.
fn credentials(section: &Section<'_>, known: &[String]) -> Option<Vec<String>> {
    let kind = ListOf::some(Name);
    let default = match known {
        [only] => Some(only.as_str()),
        known => known.iter().map(String::as_str).find(|name| *name == "default"),
    };
    let names = match (default, known) {
        (Some(default), _) => section.get("credentials", &kind, vec![default.to_owned()]),
        // Where there is no credential at all that is reported, once, and is enough.
        (None, []) => return section.find("credentials", &kind),
        (None, known) => {
            let remedy = format!("name some of {}, the default first", shown_names(known));
            section.need("credentials", &kind, &remedy)?
        }
    };
    names.iter().for_each(|name| check_known(section, "credentials", name, known));
    Some(names)
}

/// Reads the two files, which go together; `None` without them, or where one was reported.
fn tls(section: &Section<'_>) -> Option<Tls> {
    let tls = section.table("tls");
    if !section.has("tls") {
        return None;
    }
    let cert_file = tls.need("cert_file", &PathTo, "name the certificate's PEM file");
    let key_file = tls.need("key_file", &PathTo, "name the PEM file of the certificate's key");
    Some(Tls { cert_file: cert_file?, key_file: key_file? })
}

fn guard(section: &Section<'_>) -> Guard {
    Guard {
        allowed_hosts: Some(section.get("allowed_hosts", &ListOf::some(HostName), local_hosts())),
        require_header: section.get("require_header", &Switch, true),
        allow_uids: section.get("allow_uids", &ListOf::any(USER), Vec::new()),
        allow_gids: section.get("allow_gids", &ListOf::any(GROUP), Vec::new()),
        access_token_file: section.find("access_token_file", &PathTo),
    }
}

fn socket_file(section: &Section<'_>) -> SocketFile {
    SocketFile {
        mode: section.get("mode", &FileMode, 0o660),
        owner: section.find("owner", &USER),
        group: section.find("group", &GROUP),
        allow_shared_directory: section.get("allow_shared_directory", &Switch, false),
    }
}

fn limits(section: &Section<'_>) -> Limits {
    let default = Limits::default();
    let connections = Count { least: 1, most: 1_000_000 };
    let per_user = Count { least: 0, ..connections };
    let wait = |key, default| section.get(key, &Span::WAIT, default);
    let requests = section.get("max_requests_per_second_per_uid", &per_user, 0);
    Limits {
        max_connections: section.get("max_connections", &connections, default.max_connections),
        max_connections_per_uid: section.get("max_connections_per_uid", &per_user, 0),
        max_requests_per_second_per_uid: u32::try_from(requests).unwrap_or(u32::MAX),
        header_timeout: wait("header_timeout", default.header_timeout),
        idle_timeout: wait("idle_timeout", default.idle_timeout),
        write_timeout: wait("write_timeout", default.write_timeout),
    }
}

/// Each address waits for its next client with a place in hand: without one it would never be served.
fn check_places(section: &Section<'_>, addresses: usize, limits: &Limits) {
    if limits.max_connections < addresses {
        let problem = format!("is less than one for each of the listener's {addresses} addresses");
        let remedy = "allow some for each (localhost is two), or listen on fewer";
        section.complain("max_connections", problem, remedy);
    }
}

fn check_exposure(section: &Section<'_>, bind: &[Address], guard: &Guard) {
    let guarded = guard.access_token_file.is_some() || !guard.allow_uids.is_empty();
    if bind.iter().any(Address::is_tcp) && !guarded {
        let problem = "is TCP with neither access token nor `allow_uids`: every local user gets \
                       the token";
        let remedy = "set one of them, or listen on a unix socket, where users are not all trusted";
        section.warn("bind", problem, remedy);
    }
}

/// Warns of file modes where there is no file; an access token's file has a group, too.
fn check_file_keys(section: &Section<'_>, bind: &[Address], guard: &Guard) {
    let no_socket = !bind.is_empty() && bind.iter().all(Address::is_tcp);
    let no_file = no_socket && guard.access_token_file.is_none();
    let set = [("mode", no_socket), ("owner", no_socket), ("group", no_file)];
    for (key, _) in set.into_iter().filter(|(key, idle)| *idle && section.has(key)) {
        section.warn(key, "guards nothing, as no address here is a unix socket", "leave it out");
    }
}
