//! The brokers: one for each credential, started, changed and stopped with the configuration.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{AppError, Commons, supervise::supervise};
use crate::{
    config::{
        Config,
        model::{Credential, Okta},
    },
    key::{ApiKey, KeyFeed, KeyNews, KeyPlace, KeyReading},
    local::credentials::Member,
    okta::{client::IssuerClient, forwarder::Forwarder},
    token::{
        broker::{BrokerSeat, system_chance},
        handle::{Handle, Refreshed},
        keys::{KeyTrouble, Keys},
        timing::RefreshSettings,
    },
};

/// Holds the running brokers.
pub(super) struct Fleet {
    commons: Commons,
    running: BTreeMap<String, Running>,
}

struct Running {
    okta: Okta,
    calls: Arc<Forwarder>,
    credential: Credential,
    seat: Arc<BrokerSeat>,
    handle: Handle,
    /// The times of the refresh, for brokers that are yet to start.
    refresh: Arc<ArcSwap<RefreshSettings>>,
    nudge: Arc<Notify>,
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
    pub(super) const fn new(commons: Commons) -> Self {
        Self { commons, running: BTreeMap::new() }
    }

    /// Makes the clients of all credentials that are new or speak to their issuer otherwise.
    pub(super) fn plan(&self, config: &Config) -> Result<Plan, AppError> {
        let mut clients = BTreeMap::new();
        for (name, credential) in &config.credentials {
            if !self.is_kept(name, credential, &config.okta) {
                let clock = Arc::clone(&self.commons.clock);
                let mints = IssuerClient::new(&config.okta, credential, clock)?;
                let calls = Arc::new(Forwarder::new(&config.okta, credential)?);
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
                    let running = self.seated(name, credential, before, config, clients.calls);
                    self.start(&running, clients.mints);
                    running
                }
                (Some(kept), None) => self.tuned(kept, credential),
                // A plan has clients for whatever does not run.
                (None, None) => continue,
            };
            self.running.insert(name.clone(), running);
        }
        for (name, gone) in before {
            gone.stop.cancel();
            self.commons.metrics.forget_credential(&name);
        }
        self.commons.credentials.replace(self.members());
    }

    fn tuned(&self, mut kept: Running, credential: &Credential) -> Running {
        if kept.credential.refresh != credential.refresh {
            let (handle, refresh) = (kept.handle.clone(), credential.refresh);
            kept.refresh.store(Arc::new(refresh));
            self.commons.tasks.spawn(async move { handle.configure(refresh).await });
        }
        kept.credential = credential.clone();
        kept
    }

    /// Gives the old seat, and with it the token, to a broker of the same team.
    fn seated(
        &self,
        name: &str,
        credential: &Credential,
        before: Option<Running>,
        config: &Config,
        calls: Arc<Forwarder>,
    ) -> Running {
        let inherited = before.and_then(|before| {
            before.stop.cancel();
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
            calls,
            credential: credential.clone(),
            seat,
            handle,
            refresh: Arc::new(ArcSwap::from_pointee(credential.refresh)),
            nudge: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    fn start(&self, running: &Running, client: IssuerClient) {
        let (seat, nudge) = (Arc::clone(&running.seat), Arc::clone(&running.nudge));
        let (credential, client) = (running.credential.clone(), Arc::new(client));
        let refresh = Arc::clone(&running.refresh);
        let name = format!("broker {}", running.handle.name());
        supervise(&self.commons, name, running.stop.clone(), move || {
            let seat = Arc::clone(&seat);
            let keys = FollowedKey::new(&credential, &nudge, seat.name());
            let (settings, client) = (**refresh.load(), Arc::clone(&client));
            async move { seat.run(settings, client, keys, system_chance()).await }
        });
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

/// The key feed of a credential, as its broker wants it.
struct FollowedKey {
    feed: KeyFeed,
    nudge: Arc<Notify>,
    credential: String,
    latest: Option<Arc<ApiKey>>,
}

impl FollowedKey {
    fn new(credential: &Credential, nudge: &Arc<Notify>, name: &str) -> Self {
        let place = KeyPlace {
            source: credential.key.clone(),
            allow_group_readable: credential.allow_group_readable_key,
        };
        Self {
            feed: KeyFeed::new(place, Arc::clone(nudge)),
            nudge: Arc::clone(nudge),
            credential: name.to_owned(),
            latest: None,
        }
    }
}

impl Keys for FollowedKey {
    async fn next(&mut self) -> Result<Arc<ApiKey>, KeyTrouble> {
        loop {
            match self.feed.next().await {
                KeyNews::Changed(KeyReading { key, warnings }) => {
                    for warning in warnings {
                        tracing::warn!(credential = self.credential, %warning, "look at the key file");
                    }
                    let key = Arc::new(key);
                    self.latest = Some(Arc::clone(&key));
                    return Ok(key);
                }
                KeyNews::Recovered => {
                    if let Some(key) = &self.latest {
                        return Ok(Arc::clone(key));
                    }
                }
                KeyNews::Broken(error) => {
                    return Err(KeyTrouble { label: error.label(), sentence: error.to_string() });
                }
            }
        }
    }

    fn look_again(&mut self) {
        self.nudge.notify_one();
    }
}
