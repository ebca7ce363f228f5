//! The token that clients of a listener get instead of the real one.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use ring::rand::{SecureRandom, SystemRandom};

use crate::process::{
    owned_file::{self, Access},
    secret::Secret,
    trusted_dir::{Trail, TrustedDir},
};

/// Length of a local token: 256 bits in hex digits.
const DIGITS: usize = 64;

/// Says why the local token of a listener is not kept over a restart.
#[derive(Debug, thiserror::Error)]
pub enum LocalTokenError {
    /// The file cannot be written.
    #[error(
        "{0} cannot be written ({1}): clients have to mint again after a restart; see state.dir"
    )]
    Write(PathBuf, io::ErrorKind),
    /// The file is not what we wrote.
    #[error("{0} is not a local token of 64 hex digits that only we can read: remove it")]
    Foreign(PathBuf),
    /// The system has no randomness.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// Gives the token that is kept for a listener, or makes and keeps one.
///
/// # Errors
///
/// Fails when it can be neither read nor written.
pub fn kept(state_dir: &Path, listener: &str) -> Result<Secret, LocalTokenError> {
    let path = state_dir.join(format!("local-token-{listener}"));
    match make(&path) {
        Err(LocalTokenError::Write(_, io::ErrorKind::AlreadyExists)) => read(&path),
        made => made,
    }
}

/// Makes a token that ends with the process.
///
/// # Errors
///
/// Fails when the system gives no random bytes (fault 244).
pub fn fresh() -> Result<Secret, LocalTokenError> {
    let mut bytes = zeroize::Zeroizing::new([0; DIGITS / 2]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| LocalTokenError::NoRandomness)?;
    let mut digits = Vec::with_capacity(DIGITS);
    for byte in bytes.iter() {
        // Writing to memory cannot fail.
        write!(digits, "{byte:02x}").ok();
    }
    Ok(Secret::from(digits))
}

fn make(path: &Path) -> Result<Secret, LocalTokenError> {
    let refused = |error: io::Error| LocalTokenError::Write(path.to_owned(), error.kind());
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(refused)?;
    let token = fresh()?;
    file.write_all(token.expose()).and_then(|()| file.sync_all()).map_err(refused)?;
    Ok(token)
}

fn read(path: &Path) -> Result<Secret, LocalTokenError> {
    let foreign = || LocalTokenError::Foreign(path.to_owned());
    let mut trail = Trail::default();
    let (directory, name) = path.parent().zip(path.file_name()).ok_or_else(foreign)?;
    let directory = TrustedDir::open(directory, &mut trail).map_err(|_| foreign())?;
    let contents =
        owned_file::read_file(&directory, Path::new(name), Access::OwnerOnly, &mut trail);
    let contents = contents.map_err(|_| foreign())?;
    let digits = contents.bytes.trim_ascii_end();
    let is_ours = digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit);
    if is_ours { Ok(Secret::copy_of(digits)) } else { Err(foreign()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = kept(dir.path(), "apps").unwrap();
        assert_eq!(first.len(), DIGITS);
        assert!(kept(dir.path(), "apps").unwrap() == first);
        assert!(kept(dir.path(), "web").unwrap() != first);
        let mode = dir.path().join("local-token-apps").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    // fault 224
    #[test]
    fn what_we_did_not_write_is_not_used_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("local-token-apps");
        for (content, mode) in [("short", 0o600), (&*"a".repeat(64), 0o644), ("", 0o600)] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert!(matches!(kept(dir.path(), "apps"), Err(LocalTokenError::Foreign(_))));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_said() {
        let error = kept(Path::new("/nowhere/at/all"), "apps").err().unwrap();
        assert!(matches!(error, LocalTokenError::Write(_, io::ErrorKind::NotFound)));
    }
}
