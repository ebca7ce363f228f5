//! Everything a configuration is put together from.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::places::Surroundings;

/// Names the file that is read when none is named, if it is there.
pub const DEFAULT_FILE: &str = "/etc/bearerd/bearerd.toml";

/// Names everything a configuration is put together from, weakest first.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Files, each laid over the one before; JSON by the extension `json`, else TOML.
    pub files: Vec<PathBuf>,
    /// File to read when `files` is empty, if it is there.
    pub fallback_file: PathBuf,
    /// The environment; what is not ours is passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// What flags of the command line set.
    pub flags: Vec<Flag>,
    /// What defaults depend on.
    pub surroundings: Surroundings,
}

impl Sources {
    /// Makes the sources of a process with this effective user and group id.
    #[must_use]
    pub fn new(
        files: Vec<PathBuf>,
        environment: Vec<(OsString, OsString)>,
        flags: Vec<Flag>,
        uid: u32,
        gid: u32,
    ) -> Self {
        let surroundings = Surroundings::new(&environment, uid, gid);
        Self { files, fallback_file: DEFAULT_FILE.into(), environment, flags, surroundings }
    }

    /// Tells which files to read.
    pub(super) fn existing_files(&self) -> Vec<&Path> {
        // What cannot be looked at may be there: reading it will say what is wrong.
        let absent = matches!(self.fallback_file.try_exists(), Ok(false));
        match self.files.as_slice() {
            [] if absent => Vec::new(),
            [] => vec![&self.fallback_file],
            files => files.iter().map(PathBuf::as_path).collect(),
        }
    }
}

/// Sets one key from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag as it is typed, as `--log-level`.
    pub name: String,
    /// Dotted path of the key it sets, as `log.level`.
    pub key: String,
    /// The text it is given.
    pub value: String,
}
