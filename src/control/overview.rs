//! How the daemon stands: gathered for whoever asks, on the control socket or on the status page.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::{
    history::{Counts, History},
    page,
    status::{self, Credential, LastError, Listener, RefusedReload, State, Status},
};
use crate::{
    local::{
        credentials::{Credentials, Member},
        routes::LocalApi,
        server::Server,
        telemetry::Page,
    },
    outlet::sink::{self, Sink},
    process::clock::Clock,
    rotator::handle::{Rotators, View},
    token::{state::Failing, timing::Tick},
};

/// The listeners that are open now.
pub type Roster = ArcSwap<Vec<Open>>;

/// Names one open listener.
#[derive(Clone)]
pub struct Open {
    /// Its name in the configuration.
    pub name: String,
    /// Its addresses as they were bound.
    pub addresses: Vec<String>,
    /// What serves there.
    pub server: Arc<Server<LocalApi>>,
}

/// Sees everything that people are shown.
pub struct Overview {
    credentials: Arc<Credentials>,
    roster: Arc<Roster>,
    sinks: Arc<sink::Roster>,
    rotators: Arc<Rotators>,
    clock: Arc<dyn Clock>,
    started: Tick,
    refused_reload: ArcSwapOption<RefusedReload>,
    history: Mutex<History>,
}

impl Overview {
    /// Begins to look; the daemon starts now.
    #[must_use]
    pub fn new(
        credentials: Arc<Credentials>,
        roster: Arc<Roster>,
        sinks: Arc<sink::Roster>,
        rotators: Arc<Rotators>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let started = clock.tick();
        let (refused_reload, history) = (ArcSwapOption::empty(), Mutex::default());
        Self { credentials, roster, sinks, rotators, clock, started, refused_reload, history }
    }

    /// Takes note of how a reload went: why it was refused, if it was.
    pub fn note_reload(&self, refused: Option<String>) {
        let at = self.clock.wall().to_string();
        let refused = refused.map(|problem| Arc::new(RefusedReload { at, problem }));
        self.refused_reload.store(refused);
    }

    /// Counts what has happened; to be called now and then.
    pub fn look(&self) {
        self.look_at(&self.status());
    }

    /// Tells how everything stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime: self.clock.tick().since(self.started).as_secs(),
            ready: self.credentials.are_ready(),
            refused_reload: self.refused_reload.load().as_deref().cloned(),
            credentials: self.credentials.all().values().map(|it| self.credential(it)).collect(),
            listeners: self.roster.load().iter().map(listener).collect(),
            sinks: self.sinks.all().iter().map(|sink| told(sink)).collect(),
        }
    }

    fn credential(&self, member: &Member) -> Credential {
        let rotator = self.rotators.load().get(member.handle.name()).cloned();
        let view = rotator.map(|rotator| rotator.view()).unwrap_or_default();
        credential(member, &view)
    }

    fn look_at(&self, status: &Status) {
        let totals = Counts {
            requests: status.listeners.iter().map(|listener| listener.requests).sum(),
            refreshes: status.credentials.iter().map(|credential| credential.refreshes).sum(),
            failures: status.credentials.iter().map(|credential| credential.failures).sum(),
        };
        let minute = self.clock.tick().since_boot().as_secs() / 60;
        self.history().look(minute, totals);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page for Overview {
    fn html(&self) -> String {
        let status = self.status();
        self.look_at(&status);
        let minutes = self.history().minutes();
        page::draw(&status, &minutes, self.clock.wall())
    }
}

fn credential(member: &Member, rotation: &View) -> Credential {
    let handle = &member.handle;
    let (tick, wall) = handle.now();
    let state = handle.state();
    let current = handle.current();
    let published = current.as_ref().map(|(published, _)| published);
    let (left, lifetime) = (
        current.as_ref().map(|(_, left)| left.as_secs()),
        published.map(|published| published.lease().lifetime().as_secs()),
    );
    let (refreshes, failures) = handle.metrics().refreshes();
    Credential {
        name: handle.name().to_owned(),
        team_name: member.team_name.clone(),
        required: member.required,
        state: match (&current, &state.failing, &state.key_id) {
            (Some(_), None, _) => State::Valid,
            (Some(_), Some(_), _) => State::Failing,
            (None, _, Some(_)) => State::NoToken,
            (None, _, None) => State::NoKey,
        },
        token_id: published.map(|published| published.token_id().to_owned()),
        token_age: published.map(|p| tick.since(p.lease().issued).as_secs()),
        expires_at: published.map(|published| published.expires_at().to_string()),
        expires_in: left,
        lifetime,
        next_refresh_in: state.next_refresh.map(|next| next.since(tick).as_secs()),
        refreshes,
        failures,
        key_age: state.key_id.as_ref().map(|_| wall.since(state.key_since).as_secs()),
        key_id: state.key_id.clone(),
        candidate_key_id: state.candidate_key_id.clone(),
        candidate_error: state.candidate_failing.map(|failing| last_error(&failing)),
        key_trouble: state.key_trouble.clone(),
        key_expires_at: rotation.key_ends.map(|ends| ends.to_string()),
        next_rotation_in: rotation.next.map(|next| next.since(wall).as_secs()),
        rotation_trouble: rotation.trouble.clone(),
        last_error: state.failing.map(|failing| last_error(&failing)),
    }
}

fn last_error(failing: &Failing) -> LastError {
    LastError {
        reason: failing.error.reason.label().to_owned(),
        problem: failing.error.to_string(),
        at: failing.at.to_string(),
        times: failing.times,
    }
}

fn listener(open: &Open) -> Listener {
    let metrics = open.server.metrics();
    Listener {
        name: open.name.clone(),
        addresses: open.addresses.clone(),
        connections: u64::try_from(metrics.connections.get()).unwrap_or(0),
        requests: metrics.requests(),
        denied: metrics.denied(),
    }
}

fn told(sink: &Sink) -> status::Sink {
    let (good, reason) = sink.report();
    let path = sink.path().display().to_string();
    status::Sink { name: sink.name().to_owned(), path, good, reason }
}
