//! The sockets: the listeners of the local API, the telemetry, the control socket.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    AppError, Commons,
    access::{self, AccessTokens},
    certificates::{self, Certificates, Follower},
    supervise::supervise,
};
use crate::{
    config::{
        Config,
        model::{Bind, Control as ControlSettings, Guard, Limits, Listener, SocketFile, Telemetry},
    },
    control::{
        overview::{Open, Overview, Roster},
        routes::Control,
    },
    local::{
        bind::{BindError, HandedSocket, SocketGuard, bind_tcp, bind_unix, take_handed},
        guard::Denial,
        routes::LocalApi,
        server::{App, Common, Server, Socket},
        telemetry::Telemetry as TelemetryApi,
        tls::{self, Certificate},
    },
    process::{activation::Handed, path_error::our_uid, secret_file},
    proxy::local_token::{self, LocalToken},
    telemetry::{audit::Audit, logs::Logs},
};

/// Holds every open socket.
pub(super) struct Doors {
    commons: Commons,
    logs: Arc<Mutex<Logs>>,
    handed: Handed,
    roster: Arc<Roster>,
    overview: Arc<Overview>,
    /// What the connections of all listeners may take.
    descriptors: Arc<Semaphore>,
    listeners: BTreeMap<String, Door>,
    house: Vec<Taken>,
    access_tokens: AccessTokens,
    local_tokens: BTreeMap<String, Arc<LocalToken>>,
}

/// An open listener.
struct Door {
    listener: Listener,
    server: Arc<Server<LocalApi>>,
    taken: Vec<Taken>,
    certificate: Option<Follower>,
    close: CancellationToken,
}

/// Keeps an address ours; a unix socket's file goes with it.
#[derive(Clone)]
struct Taken {
    name: String,
    address: String,
    file: Arc<Mutex<Option<SocketGuard>>>,
}

/// What a new configuration needs, taken and read before anything is changed.
pub(super) struct Opening {
    access_tokens: access::Plan,
    certificates: Certificates,
    sockets: BTreeMap<String, Vec<(Taken, Socket)>>,
}

impl Doors {
    pub(super) fn new(commons: Commons, logs: Arc<Mutex<Logs>>, handed: Handed) -> Self {
        let roster = Arc::default();
        let overview = Arc::new(Overview::new(
            Arc::clone(&commons.credentials),
            Arc::clone(&roster),
            Arc::clone(&commons.sinks),
            Arc::clone(&commons.rotators),
            Arc::clone(&commons.clock),
        ));
        let access_tokens = AccessTokens::new(commons.clone());
        let descriptors = Arc::new(Semaphore::new(commons.shares.listeners));
        Self {
            commons,
            logs,
            handed,
            roster,
            overview,
            descriptors,
            listeners: BTreeMap::new(),
            house: Vec::new(),
            access_tokens,
            local_tokens: BTreeMap::new(),
        }
    }

    pub(super) fn addresses(&self) -> Vec<(String, String)> {
        let listeners = self.listeners.values().flat_map(|door| &door.taken);
        listeners.chain(&self.house).map(|t| (t.name.clone(), t.address.clone())).collect()
    }

    /// Reads tokens and certificates and takes the sockets that are new; what stays is not touched.
    pub(super) fn plan(&self, config: &Config) -> Result<Opening, AppError> {
        let access_tokens = self.access_tokens.plan(config)?;
        let certificates = certificates::load(config, &*self.commons.clock)?;
        let sockets = self.take_new(config)?;
        Ok(Opening { access_tokens, certificates, sockets })
    }

