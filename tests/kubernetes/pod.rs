//! A daemon as in a pod: its account lies where the kubelet puts it, in a mount namespace of its own.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command, time::Duration};

use bearerd::emulator::Role;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    bench::{Daemon, Stand, skip},
    cluster::{Cluster, NAMESPACE, SECRET},
};

/// Longest time that a rotation may take that somebody else has to take over.
pub(crate) const LONG: Duration = Duration::from_secs(150);

/// Makes the account reachable at its place, and becomes the daemon.
const ENTER: &str = "mount -t tmpfs -o mode=755 none /run &&
    mkdir -p /run/secrets/kubernetes.io/serviceaccount &&
    mount --bind \"$0\" /run/secrets/kubernetes.io/serviceaccount &&
    exec \"$@\"";

/// A cluster, an issuer, and a home whose key is in the cluster.
pub(crate) struct Pods {
    pub(crate) cluster: Cluster,
    pub(crate) stand: Stand,
    account: PathBuf,
}

/// Tells whether daemons can be given a place of their own here; says so if not.
pub(crate) fn can_be_run() -> bool {
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["-m", "sh", "-c", "mount -t tmpfs none /run && test -e /var/run/"]);
    let can = command.output().is_ok_and(|it| it.status.success());
    if !can {
        skip("no mount namespace of one's own is to be had here");
    }
    can
}

impl Pods {
    /// Makes a cluster with nothing in it, and a daemon's configuration that looks there.
    pub(crate) async fn new() -> Self {
        let cluster = Cluster::start().await;
        let mut stand = Stand::with(|options| options.role = Role::None).await;
        let home = &mut stand.home;
        home.unset("credentials.default.key_file");
        fs::remove_file(home.path("key.json")).unwrap();
        home.set("credentials.default.key_kubernetes.namespace", NAMESPACE)
            .set("credentials.default.key_kubernetes.name", SECRET);
        let account = home.path("account");
        fs::create_dir(&account).unwrap();
        symlink("..1", account.join("..data")).unwrap();
        let pods = Self { cluster, stand, account };
        pods.mount(1);
        for name in ["token", "ca.crt", "namespace"] {
            symlink(format!("..data/{name}"), pods.account.join(name)).unwrap();
        }
        pods
    }

    /// Makes a generation of the account as the kubelet does, and leads all names to it.
    pub(crate) fn mount(&self, generation: u32) {
        let place = self.account.join(format!("..{generation}"));
        fs::create_dir(&place).unwrap();
        fs::write(place.join("token"), format!("token-{generation}")).unwrap();
        fs::write(place.join("ca.crt"), &self.cluster.ca).unwrap();
        fs::write(place.join("namespace"), NAMESPACE).unwrap();
        symlink(format!("..{generation}"), self.account.join("..data_tmp")).unwrap();
        fs::rename(self.account.join("..data_tmp"), self.account.join("..data")).unwrap();
    }

    /// Puts the issuer's key into the Secret.
    pub(crate) fn put_key(&self) {
        let (id, secret) = self.stand.issuer.key();
        self.cluster.put(&[("key_id", &id), ("key_secret", &secret)]);
    }

    /// Lets the key be rotated by another credential.
    pub(crate) fn rotated(mut self) -> Self {
        let rotator = self.stand.issuer.add_key("rotator");
        self.stand.issuer.set_role("rotator", Role::ResourceAdmin);
        let text = format!(r#"{{"key_id":"{}","key_secret":"{}"}}"#, rotator.0, rotator.1);
        let path = self.stand.home.replace("rotator.json", text.as_bytes(), 0o600);
        self.stand
            .home
            .set("credentials.rotator.team_name", "acme")
            .set("credentials.rotator.key_file", path.to_str().unwrap())
            .set("credentials.default.rotation.user", "robot")
            .set("credentials.default.rotation.with", "rotator")
            .set("credentials.default.rotation.every", "30d");
        self
    }

    /// Puts the issuer's key into the Secret with a journal that has seen it long ago.
    pub(crate) fn put_due_key(&self) {
        let (id, secret) = self.stand.issuer.key();
        let journal = json!({
            "version": 1, "key_id": id, "since": 1_600_000_000, "asked": null, "lost": null,
            "asks": [], "rest_until": null, "retired": [],
        });
        let journal = journal.to_string();
        let fields = [("key_id", &*id), ("key_secret", &secret), ("rotation", &journal)];
        self.cluster.put(&fields);
    }

    /// Makes the command of a daemon whose sockets nobody else has.
    pub(crate) fn command(&mut self, number: usize) -> Command {
        let unix = |name: &str| format!("unix:{}", self.stand.home.path(name).display());
        let (apps, control) =
            (unix(&format!("apps{number}.sock")), unix(&format!("control{number}.sock")));
        self.stand.home.set("listeners.apps.bind", apps).set("control.bind", control);
        let inner = self.stand.home.command(&["run"]);
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["-m", "sh", "-c", ENTER]).arg(&self.account);
        command.arg(inner.get_program()).arg("run").arg("--config");
        // The next daemon's is written at the same place.
        let config = self.stand.home.path(&format!("bearerd{number}.toml"));
        fs::copy(self.stand.home.path("bearerd.toml"), &config).unwrap();
        command.arg(config);
        command.current_dir(inner.get_current_dir().unwrap()).env_clear();
        command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
        command.env("KUBERNETES_SERVICE_PORT", self.cluster.address.port().to_string());
        command
    }

    /// Starts a daemon and waits until it listens.
    pub(crate) async fn start(&mut self) -> Daemon {
        Daemon::start(self.command(0)).await
    }

    /// Lists the calls for a new key that the issuer has seen.
    pub(crate) fn asked(&self) -> usize {
        crate::bench::rotating::rotations(&self.stand).len()
    }
}

/// Waits for a value for as long as a take-over may last.
pub(crate) async fn until_long<T>(mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let late = Instant::now() + LONG;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < late, "not within {LONG:?}: {instead}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}
