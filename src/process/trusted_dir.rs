//! Directories reached without trusting anybody: every step is opened, then checked.
//!
//! A path is walked one component at a time, each opened relative to the directory before it and
//! never through a symbolic link. A link is read, its owner checked, and its target walked by the
//! same rules. So nobody but root and us can choose what a path means (faults 85, 86 and 158), and
//! no check can be overtaken by a rename (fault 89).

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Component, Path, PathBuf, absolute},
};

use rustix::{
    fs::{self, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::path_error::{PathError, check_owner, others_may_write, permissions};

/// Links followed in one walk before it counts as a loop: the kernel's own limit.
pub(super) const MAX_LINKS: u32 = 40;

/// Holds an open directory that only root and we can have put where it is.
pub struct TrustedDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl TrustedDir {
    /// Opens the directory at `path`, checking everything from the root on.
    ///
    /// # Errors
    ///
    /// When a component is missing, is no directory, belongs to somebody else, or is writable by
    /// others without being sticky and root's.
    pub fn open(path: &Path, trail: &mut Trail) -> Result<Self, PathError> {
        Walk::from_root(path, Strictness::Trusted, trail)?.directory()
    }

    /// Opens the directory at `path`, making it and its missing parents with mode 0755.
    ///
    /// With `shared`, directories that others can write are accepted.
    ///
    /// # Errors
    ///
    /// As [`TrustedDir::open`], and when a directory cannot be made.
    pub fn open_or_make(path: &Path, shared: bool) -> Result<Self, PathError> {
        let strictness = if shared { Strictness::MakeShared } else { Strictness::Make };
        Walk::from_root(path, strictness, &mut Trail::default())?.directory()
    }

    /// Opens likewise a directory in which something of ours is to be; others may write into it only if
    /// it is `shared`, be it sticky or not.
    ///
    /// # Errors
    ///
    /// As [`TrustedDir::open_or_make`], and when others can write and it is not to be shared.
    pub fn open_place(path: &Path, shared: bool) -> Result<Self, PathError> {
        let directory = Self::open_or_make(path, shared)?;
        let stat = directory.stat()?;
        if others_may_write(&stat) && !shared {
            let (path, mode) = (directory.path().to_owned(), permissions(&stat));
            return Err(PathError::SharedDirectory { path, mode });
        }
        Ok(directory)
    }

    /// Opens the directory at `path` below this one.
    ///
    /// # Errors
    ///
    /// As [`TrustedDir::open`].
    pub fn open_dir(&self, path: &Path, trail: &mut Trail) -> Result<Self, PathError> {
        Walk::new(self.again()?, path, Strictness::Trusted, trail).directory()
    }

    /// Opens the file at `path` below this directory for reading, without ever blocking.
    ///
    /// What was opened, its owner and its mode are for the caller to check on the descriptor.
    ///
    /// # Errors
    ///
    /// As [`TrustedDir::open`] for the directories on the way.
    pub fn open_file(&self, path: &Path, trail: &mut Trail) -> Result<Opened, PathError> {
        Walk::new(self.again()?, path, Strictness::Trusted, trail).file()
    }

    /// Tells where the directory is, with all links resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells device and inode, which stay its own while it is open.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub fn identity(&self) -> Result<Identity, PathError> {
        Ok(Identity::of(&self.stat()?))
    }

    /// Reads owner and mode from the open descriptor.
    ///
    /// # Errors
    ///
    /// When the file system fails.
    pub fn stat(&self) -> Result<Stat, PathError> {
        fs::fstat(&self.fd).map_err(|errno| PathError::new(&self.path, errno))
    }

    /// Opens the same directory once more.
    ///
    /// # Errors
    ///
    /// When there is no descriptor for it.
    pub fn again(&self) -> Result<Self, PathError> {
        let fd = self.fd.try_clone().map_err(|error| PathError::from_io(&self.path, &error))?;
        Ok(Self { fd, path: self.path.clone() })
    }

    fn root() -> Result<Self, PathError> {
        const FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        let path = PathBuf::from("/");
        match fs::open(&path, FLAGS, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(errno) => Err(PathError::new(&path, errno)),
        }
    }
}

impl AsFd for TrustedDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Holds a file that was opened for reading, and its path with all links resolved.
pub struct Opened {
    /// The descriptor.
    pub fd: OwnedFd,
    /// For messages.
    pub path: PathBuf,
}

/// Tells two files apart, whatever their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Takes device and inode from what `fstat` said.
    #[must_use]
    pub const fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// Records the names whose change would lead a walk elsewhere: where to look for news.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(Vec<Mark>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    directory: PathBuf,
    identity: Identity,
    name: OsString,
}

