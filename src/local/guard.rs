//! Who and what is let in: one table of reasons, checked before any route.
//!
//! What a browser, a forwarding proxy or a forged request cannot help sending is refused; what
//! curl, Python, Go and Node send passes (faults 126 to 136).

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts, uri::Authority,
};

use super::problem::{Kind, Problem};
use crate::{
    config::model::Guard,
    okta::wire::bearer_of,
    process::{peer::Peer, secret::Secret},
};

/// Says why a request is refused; the label of `bearerd_requests_denied_total`.
///
/// What says more about the sender comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// The kernel says that the peer is none of those who may.
    Peer,
    /// The user has all the connections that it may have.
    Connections,
    /// The user has sent all the requests that it may send for now.
    Requests,
    /// `Host` is missing or there twice.
    HostMissing,
    /// `Host` is not on the list.
    Host,
    /// `Origin`, `Referer` or `Sec-Fetch-*`: a browser.
    Browser,
    /// `X-Forwarded-*` and the like: somebody else's request.
    Forwarded,
    /// `Upgrade`, or a method that makes a tunnel.
    Upgrade,
    /// It says twice, or oddly, where it ends.
    Framing,
    /// It is no HTTP that could be read.
    Malformed,
    /// The required header is missing.
    Header,
    /// The access token, or a local one, is missing, wrong, or there twice.
    Credential,
}

impl Denial {
    /// Lists every reason, for metrics that exist from the start.
    pub const ALL: [Self; 12] = [
        Self::Peer,
        Self::Connections,
        Self::Requests,
        Self::HostMissing,
        Self::Host,
        Self::Browser,
        Self::Forwarded,
        Self::Upgrade,
        Self::Framing,
        Self::Malformed,
        Self::Header,
        Self::Credential,
    ];

    /// Tells the label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Connections => "user_connections",
            Self::Requests => "user_requests",
            Self::HostMissing => "host_missing",
            Self::Host => "host",
            Self::Header => "header",
            Self::Browser => "browser",
            Self::Forwarded => "forwarded",
            Self::Upgrade => "upgrade",
            Self::Framing => "framing",
            Self::Malformed => "malformed",
            Self::Credential => "credential",
        }
    }

    /// Makes the answer, which tells an honest client what to change.
    #[must_use]
    pub fn problem(self) -> Problem {
        match self {
            Self::Peer => Kind::Refused
                .because("this user may not use this socket: see allow_uids and allow_gids"),
            Self::Connections => too_many("connections", "max_connections_per_uid"),
            Self::Requests => too_many("requests", "max_requests_per_second_per_uid"),
            Self::HostMissing => Kind::BadRequest.because("send exactly one Host header"),
            Self::Host => Kind::WrongHost
                .because("name this listener as localhost or by its address: see allowed_hosts"),
            Self::Header => Kind::Refused.because("send the header 'X-Bearerd: 1'"),
            Self::Browser => Kind::Refused
                .because("requests of web pages (Origin, Referer, Sec-Fetch-*) are not served"),
            Self::Forwarded => Kind::Refused
                .because("forwarded requests (X-Forwarded-*, Forwarded, Via…) are not served"),
            Self::Upgrade => Kind::BadRequest.because("only plain HTTP/1 requests are served"),
            Self::Framing => Kind::BadRequest
                .because("send one Content-Length, or 'Transfer-Encoding: chunked', and not both"),
            Self::Malformed => Kind::BadRequest.because("this is no request of HTTP/1"),
            Self::Credential => Kind::Unauthorized.because(
                "send 'Authorization: Bearer …', once, with what this listener's \
                 access_token_file holds",
            ),
        }
    }
}

fn too_many(what: &str, limit: &str) -> Problem {
    let detail = format!("this user has too many {what} here: see {limit}");
    // What a user may have of a second comes back within one.
    Problem { retry_after: Some(Duration::from_secs(1)), ..Kind::TooManyRequests.because(detail) }
}