    fn take_new(
        &self,
        config: &Config,
    ) -> Result<BTreeMap<String, Vec<(Taken, Socket)>>, AppError> {
        let mut sockets = BTreeMap::new();
        for (name, listener) in &config.listeners {
            match self.listeners.get(name) {
                Some(open) if open.listener.bind != listener.bind => {
                    return Err(AppError::NeedsRestart(format!("listeners.{name}.bind")));
                }
                Some(open) if open.listener.allow_non_loopback != listener.allow_non_loopback => {
                    let setting = format!("listeners.{name}.allow_non_loopback");
                    return Err(AppError::NeedsRestart(setting));
                }
                Some(open) if open.listener.socket != listener.socket => {
                    return Err(AppError::NeedsRestart(format!("listeners.{name}.mode")));
                }
                Some(_) => {}
                None => {
                    let all = |at| take_all(&self.handed, name, at, listener);
                    let taken: Vec<_> = listener.bind.iter().map(all).collect::<Result<_, _>>()?;
                    sockets.insert(name.clone(), taken.into_iter().flatten().collect());
                }
            }
        }
        Ok(sockets)
    }

    /// Opens, changes and closes listeners; cannot fail.
    pub(super) fn commit(&mut self, opening: Opening, config: &Config) {
        self.listeners.retain(|name, door| {
            let stays = config.listeners.contains_key(name);
            if !stays {
                door.taken.iter().for_each(Taken::let_go);
                door.close.cancel();
            }
            stays
        });
        self.access_tokens.commit(opening.access_tokens, config);
        let certificate = |name: &str| opening.certificates.get(name).cloned();
        for (name, sockets) in opening.sockets {
            if let Some(listener) = config.listeners.get(&name) {
                let local = self.local_token(&name, listener, config);
                let door = self.open(&name, listener, local, certificate(&name), sockets);
                self.listeners.insert(name, door);
            }
        }
        for (name, listener) in &config.listeners {
            self.try_out_owners(name, listener);
            let local = self.local_token(name, listener, config);
            if let Some(door) = self.listeners.get_mut(name) {
                let serve = || door.server.app().configure(listener, local);
                door.server.change(&listener.guard, &listener.limits, certificate(name), serve);
                door.follow_certificate(&self.commons, name, listener);
                door.listener = listener.clone();
            }
        }
        self.roster.store(Arc::new(self.listeners.iter().map(Door::show).collect()));
    }

    /// Says at once that users cannot be told apart, instead of leaving it to each refusal.
    fn try_out_owners(&self, name: &str, listener: &Listener) {
        let is_tcp = listener.bind.iter().any(|bind| matches!(bind, Bind::Tcp(_)));
        if is_tcp
            && listener.tells_users_apart()
            && let Err(error) = self.commons.owners.try_out()
        {
            tracing::error!(listener = name, problem = %error.kind(),
                "the kernel does not tell whose TCP connections are: none is of a listed user, and \
                 all count as one user's");
        }
    }

    fn open(
        &self,
        name: &str,
        listener: &Listener,
        local: Option<Arc<LocalToken>>,
        certificate: Option<Arc<Certificate>>,
        sockets: Vec<(Taken, Socket)>,
    ) -> Door {
        let app = LocalApi::new(
            listener,
            local,
            Arc::clone(&self.commons.credentials),
            Arc::clone(&self.commons.clock),
            self.commons.closing.clone(),
        );
        let (guard, limits) = (listener.guard.clone(), listener.limits.clone());
        let server = self.server(name, app, guard, limits, &self.descriptors);
        // Before the first connection: none is to be served in the clear.
        server.show(certificate);
        let close = self.commons.closing.child_token();
        let taken = sockets.into_iter().map(|(taken, socket)| {
            self.accept(&taken, &server, socket, &close);
            taken
        });
        let taken = taken.collect();
        Door { listener: listener.clone(), server, taken, certificate: None, close }
    }

    /// Gives a listener's access token, else that of its proxy, the same one for the whole life.
    fn local_token(
        &mut self,
        name: &str,
        listener: &Listener,
        config: &Config,
    ) -> Option<Arc<LocalToken>> {
        if listener.guard.access_token_file.is_some() {
            return self.access_tokens.of(name);
        }
        listener.proxy.as_ref()?;
        if let Some(token) = self.local_tokens.get(name) {
            return Some(Arc::clone(token));
        }
        let kept = config.state_dir.as_ref().map(|dir| local_token::kept(dir, name));
        let token = kept.transpose().unwrap_or_else(|error| {
            tracing::warn!(listener = name, problem = %error, "the local token is not kept");
            None
        });
        let token = LocalToken::random(token.or_else(|| secret_file::fresh().ok())?);
        let token = Arc::new(token);
        self.local_tokens.insert(name.to_owned(), Arc::clone(&token));
        Some(token)
    }

