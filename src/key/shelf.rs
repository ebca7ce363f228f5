//! Where a key lies, with all that a rotation keeps beside it: a draft, a journal, a lock.
//!
//! For the key file `key.json` these are `.key.json.draft-…` with the next key in it, `.key.json.rotation`
//! and `.key.json.lock`. The shelf is what the name of the file leads to, all links resolved, so that
//! no link is replaced by a file (fault 109).

use std::{
    ffi::{OsStr, OsString},
    os::fd::OwnedFd,
    path::{Path, PathBuf, absolute},
};

use rustix::{
    fs::{self, AtFlags, FlockOperation, Mode, OFlags, StatxAttributes, StatxFlags},
    io::Errno,
};

use super::{
    api_key::ApiKey,
    file::{KeyError, read_json},
    journal::{Journal, JournalFlaw},
    step::Found,
};
use crate::process::{
    durable_file::{self, Act, Draft, DurableError, Look},
    owned_file::{Access, read_file},
    path_error::{PathError, our_uid, permissions},
    trusted_dir::{Trail, TrustedDir},
};

/// Room that is reserved: more than the longest key takes when it is written down.
const ROOM: usize = 8 * 1024;

/// Holds the place of one key, and the right to change it.
pub struct Shelf {
    /// The path that the configuration names.
    asked: PathBuf,
    access: Access,
    directory: TrustedDir,
    name: OsString,
    draft: Option<Draft>,
    _lock: OwnedFd,
}

impl Shelf {
    /// Finds the place and takes its lock, which this holds as long as it lives (fault 113).
    ///
    /// # Errors
    ///
    /// When there is no file, somebody else has the lock, or the way there is not trusted.
    pub fn open(path: &Path, allow_group_readable: bool) -> Result<Self, ShelfError> {
        let access = if allow_group_readable { Access::GroupMayRead } else { Access::OwnerOnly };
        let asked = absolute(path).map_err(|error| PathError::from_io(path, &error))?;
        let (directory, name) = resolve(&asked)?;
        let lock = lock(&directory, &name)?;
        Ok(Self { asked, access, directory, name, draft: None, _lock: lock })
    }

    /// Tells where the file lies, for messages.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// Looks at all that an earlier process may have left, and takes away what is of no use.
    ///
    /// # Errors
    ///
    /// When the file holds no key, or what lies beside it cannot be read.
    pub fn look(&mut self) -> Result<(Found, Option<ApiKey>), ShelfError> {
        let file = self.key()?.id().to_owned();
        let journal = self.read_journal()?;
        self.remove_drafts(&self.beside("rotation"))?;
        let beside = self.take_up_drafts(&file)?;
        let found = Found { journal, file, beside: beside.as_ref().map(|key| key.id().to_owned()) };
        Ok((found, beside))
    }

    /// Reads the key that the file holds.
    ///
    /// # Errors
    ///
    /// When it holds none.
    pub fn key(&self) -> Result<ApiKey, ShelfError> {
        let reading = read_json(&self.asked, self.access, &mut Trail::default());
        reading.map(|reading| reading.key).map_err(ShelfError::from)
    }

    fn read_journal(&self) -> Result<Result<Journal, JournalFlaw>, ShelfError> {
        let name = self.beside("rotation");
        let mut trail = Trail::default();
        match read_file(&self.directory, Path::new(&name), Access::OwnerOnly, &mut trail) {
            Ok(contents) => match Journal::read(&contents.bytes) {
                Err(JournalFlaw::Version(version)) => {
                    let path = self.directory.path().join(&name);
                    Err(ShelfError::LaterJournal { path, version })
                }
                journal => Ok(journal),
            },
            Err(error) if error.is_missing() => Ok(Err(JournalFlaw::Missing)),
            Err(error) => Err(KeyError::from(error).into()),
        }
    }

    /// Finds the newest whole key among the drafts, and puts it on the disk (fault 103); what holds no
    /// other key is removed (fault 122).
    fn take_up_drafts(&mut self, file: &str) -> Result<Option<ApiKey>, ShelfError> {
        let mut newest: Option<(_, OsString, ApiKey)> = None;
        for name in durable_file::drafts(&self.directory, &self.name).map_err(self.failed())? {
            let path = self.directory.path().join(&name);
            match read_json(&path, self.access, &mut Trail::default()) {
                Ok(reading) if reading.key.id() != file => {
                    let changed = self.changed(&name);
                    let is_newer = newest.as_ref().is_none_or(|(before, ..)| *before < changed);
                    if is_newer {
                        newest = Some((changed, name, reading.key));
                    }
                }
                Ok(_) | Err(KeyError::Content { .. }) => {
                    durable_file::remove(&self.directory, &name).map_err(self.failed())?;
                }
                // It may be the one that matters.
                Err(error) => return Err(error.into()),
            }
        }
        let Some((_, name, key)) = newest else { return Ok(None) };
        match Draft::found(&self.directory, &name) {
            Ok(draft) => self.draft = Some(draft),
            // What the disk has not taken once it does not hold, whatever it says the next time.
            Err(error) if error.act == Act::Sync => {
                self.save(&key, key.team_name())?;
                durable_file::remove(&self.directory, &name).map_err(self.failed())?;
            }
            Err(error) => return Err(self.failed()(error)),
        }
        Ok(Some(key))
    }