impl Trail {
    /// Lists the directories; one that holds two names comes twice.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|mark| mark.directory.as_path())
    }

    /// Tells whether one of the names is `name`, in whichever directory.
    #[must_use]
    pub fn has_name(&self, name: &OsStr) -> bool {
        self.0.iter().any(|mark| mark.name == name)
    }

    fn note(&mut self, directory: &TrustedDir, name: &OsStr) {
        let Ok(identity) = directory.identity() else {
            return;
        };
        let mark = Mark { directory: directory.path.clone(), identity, name: name.to_owned() };
        if !self.0.contains(&mark) {
            self.0.push(mark);
        }
    }
}

/// Says what a walk puts up with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// All must be there, and nothing writable by others.
    Trusted,
    /// Missing directories are made.
    Make,
    /// Missing directories are made, and others may write.
    MakeShared,
}

/// Holds a walk: where it is, and what is still to be walked, last component first.
struct Walk<'t> {
    at: TrustedDir,
    pending: Vec<OsString>,
    links: u32,
    strictness: Strictness,
    trail: &'t mut Trail,
}

impl<'t> Walk<'t> {
    fn new(at: TrustedDir, path: &Path, strictness: Strictness, trail: &'t mut Trail) -> Self {
        let mut walk = Self { at, pending: Vec::new(), links: 0, strictness, trail };
        walk.push(path);
        walk
    }

    fn from_root(
        path: &Path,
        strictness: Strictness,
        trail: &'t mut Trail,
    ) -> Result<Self, PathError> {
        let path = absolute(path).map_err(|error| PathError::from_io(path, &error))?;
        Ok(Self::new(TrustedDir::root()?, &path, strictness, trail))
    }

    fn directory(mut self) -> Result<TrustedDir, PathError> {
        self.check_here()?;
        while let Some(name) = self.pending.pop() {
            self.enter(&name)?;
        }
        Ok(self.at)
    }

    fn file(mut self) -> Result<Opened, PathError> {
        self.check_here()?;
        while let Some(name) = self.pending.pop() {
            if !self.pending.is_empty() {
                self.enter(&name)?;
            } else if let Some(opened) = self.open_last(&name)? {
                return Ok(opened);
            }
        }
        Err(PathError::new(&self.at.path, Errno::ISDIR))
    }

    /// Opens the last name; `None` when it was a link, whose target is now pending.
    fn open_last(&mut self, name: &OsStr) -> Result<Option<Opened>, PathError> {
        const FLAGS: OFlags = OFlags::RDONLY
            .union(OFlags::NOFOLLOW)
            .union(OFlags::NONBLOCK)
            .union(OFlags::NOCTTY)
            .union(OFlags::CLOEXEC);
        self.trail.note(&self.at, name);
        let path = self.at.path.join(name);
        match fs::openat(&self.at, name, FLAGS, Mode::empty()) {
            Ok(fd) => Ok(Some(Opened { fd, path })),
            Err(Errno::LOOP) => self.enter(name).map(|()| None),
            Err(errno) => Err(PathError::new(&path, errno)),
        }
    }

