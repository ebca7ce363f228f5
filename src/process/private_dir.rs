//! A directory that is ours alone, for as long as we need it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, Mode},
    io::Errno,
};

use super::{
    durable_file::{self, DurableError, Look},
    path_error::PathError,
    random,
    trusted_dir::{Trail, TrustedDir},
};

/// Digits in the name: nobody can take it before us.
const DIGITS: usize = 16;

/// Holds a directory of mode 0700, below a place that is gone after a restart of the machine.
///
/// It goes with all that is in it when it is dropped. A process that is killed leaves it behind, still
/// for nobody but its user.
pub struct PrivateDir {
    directory: TrustedDir,
    /// What is removed in the end: whatever else goes wrong, a place that has our name.
    made: PathBuf,
}

impl PrivateDir {
    /// Makes one below `$XDG_RUNTIME_DIR`, else `/dev/shm`, else the directory for temporary files.
    ///
    /// # Errors
    ///
    /// What is wrong with the last of them.
    pub fn make() -> Result<Self, PathError> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.filter(|place| place.is_absolute());
        let first = runtime.into_iter().chain([PathBuf::from("/dev/shm")]);
        let made = first.map(|place| Self::make_below(&place)).find_map(Result::ok);
        made.map_or_else(|| Self::make_below(&std::env::temp_dir()), Ok)
    }

    /// Makes one below a directory in which nobody but root and us can replace it.
    ///
    /// # Errors
    ///
    /// When others could, or nothing can be made there.
    pub fn make_below(place: &Path) -> Result<Self, PathError> {
        let parent = TrustedDir::open(place, &mut Trail::default())?;
        let refused = |errno| PathError::new(place, errno);
        let digits = random::digits(DIGITS).ok_or(refused(Errno::AGAIN))?;
        let name = format!("bearerd-{}", String::from_utf8_lossy(&digits));
        let owner_only = Mode::RWXU;
        fs::mkdirat(&parent, &name, owner_only).map_err(refused)?;
        // A umask may have taken away what we need ourselves.
        fs::chmodat(&parent, &name, owner_only, AtFlags::empty()).map_err(refused)?;
        let directory = parent.open_dir(Path::new(&name), &mut Trail::default())?;
        Ok(Self { directory, made: parent.path().join(name) })
    }

    /// Tells where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a file of mode 0600 into it, in place of what is there.
    ///
    /// Blocks as long as the file system does.
    ///
    /// # Errors
    ///
    /// As [`durable_file::replace`].
    pub fn put(&self, name: &OsStr, content: &[u8]) -> Result<(), DurableError> {
        durable_file::replace(&self.directory, name, content, Look::PRIVATE)
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        // What cannot be removed stays private, and does not outlast the machine's next start.
        std::fs::remove_dir_all(&self.made).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{read, write},
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    use tempfile::tempdir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn is_for_its_owner_alone_whatever_the_umask_and_goes_with_all_that_is_in_it() {
        if !crate::process::apart::is_alone(
            module_path!(),
            "is_for_its_owner_alone_whatever_the_umask_and_goes_with_all_that_is_in_it",
        ) {
            return;
        }
        let home = tempdir().unwrap();
        let umask = rustix::process::umask(Mode::from_raw_mode(0o277));
        let made = PrivateDir::make_below(home.path());
        let file = OsStr::new("TOKEN");
        let put =
            made.as_ref().map(|private| private.put(file, b"one").and(private.put(file, b"2")));
        rustix::process::umask(umask);
        put.ok().unwrap().unwrap();
        let private = made.ok().unwrap();
        let path = private.path().to_owned();
        assert_eq!((mode(&path), mode(&path.join(file))), (0o700, 0o600));
        assert_eq!(read(path.join(file)).unwrap(), b"2");
        write(path.join("of somebody else"), "x").unwrap();
        drop(private);
        assert!(!path.exists() && home.path().exists());
    }

    #[test]
    fn two_have_different_names() {
        let home = tempdir().unwrap();
        let [one, other] = [(); 2].map(|()| PrivateDir::make_below(home.path()).ok().unwrap());
        assert_ne!(one.path(), other.path());
    }

    // fault 85
    #[test]
    fn is_not_made_where_others_could_replace_it() {
        let home = tempdir().unwrap();
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let refused = PrivateDir::make_below(home.path()).err().unwrap();
        assert_eq!(refused.label(), "shared_directory");
        assert_eq!(home.path().read_dir().unwrap().count(), 0);
    }
}