/// What shows that a request was meant for us.
pub enum Proof {
    /// The required header.
    Header,
    /// The required header; a browser's visit to an address that a person has typed is let in.
    Reader,
    /// The required header, and the listener's access token.
    AccessToken(Arc<Secret>),
    /// The local token, which is looked at where the request is answered.
    LocalToken,
    /// What this listener's access token holds, if it has one, and nothing that tells of the sender:
    /// a reverse proxy asks with the headers of its own visitor.
    Visitor(Option<Arc<Secret>>),
    /// The kernel's word that it is root or this user, whoever else may connect.
    Owner(u32),
}

/// The required header.
const REQUIRED: HeaderName = HeaderName::from_static("x-bearerd");

/// Checks one request; the order is from what says most about the sender to what says least.
///
/// # Errors
///
/// Returns the first reason to refuse it.
pub fn check(guard: &Guard, peer: &Peer, proof: &Proof, request: &Parts) -> Result<(), Denial> {
    check_peer(guard, peer)?;
    check_owner(proof, peer)?;
    check_host(guard, peer, proof, request)?;
    if !matches!(proof, Proof::Visitor(_)) {
        check_headers(&request.headers, matches!(proof, Proof::Reader))?;
    }
    if request.method == Method::CONNECT {
        return Err(Denial::Upgrade);
    }
    check_proof(guard, peer, proof, &request.headers)
}

fn check_peer(guard: &Guard, peer: &Peer) -> Result<(), Denial> {
    if guard.allow_uids.is_empty() && guard.allow_gids.is_empty() {
        return Ok(());
    }
    let is_named = peer.uid().is_some_and(|uid| guard.allow_uids.contains(&uid));
    match peer {
        _ if is_named => Ok(()),
        Peer::Unix { gid, groups, .. } if is_in_one(guard, *gid, groups) => Ok(()),
        _ => Err(Denial::Peer),
    }
}

fn is_in_one(guard: &Guard, gid: u32, groups: &[u32]) -> bool {
    [&[gid], groups].into_iter().flatten().any(|group| guard.allow_gids.contains(group))
}

fn check_owner(proof: &Proof, peer: &Peer) -> Result<(), Denial> {
    match (proof, peer) {
        (Proof::Owner(owner), Peer::Unix { uid, .. }) if uid == owner || *uid == 0 => Ok(()),
        (Proof::Owner(_), _) => Err(Denial::Peer),
        _ => Ok(()),
    }
}

/// Lists of hosts are for TCP; on a unix socket no page can name itself. The visitor of a reverse
/// proxy names what he visits.
fn check_host(guard: &Guard, peer: &Peer, proof: &Proof, request: &Parts) -> Result<(), Denial> {
    let host = match single(&request.headers, &header::HOST) {
        One::Value(host) => Some(host),
        One::Many => return Err(Denial::HostMissing),
        One::None if request.version == Version::HTTP_10 => None,
        One::None => return Err(Denial::HostMissing),
    };
    let (Peer::Tcp { port, .. }, Some(allowed), false) =
        (peer, &guard.allowed_hosts, matches!(proof, Proof::Visitor(_)))
    else {
        return Ok(());
    };
    let target = request.uri.authority().map(Authority::as_str);
    let named = [host, target.map(str::as_bytes)];
    if host.is_none() || !named.into_iter().flatten().all(|name| is_allowed(name, allowed, *port)) {
        return Err(Denial::Host);
    }
    Ok(())
}

/// Names without case; the port is ours or not there at all (fault 127).
fn is_allowed(named: &[u8], allowed: &[String], port: u16) -> bool {
    allowed.iter().any(|name| {
        named.split_at_checked(name.len()).is_some_and(|(host, rest)| {
            host.eq_ignore_ascii_case(name.as_bytes()) && (rest.is_empty() || is_port(rest, port))
        })
    })
}

