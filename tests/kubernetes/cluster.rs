//! An API server that knows Secrets and Leases: their versions, watches, rights and refusals.
//!
//! Answers have the shapes of the API reference of Kubernetes: objects with `metadata`, `Status` for
//! what is refused, lines of `{"type": …, "object": …}` for a watch.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Full, channel::Channel, combinators::BoxBody};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, crypto::ring};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::bench::tls::{Identity, authority, leaf};

/// The namespace that everything is in.
pub(crate) const NAMESPACE: &str = "apps";
/// The name of the Secret.
pub(crate) const SECRET: &str = "okta-key";

type Body = BoxBody<Bytes, Infallible>;

/// Serves until it is dropped.
pub(crate) struct Cluster {
    pub(crate) address: SocketAddr,
    /// The certificate that vouches for it, as PEM.
    pub(crate) ca: String,
    world: Arc<World>,
    _tasks: JoinSet<()>,
}

struct World {
    state: Mutex<State>,
    streams: Mutex<JoinSet<()>>,
    changed: watch::Sender<u64>,
}

struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    events: VecDeque<(u64, &'static str, Value)>,
    /// Versions before this one are forgotten.
    floor: u64,
    tokens: BTreeSet<String>,
    denied: BTreeSet<(&'static str, &'static str)>,
    calls: Vec<String>,
    watch_life: Duration,
    /// Whether the next watch that ends does so without a bookmark.
    ends_abruptly: bool,
    delay: Duration,
    /// How many watches have been opened, and from which version.
    watches: Vec<Option<String>>,
    blow: Option<Blow>,
    before: Option<BeforePatch>,
}

/// Something that happens right before the n-th patch that counts.
pub(crate) struct BeforePatch {
    pub(crate) patches_left: usize,
    pub(crate) what: Box<dyn FnOnce(&mut Value) + Send>,
}

/// A blow against a daemon, at its n-th call that is no watch.
struct Blow {
    calls_left: usize,
    is_after: bool,
    strike: Box<dyn FnOnce() + Send>,
}

impl Cluster {
    /// Starts with a token that it takes, and nothing in it.
    pub(crate) async fn start() -> Self {
        let ca = authority("cluster");
        let identity = Identity::signed(&leaf("127.0.0.1"), &ca);
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            version: 100,
            objects: BTreeMap::new(),
            events: VecDeque::new(),
            floor: 0,
            tokens: BTreeSet::from(["token-1".to_owned()]),
            denied: BTreeSet::new(),
            calls: Vec::new(),
            watch_life: Duration::from_secs(60),
            ends_abruptly: false,
            delay: Duration::ZERO,
            watches: Vec::new(),
            blow: None,
            before: None,
        };
        let world = Arc::new(World {
            state: Mutex::new(state),
            streams: Mutex::default(),
            changed: watch::channel(0).0,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(config).into(), Arc::clone(&world)));
        let ca = ca.pem();
        Self { address, ca, world, _tasks: tasks }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.world.state.lock().unwrap()
    }

    /// Puts the fields of the Secret in place, whatever was there; makes it if need be.
    pub(crate) fn put(&self, fields: &[(&str, &str)]) {
        let data: serde_json::Map<_, _> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), STANDARD.encode(value).into()))
            .collect();
        let mut secret = self.state().objects.get(&secret_path()).cloned().unwrap_or_else(|| {
            json!({
                "kind": "Secret", "apiVersion": "v1", "type": "Opaque",
                "metadata": { "name": SECRET, "namespace": NAMESPACE, "uid": "0f7c" },
            })
        });
        secret["data"] = data.into();
        self.state().store(&secret_path(), secret);
        self.tell();
    }

    /// Changes the Secret as a person would.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut secret = self.state().objects[&secret_path()].clone();
        change(&mut secret);
        self.state().store(&secret_path(), secret);
        self.tell();
    }

    /// Puts another key in, and leaves the rest.
    pub(crate) fn put_key(&self, (id, secret): &(String, String)) {
        self.edit(|object| {
            object["data"]["key_id"] = STANDARD.encode(id).into();
            object["data"]["key_secret"] = STANDARD.encode(secret).into();
        });
    }

    pub(crate) fn delete(&self) {
        let mut state = self.state();
        state.version += 1;
        let gone = state.objects.remove(&secret_path()).unwrap();
        let version = state.version;
        state.events.push_back((version, "DELETED", gone));
        drop(state);
        self.tell();
    }

    fn tell(&self) {
        self.world.changed.send_modify(|count| *count += 1);
    }

    /// Reads a field of the Secret.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let state = self.state();
        let text = state.objects.get(&secret_path())?["data"][name].as_str()?.to_owned();
        Some(String::from_utf8(STANDARD.decode(text).unwrap()).unwrap())
    }

    /// Reads the journal of the rotation.
    pub(crate) fn journal(&self) -> Option<Value> {
        Some(serde_json::from_str(&self.field("rotation")?).unwrap())
    }

    /// Tells who holds the Lease.
    pub(crate) fn holder(&self) -> Option<String> {
        let state = self.state();
        let lease = state.objects.get(&lease_path())?;
        lease["spec"]["holderIdentity"].as_str().filter(|it| !it.is_empty()).map(str::to_owned)
    }

    /// Puts a holder into the Lease.
    pub(crate) fn hold(&self, holder: &str) {
        let lease = json!({
            "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
            "metadata": { "name": format!("bearerd-{SECRET}"), "namespace": NAMESPACE },
            // A clock that is years ahead makes nobody live longer.
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": 15,
                "renewTime": "2099-01-01T00:00:00.000000Z",
            },
        });
        self.state().store(&lease_path(), lease);
    }

    pub(crate) fn deny(&self, verb: &'static str, resource: &'static str) {
        self.state().denied.insert((verb, resource));
    }

    pub(crate) fn grant_all(&self) {
        self.state().denied.clear();
    }

    /// Takes these tokens and no other.
    pub(crate) fn take_tokens(&self, tokens: &[&str]) {
        self.state().tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    pub(crate) fn end_watches_after(&self, life: Duration) {
        self.state().watch_life = life;
    }

    pub(crate) fn answer_after(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Forgets all versions up to now; whoever watches is not told of a newer one.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.ends_abruptly = true;
        state.version += 1;
        state.floor = state.version;
        state.events.clear();
    }

    /// Lists the calls so far, as `PATCH secrets`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    pub(crate) fn watches(&self) -> Vec<Option<String>> {
        self.state().watches.clone()
    }

    /// Strikes at the n-th call from now on, before or after it is carried out.
    pub(crate) fn strike_at(
        &self,
        n: usize,
        is_after: bool,
        strike: impl FnOnce() + Send + 'static,
    ) {
        self.state().blow = Some(Blow { calls_left: n, is_after, strike: Box::new(strike) });
    }

    /// Tells whether the blow is still to come.
    pub(crate) fn is_armed(&self) -> bool {
        self.state().blow.is_some()
    }

    /// Changes the Secret right before the n-th patch that is no rehearsal.
    pub(crate) fn before_patch(&self, n: usize, what: impl FnOnce(&mut Value) + Send + 'static) {
        self.state().before = Some(BeforePatch { patches_left: n, what: Box::new(what) });
    }
}