    fn changed(&self, name: &OsStr) -> (i128, i128) {
        let stat = fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.map_or((0, 0), |stat| (stat.st_mtime.into(), stat.st_mtime_nsec.into()))
    }

    /// Proves that the file can be replaced, and reserves the room for what replaces it.
    ///
    /// # Errors
    ///
    /// Says what is in the way (faults 97, 104, 108, 109).
    pub fn prove(&mut self) -> Result<(), ShelfError> {
        let (directory, name) = resolve(&self.asked)?;
        let identity = |directory: &TrustedDir| directory.identity();
        if name != self.name || identity(&directory)? != identity(&self.directory)? {
            return Err(ShelfError::Moved { path: self.asked.clone() });
        }
        check_file(&self.directory, &self.name)?;
        self.draft = None;
        self.draft = Some(self.reserved()?);
        Ok(())
    }

    /// Finds out, and leaves no trace, whether the file could be replaced.
    ///
    /// # Errors
    ///
    /// As [`Shelf::prove`].
    pub fn probe(&self) -> Result<(), ShelfError> {
        check_file(&self.directory, &self.name)?;
        self.reserved().map(drop)
    }

    fn reserved(&self) -> Result<Draft, ShelfError> {
        let stat = fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|errno| PathError::new(&self.path(), errno))?;
        let differs = |theirs: u32, ours: u32| Some(theirs).filter(|theirs| *theirs != ours);
        let look = Look {
            mode: permissions(&stat) & 0o777,
            owner: differs(stat.st_uid, our_uid()),
            group: differs(stat.st_gid, rustix::process::getegid().as_raw()),
        };
        Draft::reserve(&self.directory, &self.name, look, ROOM).map_err(self.failed())
    }

    /// Writes the journal.
    ///
    /// # Errors
    ///
    /// Then either the old or the new one stands on the disk.
    pub fn record(&self, journal: &Journal) -> Result<(), ShelfError> {
        let name = self.beside("rotation");
        let written =
            durable_file::replace(&self.directory, &name, &journal.written(), Look::PRIVATE);
        written.map_err(self.failed())
    }

    /// Puts the new key on the disk, beside the old one.
    ///
    /// # Errors
    ///
    /// Then the next call takes another draft (fault 105).
    pub fn save(&mut self, key: &ApiKey, team_name: Option<&str>) -> Result<(), ShelfError> {
        let reserved = self.draft.take();
        let mut draft = reserved.map_or_else(|| self.reserved(), Ok)?;
        // From here on it stays, also if this process ends in the middle of it.
        draft.keep();
        match draft.write(&key.to_json(team_name)) {
            Ok(()) => {
                self.draft = Some(draft);
                Ok(())
            }
            Err(error) => {
                draft.discard();
                Err(self.failed()(error))
            }
        }
    }

    /// Puts the new key in the place of the one with this id.
    ///
    /// # Errors
    ///
    /// When another key stands there by now, or it cannot be replaced; then the draft stays.
    pub fn replace(&mut self, over: &str, new: &ApiKey) -> Result<Replaced, ShelfError> {
        let there = self.key()?;
        if there.id() == new.id() {
            // It is in place, and only the directory was not on the disk yet.
            durable_file::settle(&self.directory).map_err(self.failed())?;
            return Ok(Replaced::Done);
        }
        if there.id() != over {
            return Ok(Replaced::Overtaken);
        }
        if self.draft.is_none() {
            self.save(new, there.team_name())?;
        }
        let Some(draft) = self.draft.take() else { return Ok(Replaced::Overtaken) };
        let name = draft.name().to_owned();
        let Err(error) = draft.replace(&self.name) else { return Ok(Replaced::Done) };
        if error.act == Act::Publish {
            self.draft = Draft::found(&self.directory, &name).ok();
        }
        Err(self.failed()(error))
    }

    /// Takes away all drafts: whatever is in them, it is not needed.
    ///
    /// # Errors
    ///
    /// When they cannot be removed.
    pub fn tidy(&mut self) -> Result<(), ShelfError> {
        self.draft = None;
        self.remove_drafts(&self.name)
    }

    fn remove_drafts(&self, of: &OsStr) -> Result<(), ShelfError> {
        for name in durable_file::drafts(&self.directory, of).map_err(self.failed())? {
            durable_file::remove(&self.directory, &name).map_err(self.failed())?;
        }
        Ok(())
    }

    fn beside(&self, what: &str) -> OsString {
        beside(&self.name, what)
    }

    fn failed(&self) -> impl Fn(DurableError) -> ShelfError + use<> {
        let path = self.path();
        move |error| ShelfError::Write { path: path.clone(), error }
    }
}

