//! `bearerd dev`: an emulated issuer and a daemon, with nothing to set up.

mod authority;

use std::{
    fmt::Display,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use ring::rand::{SecureRandom, SystemRandom};

use self::authority::Loopback;
use super::{
    exit::Exit,
    run::{catch_signals, ended, signals},
    settings::Settings,
    terminal,
};
use crate::{
    app::{self, Bound, Confinement},
    emulator::{Emulator, Options},
    telemetry::logs,
};

/// Name of the file with the authority that clients are to trust.
const AUTHORITY: &str = "ca.pem";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Life of the emulated tokens
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    lifetime: Duration,
    /// What the daemon logs: a level or a tracing filter
    #[arg(long, default_value = "info")]
    log_level: String,
    /// Serve https, with a certificate made for this run
    #[arg(long)]
    tls: bool,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let signals = signals(catch_signals()?)?;
    let home = Home::make()?;
    let options = Options {
        key_file: Some(home.path("key.json")),
        lifetime: args.lifetime,
        ..Options::default()
    };
    let emulator = Emulator::start(options).await.map_err(|e| Exit::failed(e.to_string()))?;
    let port = free_port().map_err(|_| Exit::failed("no port of 127.0.0.1 is free"))?;
    let mut configuration = configuration(&home, &emulator.base_url(), &args.log_level, port);
    if args.tls {
        configuration.push_str(&certified(&home)?);
    }
    let settings = Settings::of(home.write("bearerd.toml", &configuration)?);
    let loaded = settings.load()?;
    let logs = logs::start(&loaded.config.log);
    // The issuer lives in the same process, and is no part of what is deployed.
    let bound = app::build(settings.sources(), loaded, logs, Confinement::default())?;
    terminal::say(&introduction(&home, &emulator.base_url(), &bound, args.tls))?;
    let end = bound.serve(signals).await;
    emulator.stop().await;
    ended(end)
}

/// Finds a port that stands in the configuration, so that other commands read it there.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Makes certificates for the web listener; tells what configures them.
fn certified(home: &Home) -> Result<String, Exit> {
    let made = Loopback::make();
    let made = made.map_err(|_| Exit::failed("no certificate could be made"))?;
    home.write(AUTHORITY, &made.authority)?;
    let chain = home.write("tls.crt", &made.chain)?;
    let key = home.write("tls.key", &made.key)?;
    let [chain, key] = [quoted(&chain.display()), quoted(&key.display())];
    Ok(format!("\n[listeners.web.tls]\ncert_file = {chain}\nkey_file = {key}\n"))
}

/// A JSON string is a TOML string, too.
fn quoted(text: &dyn Display) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}

fn configuration(home: &Home, issuer: &str, log_level: &str, port: u16) -> String {
    let unix = |name: &str| quoted(&format!("unix:{}", home.path(name).display()));
    let [issuer, level, state] = [quoted(&issuer), quoted(&log_level), quoted(&home.0.display())];
    let key = quoted(&home.path("key.json").display());
    let [socket, control] = [unix("bearerd.sock"), unix("control.sock")];
    format!(
        r#"[okta]
base_url = {issuer}

[credentials.default]
team_name = "acme"
key_file = {key}

[listeners.apps]
bind = {socket}

[listeners.web]
bind = "tcp:127.0.0.1:{port}"
serve = ["token", "proxy"]

[telemetry]
bind = "tcp:127.0.0.1:0"

[control]
bind = {control}

[state]
dir = {state}

[process]
sandbox = "off"

[log]
level = {level}
"#
    )
}

fn introduction(home: &Home, issuer: &str, bound: &Bound, tls: bool) -> String {
    let addresses = bound.addresses();
    let of = |wanted: &str| {
        let found = addresses.iter().find(|(name, _)| name == wanted);
        let address = found.and_then(|(_, address)| address.split_once(':'));
        address.map_or("", |(_, address)| address)
    };
    let (socket, web, telemetry) = (of("apps"), of("web"), of("telemetry"));
    let program = std::env::args().next().unwrap_or_else(|| "bearerd".to_owned());
    let config = home.path("bearerd.toml");
    let config = config.display();
    let authority = home.path(AUTHORITY);
    let authority = authority.display();
    let (curl, trust) = match tls {
        true => (format!("curl --cacert {authority}"), how_to_trust(&authority)),
        false => ("curl".to_owned(), String::new()),
    };
    let scheme = if tls { "https" } else { "http" };
    format!(
        "A token is served here; paste a line into another terminal:

  {curl} -H 'X-Bearerd: 1' {scheme}://{web}/v1/token
  curl --unix-socket {socket} http://localhost/v1/token
{trust}
The same daemon, with this program:

  {program} token --config {config}
  {program} status --config {config}
  {program} refresh --config {config}
  {program} users list --config {config}
  {program} exec --okta --config {config} -- env

for Okta clients {scheme}://{web}  (in place of Okta's address; team acme, any well-formed key)
metrics          http://{telemetry}/metrics
emulated issuer  {issuer}  (faults: {issuer}/_emulator/)
configuration    {config}

Ctrl-C ends it and takes its files away.
"
    )
}

fn how_to_trust(authority: &dyn Display) -> String {
    format!(
        "
Other programs trust the certificate by one of these:

  Python  export REQUESTS_CA_BUNDLE={authority} SSL_CERT_FILE={authority}
  Node    export NODE_EXTRA_CA_CERTS={authority}
  Go      export SSL_CERT_FILE={authority}
"
    )
}

/// A directory of our own that goes when we go.
struct Home(PathBuf);

impl Home {
    fn make() -> Result<Self, Exit> {
        let mut bytes = [0; 8];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Exit::failed("no randomness"))?;
        let name = format!("bearerd-dev-{:016x}", u64::from_ne_bytes(bytes));
        let path = std::env::temp_dir().join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| refused(&path, &error))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Exit> {
        let path = self.path(name);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| refused(&path, &error))?;
        Ok(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be removed lies below the directory for temporary files.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn refused(path: &Path, error: &std::io::Error) -> Exit {
    Exit::failed(format!("{} cannot be written: {}", path.display(), error.kind()))
}
