//! Unix sockets: placed in one step, never stolen, removed only while they are ours.
//!
//! A start takes a lock beside the socket and keeps it for life, so of two daemons that start at
//! once one is refused before it touches anything (fault 155). Under the lock a socket that nobody
//! listens on is stale and replaced (fault 154). The new one is bound in a directory of mode 0700,
//! gets its mode and owner there, listens, and is then renamed into place: no moment shows it with
//! a wider mode (fault 157) or without a listener, and the process's umask is never touched.

use std::{
    ffi::{OsStr, OsString},
    fmt::Display,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, bind, connect, listen},
};
use tokio::net::UnixListener;

use super::{BACKLOG, BindError, stream_socket};
use crate::{
    config::model::SocketFile,
    process::{
        path_error::{PathError, check_owner, our_uid, permissions},
        trusted_dir::{Identity, TrustedDir},
    },
};

/// Longest path that fits into `sockaddr_un`, in bytes (fault 167).
const MAX_PATH: usize = 107;
/// Times that the lock file may be removed by an instance that stops, while we open it.
const LOCK_TRIES: u32 = 100;
/// Name of the socket before it is renamed into place.
const UNPLACED: &str = "s";

/// Holds a socket that listens at its path.
pub struct BoundUnix {
    /// Keeps the path ours; dropped before the listener, so that no client meets a dead socket.
    pub guard: SocketGuard,
    /// Accepts.
    pub listener: UnixListener,
}

