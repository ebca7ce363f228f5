//! Composition: the only room that knows everybody.
//!
//! [`build`] takes every address and starts every broker, or does nothing; [`Bound::serve`] then
//! runs until somebody says stop.

mod access;
mod certificates;
mod confine;
mod doors;
mod fleet;
mod life;
mod once;
mod sinks;
mod supervise;

use std::sync::{Arc, Mutex};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    confine::Confinement,
    life::End,
    once::{Failure, Unminted, once},
};
use self::{doors::Doors, fleet::Fleet, sinks::Sinks};
use crate::{
    config::{self, Config, Findings, Loaded, Sources},
    local::{
        access_token::AccessTokenError, bind::BindError, credentials::Credentials, tls::TlsError,
    },
    okta::transport::TransportError,
    outlet::{
        command::runner::Runner,
        sink::{Roster, SinkError},
    },
    process::{
        activation::{Handed, WrongEnvironment},
        clock::{Clock, SystemClock},
        shares::Shares,
        tcp_owner::TcpOwners,
    },
    rotator::handle::Rotators,
    telemetry::{logs::Logs, metrics::Metrics},
};

/// Tells why the daemon cannot start, or cannot take a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] Findings),
    /// A file of `[okta]` cannot be used.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// The access token of a listener can be neither read nor made.
    #[error("{0}")]
    AccessToken(#[from] AccessTokenError),
    /// The certificate of the named listener cannot be shown.
    #[error("`listeners.{0}.tls`: {1}")]
    Tls(String, TlsError),
    /// An address cannot be taken.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// What the service manager hands over makes no sense.
    #[error("{0}")]
    Activation(#[from] WrongEnvironment),
    /// A sink cannot be written.
    #[error("{0}")]
    Sink(#[from] SinkError),
    /// Commands are configured, and what runs them cannot be started.
    #[error("the helper that runs commands cannot be started: {0}")]
    Helper(std::io::ErrorKind),
    /// The kernel cannot confine the process as the configuration insists.
    #[error(
        "`process.sandbox` is \"require\", and this kernel has no {0}: enable that, or set it to \
         \"best-effort\""
    )]
    NoSandbox(&'static str),
    /// A setting cannot be changed while the daemon runs.
    #[error("needs a restart: {0}")]
    NeedsRestart(String),
}

/// What everybody in the process shares.
#[derive(Clone)]
pub(crate) struct Commons {
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    credentials: Arc<Credentials>,
    sinks: Arc<Roster>,
    rotators: Arc<Rotators>,
    owners: Arc<TcpOwners>,
    shares: Shares,
    /// What accepts; a stop waits for that first.
    open: TaskTracker,
    /// Connections; a stop waits for them.
    visits: TaskTracker,
    /// All other tasks.
    tasks: TaskTracker,
    /// Somebody has asked for a stop otherwise than by a signal.
    quit: CancellationToken,
    /// New connections are no longer taken, waits end.
    closing: CancellationToken,
    /// A task has failed beyond repair.
    failed: CancellationToken,
}

/// A daemon whose addresses are all taken and whose brokers run.
pub struct Bound {
    commons: Commons,
    sources: Sources,
    config: Config,
    logs: Arc<Mutex<Logs>>,
    fleet: Fleet,
    doors: Doors,
    sinks: Sinks,
    confinement: Confinement,
}

/// Takes every address and starts every broker, from within what the process is confined to.
///
/// # Errors
///
/// Fails, and leaves nothing behind, when one of them cannot be had.
pub fn build(
    sources: Sources,
    loaded: Loaded,
    logs: Logs,
    confinement: Confinement,
) -> Result<Bound, AppError> {
    confinement.tell(&loaded.config);
    for warning in &loaded.warnings {
        tracing::warn!(finding = %warning, "the configuration should be looked at");
    }
    let config = loaded.config;
    let commons = Commons::new(Arc::clone(&confinement.owners));
    let logs = Arc::new(Mutex::new(logs));
    let runner = commons.runner(&confinement)?;
    let mut fleet = Fleet::new(commons.clone(), runner.clone());
    let plan = fleet.plan(&config)?;
    let mut doors = Doors::new(commons.clone(), Arc::clone(&logs), Handed::take()?);
    let mut sinks = Sinks::new(commons.clone(), runner);
    sinks.plan(&config)?;
    doors.open_house(&config)?;
    let opening = doors.plan(&config)?;
    fleet.commit(plan, &config);
    doors.commit(opening, &config);
    sinks.commit(&config);
    commons.metrics.set_configured(commons.clock.wall());
    Ok(Bound { commons, sources, config, logs, fleet, doors, sinks, confinement })
}

impl Commons {
    fn new(owners: Arc<TcpOwners>) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            metrics: Metrics::new(),
            credentials: Arc::default(),
            sinks: Arc::default(),
            owners,
            rotators: Arc::default(),
            shares: Shares::of_process(),
            open: TaskTracker::new(),
            visits: TaskTracker::new(),
            tasks: TaskTracker::new(),
            quit: CancellationToken::new(),
            closing: CancellationToken::new(),
            failed: CancellationToken::new(),
        }
    }
}

impl Commons {
    /// Takes up the line to what runs commands, if there are any.
    fn runner(&self, confinement: &Confinement) -> Result<Option<Runner>, AppError> {
        let Some(helper) = &confinement.helper else {
            return Ok(None);
        };
        let made = Runner::new(helper).map_err(|error| AppError::Helper(error.kind()))?;
        let (runner, carried) = made;
        self.tasks.spawn(self.closing.clone().run_until_cancelled_owned(carried));
        Ok(Some(runner))
    }
}

impl Bound {
    /// Tells every address with the name of its listener, as bound.
    #[must_use]
    pub fn addresses(&self) -> Vec<(String, String)> {
        self.doors.addresses()
    }

    /// Stops the daemon when `done` is.
    pub fn stop_after(&self, done: impl Future<Output = ()> + Send + 'static) {
        let quit = self.commons.quit.clone();
        let stop = async move {
            done.await;
            quit.cancel();
        };
        self.commons.tasks.spawn(self.commons.closing.clone().run_until_cancelled_owned(stop));
    }

    /// Takes a new configuration as a whole, or leaves everything as it is.
    fn reload(&mut self) -> Result<(), AppError> {
        let loaded = config::load(&self.sources)?;
        let config = loaded.config;
        if let Some(setting) = fixed_setting(&self.config, &config) {
            return Err(AppError::NeedsRestart(setting.to_owned()));
        }
        self.confinement.check(&config, &self.sources)?;
        let plan = self.fleet.plan(&config)?;
        let opening = self.doors.plan(&config)?;
        self.sinks.plan(&config)?;
        self.fleet.commit(plan, &config);
        self.doors.commit(opening, &config);
        self.sinks.commit(&config);
        let logs = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        logs.set_level(&config.log.level);
        drop(logs);
        self.config = config;
        for warning in &loaded.warnings {
            tracing::warn!(finding = %warning, "the configuration should be looked at");
        }
        Ok(())
    }
}

/// Names the first setting that differs and is only looked at when the process starts.
fn fixed_setting(old: &Config, new: &Config) -> Option<&'static str> {
    let differs = [
        ("telemetry", old.telemetry != new.telemetry),
        ("control", old.control != new.control),
        ("process.sandbox", old.process.sandbox != new.process.sandbox),
        ("log.format", old.log.format != new.log.format),
        ("state.dir", old.state_dir != new.state_dir),
        ("state.cache_token", old.cache_token != new.cache_token),
    ];
    differs.into_iter().find_map(|(name, differs)| differs.then_some(name))
}
