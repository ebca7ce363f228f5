//! The brokers: one for each credential, started, changed and stopped with the configuration.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use super::{AppError, Commons, supervise::supervise};
#[cfg(feature = "kubernetes")]
use crate::{
    config::model::KeySource,
    kubernetes::{
        feed::{SecretFeed, SecretNews},
        secret::SecretPlace,
    },
};
use crate::{
    config::{
        Config,
        model::{Credential, Okta},
    },
    key::{ApiKey, KeyFeed, KeyNews, KeyPlace, KeyReading, superseded::Superseded},
    local::credentials::Member,
    okta::{classify::Grant, client::IssuerClient, forwarder::Forwarder},
    outlet::command::{Hook, runner::Runner},
    process::clock::{self, Clock},
    rotator::{
        handle::RotatorHandle,
        task::{self, Neighbours, Seat},
        told,
    },
    token::{
        broker::{BrokerSeat, system_chance},
        cache::Cache,
        handle::{Handle, Refreshed},
        keys::{KeyTrouble, Keys},
        lease::Lease,
        published::Published,
        timing::RefreshSettings,
    },
};

/// Holds the running brokers.
pub(super) struct Fleet {
    commons: Commons,
    runner: Option<Runner>,
    running: BTreeMap<String, Running>,
    /// Ended when no answer to a rotation can be lost any more.
    rotating: Vec<CancellationToken>,
}

struct Running {
    okta: Okta,
    cache: Option<Cache>,
    mints: Arc<IssuerClient>,
    calls: Arc<Forwarder>,
    credential: Credential,
    seat: Arc<BrokerSeat>,
    handle: Handle,
    /// The times of the refresh, for the broker that runs and for those that are yet to start.
    refresh: watch::Sender<RefreshSettings>,
    nudge: Arc<Notify>,
    stop: CancellationToken,
    superseded: Arc<Superseded>,
    rotation: Option<Rotating>,
}

/// The task that looks after a key.
struct Rotating {
    handle: RotatorHandle,
    stop: CancellationToken,
}

/// What a new configuration needs, made before anything is changed.
pub(super) struct Plan(BTreeMap<String, Clients>);

/// The two ways to one issuer.
struct Clients {
    mints: IssuerClient,
    calls: Arc<Forwarder>,
}

impl Fleet {
    pub(super) fn new(commons: Commons, runner: Option<Runner>) -> Self {
        Self { commons, runner, running: BTreeMap::new(), rotating: Vec::new() }
    }

    /// Makes the clients of all credentials that are new or speak to their issuer otherwise.
    pub(super) fn plan(&self, config: &Config) -> Result<Plan, AppError> {
        let mut clients = BTreeMap::new();
        let resting = (self.commons.shares.resting / config.credentials.len().max(1)).max(1);
        for (name, credential) in &config.credentials {
            if !self.is_kept(name, credential, &config.okta) {
                let clock = Arc::clone(&self.commons.clock);
                let mints = IssuerClient::new(&config.okta, credential, clock)?;
                let calls = Arc::new(Forwarder::new(&config.okta, credential, resting)?);
                clients.insert(name.clone(), Clients { mints, calls });
            }
        }
        Ok(Plan(clients))
    }

    fn is_kept(&self, name: &str, credential: &Credential, okta: &Okta) -> bool {
        self.running.get(name).is_some_and(|running| {
            let same = Credential {
                refresh: running.credential.refresh,
                required: running.credential.required,
                rotation: running.credential.rotation.clone(),
                ..credential.clone()
            };
            running.okta == *okta && running.credential == same
        })
    }

    /// Starts, changes and stops brokers; cannot fail.
    pub(super) fn commit(&mut self, plan: Plan, config: &Config) {
        let mut before = std::mem::take(&mut self.running);
        let mut clients = plan.0;
        for (name, credential) in &config.credentials {
            let running = match (before.remove(name), clients.remove(name)) {
                (before, Some(clients)) => {
                    let mut running = self.seated(name, credential, before, config, clients);
                    self.start(&running);
                    self.start_rotation(name, &mut running);
                    running
                }
                (Some(kept), None) => self.tuned(kept, credential),
                // A plan has clients for whatever does not run.
                (None, None) => continue,
            };
            self.running.insert(name.clone(), running);
        }
        for (name, gone) in before {
            gone.end();
            self.commons.metrics.forget_credential(&name);
        }
        self.commons.credentials.replace(self.members());
        self.commons.rotators.store(Arc::new(self.rotators()));
    }