    fn server<A: App>(
        &self,
        name: &str,
        app: A,
        guard: Guard,
        limits: Limits,
        descriptors: &Arc<Semaphore>,
    ) -> Arc<Server<A>> {
        let Commons { clock, owners, .. } = self.commons.clone();
        let audit = Audit::new(name, Arc::clone(&clock));
        let reasons = [&Denial::ALL.map(Denial::label)[..], &[tls::REFUSED]].concat();
        let metrics = self.commons.metrics.listener(name, &reasons);
        let common = Common { clock, owners, descriptors: Arc::clone(descriptors) };
        Arc::new(Server::new(app, guard, limits, metrics, audit, common))
    }

    fn accept<A: App>(
        &self,
        taken: &Taken,
        server: &Arc<Server<A>>,
        socket: Socket,
        close: &CancellationToken,
    ) {
        let (server, socket, taken) = (Arc::clone(server), Arc::new(socket), taken.clone());
        let (visits, stop) = (self.commons.visits.clone(), close.clone());
        let (open, done) = (self.commons.open.token(), CancellationToken::new());
        let name = format!("listener {}", taken.name);
        supervise(&self.commons, name, done.clone(), move || {
            let (server, socket, taken) = (Arc::clone(&server), Arc::clone(&socket), taken.clone());
            let (visits, stop) = (visits.clone(), stop.clone());
            let (open, done) = (open.clone(), done.clone());
            async move {
                server.accept(&socket, &visits, &stop).await;
                if !stop.is_cancelled() {
                    return;
                }
                // From here on nobody new can come, so nobody is in line when the socket is closed.
                taken.let_go();
                server.accept_rest(&socket, &visits, &stop).await;
                drop(open);
                done.cancel();
            }
        });
    }

    /// Lets people see how the last reload went: why it was refused, if it was.
    pub(super) fn note_reload(&self, refused: Option<String>) {
        self.overview.note_reload(refused);
    }

    /// Lets what may have changed on the disk be looked at, and counts what has happened.
    pub(super) fn look_around(&self) {
        self.overview.look();
        self.access_tokens.look_around();
        let followers = self.listeners.values().filter_map(|door| door.certificate.as_ref());
        followers.for_each(Follower::look);
    }

    /// Opens the telemetry and the control socket, which stay as they are until the end.
    pub(super) fn open_house(&mut self, config: &Config) -> Result<(), AppError> {
        self.open_telemetry(&config.telemetry)?;
        match &config.control {
            Some(control) => self.open_control(control),
            None => Ok(()),
        }
    }

    fn open_telemetry(&mut self, settings: &Telemetry) -> Result<(), AppError> {
        let taken = take("telemetry", &settings.bind, &private_socket());
        let Some((taken, socket)) = forgive(taken, "telemetry", settings.is_default)? else {
            return Ok(());
        };
        let credentials = Arc::clone(&self.commons.credentials);
        let (metrics, page) = (self.commons.metrics.clone(), Arc::clone(&self.overview));
        let (sinks, logs) = (Arc::clone(&self.commons.sinks), Arc::clone(&self.logs));
        let app = TelemetryApi::new(metrics, credentials, sinks, page, logs);
        let guard = Guard { allowed_hosts: settings.allowed_hosts.clone(), ..Guard::default() };
        let places = Arc::new(Semaphore::new(self.commons.shares.telemetry));
        let server = self.server("telemetry", app, guard, Limits::default(), &places);
        self.accept(&taken, &server, socket, &self.commons.closing);
        self.house.push(taken);
        Ok(())
    }

