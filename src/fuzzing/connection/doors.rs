//! Listeners as a configuration makes them, with a token that never ends.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{super::text::NOW, upstream};
use crate::{
    config::{Config, Sources, load_bytes},
    local::{
        credentials::{Credentials, Member},
        guard::Denial,
        routes::LocalApi,
        server::{Common, Server},
    },
    okta::{classify::Grant, forwarder::Forwarder},
    process::{
        clock::{Clock, StandingClock},
        peer::Peer,
        secret::Secret,
    },
    proxy::local_token::LocalToken,
    telemetry::{audit::Audit, metrics::Metrics},
    token::{
        held,
        lease::{Lease, Serial},
        published::Published,
    },
};

/// The token never ends.
const CLOCK: StandingClock = StandingClock(NOW);
/// The token that is held.
pub(super) const TOKEN: &str = "hdr.held-token.sig";
/// What the listeners that ask for it take.
pub(super) const ACCESS: &str = "access-0123456789-0123456789-0123456789";

/// A listener, and who comes to it.
pub(super) struct Door {
    pub(super) server: Server<LocalApi>,
    pub(super) peer: Peer,
    pub(super) is_tcp: bool,
    pub(super) needs_access: bool,
    pub(super) serves_auth: bool,
}

/// Listeners that forward nothing.
pub(super) static LOCAL: LazyLock<[Door; 4]> = LazyLock::new(|| {
    let config = config(&upstream::UNHEARD.local_addr().expect("it is bound").to_string());
    ["tcp", "unix", "shut", "auth"].map(|name| door(&config, name))
});

/// A listener that serves Okta's own paths and no token.
pub(super) static PROXY: LazyLock<Door> = LazyLock::new(|| {
    let config = config(&upstream::ISSUER.address());
    door(&config, "proxy")
});

fn config(issuer: &str) -> Config {
    let text = format!(
        r#"
        [okta]
        base_url = "http://{issuer}"
        [credentials.default]
        team_name = "acme"
        key_file = "/etc/bearerd/key.json"
        [listeners.tcp]
        bind = "tcp:127.0.0.1:8420"
        [listeners.unix]
        bind = "unix:/run/bearerd/a.sock"
        [listeners.shut]
        bind = "tcp:127.0.0.1:8421"
        serve = ["token", "auth"]
        access_token_file = "/run/bearerd/access"
        [listeners.auth]
        bind = "unix:/run/bearerd/b.sock"
        serve = ["token", "auth"]
        [listeners.proxy]
        bind = "tcp:127.0.0.1:8422"
        serve = ["proxy"]
        access_token_file = "/run/bearerd/access"
        "#
    );
    let surroundings = crate::config::Surroundings::default();
    let sources = Sources {
        files: Vec::new(),
        fallback_file: "/nonexistent".into(),
        environment: Vec::new(),
        flags: Vec::new(),
        surroundings,
    };
    let loaded = load_bytes(Path::new("bearerd.toml"), text.as_bytes(), &sources);
    loaded.unwrap_or_else(|findings| panic!("{findings}")).config
}

fn door(config: &Config, name: &str) -> Door {
    let clock: Arc<dyn Clock> = Arc::new(CLOCK);
    let metrics = Metrics::new();
    let listener = &config.listeners[name];
    let needs_access = listener.guard.access_token_file.is_some();
    let local =
        needs_access.then(|| Arc::new(LocalToken::access(Secret::copy_of(ACCESS.as_bytes()))));
    let everybody = everybody(config, &clock, &metrics);
    let closing = CancellationToken::new();
    let app = LocalApi::new(listener, local, everybody, Arc::clone(&clock), closing);
    let counted = metrics.listener(name, &Denial::ALL.map(Denial::label));
    let audit = Audit::new(name, Arc::clone(&clock));
    let (owners, descriptors) = (Arc::default(), Arc::new(Semaphore::new(1000)));
    let common = Common { clock, owners, descriptors };
    let (guard, limits) = (listener.guard.clone(), listener.limits.clone());
    let is_tcp = guard.allowed_hosts.is_some();
    Door {
        server: Server::new(app, guard, limits, counted, audit, common),
        peer: if is_tcp { Peer::Tcp { port: 8420, uid: None } } else { ANYBODY },
        is_tcp,
        needs_access,
        serves_auth: listener.serves_auth,
    }
}

const ANYBODY: Peer = Peer::Unix { uid: 1000, gid: 100, groups: Vec::new(), pid: None };

fn everybody(config: &Config, clock: &Arc<dyn Clock>, metrics: &Metrics) -> Arc<Credentials> {
    let credential = &config.credentials["default"];
    let counted = metrics.credential("default", &[], &[]);
    let handle = held::holding("default", Arc::clone(clock), counted, published());
    let forwarder = Forwarder::new(&config.okta, credential, 3).expect("an address");
    let member = Member {
        handle,
        team_name: credential.team_name.clone(),
        required: true,
        forwarder: Arc::new(forwarder),
    };
    let credentials = Credentials::default();
    credentials.replace(BTreeMap::from([("default".to_owned(), member)]));
    Arc::new(credentials)
}

fn published() -> Published {
    let lifetime = Duration::from_secs(3600);
    let now = CLOCK.tick();
    let serial = Serial::NONE.next();
    let lease = Lease { serial, issued: now, published: now, expires: now + lifetime };
    let grant = Grant {
        token: Secret::copy_of(TOKEN.as_bytes()),
        lifetime,
        expires_at: CLOCK.wall() + lifetime,
        team_name: "acme".to_owned(),
    };
    Published::new(grant, lease, CLOCK.wall())
}