    fn tuned(&mut self, mut kept: Running, credential: &Credential) -> Running {
        if kept.credential.refresh != credential.refresh {
            kept.refresh.send_replace(credential.refresh);
        }
        let is_rotated_as_before = kept.credential.rotation == credential.rotation;
        kept.credential = credential.clone();
        match (&kept.rotation, &kept.credential.rotation) {
            (Some(rotation), Some(settings)) if is_rotated_as_before => {
                rotation.handle.reloaded(task::plan(kept.handle.name(), settings));
            }
            _ => {
                kept.end_rotation();
                let name = kept.handle.name().to_owned();
                self.start_rotation(&name, &mut kept);
            }
        }
        kept
    }

    /// Gives the old seat, and with it the token, to a broker of the same team.
    fn seated(
        &self,
        name: &str,
        credential: &Credential,
        before: Option<Running>,
        config: &Config,
        clients: Clients,
    ) -> Running {
        let inherited = before.and_then(|before| {
            before.end();
            let same = before.credential.team_name == credential.team_name
                && before.credential.base_url == credential.base_url;
            same.then_some((before.seat, before.handle))
        });
        let (seat, handle) = inherited.unwrap_or_else(|| {
            let clock = Arc::clone(&self.commons.clock);
            let (seat, handle) = BrokerSeat::new(name, clock, &self.commons.metrics);
            (Arc::new(seat), handle)
        });
        Running {
            okta: config.okta.clone(),
            cache: cache(name, credential, config),
            mints: Arc::new(clients.mints),
            calls: clients.calls,
            credential: credential.clone(),
            seat,
            handle,
            refresh: watch::Sender::new(credential.refresh),
            nudge: Arc::default(),
            stop: CancellationToken::new(),
            superseded: Arc::default(),
            rotation: None,
        }
    }

    fn start(&self, running: &Running) {
        let (seat, nudge) = (Arc::clone(&running.seat), Arc::clone(&running.nudge));
        let (credential, client) = (running.credential.clone(), Arc::clone(&running.mints));
        let (superseded, cache) = (Arc::clone(&running.superseded), running.cache.clone());
        let clock = Arc::clone(&self.commons.clock);
        let refresh = running.refresh.subscribe();
        let name = format!("broker {}", running.handle.name());
        supervise(&self.commons, name, running.stop.clone(), move || {
            let seat = Arc::clone(&seat);
            let keys = FollowedKey::new(&credential, &nudge, &superseded, seat.name())
                .kept_in(cache.clone(), &clock);
            let (settings, client) = (refresh.clone(), Arc::clone(&client));
            async move { seat.run(settings, client, keys, system_chance()).await }
        });
    }

    /// Starts to look after the key, if it is to be rotated.
    fn start_rotation(&mut self, name: &str, running: &mut Running) {
        let with = running.credential.rotation.as_ref().and_then(|it| it.with.clone());
        let with = with.unwrap_or_else(|| name.to_owned());
        let credentials = Arc::clone(&self.commons.credentials);
        let neighbours = Neighbours {
            issuer: Arc::clone(&running.mints),
            clock: Arc::clone(&self.commons.clock),
            own: running.handle.clone(),
            asking: Arc::new(move || credentials.find(&with).map(|member| member.handle)),
            nudge: Arc::clone(&running.nudge),
            superseded: Arc::clone(&running.superseded),
            on_rotated: self.on_rotated(name, &running.credential),
        };
        let Some((seat, handle)) = Seat::new(name, &running.credential, neighbours) else { return };
        // A stop waits for the answer of Okta; only a task that has ended by itself is cancelled.
        let (seat, stop) = (Arc::new(seat), self.commons.closing.child_token());
        let done = CancellationToken::new();
        self.rotating.retain(|done| !done.is_cancelled());
        self.rotating.push(done.clone());
        running.rotation = Some(Rotating { handle, stop: stop.clone() });
        supervise(&self.commons, format!("rotation {name}"), done.clone(), move || {
            Arc::clone(&seat).run(stop.clone(), done.clone())
        });
    }

