//! The configuration as the rest of the crate sees it: valid by construction, no secrets in it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Url;

use crate::{proxy::rules::Rules, token::format::Format, token::timing::RefreshSettings};

/// Holds one whole, validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the issuer is reached.
    pub okta: Okta,
    /// The credentials by name; never empty.
    pub credentials: BTreeMap<String, Credential>,
    /// The listeners of the local API by name; never empty.
    pub listeners: BTreeMap<String, Listener>,
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub telemetry: Telemetry,
    /// Where `status`, `refresh` and `quit` are taken; `None` where no default place exists.
    pub control: Option<Control>,
    /// The files that hold a token, by name.
    pub sinks: BTreeMap<String, Sink>,
    /// Directory for local state, if there is one that can be used.
    pub state_dir: Option<PathBuf>,
    /// Whether tokens outlive a restart, sealed under their keys.
    pub cache_token: bool,
    /// How the process guards itself and stops.
    pub process: Process,
    /// What is logged, and how.
    pub log: Log,
}

impl Config {
    /// Lists the key files that rotations replace.
    ///
    /// Drafts, journal and lock lie beside what such a name leads to, so each needs its directory.
    pub fn rotated_files(&self) -> impl Iterator<Item = &Path> {
        self.credentials.values().filter_map(Credential::rotated_file)
    }
}

/// Holds `[okta]`: how the issuer is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Okta {
    /// PEM file of roots that are trusted besides the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// Explicit forward proxy, without user and password.
    pub proxy: Option<Url>,
    /// File that holds `user:password` for the proxy.
    pub proxy_auth_file: Option<PathBuf>,
    /// Deadline of DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Deadline of a whole call, from first byte sent to last byte read.
    pub request_timeout: Duration,
}

/// Holds `[credentials.NAME]`: one service user's key and how its token is kept fresh.
#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    /// Origin of the issuer: https, or http on a loopback address.
    pub base_url: Url,
    /// The team in the issuer's paths.
    pub team_name: String,
    /// Where the API key is read.
    pub key: KeySource,
    /// Whether a key that its group may read is accepted.
    pub allow_group_readable_key: bool,
    /// Whether readiness needs this credential.
    pub required: bool,
    /// When its token is replaced.
    pub refresh: RefreshSettings,
    /// How its key is replaced; `None` if never.
    pub rotation: Option<Rotation>,
}

impl Credential {
    /// Tells the file that a rotation replaces, if there is one and it can be.
    #[must_use]
    pub fn rotated_file(&self) -> Option<&Path> {
        match (&self.key, &self.rotation) {
            (KeySource::File(path), Some(_)) => Some(path),
            _ => None,
        }
    }
}

/// Holds `[credentials.NAME.rotation]`: how a key is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How often; `None` only when an operator asks.
    pub every: Option<Duration>,
    /// The service user whose key it is.
    pub user: String,
    /// The credential whose token asks for the new key; `None` for this one.
    pub with: Option<String>,
    /// Whether the old key is deleted once its last token has ended.
    pub delete_old: bool,
    /// Program and arguments that get each new key.
    pub on_rotated: Option<Vec<String>>,
}

/// Names the place an API key is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// One JSON file.
    File(PathBuf),
    /// A directory with the files `key_id`, `key_secret` and perhaps `team_name`.
    Directory(PathBuf),
    /// A JSON file that systemd put into `$CREDENTIALS_DIRECTORY`, by its whole path.
    SystemdCredential(PathBuf),
    /// A Kubernetes Secret with the fields `key_id`, `key_secret` and perhaps `team_name`.
    #[cfg(feature = "kubernetes")]
    Secret(SecretName),
}

/// Names a Kubernetes Secret.
#[cfg(feature = "kubernetes")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    /// Its namespace; `None` for the pod's own.
    pub namespace: Option<String>,
    /// Its name there.
    pub name: String,
}

#[cfg(feature = "kubernetes")]
impl std::fmt::Display for SecretName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "the Secret {namespace}/{}", self.name),
            None => write!(f, "the Secret {} of the pod's own namespace", self.name),
        }
    }
}

impl KeySource {
    /// Tells the path that people should look at, or the name of what is no file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Directory(path) | Self::SystemdCredential(path) => path,
            #[cfg(feature = "kubernetes")]
            Self::Secret(secret) => Path::new(&secret.name),
        }
    }
}

/// Holds `[listeners.NAME]`: one place where the local API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Addresses; never empty. All share the rest of the settings.
    pub bind: Vec<Bind>,
    /// Names of credentials; never empty, the first is the default.
    pub credentials: Vec<String>,
    /// Who may come in, and with what in the request.
    pub guard: Guard,
    /// Whether other machines may come in.
    pub allow_non_loopback: bool,
    /// Mode, owner and group of unix sockets.
    pub socket: SocketFile,
    /// Connections, deadlines and waits.
    pub limits: Limits,
    /// What is shown on its TCP addresses; `None` speaks plain HTTP there.
    pub tls: Option<Tls>,
    /// How long a request waits for the very first token.
    pub first_token_wait: Duration,
    /// Whether `/v1/token` and its neighbours are served.
    pub serves_token: bool,
    /// Whether `/v1/auth` is served, to reverse proxies.
    pub serves_auth: bool,
    /// How calls on Okta's own paths are forwarded; `None` if they are not served.
    pub proxy: Option<Proxy>,
}

