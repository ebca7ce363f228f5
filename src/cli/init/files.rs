//! Files that are written whole or not at all, and never over others without a word.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::cli::exit::Exit;

/// Refuses a place where something stands, unless it may be put aside.
pub(super) fn check(path: &Path, force: bool) -> Result<(), Exit> {
    match (is_there(path), force) {
        (false, _) => Ok(()),
        (true, false) => Err(Exit::failed(format!(
            "{} is there already: remove it, choose other places by --dir and --config, or say \
             --force, which keeps it as {}",
            path.display(),
            old(path).display()
        ))),
        (true, true) if is_there(&old(path)) => Err(Exit::failed(format!(
            "{} is there, too, from an earlier --force: remove it or put it away",
            old(path).display()
        ))),
        (true, true) => Ok(()),
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// Makes the directory, for us alone; one that is there stays as it is.
pub(super) fn make_directory(path: &Path) -> Result<(), Exit> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| refused(path, &error))
}

/// A file under a private name beside its place; it goes away unless it is published.
pub(super) struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Writes all of it, down to the disk.
    pub(super) fn write(place: &Path, content: &[u8], mode: u32) -> Result<Self, Exit> {
        let refused = |error: io::Error| refused(place, &error);
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
            return Err(Exit::usage(format!("{} is no place for a file", place.display())));
        };
        // The extension stays last: it tells TOML from JSON.
        let name = format!(".{}.{}", std::process::id(), name.to_string_lossy());
        let draft = Self { path: parent.join(name) };
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&draft.path);
        let mut file = file.map_err(refused)?;
        file.write_all(content).map_err(refused)?;
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(refused)?;
        file.sync_all().map_err(refused)?;
        Ok(draft)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place; tells where what stood there is kept.
    pub(super) fn publish(self, place: &Path, force: bool) -> Result<Option<PathBuf>, Exit> {
        // Unlike a rename, a link replaces nothing that has come meanwhile.
        let mut linked = fs::hard_link(&self.path, place);
        let mut kept = None;
        if force && linked.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
            let old = old(place);
            fs::hard_link(place, &old).map_err(|error| refused(&old, &error))?;
            linked = fs::rename(&self.path, place);
            kept = Some(old);
        }
        linked.map_err(|error| refused(place, &error))?;
        let directory = place.parent().map(File::open);
        // A file system that cannot do this has done what it can.
        directory.and_then(Result::ok).and_then(|directory| directory.sync_all().ok());
        Ok(kept)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is gone if it was renamed.
        fs::remove_file(&self.path).ok();
    }
}

fn refused(path: &Path, error: &io::Error) -> Exit {
    let path = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Exit::denied(format!(
            "{path} cannot be written by this user: choose another --dir, or another user"
        )),
        ErrorKind::AlreadyExists => {
            Exit::failed(format!("{path} has come to be meanwhile: look at it, then try again"))
        }
        ErrorKind::NotFound => {
            Exit::failed(format!("{path} cannot be written: its directory does not exist"))
        }
        kind => Exit::failed(format!("{path} cannot be written: {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn nothing_is_replaced_without_a_word_and_nothing_is_lost_with_one() {
        let home = tempdir().unwrap();
        let place = home.path().join("a.toml");
        let write = |text: &str, force| {
            Draft::write(&place, text.as_bytes(), 0o640).unwrap().publish(&place, force)
        };
        assert_eq!(write("one", false).unwrap(), None);
        assert_eq!(mode(&place), 0o640);
        assert!(write("two", false).is_err() && check(&place, false).is_err());
        assert_eq!(fs::read_to_string(&place).unwrap(), "one");
        check(&place, true).unwrap();
        let kept = write("two", true).unwrap().unwrap();
        assert_eq!(fs::read_to_string(&place).unwrap(), "two");
        assert_eq!(fs::read_to_string(kept).unwrap(), "one");
        assert!(check(&place, true).is_err(), "the old one is not lost by a second time");
        assert!(write("three", true).is_err());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "no draft is left");
    }

    #[test]
    fn a_directory_is_made_for_us_alone() {
        let home = tempdir().unwrap();
        let directory = home.path().join("a/b");
        make_directory(&directory).unwrap();
        assert_eq!((mode(&directory), mode(directory.parent().unwrap())), (0o700, 0o700));
        make_directory(&directory).unwrap();
    }
}
