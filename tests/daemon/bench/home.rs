//! A directory with a configuration, a key and sockets, all gone at the end.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;
use toml::{Table, Value};

use super::{Daemon, Place};

/// A user who owns nothing.
pub(crate) const NOBODY: u32 = 65_534;

/// Holds the files of one daemon.
pub(crate) struct Home {
    directory: TempDir,
    config: Table,
}

impl Home {
    /// Makes a home with one credential, a listener on each kind of socket, and a key file.
    pub(crate) fn new(issuer: &str, key: &(String, String)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut home = Self { directory, config: Table::new() };
        home.write_key(key);
        let unix = |name: &str| format!("unix:{}", home.path(name).display());
        let (apps, control) = (unix("apps.sock"), unix("control.sock"));
        let state = home.path("state").to_str().unwrap().to_owned();
        home.set("okta.base_url", issuer)
            .set("listeners.apps.bind", apps)
            .set("listeners.web.bind", "tcp:127.0.0.1:0")
            .set("telemetry.bind", "tcp:127.0.0.1:0")
            .set("control.bind", control)
            .set("state.dir", state)
            .credential("default", None);
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

    /// Gives the whole configuration, to be restored later.
    pub(crate) fn saved(&self) -> Table {
        self.config.clone()
    }

    pub(crate) fn restore(&mut self, saved: &Table) {
        self.config = saved.clone();
    }

    /// Takes one key or table away.
    pub(crate) fn unset(&mut self, key: &str) -> &mut Self {
        let (tables, last) = key.rsplit_once('.').unwrap();
        let table = tables.split('.').fold(&mut self.config, |table, name| {
            table.get_mut(name).unwrap().as_table_mut().unwrap()
        });
        table.remove(last);
        self
    }

    /// Adds a credential with the home's key, perhaps with an issuer of its own.
    pub(crate) fn credential(&mut self, name: &str, issuer: Option<&str>) -> &mut Self {
        let key_file = self.path("key.json");
        self.set(&format!("credentials.{name}.team_name"), "acme");
        self.set(&format!("credentials.{name}.key_file"), key_file.to_str().unwrap());
        if let Some(issuer) = issuer {
            self.set(&format!("credentials.{name}.base_url"), issuer);
        }
        self
    }

    /// Lets both listeners serve these credentials, and only these be configured.
    pub(crate) fn serve(&mut self, names: &[String]) -> &mut Self {
        let all: Vec<_> = names.iter().map(|name| Value::from(name.as_str())).collect();
        let credentials = self.config["credentials"].as_table_mut().unwrap();
        credentials.retain(|name, _| names.iter().any(|kept| kept == name));
        self.set("listeners.apps.credentials", all.clone());
        self.set("listeners.web.credentials", all)
    }

    /// Puts a key into the key file, in one step.
    pub(crate) fn write_key(&self, (id, secret): &(String, String)) {
        let key = json!({ "key_id": id, "key_secret": secret }).to_string();
        self.replace("key.json", key.as_bytes(), 0o600);
    }

    /// Puts a file in place by a rename, with this mode.
    pub(crate) fn replace(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let (new, path) = (self.path(&format!("{name}.new")), self.path(name));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        options.open(&new).unwrap().write_all(content).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    /// Writes the configuration; tells its path.
    pub(crate) fn write(&self) -> PathBuf {
        let text = toml::to_string(&self.config).unwrap();
        self.replace("bearerd.toml", text.as_bytes(), 0o600)
    }

    /// Makes a command of the program that uses this home, with an empty environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        command.arg("--config").arg(self.write()).current_dir(self.directory.path());
        command
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) async fn start(&self) -> Daemon {
        Daemon::start(self.command(&["run"])).await
    }

    pub(crate) fn unix(&self) -> Place {
        Place::Unix(self.path("apps.sock"))
    }

    /// Gives the directory and all files in it to another user; only root can.
    pub(crate) fn give_to(&self, user: u32) {
        let files = fs::read_dir(self.directory.path()).unwrap().map(|file| file.unwrap().path());
        for path in files.chain([self.directory.path().to_owned()]) {
            chown(path, Some(user), Some(user)).unwrap();
        }
    }

    /// Lets other users come as far as the sockets.
    pub(crate) fn open_to_all(&self) {
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.directory.path(), everybody).unwrap();
    }
}

/// Makes up a key, for issuers that take any.
pub(crate) fn any_key() -> (String, String) {
    ("3F2504E0-4F89-41D3-9A0C-0305E82C3301".into(), "c2VjcmV0IGtleSBjYW5hcnk=".into())
}

/// Makes a command of the program with an empty environment.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_bearerd")));
    command.args(arguments).env_clear();
    command
}