    fn open_control(&mut self, settings: &ControlSettings) -> Result<(), AppError> {
        let bind = Bind::Unix(settings.path.clone());
        let taken = take("control", &bind, &settings.socket());
        let Some((taken, socket)) = forgive(taken, "control", settings.is_default)? else {
            return Ok(());
        };
        let guard = Guard {
            allow_uids: [&[0, our_uid()], settings.allow_uids.as_slice()].concat(),
            ..Guard::default()
        };
        let places = Arc::new(Semaphore::new(self.commons.shares.control));
        let (credentials, overview) =
            (Arc::clone(&self.commons.credentials), Arc::clone(&self.overview));
        let clock = Arc::clone(&self.commons.clock);
        let rotators = Arc::clone(&self.commons.rotators);
        let (quit, closing) = (self.commons.quit.clone(), self.commons.closing.clone());
        let app = Control::new(credentials, overview, rotators, clock, quit, closing);
        let server = self.server("control", app, guard, Limits::default(), &places);
        self.accept(&taken, &server, socket, &self.commons.closing);
        self.house.push(taken);
        Ok(())
    }
}

impl Taken {
    /// Takes the socket's file away.
    fn let_go(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Door {
    /// Sees to it that the files of its certificate are watched.
    fn follow_certificate(&mut self, commons: &Commons, name: &str, listener: &Listener) {
        let kept = self.certificate.take();
        self.certificate = listener.tls.as_ref().map(|files| {
            let kept = kept.filter(|follower| follower.has(files));
            kept.unwrap_or_else(|| Follower::start(commons, name, files, &self.server, &self.close))
        });
    }

    fn show((name, door): (&String, &Self)) -> Open {
        let addresses = door.taken.iter().map(|taken| taken.address.clone());
        Open {
            name: name.clone(),
            addresses: addresses.collect(),
            server: Arc::clone(&door.server),
        }
    }
}

fn take(name: &str, bind: &Bind, file: &SocketFile) -> Result<(Taken, Socket), BindError> {
    match bind {
        Bind::Unix(path) => {
            let bound = bind_unix(path, file)?;
            let address = format!("unix:{}", path.display());
            Ok(taken(name, address, Socket::Unix(bound.listener), Some(bound.guard)))
        }
        Bind::Tcp(wanted) => {
            let listener = bind_tcp(*wanted)?;
            let bound = listener.local_addr().unwrap_or(*wanted);
            Ok(taken(name, format!("tcp:{bound}"), Socket::Tcp(listener, bound.port()), None))
        }
        // Only listeners have such an address, and they take it themselves.
        Bind::Systemd(wanted) => Err(BindError::missing(wanted)),
    }
}

/// Takes one address of a listener; one name of the service manager may stand for several sockets.
fn take_all(
    handed: &Handed,
    name: &str,
    bind: &Bind,
    listener: &Listener,
) -> Result<Vec<(Taken, Socket)>, BindError> {
    let Bind::Systemd(wanted) = bind else {
        return take(name, bind, &listener.socket).map(|taken| vec![taken]);
    };
    let sockets = take_handed(handed, wanted, listener)?.into_iter().map(|socket| match socket {
        HandedSocket::Unix(listener, path) => {
            taken(name, format!("unix:{path}"), Socket::Unix(listener), None)
        }
        HandedSocket::Tcp(listener, at) => {
            taken(name, format!("tcp:{at}"), Socket::Tcp(listener, at.port()), None)
        }
    });
    Ok(sockets.collect())
}

fn taken(
    name: &str,
    address: String,
    socket: Socket,
    file: Option<SocketGuard>,
) -> (Taken, Socket) {
    tracing::info!(listener = name, address, "listening");
    (Taken { name: name.to_owned(), address, file: Arc::new(Mutex::new(file)) }, socket)
}

/// A default that cannot be used is done without, and said once.
fn forgive<T>(
    taken: Result<T, BindError>,
    name: &str,
    is_default: bool,
) -> Result<Option<T>, AppError> {
    match taken {
        Ok(taken) => Ok(Some(taken)),
        Err(error) if is_default => {
            tracing::warn!(listener = name, problem = %error, "going on without it");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A socket for ourselves.
const fn private_socket() -> SocketFile {
    SocketFile { mode: 0o600, owner: None, group: None, allow_shared_directory: false }
}
