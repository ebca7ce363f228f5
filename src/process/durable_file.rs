//! Files that are there as a whole or not at all, whatever breaks meanwhile: a process, a disk, a machine.
//!
//! What is to be at a name is first written beside it, as a [`Draft`] with a name of its own, and put
//! on the disk; then it takes the name in one step, and the directory is put on the disk too. So a
//! reader finds the old content or the new one, and so does the next start after a power cut.
//!
//! A failed write or fsync spoils the draft for good: the kernel forgets which pages it could not
//! write, and the next fsync of the same file would call them clean (fault 105). Who still wants the
//! file makes another draft.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::PathBuf,
};

use rustix::{
    fs::{self, AtFlags, Gid, Mode, OFlags, Uid},
    io::{self, Errno},
};
use zeroize::Zeroizing;

use super::{random, trusted_dir::TrustedDir};

/// Stands between the name of a file and the digits of a draft for it.
const MARK: &str = ".draft-";
/// Digits in the name of a draft: it is another one each time.
const DIGITS: usize = 16;
/// Fills the room that is reserved: white space in JSON, and allowed in no string there, so that a
/// write that was torn is never read as a whole one (fault 103).
const FILLER: u8 = b'\n';

/// Says what a file is to be like, whatever the umask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Permission bits.
    pub mode: u32,
    /// User id of the owner; `None` leaves it ours.
    pub owner: Option<u32>,
    /// Group id; `None` leaves it ours.
    pub group: Option<u32>,
}

impl Look {
    /// Lets nobody but its owner, who is ourselves, have access.
    pub const PRIVATE: Self = Self { mode: 0o600, owner: None, group: None };
}

/// Puts a file at `name`, in place of what is there, if anything is.
///
/// Blocks as long as the file system does.
///
/// # Errors
///
/// Leaves what was there, but for [`Act::SettleDirectory`]: then the new file is in place, and may
/// not outlast a power cut.
pub fn replace(
    directory: &TrustedDir,
    name: &OsStr,
    content: &[u8],
    look: Look,
) -> Result<(), DurableError> {
    let mut draft = Draft::new(directory, name, look)?;
    draft.write(content)?;
    draft.replace(name)
}

/// Puts a file at `name`, where nothing may be yet.
///
/// Blocks as long as the file system does.
///
/// # Errors
///
/// With [`DurableError::is_taken`] if something is there, which then stays; else as [`replace`].
pub fn create(
    directory: &TrustedDir,
    name: &OsStr,
    content: &[u8],
    look: Look,
) -> Result<(), DurableError> {
    let mut draft = Draft::new(directory, name, look)?;
    draft.write(content)?;
    draft.publish(name)
}

/// Takes a file away, so that it does not come back after a power cut.
///
/// # Errors
///
/// When it cannot be removed. One that is not there is no error.
pub fn remove(directory: &TrustedDir, name: &OsStr) -> Result<(), DurableError> {
    match fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => settle(directory),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Act::Remove.failed(errno)),
    }
}

/// Lists the drafts for `name` that lie in the directory: of a crash, or of somebody at work.
///
/// # Errors
///
/// When the directory cannot be listed.
pub fn drafts(directory: &TrustedDir, name: &OsStr) -> Result<Vec<OsString>, DurableError> {
    let list = || {
        let mut found = Vec::new();
        for entry in fs::Dir::new(listable(directory)?)? {
            let entry = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            found.extend(is_draft(&entry, name).then_some(entry));
        }
        Ok(found)
    };
    list().map_err(|errno| Act::List.failed(errno))
}

/// A file under a name of its own, on its way to another name beside it.
///
/// It goes away when it is dropped, unless it has been kept or has taken its name.
pub struct Draft {
    directory: TrustedDir,
    name: OsString,
    file: OwnedFd,
    is_kept: bool,
}

impl Draft {
    /// Makes an empty draft for `beside`, with owner, group and mode as they are to be.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or not be given to that owner or group.
    pub fn new(directory: &TrustedDir, beside: &OsStr, look: Look) -> Result<Self, DurableError> {
        let make = Act::Make;
        let name = draft_name(beside).ok_or(make.failed(Errno::AGAIN))?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let owner_only = Mode::RUSR | Mode::WUSR;
        let file = retry(|| fs::openat(directory, &name, flags, owner_only));
        let file = file.map_err(|errno| make.failed(errno))?;
        let directory = again(directory).map_err(|errno| make.failed(errno))?;
        let draft = Self { directory, name, file, is_kept: false };
        draft.dress(look)?;
        Ok(draft)
    }