fn is_port(rest: &[u8], port: u16) -> bool {
    let [b':', digits @ ..] = rest else {
        return false;
    };
    // A parser would also take `+8420` and `08420`.
    matches!(digits, [b'1'..=b'9', ..])
        && str::from_utf8(digits).is_ok_and(|digits| digits.parse() == Ok(port))
}

/// What clients send with every request, and no rule here looks at, nor anything behind it that can
/// answer at once.
const UNREAD: [&str; 4] = ["accept", "user-agent", "accept-encoding", "accept-language"];

/// Tells whether nobody looks at headers of this name, whatever they hold.
#[must_use]
pub fn is_unread(name: &str) -> bool {
    UNREAD.iter().any(|unread| unread.eq_ignore_ascii_case(name))
}

fn check_headers(headers: &HeaderMap, may_visit: bool) -> Result<(), Denial> {
    // One walk instead of a look-up for each name: this is part of the cost of every answer.
    let telling = headers.iter().filter_map(|(name, value)| {
        if may_visit && is_of_visit(name, value) { None } else { told_by(name, value) }
    });
    telling.min().map_or(Ok(()), Err)
}

/// Tells whether a browser sends this with the visit to an address that was typed or kept.
///
/// What another page leads to is never of `none`, and no page can say that it is (Fetch Metadata).
fn is_of_visit(name: &HeaderName, value: &HeaderValue) -> bool {
    matches!(
        (name.as_str(), value.as_bytes()),
        ("sec-fetch-site", b"none")
            | ("sec-fetch-mode", b"navigate")
            | ("sec-fetch-dest", b"document")
            | ("sec-fetch-user", b"?1")
    )
}

/// Says why a header may not be there, if so.
fn told_by(name: &HeaderName, value: &HeaderValue) -> Option<Denial> {
    match name.as_str() {
        // Node's own `fetch` sends this, too (fault 133).
        "sec-fetch-mode" if value == "cors" => None,
        "origin" | "referer" | "sec-fetch-site" | "sec-fetch-dest" | "sec-fetch-user"
        | "sec-fetch-mode" => Some(Denial::Browser),
        // Only somebody who forwards for others sends these (fault 136).
        "forwarded" | "via" | "x-real-ip" | "true-client-ip" | "cf-connecting-ip"
        | "x-original-url" => Some(Denial::Forwarded),
        name if name.starts_with("x-forwarded") => Some(Denial::Forwarded),
        "upgrade" => Some(Denial::Upgrade),
        _ => None,
    }
}

fn check_proof(
    guard: &Guard,
    peer: &Peer,
    proof: &Proof,
    headers: &HeaderMap,
) -> Result<(), Denial> {
    if matches!(proof, Proof::LocalToken) {
        return Ok(());
    }
    let needs_header = guard.require_header && matches!(peer, Peer::Tcp { .. });
    if needs_header && !has_required(headers) {
        return Err(Denial::Header);
    }
    let is_known = match proof {
        Proof::AccessToken(token) | Proof::Visitor(Some(token)) => {
            bearer_of(headers).is_some_and(|sent| token.matches(sent))
        }
        // Whose Host is not looked at has to show more; no configuration comes here.
        Proof::Visitor(None) if matches!(peer, Peer::Tcp { .. }) => false,
        // A listener that asks for a token and has none lets nobody in.
        Proof::Header
        | Proof::Reader
        | Proof::LocalToken
        | Proof::Owner(_)
        | Proof::Visitor(None) => guard.access_token_file.is_none(),
    };
    if is_known { Ok(()) } else { Err(Denial::Credential) }
}

fn has_required(headers: &HeaderMap) -> bool {
    matches!(single(headers, &REQUIRED), One::Value(b"1"))
}

enum One<'a> {
    None,
    Value(&'a [u8]),
    Many,
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> One<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => One::None,
        (Some(value), None) => One::Value(value.as_bytes()),
        (Some(_), Some(_)) => One::Many,
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
