//! The access token of a listener: what its file may hold, and who may read it.

use std::path::{Path, PathBuf};

use crate::process::{
    feed::Source,
    fingerprint::Fingerprint,
    owned_file::Access,
    secret::Secret,
    secret_file::{self, SecretFileError},
    trusted_dir::Trail,
};

/// Fewest characters that nobody guesses.
const SHORTEST: usize = 32;
/// Most characters that clients can send: Okta's own have no longer `key_secret`.
const LONGEST: usize = 512;
/// The owner may do what he likes, the group may read: the programs that are let in.
const ACCESS: Access = Access::GroupMayRead;

/// Names the file of an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenFile(pub PathBuf);

impl AccessTokenFile {
    /// Reads the token, or makes the file with one of 256 bits, if it is not there.
    ///
    /// The new file has mode 0640 and belongs to `group`, if one is given.
    ///
    /// # Errors
    ///
    /// When the file can be neither read nor made, or holds no access token.
    pub fn read_or_make(&self, group: Option<u32>) -> Result<Secret, AccessTokenError> {
        checked(&self.0, secret_file::read_or_make(&self.0, ACCESS, group)?)
    }
}

impl Source for AccessTokenFile {
    type Content = Secret;
    type Trouble = AccessTokenError;

    fn read(&self, trail: &mut Trail) -> Result<Secret, AccessTokenError> {
        checked(&self.0, secret_file::read(&self.0, ACCESS, trail)?)
    }

    fn fingerprint(token: &Secret) -> Fingerprint {
        Fingerprint::of([token.expose()])
    }

    fn broken_off(&self) -> AccessTokenError {
        AccessTokenError::BrokeOff { path: self.0.clone() }
    }
}

/// Says why there is no access token, in a sentence for people; it quotes no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessTokenError {
    /// The file itself, or the way to it.
    #[error("access token: {0}")]
    File(#[from] SecretFileError),
    /// What stands in it.
    #[error("access token: {path} {flaw}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The reading itself broke off, for a reason of our own.
    #[error("access token: reading {path} broke off; it will be read again")]
    BrokeOff {
        /// The file.
        path: PathBuf,
    },
}

impl AccessTokenError {
    /// Tells whether there is no file, so that one can be made.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::File(error) if error.is_missing())
    }
}

/// Says what is wrong with a token, as the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It can be guessed.
    #[error(
        "holds fewer than {SHORTEST} characters: write a longer secret, or remove the file and \
         the daemon makes one when it starts"
    )]
    Short,
    /// Not every client could send it.
    #[error("holds more than {LONGEST} characters, so it is no access token: correct the path")]
    Long,
    /// No client could send it.
    #[error(
        "holds white space or other characters that no header can carry: write one line of \
         visible ASCII characters"
    )]
    Unsendable,
}

/// Finds out what is wrong with a token.
///
/// # Errors
///
/// The first flaw that is found.
pub fn check(token: &[u8]) -> Result<(), Flaw> {
    match token.len() {
        _ if !token.iter().all(u8::is_ascii_graphic) => Err(Flaw::Unsendable),
        ..SHORTEST => Err(Flaw::Short),
        SHORTEST..=LONGEST => Ok(()),
        _ => Err(Flaw::Long),
    }
}

fn checked(path: &Path, token: Secret) -> Result<Secret, AccessTokenError> {
    match check(token.expose()) {
        Ok(()) => Ok(token),
        Err(flaw) => Err(AccessTokenError::Content { path: path.to_owned(), flaw }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_token_is_one_word_of_a_certain_length() {
        let long = |length| "x".repeat(length).into_bytes();
        let with = |byte: u8| [&long(40)[..], &[byte], &long(40)].concat();
        for (token, expected) in [
            (long(0), Err(Flaw::Short)),
            (long(31), Err(Flaw::Short)),
            (long(32), Ok(())),
            (long(512), Ok(())),
            (long(513), Err(Flaw::Long)),
            (with(b'!'), Ok(())),
            (with(b'~'), Ok(())),
            (with(b'"'), Ok(())),
            (with(b' '), Err(Flaw::Unsendable)),
            (with(b'\t'), Err(Flaw::Unsendable)),
            (with(b'\n'), Err(Flaw::Unsendable)),
            (with(b'\r'), Err(Flaw::Unsendable)),
            (with(0), Err(Flaw::Unsendable)),
            (with(0x7f), Err(Flaw::Unsendable)),
            (with(0xe4), Err(Flaw::Unsendable)),
        ] {
            assert_eq!(check(&token), expected, "{token:?}");
        }
    }

    // fault 84
    #[test]
    fn the_file_is_as_strict_as_its_group_allows() {
        let home = tempfile::tempdir().unwrap();
        let file = AccessTokenFile(home.path().join("token"));
        let made = file.read_or_make(None).unwrap();
        assert_eq!(made.len(), 64);
        assert_eq!(file.0.metadata().unwrap().mode() & 0o7777, 0o640);
        for (mode, is_read) in
            [(0o600, true), (0o440, true), (0o644, false), (0o660, false), (0o642, false)]
        {
            std::fs::set_permissions(&file.0, PermissionsExt::from_mode(mode)).unwrap();
            let read = file.read(&mut Trail::default());
            assert_eq!(read.is_ok_and(|token| token == made), is_read, "{mode:o}");
        }
    }

    #[test]
    fn a_bad_file_is_named_and_left_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let file = AccessTokenFile(home.path().join("token"));
        std::fs::write(&file.0, "hunter2\n").unwrap();
        std::fs::set_permissions(&file.0, PermissionsExt::from_mode(0o640)).unwrap();
        let told = file.read_or_make(None).err().unwrap().to_string();
        assert!(told.contains(&*file.0.to_string_lossy()) && told.contains("32"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        assert_eq!(std::fs::read_to_string(&file.0).unwrap(), "hunter2\n");
    }
}