    /// Makes a draft that holds `room` bytes already, on the disk and found after a power cut.
    ///
    /// So no full disk can keep a content of that length out of it any more (fault 104).
    ///
    /// # Errors
    ///
    /// As [`Draft::new`], and when there is no room.
    pub fn reserve(
        directory: &TrustedDir,
        beside: &OsStr,
        look: Look,
        room: usize,
    ) -> Result<Self, DurableError> {
        let mut draft = Self::new(directory, beside, look)?;
        draft.write(&vec![FILLER; room])?;
        settle(&draft.directory)?;
        Ok(draft)
    }

    /// Takes up a draft that an earlier process has left, and puts it on the disk: that process may have
    /// ended before it did. It stays when this is dropped.
    ///
    /// # Errors
    ///
    /// When it cannot be opened. With [`Act::Sync`] what it holds is good for nothing (fault 105).
    pub fn found(directory: &TrustedDir, name: &OsStr) -> Result<Self, DurableError> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = || {
            let file = retry(|| fs::openat(directory, name, flags, Mode::empty()))?;
            Ok((file, again(directory)?))
        };
        let (file, directory) = open().map_err(|errno| Act::Make.failed(errno))?;
        sync(&file)?;
        Ok(Self { directory, name: name.to_owned(), file, is_kept: true })
    }

    /// Tells its own name.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Tells where it lies, for messages.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// Writes all that it is to hold, reads it again, and puts it on the disk.
    ///
    /// # Errors
    ///
    /// Afterwards the draft is good for nothing: another one is needed (fault 105).
    pub fn write(&mut self, content: &[u8]) -> Result<(), DurableError> {
        let whole = |rest: &[u8], at: u64| io::pwrite(&self.file, rest, at);
        write_whole(content, whole).map_err(|errno| Act::Write.failed(errno))?;
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let cut = retry(|| fs::ftruncate(&self.file, length));
        cut.map_err(|errno| Act::Write.failed(errno))?;
        sync(&self.file)?;
        self.verify(content)
    }

    /// Reads it back: a file system may take what it does not keep (fault 106).
    fn verify(&self, content: &[u8]) -> Result<(), DurableError> {
        let mut read = Zeroizing::new(vec![0; content.len() + 1]);
        let whole = |room: &mut [u8], at: u64| io::pread(&self.file, room, at);
        let length = read_whole(&mut read, whole).map_err(|errno| Act::Verify.failed(errno))?;
        match read.get(..length) == Some(content) {
            true => Ok(()),
            false => Err(Act::Verify.failed(Errno::IO)),
        }
    }

    /// Lets it stay where it is, whatever becomes of this process.
    pub const fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Lets it go when this is dropped, after all.
    pub const fn discard(&mut self) {
        self.is_kept = false;
    }

    /// Gives it the name, in place of what is there, if anything is.
    ///
    /// # Errors
    ///
    /// As [`replace`]; one that was to be kept then lies where it was.
    pub fn replace(mut self, name: &OsStr) -> Result<(), DurableError> {
        let renamed = fs::renameat(&self.directory, &self.name, &self.directory, name);
        renamed.map_err(|errno| Act::Publish.failed(errno))?;
        self.keep();
        settle(&self.directory)
    }

    /// Gives it the name, where nothing may be yet.
    ///
    /// # Errors
    ///
    /// As [`create`].
    pub fn publish(mut self, name: &OsStr) -> Result<(), DurableError> {
        // Unlike a rename, a link replaces nothing, and every file system of ours can do it.
        let linked =
            fs::linkat(&self.directory, &self.name, &self.directory, name, AtFlags::empty());
        linked.map_err(|errno| Act::Publish.failed(errno))?;
        self.discard();
        let directory = again(&self.directory);
        drop(self);
        settle(&directory.map_err(|errno| Act::SettleDirectory.failed(errno))?)
    }

    /// Sets owner, group and mode on the open file, before there is anything to hide in it.
    fn dress(&self, look: Look) -> Result<(), DurableError> {
        // The mode first: what has been given away is not ours to change.
        let mode = Mode::from_raw_mode(look.mode);
        fs::fchmod(&self.file, mode).map_err(|errno| Act::Make.failed(errno))?;
        if look.owner.is_none() && look.group.is_none() {
            return Ok(());
        }
        let (owner, group) = (look.owner.map(Uid::from_raw), look.group.map(Gid::from_raw));
        // The one call for it that a service of systemd has to be left.
        let given = fs::chownat(&self.file, "", owner, group, AtFlags::EMPTY_PATH);
        given.map_err(|errno| Act::Give.failed(errno))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // Nobody is left to tell; what stays behind is found at the next start.
            fs::unlinkat(&self.directory, &self.name, AtFlags::empty()).ok();
        }
    }
}

