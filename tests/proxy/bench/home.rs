//! A directory with a configuration, a key and sockets, all gone at the end.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;
use toml::{Table, Value};

use super::Daemon;

/// Holds the files of one daemon.
pub(crate) struct Home {
    directory: TempDir,
    config: Table,
}

impl Home {
    /// Makes a home with one credential, and a listener of all services on each kind of socket.
    pub(crate) fn new(issuer: &str, key: &(String, String)) -> Self {
        let mut home = Self { directory: tempfile::tempdir().unwrap(), config: Table::new() };
        home.write_key(key);
        fs::create_dir(home.path("state")).unwrap();
        let place = |name: &str| home.path(name).to_str().unwrap().to_owned();
        let [key, state] = [place("key.json"), place("state")];
        let [apps, control] = ["apps", "control"].map(|name| format!("unix:{}", place(name)));
        home.set("okta.base_url", issuer)
            .set("credentials.default.team_name", "acme")
            .set("credentials.default.key_file", key)
            .set("listeners.apps.bind", apps)
            .set("listeners.apps.serve", ["token", "proxy"].map(Value::from).to_vec())
            .set("listeners.web.bind", "tcp:127.0.0.1:0")
            .set("listeners.web.serve", ["token", "proxy"].map(Value::from).to_vec())
            .set("telemetry.bind", "tcp:127.0.0.1:0")
            .set("control.bind", control)
            .set("state.dir", state);
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sets one key, as `listeners.apps.mode`; nothing is written yet.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let (tables, last) = key.rsplit_once('.').unwrap();
        let table = tables.split('.').fold(&mut self.config, |table, name| {
            table.entry(name).or_insert_with(|| Table::new().into()).as_table_mut().unwrap()
        });
        table.insert(last.to_owned(), value.into());
        self
    }

    /// Sets one key of both listeners.
    pub(crate) fn set_both(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        self.set(&format!("listeners.apps.{key}"), value.clone());
        self.set(&format!("listeners.web.{key}"), value)
    }

    /// Puts a key into the key file, in one step.
    pub(crate) fn write_key(&self, (id, secret): &(String, String)) {
        let key = json!({ "key_id": id, "key_secret": secret }).to_string();
        self.replace("key.json", key.as_bytes());
    }

    /// Puts a file of ours in place by a rename.
    fn replace(&self, name: &str, content: &[u8]) -> PathBuf {
        let (new, path) = (self.path(&format!("{name}.new")), self.path(name));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&new).unwrap().write_all(content).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    /// Makes a command of the program that uses this home, with an empty environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let text = toml::to_string(&self.config).unwrap();
        let config = self.replace("bearerd.toml", text.as_bytes());
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_bearerd")));
        command.env_clear().args(arguments).arg("--config").arg(config);
        command
    }

    /// Starts the daemon and waits until it has a token.
    pub(crate) async fn start(&self) -> Daemon {
        let daemon = self.start_without_token().await;
        daemon.until_ready().await;
        daemon
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) async fn start_without_token(&self) -> Daemon {
        Daemon::start(self.command(&["run"])).await
    }
}

/// Makes up a key, for issuers that take any.
pub(crate) fn any_key() -> (String, String) {
    ("3F2504E0-4F89-41D3-9A0C-0305E82C3301".into(), "c2VjcmV0IGtleSBjYW5hcnk=".into())
}
