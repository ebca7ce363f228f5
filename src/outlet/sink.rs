//! A file that holds the current token: replaced as a whole, never wider than asked, kept when the
//! token runs out.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustix::{
    fs::{AtFlags, FileType, statat},
    io::Errno,
};
use tokio::{task::spawn_blocking, time::timeout};

use super::command::Hook;
use crate::{
    config::model::Sink as Settings,
    process::{
        durable_file::{self, DurableError, Look},
        path_error::PathError,
        trusted_dir::TrustedDir,
    },
    telemetry::metrics::Outcomes,
    token::{handle::Handle, lease::Serial, published::Published},
};

/// Rests after a failure: the first, and the longest.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Keeps one file.
pub struct Sink {
    name: String,
    settings: Settings,
    handle: Handle,
    on_change: Option<Hook>,
    writes: Outcomes,
    standing: ArcSwap<Standing>,
}

/// Tells what has become of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The token that it holds.
    pub holds: Serial,
    /// What went wrong last, if that has not been mended.
    pub trouble: Option<String>,
}

/// Says why a sink cannot be written, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The directory, or the way to it.
    #[error("sink: {0}")]
    Directory(#[from] PathError),
    /// Something stands there that no file of ours may replace.
    #[error("sink: {path} is no regular file: remove it, or choose another path")]
    Foreign {
        /// What stands there.
        path: PathBuf,
    },
    /// A path without a file name.
    #[error("sink: {path} names no file: add a file name")]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The file cannot be given to its owner or group.
    #[error(
        "sink: {path} cannot be given to the configured owner or group: run as root, or choose a \
         group that this user is in"
    )]
    Ownership {
        /// The file.
        path: PathBuf,
    },
    /// The file system.
    #[error("sink: {path} cannot be written: {error}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: DurableError,
    },
}

/// Finds out whether a sink could be written, and takes away what a crash has left.
///
/// Blocks as long as the file system does.
///
/// # Errors
///
/// As a write would.
pub fn try_out(settings: &Settings) -> Result<(), SinkError> {
    let (directory, name) = place(settings)?;
    let refused = |error| failed(settings, error);
    for left in durable_file::drafts(&directory, name).map_err(refused)? {
        durable_file::remove(&directory, &left).map_err(refused)?;
    }
    durable_file::Draft::new(&directory, name, look(settings)).map(drop).map_err(refused)
}

fn write(settings: &Settings, content: &[u8]) -> Result<(), SinkError> {
    let (directory, name) = place(settings)?;
    let written = durable_file::replace(&directory, name, content, look(settings));
    written.map_err(|error| failed(settings, error))
}

fn place(settings: &Settings) -> Result<(TrustedDir, &OsStr), SinkError> {
    let path = || settings.path.clone();
    let parts = settings.path.parent().zip(settings.path.file_name());
    let (parent, name) = parts.ok_or_else(|| SinkError::NoFile { path: path() })?;
    let directory = TrustedDir::open_place(parent, settings.allow_shared_directory)?;
    match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
            Err(SinkError::Foreign { path: path() })
        }
        Ok(_) | Err(Errno::NOENT) => Ok((directory, name)),
        Err(errno) => Err(PathError::new(&settings.path, errno).into()),
    }
}

const fn look(settings: &Settings) -> Look {
    Look { mode: settings.mode & 0o777, owner: settings.owner, group: settings.group }
}

fn failed(settings: &Settings, error: DurableError) -> SinkError {
    let path = settings.path.clone();
    match error.act {
        durable_file::Act::Give => SinkError::Ownership { path },
        _ => SinkError::Write { path, error },
    }
}

impl Sink {
    /// Makes a sink that has written nothing yet.
    #[must_use]
    pub fn new(
        name: &str,
        settings: Settings,
        handle: Handle,
        on_change: Option<Hook>,
        writes: Outcomes,
    ) -> Self {
        let standing = ArcSwap::default();
        Self { name: name.to_owned(), settings, handle, on_change, writes, standing }
    }

