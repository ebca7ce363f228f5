//! The preloaded clock: compiled once, set through a file.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use crate::bench::skip;

/// The library, or nothing where it cannot be made.
static LIBRARY: LazyLock<Option<(tempfile::TempDir, PathBuf)>> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("clocks.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/clocks/shim.c");
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .output();
    let made = compiler.ok()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some((directory, library))
});

/// Sets the clocks of one daemon.
pub(crate) struct Clocks {
    file: File,
    path: PathBuf,
    library: &'static Path,
}

impl Clocks {
    /// Makes clocks whose wall time is so many seconds ahead.
    pub(crate) fn new(path: &Path, ahead: i64) -> Option<Self> {
        let Some((_, library)) = &*LIBRARY else {
            skip("there is no C compiler for the preloaded clock");
            return None;
        };
        let file = OpenOptions::new().write(true).create_new(true).open(path).unwrap();
        file.set_len(16).unwrap();
        let clocks = Self { file, path: path.to_owned(), library };
        clocks.set_wall(ahead);
        Some(clocks)
    }

    pub(crate) fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library).env("CLOCK_SHIM", &self.path);
    }

    /// Sets the wall clock, so many seconds ahead of the truth.
    pub(crate) fn set_wall(&self, seconds: i64) {
        self.write(0, seconds);
    }

    /// Lets the machine have slept for so many seconds.
    pub(crate) fn suspend(&self, seconds: i64) {
        self.write(8, seconds);
        self.write(0, seconds);
    }

    fn write(&self, at: u64, seconds: i64) {
        let nanoseconds = seconds * 1_000_000_000;
        self.file.write_all_at(&nanoseconds.to_ne_bytes(), at).unwrap();
    }
}