impl Listener {
    /// Tells whether it matters which user a connection is of.
    #[must_use]
    pub const fn tells_users_apart(&self) -> bool {
        !self.guard.allow_uids.is_empty() || self.limits.is_shared_out()
    }

    /// Tells whether the daemon makes a token for its clients, and keeps it in the state directory.
    #[must_use]
    pub const fn keeps_local_token(&self) -> bool {
        self.proxy.is_some() && self.guard.access_token_file.is_none()
    }
}

/// Holds `listeners.NAME.tls`: the PEM files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The chain, the listener's own certificate first.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Holds `[listeners.NAME.proxy]`: which calls are forwarded, and within what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The calls that may pass.
    pub allow: Rules,
    /// Largest body that is held for a second try, in bytes.
    pub replay_body_limit: u64,
    /// Memory of all held bodies together, in bytes.
    pub replay_memory: u64,
    /// Longest time in which no byte moves.
    pub idle_timeout: Duration,
}

/// Names one address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// A unix socket at an absolute path.
    Unix(PathBuf),
    /// A TCP address; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// Whatever the service manager listens on under this name.
    Systemd(String),
}

/// Says which requests a listener lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Host names without port, lower case, that TCP requests may name; `None` lets any through.
    pub allowed_hosts: Option<Vec<String>>,
    /// Whether TCP requests must carry `X-Bearerd: 1`.
    pub require_header: bool,
    /// User ids that may connect; with `allow_gids` empty too: anyone.
    pub allow_uids: Vec<u32>,
    /// Group ids, any of a process's, that may connect to a unix socket.
    pub allow_gids: Vec<u32>,
    /// File with the secret that requests must carry; `None` asks for none.
    pub access_token_file: Option<PathBuf>,
}

/// Says what a unix socket's file looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// Permission bits.
    pub mode: u32,
    /// User id that owns it; `None` leaves it ours.
    pub owner: Option<u32>,
    /// Group id that it belongs to; `None` leaves it ours.
    pub group: Option<u32>,
    /// Whether its directory may be writable by others.
    pub allow_shared_directory: bool,
}

/// Bounds what one listener's clients can use up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, over all addresses of the listener.
    pub max_connections: usize,
    /// Connections at once of one user; 0 is no limit.
    pub max_connections_per_uid: usize,
    /// Requests of one user in a second; 0 is no limit.
    pub max_requests_per_second_per_uid: u32,
    /// Deadline of a request's head, and of a connection that has sent nothing yet.
    pub header_timeout: Duration,
    /// Longest pause between two requests of a connection.
    pub idle_timeout: Duration,
    /// Longest time in which a client takes no byte of an answer.
    pub write_timeout: Duration,
}

impl Limits {
    /// Tells whether one user may take only so much.
    #[must_use]
    pub const fn is_shared_out(&self) -> bool {
        self.max_connections_per_uid > 0 || self.max_requests_per_second_per_uid > 0
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_connections_per_uid: 0,
            max_requests_per_second_per_uid: 0,
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(5),
        }
    }
}

/// Holds `[telemetry]`: where Prometheus and probes come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Address.
    pub bind: Bind,
    /// Host names that requests may name; `None` lets any through.
    pub allowed_hosts: Option<Vec<String>>,
    /// Whether the address is the default, so that a taken port only costs a warning.
    pub is_default: bool,
}

/// Holds `[control]`: where commands of the operator come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Path of the unix socket.
    pub path: PathBuf,
    /// User ids besides ours and root's.
    pub allow_uids: Vec<u32>,
    /// Whether the path is the default, so that one that cannot be used only costs a warning.
    pub is_default: bool,
}

impl Control {
    /// Tells what its socket is like: more users come in by the kernel's word only, behind a file
    /// that lets anyone ask (section 3).
    #[must_use]
    pub const fn socket(&self) -> SocketFile {
        let mode = if self.allow_uids.is_empty() { 0o600 } else { 0o666 };
        SocketFile { mode, owner: None, group: None, allow_shared_directory: false }
    }
}

/// Holds `[sinks.NAME]`: a file that holds the current token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// The file.
    pub path: PathBuf,
    /// What stands in it.
    pub format: Format,
    /// Permission bits.
    pub mode: u32,
    /// User id that owns it; `None` leaves it ours.
    pub owner: Option<u32>,
    /// Group id that it belongs to; `None` leaves it ours.
    pub group: Option<u32>,
    /// Name of the credential whose token it is.
    pub credential: String,
    /// Program and arguments that run after each change.
    pub on_change: Option<Vec<String>>,
    /// Whether its directory may be writable by others.
    pub allow_shared_directory: bool,
}

/// Holds `[process]`: how the process guards itself and stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Whether the process hardens itself at start.
    pub sandbox: Sandbox,
    /// How long a SIGTERM is followed by ordinary service.
    pub linger: Duration,
}

/// Says how much the process insists on its own confinement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// What the kernel gives.
    BestEffort,
    /// All of it, or no start.
    Require,
    /// Nothing.
    Off,
}

/// Holds `[log]`: what is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level or a `tracing` filter.
    pub level: String,
    /// The shape of a line.
    pub format: LogFormat,
}

/// Names the shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}
