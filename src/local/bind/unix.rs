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
mod tests {
    use std::{
        fs::{
            create_dir, hard_link, read_dir, remove_dir, remove_file, rename, set_permissions,
            symlink_metadata, write,
        },
        io::Write,
        os::unix::{
            fs::{MetadataExt, PermissionsExt, chown, symlink},
            net::{UnixDatagram, UnixListener as StdListener, UnixStream},
        },
        sync::Barrier,
        thread,
    };

    use tempfile::{TempDir, tempdir};
    use tokio::runtime::Handle;

    use super::*;

    const PLAIN: SocketFile =
        SocketFile { mode: 0o660, owner: None, group: None, allow_shared_directory: false };

    fn home() -> (TempDir, PathBuf) {
        let home = tempdir().unwrap();
        let path = home.path().join("sock");
        (home, path)
    }

    fn refusal(path: &Path) -> BindError {
        bind_unix(path, &PLAIN).err().expect("refused")
    }

    fn names(directory: &TempDir) -> Vec<OsString> {
        let mut names: Vec<_> =
            read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    /// Leaves what a killed daemon leaves: a socket without a listener, and a lock nobody holds.
    fn kill(bound: BoundUnix) {
        let Claim { spot, .. } = &bound.guard.claim;
        let directory = spot.directory.path().to_owned();
        let saved = directory.join("saved");
        let files = [spot.name.clone(), spot.beside("lock")];
        create_dir(&saved).unwrap();
        for name in &files {
            hard_link(directory.join(name), saved.join(name)).unwrap();
        }
        drop(bound);
        for name in &files {
            rename(saved.join(name), directory.join(name)).unwrap();
        }
        remove_dir(saved).unwrap();
    }

    fn root_or_skipped() -> bool {
        let root = our_uid() == 0;
        if !root {
            writeln!(std::io::stderr(), "SKIPPED: chown needs root").unwrap();
        }
        root
    }

    // fault 157
    #[tokio::test]
    async fn the_mode_is_the_configured_one_whatever_the_umask() {
        if !crate::process::apart::is_alone(
            module_path!(),
            "the_mode_is_the_configured_one_whatever_the_umask",
        ) {
            return;
        }
        let (home, path) = home();
        for umask in [0o000, 0o022, 0o027, 0o077] {
            for mode in [0o600, 0o660, 0o666] {
                let before = rustix::process::umask(Mode::from_raw_mode(umask));
                let bound = bind_unix(&path, &SocketFile { mode, ..PLAIN });
                let ours = rustix::process::umask(before);
                assert_eq!(ours.as_raw_mode(), umask, "the umask was left alone");
                let bound = bound.map_err(|error| error.to_string()).unwrap();
                assert_eq!(symlink_metadata(&path).unwrap().mode() & 0o7777, mode);
                assert_eq!(names(&home), [".sock.lock", "sock"]);
                drop(bound);
                assert!(names(&home).is_empty());
            }
        }
    }

    #[tokio::test]
    async fn clients_get_through() {
        let (_home, path) = home();
        let bound = bind_unix(&path, &PLAIN).ok().unwrap();
        let (client, accepted) =
            tokio::join!(tokio::net::UnixStream::connect(&path), bound.listener.accept());
        assert_eq!(client.unwrap().peer_cred().unwrap().uid(), our_uid());
        accepted.unwrap();
    }

    #[tokio::test]
    async fn owner_and_group_are_each_on_their_own() {
        if !root_or_skipped() {
            return;
        }
        let (_home, path) = home();
        for (owner, group) in [(None, Some(4242)), (Some(4241), None), (Some(4241), Some(4242))] {
            let file = SocketFile { owner, group, ..PLAIN };
            kill(bind_unix(&path, &file).ok().unwrap());
            let stat = symlink_metadata(&path).unwrap();
            assert_eq!((stat.uid(), stat.gid()), (owner.unwrap_or(0), group.unwrap_or(0)));
            assert_eq!(stat.mode() & 0o7777, 0o660);
            // Stale, and of the owner that we gave it to: replaced.
            drop(bind_unix(&path, &file).ok().unwrap());
        }
    }

    // fault 154
    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let (home, path) = home();
        for _ in 0..100 {
            kill(bind_unix(&path, &PLAIN).ok().unwrap());
            assert_eq!(names(&home), [".sock.lock", "sock"]);
            UnixStream::connect(&path).unwrap_err();
            drop(bind_unix(&path, &PLAIN).ok().unwrap());
            assert!(names(&home).is_empty());
        }
        drop(StdListener::bind(&path).unwrap());
        drop(bind_unix(&path, &PLAIN).ok().unwrap());
    }

