//! The token that clients of a listener get instead of the real one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use http::HeaderMap;

use crate::{
    okta::wire::bearer_of,
    process::{
        owned_file::Access,
        secret::Secret,
        secret_file::{self, MADE_LENGTH, SecretFileError},
    },
};

/// Holds the token that a listener's clients show, which may change while they are connected.
pub struct LocalToken {
    secret: ArcSwap<Secret>,
    origin: Origin,
}

/// Says who knows a token from the start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Nobody: whoever mints gets it.
    Random,
    /// Whoever may read its file: the listener's access token.
    File,
}

impl LocalToken {
    /// Makes one that every client gets who mints.
    #[must_use]
    pub fn random(secret: Secret) -> Self {
        Self { secret: ArcSwap::from_pointee(secret), origin: Origin::Random }
    }

    /// Makes one that clients have to know: the access token of the listener.
    #[must_use]
    pub fn access(secret: Secret) -> Self {
        Self { secret: ArcSwap::from_pointee(secret), origin: Origin::File }
    }

    /// Tells whether clients have to know it from the start.
    #[must_use]
    pub fn is_access_token(&self) -> bool {
        self.origin == Origin::File
    }

    /// Gives the token that is good now.
    #[must_use]
    pub fn current(&self) -> Arc<Secret> {
        self.secret.load_full()
    }

    /// Takes another one, from the next request on.
    pub fn replace(&self, secret: Secret) {
        self.secret.store(Arc::new(secret));
    }

    /// Tells whether a request carries it, compared in constant time (fault 145).
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        bearer_of(headers).is_some_and(|token| self.secret.load().matches(token))
    }

    /// Tells whether a client with this `key_secret` may have it (fault 283).
    #[must_use]
    pub fn is_for(&self, key_secret: &str) -> bool {
        match self.origin {
            Origin::Random => true,
            Origin::File => self.secret.load().matches(key_secret.as_bytes()),
        }
    }
}

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

    use http::{HeaderValue, header::AUTHORIZATION};

    use super::*;

    fn carries(token: &LocalToken, values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        token.is_in(&headers)
    }

    // fault 145
    #[test]
    fn one_header_carries_the_whole_token_and_nothing_else() {
        let token = LocalToken::random(Secret::copy_of(b"s3cret"));
        for good in ["Bearer s3cret", "bearer s3cret", "BEARER s3cret"] {
            assert!(carries(&token, &[good]), "{good}");
        }
        let bad: [&[&str]; 14] = [
            &[],
            &["Bearer s3cret", "Bearer s3cret"],
            &["Bearer s3cret", "Bearer wrong"],
            &["Bearer s3cret, Bearer s3cret"],
            &["Bearer s3cre"],
            &["Bearer s3crets"],
            &["Bearer S3cret"],
            &["Bearer  s3cret"],
            &["Bearer\ts3cret"],
            &["Bearers3cret"],
            &["Basic s3cret"],
            &["s3cret"],
            &["Bearer "],
            &[""],
        ];
        for values in bad {
            assert!(!carries(&token, values), "{values:?}");
        }
    }

    #[test]
    fn a_new_one_is_good_at_once_and_the_old_one_no_longer() {
        let token = LocalToken::access(Secret::copy_of(b"old"));
        token.replace(Secret::copy_of(b"new"));
        assert!(carries(&token, &["Bearer new"]) && !carries(&token, &["Bearer old"]));
        assert!(token.is_for("new") && !token.is_for("old") && token.is_access_token());
        assert_eq!(token.current().expose(), b"new");
    }

    // fault 283
    #[test]
    fn only_an_access_token_has_to_be_known() {
        let random = LocalToken::random(Secret::copy_of(b"s3cret"));
        let access = LocalToken::access(Secret::copy_of(b"s3cret"));
        assert_eq!([&random, &access].map(LocalToken::is_access_token), [false, true]);
        for (key_secret, known) in [("s3cret", true), ("s3cre", false), ("", false), ("x", false)] {
            assert!(random.is_for(key_secret));
            assert_eq!(access.is_for(key_secret), known, "{key_secret}");
        }
    }

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
