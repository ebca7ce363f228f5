//! How a command finds the daemon.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use zeroize::Zeroizing;

use super::{exit::Exit, settings::Settings};
use crate::{
    config::model::{Bind, Listener},
    control::client::{self, Address, ClientError},
    local::access_token,
    okta::client::bearer,
    process::{owned_file::MAX_BYTES, secret::Secret, secret_file::without_line_end},
};

/// Holds the flags that name a listener.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ListenerPlace {
    /// Unix socket of a listener [default: `$BEARERD_SOCKET`, else the configuration's first]
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    socket: Option<PathBuf>,
    /// URL of a listener, as `http://127.0.0.1:8420` or `https://localhost:8443`
    #[arg(long)]
    url: Option<String>,
    /// File with the access token that the listener asks for [default: the configuration's, if the
    /// listener is]
    #[arg(long, value_name = "PATH")]
    access_token_file: Option<PathBuf>,
    /// PEM file of certificates to trust besides the built-in ones, for an https `--url`
    #[arg(long, value_name = "PATH", requires = "url")]
    ca_file: Option<PathBuf>,
}

/// Names a listener, and where its access token is, if it asks for one.
pub(super) struct Door {
    /// Where it listens.
    address: Address,
    /// The file with its access token.
    access_token_file: Option<PathBuf>,
    /// What else can be done where nobody listens.
    remedy: &'static str,
}

impl ListenerPlace {
    /// Finds the listener; the configuration is read only if nothing else names one.
    pub(super) fn find(&self, settings: &Settings) -> Result<Door, Exit> {
        let variable = std::env::var_os("BEARERD_SOCKET").filter(|path| !path.is_empty());
        self.find_or(variable.map(PathBuf::from), settings)
    }

    /// Finds it likewise, of a daemon of our own: what the environment names is another's.
    pub(super) fn find_own(&self, settings: &Settings) -> Result<Door, Exit> {
        self.find_or(None, settings)
    }

    fn find_or(&self, usual: Option<PathBuf>, settings: &Settings) -> Result<Door, Exit> {
        let found = match self.named(usual)? {
            Some(address) => Door { address, access_token_file: None, remedy: "" },
            None => configured(settings)?,
        };
        let access_token_file = self.access_token_file.clone().or(found.access_token_file);
        Ok(Door { access_token_file, ..found })
    }

    fn named(&self, usual: Option<PathBuf>) -> Result<Option<Address>, Exit> {
        if let Some(url) = &self.url {
            return by_url(url, self.ca_file.clone()).map(Some);
        }
        Ok(self.socket.clone().or(usual).map(Address::Unix))
    }
}

impl Door {
    /// Says what else can be done where nobody listens.
    pub(super) const fn or(mut self, remedy: &'static str) -> Self {
        self.remedy = remedy;
        self
    }

    /// Reads the access token, if there is a file with one.
    fn access_token(&self) -> Result<Option<Secret>, Exit> {
        self.access_token_file.as_deref().map(read_access_token).transpose()
    }

    /// Names the file of the access token while there is none.
    pub(super) fn missing_access_token(&self) -> Option<&Path> {
        let is_missing = |file: &&Path| matches!(file.try_exists(), Ok(false));
        self.access_token_file.as_deref().filter(is_missing)
    }

    /// Sends one request, with the access token if there is one, and reads the whole answer.
    pub(super) async fn ask(
        &self,
        mut request: Request<Bytes>,
        patience: Duration,
    ) -> Result<Response<Bytes>, Exit> {
        if let Some(token) = self.access_token()? {
            let bearer = bearer(&token).ok_or_else(|| self.refused())?;
            request.headers_mut().insert(header::AUTHORIZATION, bearer);
        }
        let answer = client::send(&self.address, request, patience).await;
        let answer = answer.map_err(|error| self.unanswered(error))?;
        if answer.status() == StatusCode::UNAUTHORIZED { Err(self.refused()) } else { Ok(answer) }
    }

    fn unanswered(&self, error: ClientError) -> Exit {
        match error.is_nobody() {
            true => Exit::unreachable(format!("{error}{}", self.remedy)),
            false => error.into(),
        }
    }

    /// Says why it did not open, and what to do.
    fn refused(&self) -> Exit {
        let address = &self.address;
        Exit::denied(match &self.access_token_file {
            None => {
                format!("{address} asks for an access token: name its file by --access-token-file")
            }
            Some(file) => format!(
                "{address} does not take the access token in {}: name the file that its \
                 access_token_file names, by --access-token-file",
                file.display()
            ),
        })
    }
}

