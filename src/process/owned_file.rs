//! Small files that hold secrets: opened once, checked on the open descriptor, read with a cap.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Stat, fstat},
    io::{Errno, read},
};
use zeroize::Zeroizing;

use super::{
    path_error::{PathError, check_owner, permissions},
    trusted_dir::{Opened, Trail, TrustedDir},
};

/// Most bytes that a file of ours may hold.
pub const MAX_BYTES: usize = 64 * 1024;

/// Says who besides its owner may have access to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody.
    OwnerOnly,
    /// Its group may read.
    GroupMayRead,
    /// Whoever the mode says: somebody else answers for it.
    Unchecked,
}

impl Access {
    /// Tells the mode that a file should have.
    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::GroupMayRead => 0o640,
            Self::OwnerOnly | Self::Unchecked => 0o600,
        }
    }
}

/// Holds what a file contained; wiped on drop.
pub struct Contents {
    /// The bytes; their buffer never grew.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The path with all links resolved.
    pub path: PathBuf,
    /// Number of names the file has (fault 96).
    pub links: u32,
}

/// Reads the file at `path` below `directory`.
///
/// The file is opened once, without blocking, and checked on the descriptor (faults 84, 87, 89).
///
/// # Errors
///
/// When the way to it is not trusted, it is no regular file, belongs to somebody else, lets others
/// in, holds more than [`MAX_BYTES`], or cannot be read.
pub fn read_file(
    directory: &TrustedDir,
    path: &Path,
    access: Access,
    trail: &mut Trail,
) -> Result<Contents, FileError> {
    let Opened { fd, path } = directory.open_file(path, trail).map_err(FileError::from)?;
    let stat = fstat(&fd).map_err(|errno| PathError::new(&path, errno))?;
    check(&path, &stat, access)?;
    let bytes = read_capped(&fd, &path)?;
    Ok(Contents { bytes, path, links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX) })
}

/// Says why a file was not read, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The way to it, its owner, or the file system.
    #[error(transparent)]
    Path(PathError),
    /// Something other than a file.
    #[error("{path} is not a regular file: put a plain file there, or correct the path")]
    NotRegular {
        /// What stands there.
        path: PathBuf,
    },
    /// Others may read or write it.
    #[error(
        "{path} has mode {mode:04o}, so others than its owner have access: \
             run chmod {wanted:o} '{path}'"
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// More bytes than such a file can hold.
    #[error("{path} holds more than {MAX_BYTES} bytes: it is not the file that is meant")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

impl FileError {
    /// Names the kind of error, for logs and metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Path(error) => error.label(),
            Self::NotRegular { .. } => "not_regular",
            Self::Mode { .. } => "open_mode",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// Tells whether nothing was there.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Path(PathError::Missing { .. }))
    }
}

impl From<PathError> for FileError {
    /// Takes the error over; the kernel opens no socket, and says so with `ENXIO`.
    fn from(error: PathError) -> Self {
        match error {
            PathError::System { path, errno: Errno::NXIO | Errno::ISDIR } => {
                Self::NotRegular { path }
            }
            error => Self::Path(error),
        }
    }
}

fn check(path: &Path, stat: &Stat, access: Access) -> Result<(), FileError> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(FileError::NotRegular { path: path.to_owned() });
    }
    check_owner(path, stat)?;
    let forbidden = match access {
        Access::OwnerOnly => 0o066,
        Access::GroupMayRead => 0o026,
        Access::Unchecked => return Ok(()),
    };
    let mode = permissions(stat);
    if mode & forbidden != 0 {
        return Err(FileError::Mode { path: path.to_owned(), mode, wanted: access.mode() });
    }
    Ok(())
}

