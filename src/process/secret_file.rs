//! Files that hold one secret and nothing else: read with care, made whole or not at all.

use std::path::{Path, PathBuf, absolute};

use rustix::io::Errno;

use super::{
    durable_file::{self, Act, DurableError, Look},
    owned_file::{Access, FileError, read_file},
    path_error::PathError,
    random,
    secret::Secret,
    trusted_dir::{Trail, TrustedDir},
};

/// Length of a secret that we make: 256 bits in hex digits.
pub const MADE_LENGTH: usize = 64;

/// Reads the secret in a file; one line end at its end is not part of it.
///
/// `trail` notes which names led to it, also when there is none. Blocks as long as the file system
/// does.
///
/// # Errors
///
/// When the file, its owner, its mode, or the way to it is not as it should be.
pub fn read(path: &Path, access: Access, trail: &mut Trail) -> Result<Secret, SecretFileError> {
    let root = TrustedDir::open(Path::new("/"), trail)?;
    let path = absolute(path).map_err(|error| PathError::from_io(path, &error))?;
    let contents = read_file(&root, &path, access, trail)?;
    Ok(Secret::copy_of(without_line_end(&contents.bytes)))
}

/// Reads likewise, or makes the file with a secret of 256 bits, if it is not there.
///
/// The new file has the widest mode that `access` lets pass, and belongs to `group`, if one is
/// given. What is there already is never replaced, and a crash leaves nothing at the path.
///
/// # Errors
///
/// As [`read`], and when the file cannot be made or given to the group.
pub fn read_or_make(
    path: &Path,
    access: Access,
    group: Option<u32>,
) -> Result<Secret, SecretFileError> {
    let read = || read(path, access, &mut Trail::default());
    match read() {
        Err(error) if error.is_missing() => {}
        found => return found,
    }
    match make(path, access, group)? {
        Some(made) => Ok(made),
        // Another instance was faster.
        None => read(),
    }
}

/// Makes a secret of 256 bits, as hex digits.
///
/// # Errors
///
/// Fails when the system gives no random bytes (fault 244).
pub fn fresh() -> Result<Secret, SecretFileError> {
    random::digits(MADE_LENGTH).map(Secret::from).ok_or(SecretFileError::NoRandomness)
}

/// Takes one line end away, if there is one.
#[must_use]
pub fn without_line_end(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n")).unwrap_or(bytes)
}

/// Says why there is no secret, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretFileError {
    /// The file itself, or the way to it.
    #[error(transparent)]
    File(#[from] FileError),
    /// It cannot be made.
    #[error("{path} cannot be made ({errno}): mend that, or make it yourself")]
    Make {
        /// What was to be made.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// Its group cannot be set.
    #[error(
        "{path} cannot be given to group {group}: put the daemon's user into that group, or make \
         the file yourself"
    )]
    Group {
        /// What was to be made.
        path: PathBuf,
        /// The group that it should have.
        group: u32,
    },
    /// The system has no randomness.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl SecretFileError {
    /// Names the kind of error, for logs and metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::File(error) => error.label(),
            Self::Make { .. } => "not_made",
            Self::Group { .. } => "group",
            Self::NoRandomness => "no_randomness",
        }
    }

    /// Tells whether nothing was there.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::File(error) if error.is_missing())
    }
}

impl From<PathError> for SecretFileError {
    fn from(error: PathError) -> Self {
        Self::File(error.into())
    }
}

