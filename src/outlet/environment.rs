//! The environment of a child: the caller's, less what is meant for us, with the token put in.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use crate::process::secret::Secret;

/// Variables that a service manager sets for one process; a child would answer in our name.
const MANAGER: [&str; 15] = [
    "CREDENTIALS_DIRECTORY",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];
const OURS: &str = "BEARERD_";

/// Holds one variable to set.
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, which may be a secret.
    value: Secret,
}

impl Variable {
    /// Copies a value whose owner wipes the original.
    #[must_use]
    pub fn new(name: &str, value: &[u8]) -> Self {
        Self { name: name.to_owned(), value: Secret::copy_of(value) }
    }

    /// Lends the value as a command takes it.
    #[must_use]
    pub fn value(&self) -> &OsStr {
        OsStr::from_bytes(self.value.expose())
    }
}

/// Tells whether a variable of the caller's is handed on.
#[must_use]
pub fn is_handed_on(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    !name.starts_with(OURS.as_bytes()) && !MANAGER.iter().any(|other| other.as_bytes() == name)
}

/// Tells what a shell would take for a name: letters, digits and `_`, no digit first.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_word && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Takes out of a caller's environment what is not handed on.
pub fn inherited(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    all.filter(|(name, _)| is_handed_on(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_for_us_stays_here() {
        let table = [
            ("PATH", true),
            ("HOME", true),
            ("OKTA_BEARER_TOKEN", true),
            ("BEARERD", true),
            ("BEARERD_SOCKET", false),
            ("BEARERD_CREDENTIALS__DEFAULT__KEY_FILE", false),
            ("NOTIFY_SOCKET", false),
            ("LISTEN_FDS", false),
            ("CREDENTIALS_DIRECTORY", false),
            ("WATCHDOG_USEC", false),
        ];
        for (name, is_handed) in table {
            assert_eq!(is_handed_on(OsStr::new(name)), is_handed, "{name}");
        }
        let all = [("A", "1"), ("NOTIFY_SOCKET", "x")].map(|(a, b)| (a.into(), b.into()));
        assert_eq!(inherited(all.into_iter()).collect::<Vec<_>>(), [("A".into(), "1".into())]);
    }

    #[test]
    fn names_are_what_a_shell_takes() {
        let table = [
            ("TOKEN", true),
            ("_t0", true),
            ("0T", false),
            ("", false),
            ("A-B", false),
            ("A=B", false),
            ("Ä", false),
        ];
        for (text, expected) in table {
            assert_eq!(is_name(text), expected, "{text}");
        }
    }
}