/// Reads to the end, or to one byte more than is allowed; the size in the inode may lie (fault 88).
fn read_capped(fd: &OwnedFd, path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES + 1]);
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match read(fd, room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(PathError::new(path, errno).into()),
        }
    }
    if filled > MAX_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write,
        os::unix::{
            fs::{PermissionsExt, chown, symlink},
            net::UnixListener,
        },
        thread::scope,
    };

    use tempfile::{TempDir, tempdir};

    use super::{super::path_error::our_uid, *};

    fn home(content: &[u8], mode: u32) -> (TempDir, PathBuf) {
        let home = tempdir().unwrap();
        let path = home.path().join("key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (home, path)
    }

    fn read_at(path: &Path, access: Access) -> Result<Contents, FileError> {
        let mut trail = Trail::default();
        let root = TrustedDir::open(Path::new("/"), &mut trail).unwrap();
        read_file(&root, path, access, &mut trail)
    }

    fn label(path: &Path) -> &'static str {
        read_at(path, Access::OwnerOnly).map_or_else(|error| error.label(), |_| "read")
    }

    // fault 84
    #[test]
    fn every_mode_is_judged_by_who_may_have_access() {
        let (_home, path) = home(b"x", 0o600);
        for mode in 0o000..=0o777_u32 {
            // Only root reads past the owner's own bits.
            let mode = if our_uid() == 0 { mode } else { mode | 0o400 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = |access| read_at(&path, access).is_ok();
            assert_eq!(read(Access::OwnerOnly), mode & 0o066 == 0, "{mode:o}");
            assert_eq!(read(Access::GroupMayRead), mode & 0o026 == 0, "{mode:o}");
            assert!(read(Access::Unchecked), "{mode:o}");
        }
    }

    #[test]
    fn an_open_mode_is_told_with_the_remedy() {
        let (_home, path) = home(b"x", 0o644);
        let message = read_at(&path, Access::OwnerOnly).err().unwrap().to_string();
        let quoted = format!("run chmod 600 '{}'", path.display());
        assert!(message.contains("0644") && message.contains(&quoted), "{message}");
    }

    // fault 84
    #[test]
    fn a_file_of_somebody_else_is_refused_with_both_uids() {
        if our_uid() != 0 {
            return writeln!(std::io::stderr(), "SKIPPED: chown needs root").unwrap();
        }
        let (_home, path) = home(b"x", 0o600);
        chown(&path, Some(65534), None).unwrap();
        let message = read_at(&path, Access::Unchecked).err().unwrap().to_string();
        assert!(message.contains("65534") && message.contains("chown"), "{message}");
    }

    // fault 89
    #[test]
    fn what_is_swapped_while_it_is_read_is_judged_as_what_it_is() {
        let (home, path) = home(b"ours", 0o600);
        let reads = std::env::var("BEARERD_TEST_SWAPS").map_or(2_000, |it| it.parse().unwrap());
        let swap = |content: &[u8], mode| {
            let new = home.path().join("new");
            fs::write(&new, content).unwrap();
            fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
            fs::rename(&new, &path).unwrap();
        };
        let read = || {
            let mut seen = [0; 2];
            while seen.iter().sum::<usize>() < reads || seen.contains(&0) {
                let outcome = read_at(&path, Access::OwnerOnly);
                seen[usize::from(outcome.is_ok())] += 1;
                match outcome {
                    Ok(read) => assert_eq!(*read.bytes, b"ours"),
                    Err(error) => assert_eq!(error.label(), "open_mode"),
                }
            }
        };
        scope(|threads| {
            let reader = threads.spawn(read);
            while !reader.is_finished() {
                swap(b"open to others", 0o644);
                swap(b"ours", 0o600);
            }
        });
    }

    // fault 87
    #[test]
    fn only_regular_files_are_read_and_nothing_blocks() {
        let home = tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("directory")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        for name in ["directory", "pipe", "socket"] {
            assert_eq!(label(&at(name)), "not_regular", "{name}");
        }
        for (path, expected) in
            [("/dev/zero", "not_regular"), ("/dev/null", "not_regular"), ("/", "not_regular")]
        {
            assert_eq!(label(Path::new(path)), expected, "{path}");
        }
        // Regular by its type, but nothing is mapped where it begins.
        // fault 92: EIO
        assert_eq!(label(Path::new("/proc/self/mem")), "io");
        assert_eq!(label(&at("nothing")), "missing");
        assert_eq!(label(&at("pipe/below")), "not_directory");
    }

    // fault 88
    #[test]
    fn the_cap_counts_bytes_read() {
        let (_home, path) = home(&[b'x'; MAX_BYTES], 0o600);
        assert_eq!(read_at(&path, Access::OwnerOnly).unwrap().bytes.len(), MAX_BYTES);
        let huge = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for size in [MAX_BYTES as u64 + 1, 10 << 30] {
            huge.set_len(size).unwrap();
            assert_eq!(label(&path), "too_large");
        }
        // Says of itself that it has no bytes, and has some.
        let version = read_at(Path::new("/proc/version"), Access::Unchecked).unwrap();
        assert!(!version.bytes.is_empty());
    }

    // fault 96
    #[test]
    fn links_are_counted() {
        let (home, path) = home(b"x", 0o600);
        assert_eq!(read_at(&path, Access::OwnerOnly).unwrap().links, 1);
        fs::hard_link(&path, home.path().join("other")).unwrap();
        assert_eq!(read_at(&path, Access::OwnerOnly).unwrap().links, 2);
    }

    // fault 236
    #[test]
    fn the_buffer_never_moves() {
        let (_home, path) = home(b"short", 0o600);
        let contents = read_at(&path, Access::OwnerOnly).unwrap();
        assert_eq!(contents.bytes.as_slice(), b"short");
        assert_eq!(contents.bytes.capacity(), MAX_BYTES + 1);
    }

    #[test]
    fn a_link_is_resolved_for_messages() {
        let (home, path) = home(b"x", 0o600);
        symlink(&path, home.path().join("link")).unwrap();
        let contents = read_at(&home.path().join("link"), Access::OwnerOnly).unwrap();
        assert_eq!(contents.path, path.canonicalize().unwrap());
    }
}
