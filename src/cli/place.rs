//! How a command finds the daemon.

use std::path::PathBuf;

use super::{exit::Exit, settings::Settings};
use crate::{
    config::model::{Bind, Listener},
    control::client::Address,
};

/// Holds the flags that name a listener.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ListenerPlace {
    /// Unix socket of a listener [default: `$BEARERD_SOCKET`, else the configuration's first]
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    socket: Option<PathBuf>,
    /// URL of a listener, as `http://127.0.0.1:8420`
    #[arg(long)]
    url: Option<String>,
}

impl ListenerPlace {
    /// Finds the listener; the configuration is read only if nothing else names one.
    pub(super) fn find(&self, settings: &Settings) -> Result<Address, Exit> {
        if let Some(url) = &self.url {
            return plain_http(url);
        }
        let named = std::env::var_os("BEARERD_SOCKET").filter(|path| !path.is_empty());
        if let Some(path) = self.socket.clone().or_else(|| named.map(PathBuf::from)) {
            return Ok(Address::Unix(path));
        }
        let config = settings.load()?.config;
        let first = config.listeners.values().next().and_then(address);
        first.ok_or_else(|| Exit::configuration("no listener is configured: name one by --socket"))
    }
}

/// Holds the flag that names the control socket.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ControlPlace {
    /// Control socket of the daemon [default: the configuration's]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl ControlPlace {
    /// Finds the control socket.
    pub(super) fn find(&self, settings: &Settings) -> Result<Address, Exit> {
        if let Some(named) = self.named() {
            return Ok(named);
        }
        let control = settings.load()?.config.control;
        control.map(|control| Address::Unix(control.path)).ok_or_else(|| {
            Exit::configuration("no control socket is configured: name one by --control")
        })
    }

    /// Gives the socket that the flag names.
    pub(super) fn named(&self) -> Option<Address> {
        self.control.clone().map(Address::Unix)
    }
}

fn address(listener: &Listener) -> Option<Address> {
    listener.bind.first().map(|bind| match bind {
        Bind::Unix(path) => Address::Unix(path.clone()),
        Bind::Tcp(address) => Address::Tcp(address.to_string()),
    })
}

/// Reads `http://HOST[:PORT]`.
pub(super) fn plain_http(url: &str) -> Result<Address, Exit> {
    let wrong = || Exit::usage("--url is the address of a listener, as http://127.0.0.1:8420");
    let authority = url.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err(wrong());
    }
    let has_port = authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    Ok(Address::Tcp(if has_port { authority.to_owned() } else { format!("{authority}:80") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_plain_and_short() {
        let tcp = |authority: &str| Some(Address::Tcp(authority.to_owned()));
        let table = [
            ("http://127.0.0.1:8420", tcp("127.0.0.1:8420")),
            ("http://localhost:8420/", tcp("localhost:8420")),
            ("http://[::1]:8420", tcp("[::1]:8420")),
            ("http://localhost", tcp("localhost:80")),
            ("https://localhost:8420", None),
            ("localhost:8420", None),
            ("http://", None),
            ("http://user@localhost:8420", None),
            ("http://localhost:8420/v1/token", None),
        ];
        for (url, expected) in table {
            assert_eq!(plain_http(url).ok(), expected, "{url}");
        }
    }
}
