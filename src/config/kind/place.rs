//! Places on this machine: files, and addresses to listen on.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{Kind, quoted, text};
use crate::config::{
    finding::Complaint,
    model::Bind,
    tree::{Node, Origin, Shape},
};

/// Reads paths; relative ones count from the directory of the configuration file.
pub(in crate::config) struct PathTo;

impl Kind for PathTo {
    type Value = PathBuf;

    // No secret, no home directory, nothing that counts from elsewhere (fault 257).
    fn read(&self, node: &Node) -> Result<PathBuf, Complaint> {
        let path = text(node, "a path", "write a path in quotes")?;
        if path.trim_start().starts_with(['{', '[']) || path.contains("-----BEGIN") {
            let remedy = "name a file that only the daemon can read, and replace what was written";
            return Err(Complaint::new("holds content where the path of a file belongs", remedy));
        }
        if path.starts_with('~') {
            return Err(Complaint::new("begins with `~`", "write the whole path"));
        }
        absolute(Path::new(path), &node.origin)
    }

    fn show(&self, value: &PathBuf) -> String {
        quoted(&value.to_string_lossy())
    }
}

fn absolute(path: &Path, setter: &Origin) -> Result<PathBuf, Complaint> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let relative = || Complaint::new("is a relative path", "write the whole path, from `/`");
    let Origin::File { path: file, .. } = setter else {
        return Err(relative());
    };
    let file = std::path::absolute(file).map_err(|_| relative())?;
    Ok(file.parent().unwrap_or(Path::new("/")).join(path))
}

/// Reads the name of a systemd credential: a file name without directory.
pub(in crate::config) struct FileName;

impl Kind for FileName {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        let remedy = "write the name that LoadCredential= gives it, without a directory";
        let name = text(node, "a name", remedy)?;
        let plain = !name.contains('/') && !name.starts_with('.') && name.len() <= 255;
        match plain {
            true => Ok(name.to_owned()),
            false => Err(Complaint::new("is not a plain file name", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// Names a place to listen, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
    /// Both loopback addresses, on one port.
    Localhost(u16),
    /// A socket that systemd hands over.
    Systemd(String),
}

impl Address {
    /// Lists what is to be bound, or taken over.
    pub(in crate::config) fn binds(&self) -> Vec<Bind> {
        match self {
            Self::Unix(path) => vec![Bind::Unix(path.clone())],
            Self::Tcp(address) => vec![Bind::Tcp(*address)],
            Self::Localhost(port) => vec![
                Bind::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), *port)),
                Bind::Tcp(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), *port)),
            ],
            Self::Systemd(name) => vec![Bind::Systemd(name.clone())],
        }
    }

    /// Tells whether only this machine can come in.
    pub(in crate::config) fn is_local(&self) -> bool {
        !matches!(self, Self::Tcp(address) if !address.ip().is_loopback())
    }

    /// Tells whether it is TCP.
    pub(in crate::config) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Localhost(_))
    }
}

/// Reads addresses to listen on, of the forms that it is made with.
pub(in crate::config) struct BindAddress(pub(in crate::config) &'static [&'static str]);

impl BindAddress {
    /// Takes what a listener of the local API takes.
    pub(in crate::config) const ANY: Self = Self(&["unix:", "tcp:", "systemd:"]);
    /// Takes unix sockets.
    pub(in crate::config) const UNIX: Self = Self(&["unix:"]);
    /// Takes TCP.
    pub(in crate::config) const TCP: Self = Self(&["tcp:"]);

    fn remedy(&self) -> String {
        let example = |form: &&str| match *form {
            "unix:" => "\"unix:/run/bearerd/bearerd.sock\"",
            "tcp:" => "\"tcp:127.0.0.1:8420\"",
            _ => "\"systemd:NAME\"",
        };
        format!("write {}", self.0.iter().map(example).collect::<Vec<_>>().join(" or "))
    }

    fn parse(&self, text: &str) -> Result<Address, &'static str> {
        let form = self.0.iter().find_map(|form| Some((*form, text.strip_prefix(form)?)));
        match form {
            Some(("unix:", path)) => unix(path),
            Some(("tcp:", address)) => tcp(address),
            Some((_, name)) => systemd(name),
            None => Err("is not an address of the right form"),
        }
    }
}

impl Kind for BindAddress {
    type Value = Address;

    // Only what can be bound (faults 166, 167, 252).
    fn read(&self, node: &Node) -> Result<Address, Complaint> {
        let refuse = |problem| Complaint::new(problem, self.remedy());
        match &node.shape {
            Shape::Text(text) if text.contains('\0') => Err(refuse("holds a NUL byte")),
            _ => self.parse(text(node, "an address", "write it in quotes")?).map_err(refuse),
        }
    }

    fn show(&self, value: &Address) -> String {
        quoted(&match value {
            Address::Unix(path) => format!("unix:{}", path.display()),
            Address::Tcp(address) => format!("tcp:{address}"),
            Address::Localhost(port) => format!("tcp:localhost:{port}"),
            Address::Systemd(name) => format!("systemd:{name}"),
        })
    }
}

/// Longest path that fits into `sockaddr_un`, in bytes (fault 167).
const MAX_SOCKET_PATH: usize = 107;

fn unix(path: &str) -> Result<Address, &'static str> {
    if path.starts_with('@') {
        return Err("is an abstract socket, which no file mode guards");
    }
    if !path.starts_with('/') {
        return Err("is not a whole path, from `/`");
    }
    if path.ends_with('/') {
        return Err("names a directory");
    }
    match Path::new(path).as_os_str().as_bytes().len() <= MAX_SOCKET_PATH {
        true => Ok(Address::Unix(path.into())),
        false => Err("is longer than the 107 bytes that a socket's path can have"),
    }
}

fn tcp(address: &str) -> Result<Address, &'static str> {
    if let Some(port) = address.strip_prefix("localhost:") {
        return port.parse().map(Address::Localhost).map_err(|_| "has no port from 0 to 65535");
    }
    let problem = "is not an IP address with a port from 0 to 65535";
    address.parse().map(Address::Tcp).map_err(|_| problem)
}

fn systemd(name: &str) -> Result<Address, &'static str> {
    let plain = (1..=255).contains(&name.len()) && !name.contains([':', '/', ' ']);
    match plain {
        true => Ok(Address::Systemd(name.to_owned())),
        false => Err("has no name that FileDescriptorName= can give"),
    }
}
