//! Where things lie when the configuration does not say: what systemd, root and XDG give.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

/// Describes the process that reads a configuration, as far as defaults depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// `$RUNTIME_DIRECTORY`, the first if there are several.
    pub runtime_directory: Option<PathBuf>,
    /// `$STATE_DIRECTORY`, the first if there are several.
    pub state_directory: Option<PathBuf>,
    /// `$CREDENTIALS_DIRECTORY`.
    pub credentials_directory: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub xdg_state_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// Descriptors that connections of all listeners may take together, if that is known.
    pub descriptors: Option<usize>,
}

impl Surroundings {
    /// Takes what matters out of an environment.
    ///
    /// Relative paths are ignored, as the XDG base directory specification asks.
    #[must_use]
    pub fn new(environment: &[(OsString, OsString)], uid: u32, gid: u32) -> Self {
        let directory = |name: &str| {
            let (_, value) = environment.iter().find(|(key, _)| key.as_os_str() == name)?;
            Some(first_of(value)).filter(|path| path.is_absolute())
        };
        Self {
            uid,
            gid,
            runtime_directory: directory("RUNTIME_DIRECTORY"),
            state_directory: directory("STATE_DIRECTORY"),
            credentials_directory: directory("CREDENTIALS_DIRECTORY"),
            xdg_runtime_dir: directory("XDG_RUNTIME_DIR"),
            xdg_state_home: directory("XDG_STATE_HOME"),
            home: directory("HOME"),
            descriptors: None,
        }
    }

    /// Places the socket of the one listener that there is without a configured one.
    pub(super) fn listener_socket(&self) -> Option<PathBuf> {
        self.runtime_place("bearerd.sock")
            .or_else(|| Some(self.xdg_runtime_dir.as_ref()?.join("bearerd.sock")))
    }

    /// Places the control socket.
    ///
    /// In `$XDG_RUNTIME_DIR`, which all programs share, it gets a directory of its own.
    pub(super) fn control_socket(&self) -> Option<PathBuf> {
        self.runtime_place("control.sock")
            .or_else(|| Some(self.xdg_runtime_dir.as_ref()?.join("bearerd/control.sock")))
    }

    /// Places the local state.
    pub(super) fn state_dir(&self) -> Option<PathBuf> {
        let below_home = || Some(self.home.as_ref()?.join(".local/state"));
        self.state_directory
            .clone()
            .or_else(|| self.is_root().then(|| "/var/lib/bearerd".into()))
            .or_else(|| Some(self.xdg_state_home.clone().or_else(below_home)?.join("bearerd")))
    }

    fn runtime_place(&self, name: &str) -> Option<PathBuf> {
        let root = || self.is_root().then(|| PathBuf::from("/run/bearerd"));
        Some(self.runtime_directory.clone().or_else(root)?.join(name))
    }

    fn is_root(&self) -> bool {
        self.uid == 0
    }
}

/// Takes the first of a colon-separated list, as systemd writes it for several directories.
fn first_of(value: &OsStr) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let first = value.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
    PathBuf::from(OsStr::from_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(uid: u32, environment: &[(&str, &str)]) -> Surroundings {
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Surroundings::new(&environment, uid, uid)
    }

    fn places(uid: u32, environment: &[(&str, &str)]) -> [Option<String>; 3] {
        let around = around(uid, environment);
        [around.listener_socket(), around.control_socket(), around.state_dir()]
            .map(|path| path.map(|path| path.display().to_string()))
    }

    #[test]
    fn defaults_fall_back_from_systemd_to_root_to_xdg_to_none() {
        let xdg = [("XDG_RUNTIME_DIR", "/run/user/7"), ("XDG_STATE_HOME", "/s")];
        let systemd =
            [("RUNTIME_DIRECTORY", "/run/b:/run/c"), ("STATE_DIRECTORY", "/st"), xdg[0], xdg[1]];
        let some = |paths: [&str; 3]| paths.map(|path| Some(path.to_owned()));
        assert_eq!(
            places(0, &systemd),
            some(["/run/b/bearerd.sock", "/run/b/control.sock", "/st"])
        );
        assert_eq!(
            places(0, &xdg),
            some(["/run/bearerd/bearerd.sock", "/run/bearerd/control.sock", "/var/lib/bearerd"])
        );
        assert_eq!(
            places(7, &xdg),
            some(["/run/user/7/bearerd.sock", "/run/user/7/bearerd/control.sock", "/s/bearerd"])
        );
        assert_eq!(places(7, &[("HOME", "/h")])[2].as_deref(), Some("/h/.local/state/bearerd"));
        assert_eq!(places(7, &[]), [None, None, None]);
    }

    #[test]
    fn relative_and_empty_directories_are_ignored() {
        assert_eq!(places(7, &[("XDG_RUNTIME_DIR", "run"), ("HOME", "")]), [None, None, None]);
    }
}
