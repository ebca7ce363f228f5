//! The token that clients of a listener get instead of the real one.

use std::path::{Path, PathBuf};

use crate::process::{
    owned_file::Access,
    secret::Secret,
    secret_file::{self, MADE_LENGTH, SecretFileError},
};

/// Says why the local token of a listener is not kept over a restart.
#[derive(Debug, thiserror::Error)]
pub enum LocalTokenError {
    /// The file can be neither read nor made.
    #[error("{0}. Clients have to mint again after a restart; see state.dir")]
    File(#[from] SecretFileError),
    /// The file is not what we wrote.
    #[error("{0} is not a local token of 64 hex digits: remove it")]
    Foreign(PathBuf),
}

/// Gives the token that is kept for a listener, or makes and keeps one.
///
/// # Errors
///
/// Fails when it can be neither read nor written.
pub fn kept(state_dir: &Path, listener: &str) -> Result<Secret, LocalTokenError> {
    let path = state_dir.join(format!("local-token-{listener}"));
    let token = secret_file::read_or_make(&path, Access::OwnerOnly, None)?;
    let digits = token.expose();
    let is_ours = digits.len() == MADE_LENGTH && digits.iter().all(u8::is_ascii_hexdigit);
    if is_ours { Ok(token) } else { Err(LocalTokenError::Foreign(path)) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = kept(dir.path(), "apps").unwrap();
        assert_eq!(first.len(), MADE_LENGTH);
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
        for (content, mode) in [
            ("short", 0o600),
            (&*"x".repeat(64), 0o600),
            (&*"a".repeat(64), 0o644),
            (&*"a".repeat(64), 0o640),
            ("", 0o600),
        ] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert!(kept(dir.path(), "apps").is_err(), "{content} {mode:o}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_said() {
        let error = kept(Path::new("/nowhere/at/all"), "apps").err().unwrap().to_string();
        assert!(error.contains("/nowhere") && error.contains("state.dir"), "{error}");
    }
}
