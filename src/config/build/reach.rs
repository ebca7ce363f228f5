//! Whom a listener can be reached by, and what it has to ask of them.

use std::net::IpAddr;

use crate::config::{
    kind::{Address, Switch},
    model::{Guard, Limits},
    reader::Section,
};

/// Reads `allow_non_loopback` and reports what does not go with the addresses (fault 251).
pub(super) fn check(
    section: &Section<'_>,
    bind: &[Address],
    guard: &Guard,
    limits: &Limits,
) -> bool {
    let is_allowed = section.get("allow_non_loopback", &Switch, false);
    let is_local = bind.iter().all(Address::is_local);
    if is_allowed {
        check_conditions(section);
    }
    match (is_local, is_allowed) {
        (true, _) => {}
        (false, true) => check_hosts(section, guard),
        (false, false) => {
            let remedy = "listen on 127.0.0.1, [::1] or localhost, or set `allow_non_loopback` \
                          with `access_token_file` and `tls`";
            section.complain("bind", "can be reached from other machines", remedy);
        }
    }
    check_tls(section, bind);
    check_users(section, bind, guard, limits);
    check_groups(section, bind, guard);
    is_allowed
}

/// Strangers come in only with a secret, and only where nobody else can read it.
fn check_conditions(section: &Section<'_>) {
    let remedies = [
        ("access_token_file", "name the file of a secret that clients must send"),
        ("tls", "name `cert_file` and `key_file` there"),
    ];
    for (key, remedy) in remedies.into_iter().filter(|(key, _)| !section.has(key)) {
        let problem = format!("lets other machines in, and `{key}` is not set");
        let remedy = format!("set `{key}` ({remedy}), or leave `allow_non_loopback` out");
        section.complain("allow_non_loopback", problem, remedy);
    }
}

fn check_hosts(section: &Section<'_>, guard: &Guard) {
    let mut hosts = guard.allowed_hosts.iter().flatten();
    if hosts.all(|host| means_this_machine(host)) {
        let problem = "has only names of this machine for itself, so no request from another one \
                       is let in";
        let remedy = "add the names and addresses by which clients call this listener";
        section.warn("allowed_hosts", problem, remedy);
    }
}

fn means_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Reports `auth` where neither the kernel nor a secret tells a proxy from a page or a neighbour:
/// on its path no header does.
pub(super) fn check_auth(section: &Section<'_>, bind: &[Address], guard: &Guard, serve: &[&str]) {
    let is_open = bind.iter().any(Address::is_tcp) && guard.access_token_file.is_none();
    if is_open && serve.contains(&"auth") {
        let problem = "has `auth`, which on a TCP address needs `access_token_file`";
        let remedy = "set `access_token_file` and let the reverse proxy send what it holds, or \
                      listen on a unix socket";
        section.complain("serve", problem, remedy);
    }
}

/// Users can be told apart on this machine only.
fn check_users(section: &Section<'_>, bind: &[Address], guard: &Guard, limits: &Limits) {
    let set = [
        ("allow_uids", !guard.allow_uids.is_empty()),
        ("max_connections_per_uid", limits.max_connections_per_uid > 0),
        ("max_requests_per_second_per_uid", limits.max_requests_per_second_per_uid > 0),
    ];
    let is_local = bind.iter().all(Address::is_local);
    for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set && !is_local) {
        let problem = "is about users of this machine, and the listener can be reached from others";
        let remedy = "give local users a listener of their own, on a unix socket or loopback";
        section.complain(key, problem, remedy);
    }
}

/// Of a TCP connection the kernel tells no group.
fn check_groups(section: &Section<'_>, bind: &[Address], guard: &Guard) {
    if !guard.allow_gids.is_empty() && bind.iter().any(Address::is_tcp) {
        let problem = "is for unix sockets: of a TCP connection the kernel tells the user, but no \
                       group";
        let remedy = "name the users in `allow_uids`, or listen on unix sockets only";
        section.complain("allow_gids", problem, remedy);
    }
}

fn check_tls(section: &Section<'_>, bind: &[Address]) {
    let has_only_files = bind.iter().all(|address| matches!(address, Address::Unix(_)));
    if section.has("tls") && has_only_files && !bind.is_empty() {
        let remedy = "leave it out, or listen on a TCP address, too";
        section.complain("tls", "is for TCP, and every address here is a unix socket", remedy);
    }
}
