//! What a configuration needs of the machine: the sandbox is cut to it.

use std::{os::unix::fs::MetadataExt, path::Path, sync::Arc};

use super::AppError;
#[cfg(feature = "kubernetes")]
use crate::kubernetes;
use crate::{
    config::{
        Config, Sources,
        model::{Bind, Credential, KeySource, Listener, Okta, Sandbox, Sink},
    },
    outlet::command::{Command, runner::Started},
    process::{
        notify,
        path_error::our_uid,
        sandbox::{self, Held, Reach},
        tcp_owner::TcpOwners,
        trusted_dir::TrustedDir,
    },
    rotator::told,
};

/// Where the C library finds names of hosts, users and groups, and its own parts; where we count
/// what we use.
const SYSTEM: [&str; 8] =
    ["/etc", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/var/lib/sss", "/dev/urandom", "/proc"];

/// Files of the system that often lie elsewhere, behind a link.
const LINKED: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group"];

/// Port of name servers: an answer too long for a datagram is fetched by TCP.
const DOMAIN: u16 = 53;
/// Ports below are root's to give.
const LOW_PORTS: u16 = 1024;

/// The sandbox that this process is in, for life.
#[derive(Clone, Default)]
pub struct Confinement {
    reach: Reach,
    held: Held,
    /// Asked for the first time from outside, as that takes a connection to ourselves.
    pub(super) owners: Arc<TcpOwners>,
    /// What runs commands, if there are any.
    pub(super) helper: Option<Arc<Started>>,
}

impl Confinement {
    /// Confines the process as `process.sandbox` says; call it while there is one thread.
    ///
    /// # Errors
    ///
    /// Fails where the configuration insists and the kernel cannot.
    pub fn enter(config: &Config, sources: &Sources) -> Result<Self, AppError> {
        let helper = start_helper(config)?;
        if config.process.sandbox == Sandbox::Off {
            return Ok(Self { helper, ..Self::default() });
        }
        make_places(config);
        let owners = Arc::new(TcpOwners::default());
        if config.listeners.values().any(has_tcp) {
            // Whether it matters that they are not told is said later.
            owners.try_out().ok();
        }
        let reach = reach_of(config, sources);
        let held = sandbox::enter(&reach);
        match held.missing() {
            Some(missing) if config.process.sandbox == Sandbox::Require => {
                Err(AppError::NoSandbox(missing))
            }
            _ => Ok(Self { reach, held, owners, helper }),
        }
    }

    fn knows(&self, command: &Command) -> bool {
        self.helper.as_ref().is_some_and(|helper| helper.knows(command))
    }

    /// Says in the log what holds.
    pub(super) fn tell(&self, config: &Config) {
        match (config.process.sandbox, self.held.missing()) {
            (Sandbox::Off, _) => tracing::warn!("process.sandbox is off: nothing confines us"),
            (_, None) => tracing::info!(held = %self.held, "confined"),
            (_, Some(missing)) => {
                tracing::warn!(held = %self.held, missing, "confined as far as the kernel can");
            }
        }
    }

    /// Looks whether another configuration could be served from in here.
    pub(super) fn check(&self, config: &Config, sources: &Sources) -> Result<(), AppError> {
        if let Some(unknown) = commands_of(config).iter().find(|command| !self.knows(command)) {
            return Err(AppError::NeedsRestart(unknown.name.clone()));
        }
        match self.reach.lacks(&reach_of(config, sources), self.held) {
            None => Ok(()),
            Some(what) => {
                Err(AppError::NeedsRestart(format!("the sandbox keeps {what} out of reach")))
            }
        }
    }
}

fn has_tcp(listener: &Listener) -> bool {
    listener.bind.iter().any(|bind| matches!(bind, Bind::Tcp(_)))
}

/// Lists every command of a configuration.
fn commands_of(config: &Config) -> Vec<Command> {
    let on_change = config.sinks.iter().filter_map(|(name, sink)| on_change(name, sink));
    let on_rotated = config.credentials.iter().filter_map(|(name, it)| told::command(name, it));
    on_change.chain(on_rotated).collect()
}

/// Names the command of a sink as people know it.
pub(super) fn on_change(name: &str, sink: &Sink) -> Option<Command> {
    let words = sink.on_change.clone()?;
    Some(Command { name: format!("sinks.{name}.on_change"), words })
}

/// Starts what runs commands, if there are any: once in here nothing can be executed.
fn start_helper(config: &Config) -> Result<Option<Arc<Started>>, AppError> {
    let commands = commands_of(config);
    if commands.is_empty() {
        return Ok(None);
    }
    let started = Started::new(commands).map_err(|error| AppError::Helper(error.kind()))?;
    Ok(Some(Arc::new(started)))
}

/// Makes the directories of sockets and sinks, which may be anywhere, while anywhere can be reached.
///
/// Whoever writes there then finds out what is wrong with them.
fn make_places(config: &Config) {
    for listener in config.listeners.values() {
        for bind in &listener.bind {
            if let Bind::Unix(path) = bind {
                make_place(path, listener.socket.allow_shared_directory);
            }
        }
    }
    for sink in config.sinks.values() {
        make_place(&sink.path, sink.allow_shared_directory);
    }
    if let Some(control) = &config.control {
        make_place(&control.path, false);
    }
}

fn make_place(file: &Path, shared: bool) {
    if let Some(directory) = file.parent() {
        let _made = TrustedDir::open_or_make(directory, shared);
    }
}

fn reach_of(config: &Config, sources: &Sources) -> Reach {
    let mut reach = Reach { abstract_sockets: notify::is_abstract(), ..Reach::default() };
    reach_system(&mut reach);
    let files = if sources.files.is_empty() {
        std::slice::from_ref(&sources.fallback_file)
    } else {
        &*sources.files
    };
    files.iter().for_each(|file| read_file(&mut reach, file));
    reach_issuer(&mut reach, &config.okta);
    config.credentials.values().for_each(|credential| reach_credential(&mut reach, credential));
    config.listeners.values().for_each(|listener| reach_listener(&mut reach, config, listener));
    reach_bind(&mut reach, &config.telemetry.bind);
    reach_cache(&mut reach, config);
    if let Some(control) = &config.control {
        write_beside(&mut reach, &control.path);
    }
    for sink in config.sinks.values() {
        write_beside(&mut reach, &sink.path);
        if sink.owner.is_some() || sink.group.is_some() {
            reach.powers.keep_giving_away();
        }
    }
    reach
}

fn reach_system(reach: &mut Reach) {
    for place in SYSTEM.map(Path::new).into_iter().filter(|place| place.exists()) {
        reach.read_below(place);
    }
    for file in LINKED.map(Path::new).into_iter().filter(|file| file.exists()) {
        read_file(reach, file);
    }
    reach.connect.insert(DOMAIN);
}

fn reach_issuer(reach: &mut Reach, okta: &Okta) {
    for file in okta.ca_file.iter().chain(&okta.proxy_auth_file) {
        read_file(reach, file);
    }
    reach.connect.extend(okta.proxy.as_ref().and_then(reqwest::Url::port_or_known_default));
}

fn reach_credential(reach: &mut Reach, credential: &Credential) {
    reach.connect.extend(credential.base_url.port_or_known_default());
    match &credential.key {
        // A key may come later than we do.
        KeySource::Directory(directory) => reach.read_below(directory),
        KeySource::File(file) | KeySource::SystemdCredential(file) => {
            read_file(reach, file);
            file.parent().into_iter().for_each(|directory| reach.read_below(directory));
        }
        #[cfg(feature = "kubernetes")]
        KeySource::Secret(_) => {
            // The kubelet renews the token there, behind links.
            reach.read_below(kubernetes::client::account());
            reach.connect.extend(kubernetes::client::port());
        }
    }
    credential.rotated_file().into_iter().for_each(|file| reach_rotated(reach, file));
}

/// Reaches the place where tokens are kept, if they are.
fn reach_cache(reach: &mut Reach, config: &Config) {
    let kept = config.state_dir.as_ref().filter(|state| config.cache_token && state.is_dir());
    kept.into_iter().for_each(|state| reach.write_below(state));
}

/// Reaches the directory in which a key is replaced, and the power to leave it to whom it belongs.
fn reach_rotated(reach: &mut Reach, file: &Path) {
    let real = file.canonicalize();
    write_beside(reach, real.as_deref().unwrap_or(file));
    let ours = (our_uid(), rustix::process::getegid().as_raw());
    if real.and_then(|file| file.metadata()).is_ok_and(|it| (it.uid(), it.gid()) != ours) {
        reach.powers.keep_giving_away();
    }
}

fn reach_listener(reach: &mut Reach, config: &Config, listener: &Listener) {
    listener.bind.iter().for_each(|bind| reach_bind(reach, bind));
    if listener.socket.owner.is_some() || listener.socket.group.is_some() {
        reach.powers.keep_giving_away();
    }
    if let Some(tls) = &listener.tls {
        read_file(reach, &tls.cert_file);
        read_file(reach, &tls.key_file);
    }
    // Either may have to be made.
    match (&listener.guard.access_token_file, &config.state_dir) {
        (Some(file), _) => write_beside(reach, file),
        (None, Some(state)) if listener.proxy.is_some() && state.is_dir() => {
            reach.write_below(state);
        }
        _ => {}
    }
}

fn reach_bind(reach: &mut Reach, bind: &Bind) {
    match bind {
        Bind::Systemd(_) => {}
        Bind::Unix(path) => write_beside(reach, path),
        Bind::Tcp(address) => {
            let port = address.port();
            reach.bind.insert(port);
            if (1..LOW_PORTS).contains(&port) {
                reach.powers.keep_low_ports();
            }
        }
    }
}

/// Reaches a file and its successors: those at its own place, and those where it leads to by links.
fn read_file(reach: &mut Reach, file: &Path) {
    let real = file.canonicalize().ok();
    let directories = [Some(file), real.as_deref()].into_iter().flatten().filter_map(Path::parent);
    directories.filter(|it| it.is_dir()).for_each(|directory| reach.read_below(directory));
}

/// Reaches the directory that a file is made in, if there is one: never what is above.
fn write_beside(reach: &mut Reach, file: &Path) {
    if let Some(directory) = file.parent().filter(|directory| directory.is_dir()) {
        reach.write_below(directory);
    }
}