/// Makes the file; `None` if there is one by now.
fn make(
    path: &Path,
    access: Access,
    group: Option<u32>,
) -> Result<Option<Secret>, SecretFileError> {
    let refused = |errno| SecretFileError::Make { path: path.to_owned(), errno };
    let (parent, name) = path.parent().zip(path.file_name()).ok_or(refused(Errno::ISDIR))?;
    let directory = TrustedDir::open(parent, &mut Trail::default())?;
    let secret = fresh()?;
    let look = Look { mode: access.mode(), owner: None, group };
    match (durable_file::create(&directory, name, secret.expose(), look), group) {
        (Ok(()), _) => Ok(Some(secret)),
        (Err(error), _) if error.is_taken() => Ok(None),
        (Err(DurableError { act: Act::Give, .. }), Some(group)) => {
            Err(SecretFileError::Group { path: path.to_owned(), group })
        }
        (Err(error), _) => Err(refused(error.errno)),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{create_dir, read_dir, set_permissions, write},
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
        thread,
    };

    use tempfile::tempdir;

    use super::{super::path_error::our_uid, *};

    fn read_at(path: &Path) -> Result<Secret, SecretFileError> {
        read(path, Access::GroupMayRead, &mut Trail::default())
    }

    fn label(result: Result<Secret, SecretFileError>) -> &'static str {
        result.map_or_else(|error| error.label(), |_| "secret")
    }

    #[test]
    fn a_file_is_made_once_with_the_mode_of_its_kind() {
        for (access, mode) in [(Access::OwnerOnly, 0o600), (Access::GroupMayRead, 0o640)] {
            let home = tempdir().unwrap();
            let path = home.path().join("secret");
            let made = read_or_make(&path, access, None).unwrap();
            assert!(made.expose().iter().all(u8::is_ascii_hexdigit));
            assert_eq!(made.len(), MADE_LENGTH);
            assert_eq!(path.metadata().unwrap().mode() & 0o7777, mode);
            assert!(read_or_make(&path, access, None).unwrap() == made);
            assert!(read_or_make(&home.path().join("other"), access, None).unwrap() != made);
            assert_eq!(read_dir(home.path()).unwrap().count(), 2, "no draft is left");
        }
    }

    #[test]
    fn the_group_alone_is_set() {
        let home = tempdir().unwrap();
        let path = home.path().join("secret");
        let group = if our_uid() == 0 { 65_534 } else { rustix::process::getegid().as_raw() };
        read_or_make(&path, Access::GroupMayRead, Some(group)).map(drop).unwrap();
        let stat = path.metadata().unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (our_uid(), group, 0o640));
    }

    #[test]
    fn one_line_end_is_not_part_of_it() {
        let home = tempdir().unwrap();
        let path = home.path().join("secret");
        for (content, secret) in [
            ("abc", "abc"),
            ("abc\n", "abc"),
            ("abc\r\n", "abc"),
            ("abc\n\n", "abc\n"),
            (" abc ", " abc "),
            ("\n", ""),
            ("", ""),
        ] {
            write(&path, content).unwrap();
            set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
            assert_eq!(read_at(&path).unwrap().expose(), secret.as_bytes(), "{content:?}");
        }
    }

    // fault 224
    #[test]
    fn what_is_there_is_judged_and_never_replaced() {
        let home = tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        write(at("open"), "theirs").unwrap();
        set_permissions(at("open"), PermissionsExt::from_mode(0o644)).unwrap();
        create_dir(at("directory")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        for (name, expected) in
            [("open", "open_mode"), ("directory", "not_regular"), ("dangling", "missing")]
        {
            let got = read_or_make(&at(name), Access::GroupMayRead, None);
            assert_eq!(label(got), expected, "{name}");
        }
        assert_eq!(std::fs::read_to_string(at("open")).unwrap(), "theirs");
        assert_eq!(read_dir(home.path()).unwrap().count(), 3, "no draft is left");
    }

    #[test]
    fn where_nothing_can_be_made_it_is_said() {
        let path = Path::new("/proc/secret");
        assert_eq!(label(read_at(path)), "missing");
        let error = read_or_make(path, Access::OwnerOnly, None).err().unwrap();
        assert_eq!((error.label(), error.is_missing()), ("not_made", false));
        assert!(error.to_string().starts_with("/proc/secret cannot be made"), "{error}");
    }

    // fault 85
    #[test]
    fn a_file_is_made_only_where_nobody_else_can_replace_it() {
        let home = tempdir().unwrap();
        set_permissions(home.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let made = read_or_make(&home.path().join("secret"), Access::OwnerOnly, None);
        assert_eq!(label(made), "shared_directory");
        set_permissions(home.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let made = read_or_make(&home.path().join("a/secret"), Access::OwnerOnly, None);
        assert_eq!(label(made), "missing");
        assert_eq!(read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn of_many_that_start_at_once_all_have_the_same_secret() {
        let home = tempdir().unwrap();
        let path = home.path().join("secret");
        let made = thread::scope(|scope| {
            let make = || read_or_make(&path, Access::OwnerOnly, None).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(made.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(read_dir(home.path()).unwrap().count(), 1, "no draft is left");
    }
}