fn secret_path() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets/{SECRET}")
}

fn lease_path() -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/bearerd-{SECRET}")
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        let before = self.objects.get(path);
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let same = before.is_some_and(|before| {
            let mut before = before.clone();
            before["metadata"].as_object_mut().unwrap().remove("resourceVersion");
            before == object
        });
        if let Some(before) = before.filter(|_| same) {
            // A change that changes nothing makes no version.
            return before.clone();
        }
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if path == secret_path() {
            self.events.push_back((self.version, kind, object.clone()));
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn due_blow(&mut self) -> Option<Blow> {
        let blow = self.blow.as_mut()?;
        blow.calls_left -= 1;
        if blow.calls_left == 0 { self.blow.take() } else { None }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, world: Arc<World>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, world) = (acceptor.clone(), Arc::clone(&world));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| serve(request, Arc::clone(&world)));
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

fn answer(status: u16, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).boxed();
    Response::builder()
        .status(status)
        .header("Content-Type", "application/json")
        .body(body)
        .unwrap()
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("secrets \"{SECRET}\": {reason}"), "reason": reason, "code": code,
    })
}

fn refused(code: u16, reason: &str) -> Response<Body> {
    answer(code, &status(code, reason))
}

async fn serve(
    request: Request<Incoming>,
    world: Arc<World>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let query: BTreeMap<String, String> = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace("%3D", "=")))
        .collect();
    let header = |name: &str| head.headers.get(name).and_then(|it| it.to_str().ok());
    let path = head.uri.path().to_owned();
    let resource = if path.contains("/leases") { "leases" } else { "secrets" };
    let is_watch = query.contains_key("watch");
    let verb = match (head.method.as_str(), is_watch) {
        ("GET", true) => "watch",
        ("GET", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        _ => "patch",
    };
    let (blow, delay, refusal) = {
        let mut state = world.state.lock().unwrap();
        state.calls.push(format!("{verb} {resource}"));
        let token = header("authorization").and_then(|it| it.strip_prefix("Bearer "));
        let refusal = if !token.is_some_and(|token| state.tokens.contains(token)) {
            Some(refused(401, "Unauthorized"))
        } else if state.denied.contains(&(verb, resource)) {
            Some(refused(403, "Forbidden"))
        } else {
            None
        };
        (if is_watch { None } else { state.due_blow() }, state.delay, refusal)
    };
    let blow = match blow {
        Some(blow) if !blow.is_after => {
            (blow.strike)();
            return Ok(refused(500, "InternalError"));
        }
        blow => blow,
    };
    sleep(delay).await;
    if let Some(refusal) = refusal {
        return Ok(refusal);
    }
    if is_watch {
        return Ok(watched(&world, &query, header("accept").unwrap_or_default()));
    }
    let answer = carried_out(&world, verb, &path, &query, &body, header("content-type"));
    world.changed.send_modify(|count| *count += 1);
    if let Some(blow) = blow {
        (blow.strike)();
    }
    Ok(answer)
}