fn configured(settings: &Settings) -> Result<Door, Exit> {
    let config = settings.load()?.config;
    let first = config.listeners.into_values().next();
    let door = first.and_then(|listener| {
        let address = address(&listener)?;
        let access_token_file = listener.guard.access_token_file;
        Some(Door { address, access_token_file, remedy: "" })
    });
    // There is always a listener, but the service manager may have its addresses.
    door.ok_or_else(|| {
        Exit::configuration(
            "the first listener's addresses are the service manager's: name one by --socket or --url",
        )
    })
}

/// Reads it as any program would: what its owner and mode may be is the daemon's to judge.
pub(super) fn read_access_token(path: &Path) -> Result<Secret, Exit> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    let read = File::open(path).and_then(|file| {
        let most = MAX_BYTES.try_into().unwrap_or(u64::MAX);
        file.take(most).read_to_end(&mut bytes)
    });
    let path = path.display();
    read.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => {
            Exit::denied(format!("you may not read {path}: its mode and group say who may"))
        }
        ErrorKind::NotFound => {
            Exit::configuration(format!("access token: {path} does not exist: correct the path"))
        }
        _ => Exit::configuration(format!("access token: {path} cannot be read: correct the path")),
    })?;
    let token = without_line_end(&bytes);
    access_token::check(token)
        .map_err(|flaw| Exit::configuration(format!("access token: {path} {flaw}")))?;
    Ok(Secret::copy_of(token))
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
    listener.bind.iter().find_map(|bind| match (bind, &listener.tls) {
        // Where that is only the service manager knows.
        (Bind::Systemd(_), _) => None,
        (Bind::Unix(path), _) => Some(Address::Unix(path.clone())),
        (Bind::Tcp(at), None) => Some(Address::Tcp(reachable(*at).to_string())),
        // Whoever shows the very certificate is the daemon.
        (Bind::Tcp(at), Some(tls)) => Some(Address::Tls {
            authority: reachable(*at).to_string(),
            trusted: Some(tls.cert_file.clone()),
        }),
    })
}

/// Who listens on every address listens on this machine's own, too.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Reads `http://HOST[:PORT]`, or the same with `https`.
fn by_url(url: &str, ca_file: Option<PathBuf>) -> Result<Address, Exit> {
    match url.strip_prefix("https://") {
        Some(rest) => Ok(Address::Tls { authority: authority(rest, 443)?, trusted: ca_file }),
        None if ca_file.is_some() => Err(Exit::usage("--ca-file goes with a --url of https://")),
        None => plain_http(url),
    }
}

/// Reads `http://HOST[:PORT]`.
pub(super) fn plain_http(url: &str) -> Result<Address, Exit> {
    let rest = url.strip_prefix("http://").ok_or_else(wrong_url)?;
    Ok(Address::Tcp(authority(rest, 80)?))
}

fn authority(text: &str, port: u16) -> Result<String, Exit> {
    let authority = text.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err(wrong_url());
    }
    let has_port = authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    Ok(if has_port { authority.to_owned() } else { format!("{authority}:{port}") })
}

fn wrong_url() -> Exit {
    Exit::usage("--url is the address of a listener, as http://127.0.0.1:8420")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_short() {
        let tcp = |authority: &str| Some(Address::Tcp(authority.to_owned()));
        let tls =
            |authority: &str| Some(Address::Tls { authority: authority.to_owned(), trusted: None });
        let table = [
            ("http://127.0.0.1:8420", tcp("127.0.0.1:8420")),
            ("http://localhost:8420/", tcp("localhost:8420")),
            ("http://[::1]:8420", tcp("[::1]:8420")),
            ("http://localhost", tcp("localhost:80")),
            ("https://localhost:8420", tls("localhost:8420")),
            ("https://[::1]/", tls("[::1]:443")),
            ("https://", None),
            ("ftp://localhost:8420", None),
            ("localhost:8420", None),
            ("http://", None),
            ("http://user@localhost:8420", None),
            ("http://localhost:8420/v1/token", None),
        ];
        for (url, expected) in table {
            assert_eq!(by_url(url, None).ok(), expected, "{url}");
        }
        assert!(plain_http("https://localhost:8420").is_err());
        assert!(by_url("http://localhost:8420", Some("/ca.pem".into())).is_err());
    }
}