/// Listens on a unix socket at `path`, with mode and owner as `file` says. Needs a runtime.
///
/// # Errors
///
/// When the path cannot be one, its directory is open to others, an instance is running there,
/// something else stands there, or the owner cannot be set.
pub fn bind_unix(path: &Path, file: &SocketFile) -> Result<BoundUnix, BindError> {
    let claim = Claim::take(Spot::open(path, file.allow_shared_directory)?)?;
    claim.spot.check_free(file)?;
    let (socket, placed) = claim.spot.place(file)?;
    let guard = SocketGuard { placed, claim };
    let listener = UnixListener::from_std(socket.into()).map_err(|error| {
        BindError::unix(path, Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    Ok(BoundUnix { guard, listener })
}

/// Looks whether a socket could be at `path`; makes nothing, and asks no running instance.
///
/// # Errors
///
/// As [`bind_unix`], as far as can be seen without changing anything.
pub fn look(path: &Path, file: &SocketFile) -> Result<(), BindError> {
    let (parent, _) = split(path)?;
    if parent.is_dir() {
        return Spot::open(path, file.allow_shared_directory)?.is_taken(file).map(drop);
    }
    // It will be made below what is there.
    let above = parent.ancestors().find(|above| above.is_dir()).unwrap_or(parent);
    TrustedDir::open_or_make(above, file.allow_shared_directory)?;
    Ok(())
}

/// Removes the socket at its drop, if the path still names the one that was placed (fault 169).
pub struct SocketGuard {
    /// Held open, so that no other file gets its inode.
    placed: OwnedFd,
    /// Given up last.
    claim: Claim,
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        let spot = &self.claim.spot;
        spot.remove_if(&spot.name, &self.placed);
    }
}

/// Names a place for a socket, in a directory that is held open.
struct Spot {
    directory: TrustedDir,
    name: OsString,
    path: PathBuf,
}

impl Spot {
    fn open(path: &Path, shared: bool) -> Result<Self, BindError> {
        let (parent, name) = split(path)?;
        let directory = TrustedDir::open_place(parent, shared)?;
        Ok(Self { directory, name: name.to_owned(), path: path.to_owned() })
    }

    /// Refuses whatever stands there and is not a stale socket of ours.
    fn check_free(&self, file: &SocketFile) -> Result<(), BindError> {
        if !self.is_taken(file)? {
            return Ok(());
        }
        match self.probe() {
            Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(()),
            // A full backlog is a listener too.
            Ok(()) | Err(Errno::AGAIN) => Err(BindError::Running { path: self.path.clone() }),
            Err(Errno::PROTOTYPE) => Err(self.foreign("a socket of another program")),
            Err(errno) => Err(BindError::unix(&self.path, errno)),
        }
    }

    /// Tells whether a socket of ours stands there already; refuses whatever else does.
    fn is_taken(&self, file: &SocketFile) -> Result<bool, BindError> {
        let stat = match self.stat(&self.name) {
            Err(Errno::NOENT) => return Ok(false),
            stat => stat.map_err(|errno| BindError::unix(&self.path, errno))?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Socket {
            return Err(self.foreign(describe(kind)));
        }
        if stat.st_uid != our_uid() && Some(stat.st_uid) != file.owner {
            return Err(self.foreign(format!("a socket of uid {}", stat.st_uid)));
        }
        Ok(true)
    }

    /// Connects without waiting.
    fn probe(&self) -> Result<(), Errno> {
        connect(&stream_socket(AddressFamily::UNIX)?, &SocketAddrUnix::new(&self.path)?)
    }

    /// Makes the socket in private and renames it into place.
    fn place(&self, file: &SocketFile) -> Result<(OwnedFd, OwnedFd), BindError> {
        let workshop = Workshop::open(self)?;
        let socket = workshop.bind().map_err(|errno| BindError::unix(&self.path, errno))?;
        workshop.dress(file).map_err(|errno| self.dress_error(errno))?;
        let placed = workshop.hand_over(&socket);
        Ok((socket, placed.map_err(|errno| BindError::unix(&self.path, errno))?))
    }

    fn dress_error(&self, errno: Errno) -> BindError {
        match errno {
            Errno::PERM | Errno::INVAL => BindError::Ownership { path: self.path.clone() },
            errno => BindError::unix(&self.path, errno),
        }
    }

    fn stat(&self, name: &OsStr) -> Result<Stat, Errno> {
        fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Tells whether `name` is the very file that is open.
    fn is_still(&self, name: &OsStr, open: &OwnedFd) -> bool {
        match (self.stat(name), fs::fstat(open)) {
            (Ok(named), Ok(open)) => Identity::of(&named) == Identity::of(&open),
            _ => false,
        }
    }

    fn remove_if(&self, name: &OsStr, open: &OwnedFd) {
        if self.is_still(name, open) {
            // Nobody is left to tell; what stays behind is taken for stale by the next start.
            fs::unlinkat(&self.directory, name, AtFlags::empty()).ok();
        }
    }

    /// Names a file that goes with the socket.
    fn beside(&self, suffix: &str) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".");
        name.push(suffix);
        name
    }

    fn path_beside(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(self.beside(suffix))
    }

    fn foreign(&self, what: impl Display) -> BindError {
        BindError::Foreign { path: self.path.clone(), what: what.to_string() }
    }
}

/// Holds a place under a lock that says: this instance owns it. The lock file goes with it.
struct Claim {
    spot: Spot,
    lock: OwnedFd,
}

impl Claim {
    /// Takes the lock or is refused; never waits.
    fn take(spot: Spot) -> Result<Self, BindError> {
        let (name, path) = (spot.beside("lock"), spot.path_beside("lock"));
        for _ in 0..LOCK_TRIES {
            let lock = open_lock(&spot, &name, &path)?;
            match fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                // An instance that stops removes its lock file: then this one locks nothing.
                Ok(()) if spot.is_still(&name, &lock) => return Ok(Self { spot, lock }),
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => break,
                Err(errno) => return Err(BindError::unix(&path, errno)),
            }
        }
        Err(BindError::Running { path: spot.path })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.spot.remove_if(&self.spot.beside("lock"), &self.lock);
    }
}

fn open_lock(spot: &Spot, name: &OsStr, path: &Path) -> Result<OwnedFd, BindError> {
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = fs::openat(&spot.directory, name, flags, Mode::from_raw_mode(0o600))
        .map_err(|errno| BindError::Directory(PathError::new(path, errno)))?;
    let stat = fs::fstat(&lock).map_err(|errno| BindError::unix(path, errno))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        let (path, what) = (path.to_owned(), describe(kind).to_owned());
        return Err(BindError::Foreign { path, what });
    }
    check_owner(path, &stat)?;
    Ok(lock)
}