fn carried_out(
    world: &World,
    verb: &str,
    path: &str,
    query: &BTreeMap<String, String>,
    body: &[u8],
    kind: Option<&str>,
) -> Response<Body> {
    let mut state = world.state.lock().unwrap();
    if verb == "get" {
        let found = state.objects.get(path);
        return found.map_or_else(|| refused(404, "NotFound"), |object| answer(200, object));
    }
    let Ok(sent) = serde_json::from_slice::<Value>(body) else {
        return refused(400, "BadRequest");
    };
    if verb == "create" {
        let path = format!("{path}/{}", sent["metadata"]["name"].as_str().unwrap());
        if state.objects.contains_key(&path) {
            return refused(409, "AlreadyExists");
        }
        return answer(201, &state.store(&path, sent));
    }
    let is_rehearsal = query.contains_key("dryRun");
    if verb == "patch" && !is_rehearsal {
        strike_before_patch(&mut state);
    }
    let Some(there) = state.objects.get(path).cloned() else { return refused(404, "NotFound") };
    let version = sent["metadata"]["resourceVersion"].as_str();
    if version.is_some_and(|version| there["metadata"]["resourceVersion"] != version) {
        return refused(409, "Conflict");
    }
    let new = match (verb, kind) {
        ("update", Some("application/json")) => sent,
        ("patch", Some("application/merge-patch+json")) => {
            let mut new = there;
            merge(&mut new, &sent);
            new
        }
        _ => return refused(415, "UnsupportedMediaType"),
    };
    let data = new["data"].as_object().into_iter().flatten();
    if data.into_iter().any(|(_, value)| STANDARD.decode(value.as_str().unwrap()).is_err()) {
        return refused(422, "Invalid");
    }
    if is_rehearsal {
        return answer(200, &new);
    }
    answer(200, &state.store(path, new))
}

fn strike_before_patch(state: &mut State) {
    let Some(before) = &mut state.before else { return };
    before.patches_left -= 1;
    if before.patches_left == 0 {
        let before = state.before.take().unwrap();
        let mut secret = state.objects[&secret_path()].clone();
        (before.what)(&mut secret);
        state.store(&secret_path(), secret);
    }
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut into[name], value);
        }
    }
}

/// Opens a stream of what happens to the Secret.
fn watched(world: &Arc<World>, query: &BTreeMap<String, String>, accept: &str) -> Response<Body> {
    assert_eq!(query["fieldSelector"], format!("metadata.name={SECRET}"));
    let only_metadata = accept.contains("as=PartialObjectMetadata");
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
    let from = query.get("resourceVersion").cloned();
    let at = Arc::clone(world);
    let (life, mut seen, mut lines) = {
        let mut state = world.state.lock().unwrap();
        state.watches.push(from.clone());
        let seen = from.map_or(state.version, |from| from.parse().unwrap());
        let lines = if seen < state.floor {
            vec![json!({ "type": "ERROR", "object": status(410, "Expired") })]
        } else if query.contains_key("resourceVersion") {
            Vec::new()
        } else {
            let there = state.objects.get(&secret_path());
            there.map(|object| line("ADDED", object, only_metadata)).into_iter().collect()
        };
        (state.watch_life, seen, lines)
    };
    let mut changed = world.changed.subscribe();
    world.streams.lock().unwrap().spawn(async move {
        let stream = async {
            loop {
                let is_over = lines.iter().any(|line| line["type"] == "ERROR");
                for line in lines.drain(..) {
                    if sender.send_data(format!("{line}\n").into()).await.is_err() {
                        return;
                    }
                }
                if is_over || changed.changed().await.is_err() {
                    return;
                }
                let state = at.state.lock().unwrap();
                let new = state.events.iter().filter(|(version, ..)| *version > seen);
                lines.extend(new.map(|(_, kind, object)| line(kind, object, only_metadata)));
                seen = state.version;
            }
        };
        if timeout(life, stream).await.is_err() {
            let version = {
                let mut state = at.state.lock().unwrap();
                if std::mem::take(&mut state.ends_abruptly) {
                    return;
                }
                state.version.to_string()
            };
            let bookmark = json!({
                "type": "BOOKMARK", "object": { "metadata": { "resourceVersion": version } },
            });
            sender.send_data(format!("{bookmark}\n").into()).await.ok();
        }
    });
    Response::new(body.boxed())
}

fn line(kind: &str, object: &Value, only_metadata: bool) -> Value {
    let object = if only_metadata {
        json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"],
        })
    } else {
        object.clone()
    };
    json!({ "type": kind, "object": object })
}