    /// Goes through one name: into a directory, or along a link.
    fn enter(&mut self, name: &OsStr) -> Result<(), PathError> {
        let path = self.at.path.join(name);
        let fd = self.open_component(name).map_err(|errno| {
            self.trail.note(&self.at, name);
            PathError::new(&path, errno)
        })?;
        let stat = fs::fstat(&fd).map_err(|errno| PathError::new(&path, errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.descend(name, fd),
            FileType::Symlink => self.follow(name, &fd, &stat),
            _ => Err(PathError::NotDirectory { path }),
        }
    }

    fn open_component(&self, name: &OsStr) -> Result<OwnedFd, Errno> {
        const FLAGS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
        let open = || fs::openat(&self.at, name, FLAGS, Mode::empty());
        match open() {
            Err(Errno::NOENT) if self.strictness != Strictness::Trusted => {
                make_directory(&self.at, name)?;
                open()
            }
            opened => opened,
        }
    }

    fn descend(&mut self, name: &OsStr, fd: OwnedFd) -> Result<(), PathError> {
        let mut path = std::mem::take(&mut self.at.path);
        // All links before it are resolved, so the parent's name is what remains without the last.
        if name == ".." {
            path.pop();
        } else {
            path.push(name);
        }
        self.at = TrustedDir { fd, path };
        self.check_here()
    }

    fn follow(&mut self, name: &OsStr, fd: &OwnedFd, stat: &Stat) -> Result<(), PathError> {
        let path = self.at.path.join(name);
        self.trail.note(&self.at, name);
        check_owner(&path, stat)?;
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(PathError::Loop { path });
        }
        let target =
            fs::readlinkat(fd, "", Vec::new()).map_err(|errno| PathError::new(&path, errno))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            self.at = TrustedDir::root()?;
        }
        self.push(&target);
        Ok(())
    }

    fn push(&mut self, path: &Path) {
        let names = path.components().rev().filter_map(|component| match component {
            Component::ParentDir => Some(OsString::from("..")),
            Component::Normal(name) => Some(name.to_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        self.pending.extend(names);
    }

    fn check_here(&self) -> Result<(), PathError> {
        let stat = self.at.stat()?;
        check_owner(&self.at.path, &stat)?;
        let guarded = is_sticky(&stat) && stat.st_uid == 0;
        if others_may_write(&stat) && !guarded && self.strictness != Strictness::MakeShared {
            let (path, mode) = (self.at.path.clone(), permissions(&stat));
            return Err(PathError::SharedDirectory { path, mode });
        }
        Ok(())
    }
}

/// Makes a directory of mode 0755, whatever the umask.
fn make_directory(parent: &TrustedDir, name: &OsStr) -> Result<(), Errno> {
    const FLAGS: OFlags =
        OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    match fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => return Ok(()),
        made => made?,
    }
    let made = fs::openat(parent, name, FLAGS, Mode::empty())?;
    fs::fchmod(made, Mode::from_raw_mode(0o755))
}

const fn is_sticky(stat: &Stat) -> bool {
    stat.st_mode & 0o1000 != 0
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{create_dir, create_dir_all, set_permissions, write},
        io::Write,
        os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
    };

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::process::path_error::our_uid;

    fn label(path: &Path) -> &'static str {
        TrustedDir::open(path, &mut Trail::default()).map_or_else(|e| e.label(), |_| "opened")
    }

    fn chmod(path: &Path, mode: u32) {
        set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    /// Makes `a/b/c` and returns the paths of all three.
    fn nested() -> (TempDir, [PathBuf; 3]) {
        let home = tempdir().unwrap();
        let path = home.path().join("a/b/c");
        create_dir_all(&path).unwrap();
        (home, [path.ancestors().nth(2).unwrap().into(), path.parent().unwrap().into(), path])
    }

    fn is_root_or_says_so() -> bool {
        let root = our_uid() == 0;
        if !root {
            writeln!(std::io::stderr(), "SKIPPED: chown needs root").unwrap();
        }
        root
    }

    // faults 85 and 158
    #[test]
    fn every_mode_of_every_directory_on_the_way_counts() {
        let (_home, [a, b, c]) = nested();
        for mode in (0o500..=0o777).chain(0o1500..=0o1777).filter(|mode| mode & 0o500 == 0o500) {
            // Sticky directories are trusted if they are root's.
            let trusted = mode & 0o002 == 0 || (mode & 0o1000 != 0 && our_uid() == 0);
            for directory in [&a, &b, &c] {
                chmod(directory, mode);
                let expected = if trusted { "opened" } else { "shared_directory" };
                assert_eq!(label(&c), expected, "{mode:o} {}", directory.display());
                chmod(directory, 0o755);
            }
        }
    }

    // fault 86
    #[test]
    fn directories_and_links_of_somebody_else_are_refused() {
        if !is_root_or_says_so() {
            return;
        }
        let (home, [a, b, c]) = nested();
        let link = home.path().join("link");
        symlink(&c, &link).unwrap();
        assert_eq!(label(&link), "opened");
        lchown(&link, Some(65534), None).unwrap();
        assert_eq!(label(&link), "wrong_owner");
        for directory in [&a, &b, &c] {
            chown(directory, Some(65534), None).unwrap();
            assert_eq!(label(&c), "wrong_owner", "{}", directory.display());
            chown(directory, Some(0), None).unwrap();
        }
    }

    // fault 86
    #[test]
    fn a_link_is_judged_by_where_it_leads() {
        let (home, [_, b, c]) = nested();
        let at = |name: &str| home.path().join(name);
        symlink("a/./b/../b/c", at("relative")).unwrap();
        symlink(at("relative"), at("twice")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("gone", at("dangling")).unwrap();
        assert_eq!(label(&at("relative")), "opened");
        assert_eq!(label(&at("loop")), "link_loop");
        assert_eq!(label(&at("dangling")), "missing");
        let opened = TrustedDir::open(&at("twice"), &mut Trail::default()).unwrap();
        assert_eq!(opened.path(), c.canonicalize().unwrap());
        chmod(&b, 0o777);
        assert_eq!(label(&at("twice")), "shared_directory");
    }

    // fault 86: as many as the kernel follows
    #[test]
    fn forty_links_are_followed_and_no_more() {
        let (home, [_, _, c]) = nested();
        let link = |number: u32| home.path().join(format!("link{number}"));
        symlink(&c, link(1)).unwrap();
        for number in 2..=MAX_LINKS + 1 {
            symlink(link(number - 1), link(number)).unwrap();
        }
        assert_eq!(
            [1, 39, 40, 41].map(|number| label(&link(number))),
            ["opened", "opened", "opened", "link_loop"]
        );
    }

    #[test]
    fn the_trail_names_what_decides_the_way() {
        let (home, [_, _, c]) = nested();
        symlink(&c, home.path().join("link")).unwrap();
        write(c.join("file"), "x").unwrap();
        let mut trail = Trail::default();
        let directory = TrustedDir::open(&home.path().join("link"), &mut trail).unwrap();
        directory.open_file(Path::new("file"), &mut trail).map(|opened| opened.path).unwrap();
        directory.open_file(Path::new("absent"), &mut trail).map(|opened| opened.path).unwrap_err();
        let home = home.path().canonicalize().unwrap();
        let c = c.canonicalize().unwrap();
        assert_eq!(trail.directories().collect::<Vec<_>>(), [&home, &c, &c]);
        assert!(["link", "file", "absent"].iter().all(|name| trail.has_name(OsStr::new(name))));
        assert!(!trail.has_name(OsStr::new("c")));
    }

    #[test]
    fn missing_directories_are_made_with_mode_0755_and_stay_as_they_are_otherwise() {
        if !crate::process::apart::is_alone(
            module_path!(),
            "missing_directories_are_made_with_mode_0755_and_stay_as_they_are_otherwise",
        ) {
            return;
        }
        let (home, [a, _, _]) = nested();
        chmod(&a, 0o700);
        let path = a.join("new/er");
        let umask = rustix::process::umask(Mode::from_raw_mode(0o077));
        TrustedDir::open_or_make(&path, false).map(drop).unwrap();
        rustix::process::umask(umask);
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
        assert_eq!([mode(&a), mode(&a.join("new")), mode(&path)], [0o700, 0o755, 0o755]);
        let shared = home.path().join("shared");
        create_dir(&shared).unwrap();
        chmod(&shared, 0o777);
        assert!(TrustedDir::open_or_make(&shared, false).is_err());
        assert!(TrustedDir::open_or_make(&shared, true).is_ok());
    }

    // fault 85
    #[test]
    fn a_place_of_ours_is_shared_only_if_it_is_to_be() {
        let (_home, [a, _, c]) = nested();
        for (mode, shared, expected) in [
            (0o755, false, "opened"),
            (0o755, true, "opened"),
            (0o1777, false, "shared_directory"),
            (0o1777, true, "opened"),
            (0o777, false, "shared_directory"),
            (0o777, true, "opened"),
        ] {
            chmod(&c, mode);
            let place = TrustedDir::open_place(&c, shared);
            assert_eq!(
                place.map_or_else(|e| e.label(), |_| "opened"),
                expected,
                "{mode:o} {shared}"
            );
        }
        assert!(TrustedDir::open_place(&a.join("new"), false).is_ok());
    }
}