/// Looks whether a key could be replaced where it lies, and changes nothing there.
///
/// # Errors
///
/// Says what is in the way, as far as that can be seen (fault 97).
pub fn look_at(path: &Path) -> Result<(), ShelfError> {
    let asked = absolute(path).map_err(|error| PathError::from_io(path, &error))?;
    let (directory, name) = resolve(&asked)?;
    check_file(&directory, &name)?;
    let access = fs::accessat(&directory, ".", fs::Access::WRITE_OK, AtFlags::EACCESS);
    let path = directory.path().join(&name);
    access
        .map_err(|errno| ShelfError::Write { path, error: DurableError { act: Act::Make, errno } })
}

/// Finds what no write could tell: a rename onto such a file fails.
fn check_file(directory: &TrustedDir, name: &OsStr) -> Result<(), ShelfError> {
    let (flags, wanted) = (AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
    // A kernel that cannot tell leaves it to the rename, and the new key to the draft.
    let Ok(stat) = fs::statx(directory, name, flags, wanted) else {
        return Ok(());
    };
    let path = directory.path().join(name);
    if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(ShelfError::Mounted { path });
    }
    if stat.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
        return Err(ShelfError::Immutable { path });
    }
    Ok(())
}

/// Tells whether a key took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It did.
    Done,
    /// Somebody else has put a key there meanwhile, which stays.
    Overtaken,
}

/// Says why a key cannot be rotated where it lies, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShelfError {
    /// The key file, or the way to it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The way to it.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Somebody else rotates this key.
    #[error("another bearerd on this machine rotates {path}: this one follows what that one does")]
    Locked {
        /// The key file.
        path: PathBuf,
    },
    /// Another daemon of the fleet rotates this key.
    #[error(
        "another bearerd ({holder}) rotates the key in {place}: this one follows what that one does"
    )]
    Leased {
        /// Where the key lies.
        place: String,
        /// Who that is.
        holder: String,
    },
    /// Somebody else has changed what a rotation goes on from.
    #[error("{place} was changed by somebody else: it is looked at anew")]
    Overtaken {
        /// Where the key lies.
        place: String,
    },
    /// A place that is not on this machine cannot be read or changed.
    #[error("{problem}")]
    Remote {
        /// Which, why, and what to do.
        problem: String,
    },
    /// The name leads elsewhere than it did.
    #[error("{path} leads to another place than before: it is looked at anew")]
    Moved {
        /// The key file.
        path: PathBuf,
    },
    /// It is a mount of its own.
    #[error(
        "{path} is mounted as a single file, which cannot be replaced: mount its directory instead"
    )]
    Mounted {
        /// The key file.
        path: PathBuf,
    },
    /// It may not be changed.
    #[error("{path} is immutable: run chattr -i -a '{path}', or leave rotation out")]
    Immutable {
        /// The key file.
        path: PathBuf,
    },
    /// Something could not be written.
    #[error("{path} cannot be replaced, as {error}: {}", remedy(*error))]
    Write {
        /// The key file.
        path: PathBuf,
        /// What failed.
        error: DurableError,
    },
    /// A later version has written the journal (fault 125).
    #[error(
        "{path} is of version {version}, which this bearerd does not know: run the version that \
             wrote it, or remove it if that is gone"
    )]
    LaterJournal {
        /// The journal.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl ShelfError {
    /// Tells whether another daemon is, or was, at work here.
    #[must_use]
    pub const fn is_of_another(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::Leased { .. } | Self::Overtaken { .. })
    }
}

fn remedy(error: DurableError) -> &'static str {
    match error.errno {
        Errno::ROFS => "its file system is read-only, so rotate the key where it comes from",
        Errno::ACCESS | Errno::PERM => "let the daemon's user write in its directory",
        Errno::NOSPC | Errno::DQUOT => "make room there",
        _ => "look at its file system",
    }
}

/// Opens the directory in which the file lies, with all links resolved, and tells its name there.
fn resolve(path: &Path) -> Result<(TrustedDir, OsString), ShelfError> {
    let mut trail = Trail::default();
    let opened = TrustedDir::open(Path::new("/"), &mut trail)?.open_file(path, &mut trail)?;
    let parent_and_name = opened.path.parent().zip(opened.path.file_name());
    let (parent, name) = parent_and_name.ok_or_else(|| PathError::new(path, Errno::ISDIR))?;
    Ok((TrustedDir::open(parent, &mut trail)?, name.to_owned()))
}

fn lock(directory: &TrustedDir, name: &OsStr) -> Result<OwnedFd, ShelfError> {
    let path = directory.path().join(name);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let owner_only = Mode::RUSR | Mode::WUSR;
    let file = fs::openat(directory, beside(name, "lock"), flags, owner_only);
    let failed = |errno| ShelfError::Write {
        path: path.clone(),
        error: DurableError { act: Act::Make, errno },
    };
    let file = file.map_err(failed)?;
    match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(ShelfError::Locked { path }),
        Err(errno) => Err(failed(errno)),
    }
}

fn beside(name: &OsStr, what: &str) -> OsString {
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(".");
    beside.push(what);
    beside
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