    #[tokio::test]
    async fn what_a_crash_left_of_the_workshop_is_used_again() {
        let (home, path) = home();
        let workshop = home.path().join(".sock.new");
        create_dir(&workshop).unwrap();
        set_permissions(&workshop, PermissionsExt::from_mode(0o700)).unwrap();
        let _left = StdListener::bind(workshop.join(UNPLACED)).unwrap();
        let bound = bind_unix(&path, &PLAIN).ok().unwrap();
        assert_eq!(names(&home), [".sock.lock", "sock"]);
        drop(bound);
        create_dir(&workshop).unwrap();
        set_permissions(&workshop, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(refusal(&path).label(), "foreign");
    }

    // fault 155
    #[tokio::test]
    async fn a_live_instance_is_never_robbed() {
        let (home, path) = home();
        let bound = bind_unix(&path, &PLAIN).ok().unwrap();
        let inode = symlink_metadata(&path).unwrap().ino();
        assert_eq!(refusal(&path), BindError::Running { path: path.clone() });
        // Not even when its lock has been removed.
        remove_file(home.path().join(".sock.lock")).unwrap();
        assert_eq!(refusal(&path), BindError::Running { path: path.clone() });
        assert_eq!(symlink_metadata(&path).unwrap().ino(), inode);
        drop(bound);
        // Nor one of another program, however busy it is.
        let other = StdListener::bind(&path).unwrap();
        listen(&other, 0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        assert_eq!(refusal(&path), BindError::Running { path });
    }

    // faults 156, 159 and 224
    #[tokio::test]
    async fn what_is_not_our_socket_stays() {
        let (home, path) = home();
        for what in ["a regular file", "a symbolic link", "a directory"] {
            match what {
                "a regular file" => write(&path, "x").unwrap(),
                "a symbolic link" => symlink("elsewhere", &path).unwrap(),
                _ => create_dir(&path).unwrap(),
            }
            let inode = symlink_metadata(&path).unwrap().ino();
            assert!(refusal(&path).to_string().contains(what), "{what}");
            assert_eq!(symlink_metadata(&path).unwrap().ino(), inode);
            remove_file(&path).or_else(|_| remove_dir(&path)).unwrap();
        }
        let _datagrams = UnixDatagram::bind(&path).unwrap();
        assert!(refusal(&path).to_string().contains("a socket of another program"));
        remove_file(&path).unwrap();
        assert!(names(&home).is_empty(), "nothing is left behind");
    }

    // faults 159 and 224
    #[tokio::test]
    async fn a_socket_or_lock_of_somebody_else_stays() {
        if !root_or_skipped() {
            return;
        }
        let (home, path) = home();
        drop(StdListener::bind(&path).unwrap());
        chown(&path, Some(4241), None).unwrap();
        assert!(refusal(&path).to_string().contains("a socket of uid 4241"));
        let lock = home.path().join(".sock.lock");
        write(&lock, "").unwrap();
        chown(&lock, Some(4241), None).unwrap();
        assert_eq!(refusal(&path).label(), "wrong_owner");
        remove_file(&lock).unwrap();
        symlink("elsewhere", &lock).unwrap();
        assert_eq!(refusal(&path).label(), "link_loop");
        assert_eq!(names(&home), [".sock.lock", "sock"]);
    }

    // fault 169
    #[tokio::test]
    async fn a_successor_keeps_its_socket() {
        let (home, path) = home();
        for _ in 0..100 {
            let old = bind_unix(&path, &PLAIN).ok().unwrap();
            remove_file(&path).unwrap();
            remove_file(home.path().join(".sock.lock")).unwrap();
            let new = bind_unix(&path, &PLAIN).ok().unwrap();
            drop(old);
            UnixStream::connect(&path).unwrap();
            assert_eq!(names(&home), [".sock.lock", "sock"]);
            drop(new);
            assert!(names(&home).is_empty());
        }
    }

    // fault 155
    #[tokio::test(flavor = "multi_thread")]
    async fn of_racing_starters_exactly_one_wins() {
        const STARTERS: usize = 4;
        let (home, path) = home();
        for round in 0..200 {
            if round % 2 == 0 {
                drop(StdListener::bind(&path).unwrap());
            }
            let (start, end) = (Barrier::new(STARTERS), Barrier::new(STARTERS));
            let runtime = Handle::current();
            let starter = || {
                let _entered = runtime.enter();
                start.wait();
                let bound = bind_unix(&path, &PLAIN);
                end.wait();
                bound.map(drop)
            };
            let outcomes: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..STARTERS).map(|_| scope.spawn(starter)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let lost = Err(BindError::Running { path: path.clone() });
            assert_eq!(
                outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
                1,
                "{outcomes:?}"
            );
            assert_eq!(outcomes.iter().filter(|outcome| **outcome == lost).count(), STARTERS - 1);
            assert!(names(&home).is_empty(), "round {round}");
        }
    }

    // fault 155: a start while another stops wins or loses, but never shares
    #[tokio::test(flavor = "multi_thread")]
    async fn starts_and_stops_may_cross() {
        let (home, path) = home();
        let runtime = Handle::current();
        let holders = std::sync::atomic::AtomicU32::new(0);
        let rounds = || {
            let _entered = runtime.enter();
            for _ in 0..200 {
                if let Ok(bound) = bind_unix(&path, &PLAIN) {
                    use std::sync::atomic::Ordering::SeqCst;
                    assert_eq!(holders.fetch_add(1, SeqCst), 0);
                    let Claim { spot, lock } = &bound.guard.claim;
                    assert!(spot.is_still(&spot.beside("lock"), lock), "a lock that has no name");
                    UnixStream::connect(&path).unwrap();
                    holders.fetch_sub(1, SeqCst);
                    drop(bound);
                }
            }
        };
        thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(rounds))));
        assert!(names(&home).is_empty());
    }

    // fault 158
    #[tokio::test]
    async fn a_directory_that_others_can_write_needs_leave() {
        let (home, path) = home();
        for mode in [0o777, 0o1777, 0o707] {
            set_permissions(home.path(), PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(refusal(&path).label(), "shared_directory", "{mode:o}");
            let sentence = refusal(&path).to_string();
            assert!(sentence.contains("the listener's allow_shared_directory"), "{sentence}");
            // The control socket has no such key: there must be something else to do.
            assert!(sentence.contains("choose another directory"), "{sentence}");
            let file = SocketFile { allow_shared_directory: true, ..PLAIN };
            bind_unix(&path, &file).ok().unwrap();
        }
        set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
        bind_unix(&home.path().join("new/sock"), &PLAIN).ok().unwrap();
        assert_eq!(home.path().join("new").metadata().unwrap().mode() & 0o7777, 0o755);
    }

    // faults 166 and 167
    #[tokio::test]
    async fn paths_are_as_the_kernel_can_take_them() {
        let (home, _) = home();
        let room = MAX_PATH - home.path().as_os_str().len() - 1;
        let longest = home.path().join("x".repeat(room));
        let bound = bind_unix(&longest, &PLAIN).map_err(|error| error.to_string()).unwrap();
        UnixStream::connect(&longest).unwrap();
        drop(bound);
        let home_path = home.path().display();
        for path in [
            format!("{home_path}/{}", "x".repeat(room + 1)),
            format!("{home_path}/a\0b"),
            format!("{home_path}/"),
            "@abstract".to_owned(),
            "\0abstract".to_owned(),
            "relative/sock".to_owned(),
            "/".to_owned(),
            "/run/..".to_owned(),
        ] {
            assert_eq!(refusal(Path::new(&path)).label(), "path", "{path:?}");
        }
    }
}
