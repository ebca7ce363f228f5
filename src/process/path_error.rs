//! What is wrong with a path: its owner, its mode, or the file system.

use std::path::{Path, PathBuf};

use rustix::{fs::Stat, io::Errno};

use super::trusted_dir::MAX_LINKS;

/// Says why a path was not followed, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing is there.
    #[error("{path} does not exist: create it, or correct the path")]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// Permission was denied.
    #[error("{path} cannot be opened by uid {uid}: permission denied; grant access to it")]
    Denied {
        /// What was to be opened.
        path: PathBuf,
        /// Our user id.
        uid: u32,
    },
    /// A file stands where a directory should.
    #[error("{path} is not a directory: correct the path")]
    NotDirectory {
        /// What stands there.
        path: PathBuf,
    },
    /// Somebody else owns it.
    #[error(
        "{path} belongs to uid {owner}, not to {}: remove it if you did not put it there, else run \
             chown -h {uid} '{path}'",
        trusted(*.uid)
    )]
    Owner {
        /// What somebody else owns.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Our user id.
        uid: u32,
    },
    /// Others can replace what is in the directory.
    #[error(
        "directory {path} has mode {mode:04o}, so others can replace what is in it: \
             run chmod o-w '{path}'"
    )]
    SharedDirectory {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Links lead in a circle.
    #[error("{path} leads through more than {MAX_LINKS} symbolic links: correct them")]
    Loop {
        /// The link at which the walk gave up.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("{path} cannot be used: {errno}")]
    System {
        /// What failed.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
}

impl PathError {
    /// Makes the error that the kernel's answer about `path` stands for.
    #[must_use]
    pub fn new(path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOENT => Self::Missing { path },
            Errno::NOTDIR => Self::NotDirectory { path },
            Errno::ACCESS | Errno::PERM => Self::Denied { path, uid: our_uid() },
            Errno::LOOP => Self::Loop { path },
            errno => Self::System { path, errno },
        }
    }

    /// Names the kind of error, for logs and metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Denied { .. } => "denied",
            Self::NotDirectory { .. } => "not_directory",
            Self::Owner { .. } => "wrong_owner",
            Self::SharedDirectory { .. } => "shared_directory",
            Self::Loop { .. } => "link_loop",
            Self::System { .. } => "io",
        }
    }

    /// Makes it of an error of the standard library.
    #[must_use]
    pub fn from_io(path: &Path, error: &std::io::Error) -> Self {
        Self::new(path, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }
}

/// Refuses what belongs neither to root nor to us.
///
/// # Errors
///
/// [`PathError::Owner`], with who owns it and the remedy.
pub fn check_owner(path: &Path, stat: &Stat) -> Result<(), PathError> {
    let (owner, uid) = (stat.st_uid, our_uid());
    if owner == 0 || owner == uid {
        return Ok(());
    }
    Err(PathError::Owner { path: path.to_owned(), owner, uid })
}

/// Tells the user id that our file accesses are judged by.
#[must_use]
pub fn our_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Tells the permission bits, without the type of the file.
#[must_use]
pub const fn permissions(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

/// Tells whether every user may write.
#[must_use]
pub const fn others_may_write(stat: &Stat) -> bool {
    stat.st_mode & 0o002 != 0
}

/// Names those whom we trust.
fn trusted(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("root or uid {uid}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_of_the_kernel_has_its_sentence() {
        let path = Path::new("/a/b");
        for (errno, label, remedy) in [
            (Errno::NOENT, "missing", "create it"),
            (Errno::NOTDIR, "not_directory", "correct the path"),
            (Errno::ACCESS, "denied", "grant access"),
            (Errno::PERM, "denied", "grant access"),
            (Errno::LOOP, "link_loop", "correct them"),
            // faults 92 and 93
            (Errno::IO, "io", "cannot be used"),
            (Errno::STALE, "io", "cannot be used"),
            (Errno::MFILE, "io", "cannot be used"),
        ] {
            let error = PathError::new(path, errno);
            let sentence = error.to_string();
            assert_eq!(error.label(), label);
            assert!(sentence.contains("/a/b") && sentence.contains(remedy), "{sentence}");
        }
    }
}