/// Holds a directory of mode 0700 beside the place; removed at its drop.
///
/// Its name is fixed, as the lock keeps others out: what a crash leaves is used again, not piled up.
struct Workshop<'s> {
    spot: &'s Spot,
    fd: OwnedFd,
}

impl<'s> Workshop<'s> {
    fn open(spot: &'s Spot) -> Result<Self, BindError> {
        let (name, path) = (spot.beside("new"), spot.path_beside("new"));
        match fs::mkdirat(&spot.directory, &name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(BindError::Directory(PathError::new(&path, errno))),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&spot.directory, &name, flags, Mode::empty())
            .map_err(|errno| BindError::Directory(PathError::new(&path, errno)))?;
        let stat = fs::fstat(&fd).map_err(|errno| BindError::unix(&path, errno))?;
        if stat.st_uid != our_uid() || permissions(&stat) & 0o077 != 0 {
            let what = format!("a directory of uid {} that others may enter", stat.st_uid);
            return Err(BindError::Foreign { path, what });
        }
        Ok(Self { spot, fd })
    }

    /// Binds under a path that is short however long the directory's own is.
    fn bind(&self) -> Result<OwnedFd, Errno> {
        match fs::unlinkat(&self.fd, UNPLACED, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let socket = stream_socket(AddressFamily::UNIX)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}/{UNPLACED}", self.fd.as_raw_fd()));
        match bind(&socket, &SocketAddrUnix::new(&short)?) {
            // No /proc: the long way, if it fits.
            Err(Errno::NOENT) => {
                let long = self.spot.path_beside("new").join(UNPLACED);
                bind(&socket, &SocketAddrUnix::new(&long)?)?;
            }
            bound => bound?,
        }
        Ok(socket)
    }

    /// Gives the socket its mode and owner; the mode first, as an owner we give away is not ours.
    fn dress(&self, file: &SocketFile) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(file.mode & 0o777);
        fs::chmodat(&self.fd, UNPLACED, mode, AtFlags::empty())?;
        if file.owner.is_none() && file.group.is_none() {
            return Ok(());
        }
        let (owner, group) = (file.owner.map(Uid::from_raw), file.group.map(Gid::from_raw));
        fs::chownat(&self.fd, UNPLACED, owner, group, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Lets the socket listen, then puts it where clients look; returns its file, held open.
    fn hand_over(&self, socket: &OwnedFd) -> Result<OwnedFd, Errno> {
        listen(socket, BACKLOG)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&self.fd, UNPLACED, flags, Mode::empty())?;
        fs::renameat(&self.fd, UNPLACED, &self.spot.directory, &self.spot.name)?;
        Ok(file)
    }
}

impl Drop for Workshop<'_> {
    fn drop(&mut self) {
        // After a failure the socket may still be in it; after a success it is empty.
        fs::unlinkat(&self.fd, UNPLACED, AtFlags::empty()).ok();
        fs::unlinkat(&self.spot.directory, self.spot.beside("new"), AtFlags::REMOVEDIR).ok();
    }
}

/// Splits a path into directory and name, if a socket can have it (faults 166 and 167).
fn split(path: &Path) -> Result<(&Path, &OsStr), BindError> {
    let refuse = |flaw| Err(BindError::Path { path: path.to_owned(), flaw });
    let bytes = path.as_os_str().as_bytes();
    if !path.is_absolute() {
        return refuse(
            "is not absolute: begin it with a slash (abstract sockets are not supported)",
        );
    }
    if bytes.contains(&0) {
        return refuse("holds a NUL byte: remove it");
    }
    if bytes.len() > MAX_PATH {
        return refuse("is longer than 107 bytes, the kernel's limit: shorten it");
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !bytes.ends_with(b"/") => Ok((parent, name)),
        _ => refuse("names a directory: add a file name"),
    }
}

const fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "no socket",
    }
}

#[cfg(test)]
#[path = "unix_tests.rs"]
mod tests;
