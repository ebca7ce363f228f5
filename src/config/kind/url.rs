//! Places elsewhere: URLs and host names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use super::{Kind, quoted, text};
use crate::config::{finding::Complaint, tree::Node};

/// Reads the origin of an issuer: https, or http to a loopback address (fault 55).
pub(in crate::config) struct IssuerUrl;

impl Kind for IssuerUrl {
    type Value = Url;

    fn read(&self, node: &Node) -> Result<Url, Complaint> {
        let url = url(node, "write https://TEAM.pam.okta.com")?;
        match url.scheme() == "https" || is_loopback(&url) {
            true => Ok(url),
            false => Err(Complaint::new(
                "is http to an address that is not loopback",
                "write https:// before the host",
            )),
        }
    }

    fn show(&self, value: &Url) -> String {
        quoted(value.as_str().trim_end_matches('/'))
    }
}

/// Reads the URL of a forward proxy.
pub(in crate::config) struct ProxyUrl;

impl Kind for ProxyUrl {
    type Value = Url;

    fn read(&self, node: &Node) -> Result<Url, Complaint> {
        url(node, "write http://HOST:PORT")
    }

    fn show(&self, value: &Url) -> String {
        IssuerUrl.show(value)
    }
}

/// Reads an origin: http or https, a host, perhaps a port, and nothing else.
fn url(node: &Node, remedy: &'static str) -> Result<Url, Complaint> {
    let refuse = |problem: &'static str| Err(Complaint::new(problem, remedy));
    let written = text(node, "a URL", remedy)?;
    if written.contains('@') {
        let remedy = "take them out, and replace them: they may have been read; a proxy's stand in \
                      the file that `okta.proxy_auth_file` names";
        return Err(Complaint::new("holds a user or password", remedy));
    }
    // The parser passes over blanks, takes a backslash for a slash, and reads escapes in a host.
    if written.contains([' ', '\\', '%']) {
        return refuse("holds a blank, a backslash or an escape");
    }
    if !written.is_ascii() {
        // Letters that look alike are no way to name an issuer.
        return Err(Complaint::new(
            "holds letters that are not ASCII",
            "write the host as DNS has it",
        ));
    }
    let Ok(url) = Url::parse(written) else {
        return refuse("is not a URL with a scheme and a host");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return refuse("is neither https nor http");
    }
    if url.path() != "/" || written.contains(['?', '#']) {
        return refuse("holds more than scheme, host and port");
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    address_of(host).is_some_and(|address| address.is_loopback())
}

fn address_of(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(host) => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Reads a name that requests may carry in `Host`: without port, in lower case.
pub(in crate::config) struct HostName;

impl Kind for HostName {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        let remedy = "write a host name, an IPv4 address, or an IPv6 address in brackets, no port";
        let host = text(node, "a host name", remedy)?.to_ascii_lowercase();
        if let Some(IpAddr::V6(address)) = address_of(&host) {
            return Ok(format!("[{address}]"));
        }
        let label = |label: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            (1..=63).contains(&label.len()) && label.bytes().all(allowed)
        };
        match host.len() <= 253 && host.split('.').all(label) {
            true => Ok(host),
            false => Err(Complaint::new("is not a host name", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}