/// Names the parts of the work, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Make a file in the directory.
    Make,
    /// Give it to its owner and group.
    Give,
    /// Write into it.
    Write,
    /// Put it on the disk.
    Sync,
    /// Read it again.
    Verify,
    /// Give it its name.
    Publish,
    /// Put the directory on the disk; the file has its name already.
    SettleDirectory,
    /// Take it away.
    Remove,
    /// Look for drafts.
    List,
}

impl Act {
    const fn failed(self, errno: Errno) -> DurableError {
        DurableError { act: self, errno }
    }

    /// Names it as the cause in «… failed».
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Make => "making a file beside it",
            Self::Give => "giving the file to its owner and group",
            Self::Write => "writing",
            Self::Sync => "putting the file on the disk",
            Self::Verify => "reading back what was written",
            Self::Publish => "putting the file in place",
            Self::SettleDirectory => "putting its directory on the disk",
            Self::Remove => "removing it",
            Self::List => "listing its directory",
        }
    }
}

/// Says what failed, and what the kernel said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} failed ({errno})", act.label())]
pub struct DurableError {
    /// What was to be done.
    pub act: Act,
    /// What the kernel said.
    pub errno: Errno,
}

impl DurableError {
    /// Tells whether something was at the name that nothing may be at.
    #[must_use]
    pub fn is_taken(self) -> bool {
        self == Act::Publish.failed(Errno::EXIST)
    }
}

/// Puts what a file holds on the disk.
fn sync(file: &OwnedFd) -> Result<(), DurableError> {
    retry(|| fs::fsync(file)).map_err(|errno| Act::Sync.failed(errno))
}

/// Puts the directory itself on the disk: the names in it, and what each names.
///
/// # Errors
///
/// When the disk does not take it.
pub fn settle(directory: &TrustedDir) -> Result<(), DurableError> {
    let settled = listable(directory).and_then(|open| retry(|| fs::fsync(&open)));
    settled.map_err(|errno| Act::SettleDirectory.failed(errno))
}

/// Opens the directory anew, for more than to go through it.
fn listable(directory: &TrustedDir) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry(|| fs::openat(directory, ".", flags, Mode::empty()))
}

fn again(directory: &TrustedDir) -> Result<TrustedDir, Errno> {
    directory.again().map_err(|_| Errno::MFILE)
}

fn draft_name(beside: &OsStr) -> Option<OsString> {
    let digits = random::digits(DIGITS)?;
    Some(OsString::from_vec([prefix(beside), digits].concat()))
}

fn is_draft(name: &OsStr, beside: &OsStr) -> bool {
    let digits = name.as_bytes().strip_prefix(prefix(beside).as_slice());
    let is_ours = |digit: &u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit);
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(is_ours))
}

fn prefix(beside: &OsStr) -> Vec<u8> {
    [b".", beside.as_bytes(), MARK.as_bytes()].concat()
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Writes all bytes, however few are taken at a time (fault 106).
fn write_whole(
    content: &[u8],
    mut write: impl FnMut(&[u8], u64) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    let mut written = 0;
    while let Some(rest) = content.get(written..).filter(|rest| !rest.is_empty()) {
        match write(rest, u64::try_from(written).unwrap_or(u64::MAX)) {
            // No kernel says so of a file, and nobody should turn in a circle if one does.
            Ok(0) => return Err(Errno::IO),
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Reads until there is no more, or no more room; tells how many bytes there were.
fn read_whole(
    room: &mut [u8],
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut filled = 0;
    while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read(rest, u64::try_from(filled).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(filled)
}

#[cfg(test)]
#[path = "durable_file_tests.rs"]
mod tests;
