//! Who and what is let in: one table of reasons, checked before any route.
//!
//! What a browser, a forwarding proxy or a forged request cannot help sending is refused; what
//! curl, Python, Go and Node send passes (faults 126 to 136).

use http::{HeaderMap, HeaderName, Method, Version, header, request::Parts, uri::Authority};

use super::problem::{Kind, Problem};
use crate::{config::model::Guard, process::peer::Peer};

/// Says why a request is refused; the label of `bearerd_requests_denied_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The kernel says that the peer is none of those who may.
    Peer,
    /// `Host` is missing or there twice.
    HostMissing,
    /// `Host` is not on the list.
    Host,
    /// The required header is missing.
    Header,
    /// `Origin`, `Referer` or `Sec-Fetch-*`: a browser.
    Browser,
    /// `X-Forwarded-*` and the like: somebody else's request.
    Forwarded,
    /// `Upgrade`, or a method that makes a tunnel.
    Upgrade,
}

impl Denial {
    /// Lists every reason, for metrics that exist from the start.
    pub const ALL: [Self; 7] = [
        Self::Peer,
        Self::HostMissing,
        Self::Host,
        Self::Header,
        Self::Browser,
        Self::Forwarded,
        Self::Upgrade,
    ];

    /// Tells the label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::HostMissing => "host_missing",
            Self::Host => "host",
            Self::Header => "header",
            Self::Browser => "browser",
            Self::Forwarded => "forwarded",
            Self::Upgrade => "upgrade",
        }
    }

    /// Makes the answer, which tells an honest client what to change.
    #[must_use]
    pub fn problem(self) -> Problem {
        match self {
            Self::Peer => Kind::Refused
                .because("this user may not use this socket: see allow_uids and allow_gids"),
            Self::HostMissing => Kind::BadRequest.because("send exactly one Host header"),
            Self::Host => Kind::WrongHost
                .because("name this listener as localhost or by its address: see allowed_hosts"),
            Self::Header => Kind::Refused.because("send the header 'X-Bearerd: 1'"),
            Self::Browser => Kind::Refused
                .because("requests of web pages (Origin, Referer, Sec-Fetch-*) are not served"),
            Self::Forwarded => Kind::Refused
                .because("forwarded requests (X-Forwarded-*, Forwarded, Via…) are not served"),
            Self::Upgrade => Kind::BadRequest.because("only plain HTTP/1 requests are served"),
        }
    }
}

/// What shows that a request was meant for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The required header.
    Header,
    /// The local token, which is looked at where the request is answered.
    LocalToken,
}

/// The required header.
const REQUIRED: HeaderName = HeaderName::from_static("x-bearerd");

/// What only browsers send; `sec-fetch-mode: cors` is also Node's own `fetch` (fault 133).
const BROWSER: [HeaderName; 5] = [
    header::ORIGIN,
    header::REFERER,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-dest"),
    HeaderName::from_static("sec-fetch-user"),
];
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What only somebody who forwards for others sends, besides `X-Forwarded-*` (fault 136).
const FORWARDED: [HeaderName; 6] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("x-original-url"),
];

/// Checks one request; the order is from what says most about the sender to what says least.
///
/// # Errors
///
/// Returns the first reason to refuse it.
pub fn check(guard: &Guard, peer: Peer, proof: Proof, request: &Parts) -> Result<(), Denial> {
    check_peer(guard, peer)?;
    check_host(guard, peer, request)?;
    check_headers(&request.headers)?;
    if request.method == Method::CONNECT || request.headers.contains_key(header::UPGRADE) {
        return Err(Denial::Upgrade);
    }
    let needs_header = guard.require_header && proof == Proof::Header;
    if needs_header && matches!(peer, Peer::Tcp { .. }) && !has_required(&request.headers) {
        return Err(Denial::Header);
    }
    Ok(())
}

fn check_peer(guard: &Guard, peer: Peer) -> Result<(), Denial> {
    if guard.allow_uids.is_empty() && guard.allow_gids.is_empty() {
        return Ok(());
    }
    match peer {
        Peer::Unix { uid, .. } if guard.allow_uids.contains(&uid) => Ok(()),
        Peer::Unix { gid, .. } if guard.allow_gids.contains(&gid) => Ok(()),
        _ => Err(Denial::Peer),
    }
}

/// Lists of hosts are for TCP; on a unix socket no page can name itself.
fn check_host(guard: &Guard, peer: Peer, request: &Parts) -> Result<(), Denial> {
    let host = match single(&request.headers, &header::HOST) {
        One::Value(host) => Some(host),
        One::Many => return Err(Denial::HostMissing),
        One::None if request.version == Version::HTTP_10 => None,
        One::None => return Err(Denial::HostMissing),
    };
    let (Peer::Tcp { port }, Some(allowed)) = (peer, &guard.allowed_hosts) else {
        return Ok(());
    };
    let target = request.uri.authority().map(Authority::as_str);
    let named = [host, target.map(str::as_bytes)];
    if host.is_none() || !named.into_iter().flatten().all(|name| is_allowed(name, allowed, port)) {
        return Err(Denial::Host);
    }
    Ok(())
}

/// Names without case; the port is ours or not there at all (fault 127).
fn is_allowed(named: &[u8], allowed: &[String], port: u16) -> bool {
    let own_port = format!(":{port}");
    allowed.iter().any(|name| {
        named.split_at_checked(name.len()).is_some_and(|(host, rest)| {
            host.eq_ignore_ascii_case(name.as_bytes())
                && (rest.is_empty() || rest == own_port.as_bytes())
        })
    })
}

fn check_headers(headers: &HeaderMap) -> Result<(), Denial> {
    let is_fetch = headers.get_all(SEC_FETCH_MODE).iter().any(|mode| mode != "cors");
    if is_fetch || BROWSER.iter().any(|name| headers.contains_key(name)) {
        return Err(Denial::Browser);
    }
    let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(name))
        || headers.keys().any(|name| name.as_str().starts_with("x-forwarded-"));
    if is_forwarded {
        return Err(Denial::Forwarded);
    }
    Ok(())
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