    fn on_rotated(&self, name: &str, credential: &Credential) -> Option<Hook> {
        let command = told::command(name, credential)?;
        let runs = self.commons.metrics.command(&command.name);
        Some(Hook::new(command, self.runner.clone()?, runs))
    }

    fn rotators(&self) -> BTreeMap<String, RotatorHandle> {
        let rotations = self.running.iter();
        let handle = |running: &Running| running.rotation.as_ref().map(|it| it.handle.clone());
        rotations.filter_map(|(name, running)| Some((name.clone(), handle(running)?))).collect()
    }

    /// Waits until no answer to a rotation can be lost any more; stopped they have to be before.
    pub(super) async fn rotated(&self) {
        for done in &self.rotating {
            done.cancelled().await;
        }
    }

    fn members(&self) -> BTreeMap<String, Member> {
        let member = |(name, running): (&String, &Running)| {
            let member = Member {
                handle: running.handle.clone(),
                team_name: running.credential.team_name.clone(),
                required: running.credential.required,
                forwarder: Arc::clone(&running.calls),
            };
            (name.clone(), member)
        };
        self.running.iter().map(member).collect()
    }

    /// Lets every broker look at its key and at both clocks.
    pub(super) fn look_around(&self) {
        for running in self.running.values() {
            running.nudge.notify_one();
            // Looking is what finds the clocks apart.
            let _token = running.handle.current();
        }
    }

    /// Mints for every credential, because an operator says so.
    pub(super) fn refresh(&self) {
        for running in self.running.values() {
            let handle = running.handle.clone();
            self.commons.tasks.spawn(async move {
                if let Refreshed::Throttled(_) = handle.refresh().await {
                    tracing::info!(credential = handle.name(), "refreshed a moment ago already");
                }
            });
        }
    }

    pub(super) fn stop(&self) {
        for running in self.running.values() {
            running.stop.cancel();
        }
    }
}

impl Running {
    /// Lets the broker go; a rotation that is under way comes to a safe place first.
    fn end(&self) {
        self.stop.cancel();
        self.end_rotation();
    }

    fn end_rotation(&self) {
        self.rotation.iter().for_each(|rotation| rotation.stop.cancel());
    }
}

/// The key feed of a credential, as its broker wants it.
struct FollowedKey {
    feed: AnyFeed,
    nudge: Arc<Notify>,
    credential: String,
    latest: Option<Arc<ApiKey>>,
    superseded: Arc<Superseded>,
    /// Where tokens outlive us, and what says how long.
    cache: Option<(Cache, Arc<dyn Clock>)>,
    recalled: Option<(Grant, Lease)>,
}

/// News about a key, from wherever it lies.
enum AnyNews {
    Changed(ApiKey),
    Recovered,
    Broken(KeyTrouble),
}

/// Follows a key, wherever it lies.
enum AnyFeed {
    Files(Box<KeyFeed>),
    #[cfg(feature = "kubernetes")]
    Secret(Box<SecretFeed>),
}

impl AnyFeed {
    fn new(credential: &Credential, nudge: &Arc<Notify>) -> Self {
        #[cfg(feature = "kubernetes")]
        if let KeySource::Secret(name) = &credential.key {
            let place = SecretPlace::new(name.clone());
            return Self::Secret(Box::new(SecretFeed::new(place, Arc::clone(nudge))));
        }
        let place = KeyPlace {
            source: credential.key.clone(),
            allow_group_readable: credential.allow_group_readable_key,
        };
        Self::Files(Box::new(KeyFeed::new(place, Arc::clone(nudge))))
    }

    /// Waits for news; `credential` is named where a file is odd.
    async fn next(&mut self, credential: &str) -> AnyNews {
        match self {
            Self::Files(feed) => match feed.next().await {
                KeyNews::Changed(KeyReading { key, warnings }) => {
                    for warning in warnings {
                        tracing::warn!(credential, %warning, "look at the key file");
                    }
                    AnyNews::Changed(key)
                }
                KeyNews::Recovered => AnyNews::Recovered,
                KeyNews::Broken(error) => AnyNews::broken(error.label(), &error),
            },
            #[cfg(feature = "kubernetes")]
            Self::Secret(feed) => match feed.next().await {
                SecretNews::Changed(key) => AnyNews::Changed(key),
                SecretNews::Recovered => AnyNews::Recovered,
                SecretNews::Broken(error) => AnyNews::broken(error.label(), &error),
            },
        }
    }
}