    /// Tells its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Tells whether the file holds the valid token, and in one sentence how it stands.
    #[must_use]
    pub fn report(&self) -> (bool, String) {
        let standing = self.standing.load();
        let path = self.settings.path.display();
        match (&standing.trouble, self.handle.current()) {
            (Some(trouble), _) => (false, trouble.clone()),
            (None, Some((token, _))) if token.serial() == standing.holds => {
                (true, format!("{path} holds the token"))
            }
            (None, None) if standing.holds != Serial::NONE => {
                (false, format!("{path} holds a token that has run out"))
            }
            (None, _) => (false, format!("{path} waits for a token")),
        }
    }

    /// Writes the token that is valid now, if there is one, and says so to the command.
    ///
    /// # Errors
    ///
    /// What went wrong, in a sentence.
    pub async fn fill(&self) -> Result<(), String> {
        match self.handle.current() {
            Some((token, left)) => self.put(&token, left).await,
            None => Ok(()),
        }
    }

    /// Writes each token as it comes; never ends.
    pub async fn run(self: Arc<Self>) {
        let mut rest = REST.0;
        loop {
            // A token that is over is no news either.
            let seen = self.handle.latest();
            let done = self.fill().await;
            let changed = self.handle.changed_from(seen);
            if done.is_ok() {
                rest = REST.0;
                changed.await;
            } else {
                // A newer token is worth a try at once.
                let _changed = timeout(rest, changed).await;
                rest = (rest * 2).min(REST.1);
            }
        }
    }

    async fn put(&self, token: &Arc<Published>, left: Duration) -> Result<(), String> {
        let mut outcome = Ok(());
        if self.standing.load().holds != token.serial() {
            let written = self.write(token, left).await;
            self.writes.count(written.is_ok());
            match written {
                Ok(()) => self.hold(token.serial()),
                Err(error) => outcome = Err(error.to_string()),
            }
        }
        if outcome.is_ok() {
            outcome = self.tell(token).await;
        }
        self.note(outcome.as_ref().err());
        outcome
    }

    async fn write(&self, token: &Arc<Published>, left: Duration) -> Result<(), SinkError> {
        let content = token.body(self.settings.format, left);
        let settings = self.settings.clone();
        let written = spawn_blocking(move || write(&settings, &content)).await;
        // It panics as little as any other code of ours.
        written.unwrap_or_else(|_| Err(PathError::new(&self.settings.path, Errno::IO).into()))
    }

    /// Runs the command, if there is one.
    async fn tell(&self, token: &Published) -> Result<(), String> {
        let Some(hook) = &self.on_change else {
            return Ok(());
        };
        let told = [
            ("BEARERD_SINK", self.name.clone()),
            ("BEARERD_CREDENTIAL", self.handle.name().to_owned()),
            ("BEARERD_FILE", self.settings.path.display().to_string()),
            ("BEARERD_EXPIRES_AT", token.expires_at().to_string()),
        ];
        hook.run(&told, String::new()).await
    }

    fn hold(&self, holds: Serial) {
        let trouble = self.standing.load().trouble.clone();
        self.standing.store(Arc::new(Standing { holds, trouble }));
    }

    /// Remembers how it went; says in the log what is new about it.
    fn note(&self, trouble: Option<&String>) {
        let before = self.standing.load();
        let sink = self.name.as_str();
        match (&before.trouble, trouble) {
            (Some(_), None) => tracing::info!(sink, "the sink is in order again"),
            (known, Some(problem)) if known.as_ref() != Some(problem) => {
                tracing::warn!(sink, %problem, "the sink is not in order; it is tried again");
            }
            _ => {}
        }
        let standing = Standing { holds: before.holds, trouble: trouble.cloned() };
        self.standing.store(Arc::new(standing));
    }
}

/// The sinks of the daemon, as probes are told of them; replaced as a whole on a reload.
#[derive(Default)]
pub struct Roster(ArcSwap<Vec<Arc<Sink>>>);

impl Roster {
    /// Replaces all of them.
    pub fn replace(&self, sinks: Vec<Arc<Sink>>) {
        self.0.store(Arc::new(sinks));
    }

    /// Gives all of them.
    #[must_use]
    pub fn all(&self) -> Arc<Vec<Arc<Sink>>> {
        self.0.load_full()
    }
}