impl AnyNews {
    fn broken(label: &'static str, error: &impl ToString) -> Self {
        Self::Broken(KeyTrouble { label, sentence: error.to_string() })
    }
}

impl FollowedKey {
    fn new(
        credential: &Credential,
        nudge: &Arc<Notify>,
        superseded: &Arc<Superseded>,
        name: &str,
    ) -> Self {
        Self {
            feed: AnyFeed::new(credential, nudge),
            nudge: Arc::clone(nudge),
            credential: name.to_owned(),
            latest: None,
            superseded: Arc::clone(superseded),
            cache: None,
            recalled: None,
        }
    }

    /// Lets tokens be kept.
    fn kept_in(self, cache: Option<Cache>, clock: &Arc<dyn Clock>) -> Self {
        Self { cache: cache.map(|cache| (cache, Arc::clone(clock))), ..self }
    }

    /// Looks for a token that the first key has made for an earlier process.
    async fn look_for_kept(&mut self, key: &Arc<ApiKey>) {
        let Some((cache, clock)) = self.cache.clone().filter(|_| self.latest.is_none()) else {
            return;
        };
        let key = Arc::clone(key);
        let recall = move || cache.recall(&key, clock.tick(), clock.wall());
        match spawn_blocking(recall).await {
            Ok(Ok(recalled)) => self.recalled = recalled,
            Ok(Err(error)) => {
                tracing::warn!(credential = self.credential, problem = %error, "no token is recalled");
            }
            // It has broken off, which was logged.
            Err(_) => {}
        }
    }

    /// Tells an old file that has come back while a newer key is in use (fault 94).
    fn is_stale(&self, key: &ApiKey) -> bool {
        self.superseded.contains(key.id())
            && self.latest.as_ref().is_some_and(|latest| !self.superseded.contains(latest.id()))
    }
}

impl Keys for FollowedKey {
    async fn next(&mut self) -> Result<Arc<ApiKey>, KeyTrouble> {
        loop {
            match self.feed.next(&self.credential).await {
                AnyNews::Changed(key) => {
                    if self.is_stale(&key) {
                        return Err(stale(&key));
                    }
                    let key = Arc::new(key);
                    self.look_for_kept(&key).await;
                    self.latest = Some(Arc::clone(&key));
                    return Ok(key);
                }
                AnyNews::Recovered => {
                    if let Some(key) = &self.latest {
                        return Ok(Arc::clone(key));
                    }
                }
                AnyNews::Broken(trouble) => return Err(trouble),
            }
        }
    }

    fn look_again(&mut self) {
        self.nudge.notify_one();
    }

    fn keep(&mut self, key: &Arc<ApiKey>, published: &Arc<Published>) {
        let Some((cache, _)) = self.cache.clone() else { return };
        let (key, published) = (Arc::clone(key), Arc::clone(published));
        let credential = self.credential.clone();
        drop(spawn_blocking(move || {
            if let Err(error) = cache.keep(&key, &published) {
                tracing::warn!(credential, problem = %error, "the token is not kept");
            }
        }));
    }

    fn recall(&mut self) -> Option<(Grant, Lease)> {
        self.recalled.take()
    }
}

/// Names the place where the tokens of a credential are kept, if they are.
fn cache(name: &str, credential: &Credential, config: &Config) -> Option<Cache> {
    let state_dir = config.state_dir.as_ref().filter(|_| config.cache_token)?;
    let issuer = credential.base_url.as_str();
    Some(Cache::new(state_dir, name, issuer, &credential.team_name, &clock::boot_id()?))
}

fn stale(key: &ApiKey) -> KeyTrouble {
    let id = key.id();
    let sentence = format!(
        "the key file holds key {id}, which was rotated away: something has put an old file back. \
         The newer key stays in use, and is lost when the daemon ends: find out what it was, and \
         run 'bearerd keys rotate'"
    );
    KeyTrouble { label: "superseded", sentence }
}
