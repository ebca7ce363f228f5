//! The token that outlives a restart: sealed under the API key, good in this boot of the machine only.
//!
//! A file of 16 bytes that name the format, 16 of salt, 12 of nonce, and what AES-256-GCM makes of the
//! token and its life. The key is drawn by HKDF from the secret of the API key and the salt, which is
//! another one each time. Issuer, team, key id and boot are sealed in: where one differs there is
//! nothing to be read, and a start goes on as if there were no file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom, SystemRandom},
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    lease::{Lease, Serial},
    published::Published,
    timing::{Tick, Wall},
};
use crate::{
    key::api_key::ApiKey,
    okta::classify::{Grant, is_b64token},
    process::{
        durable_file::{self, DurableError, Look},
        owned_file::{Access, FileError, read_file},
        path_error::PathError,
        secret::Secret,
        trusted_dir::{Trail, TrustedDir},
    },
};

/// Names the format, and this version of it.
const FORMAT: &[u8; 16] = b"bearerd-token-1\n";
/// Says what the key is drawn for.
const PURPOSE: &[u8] = b"bearerd token cache";
const SALT_LEN: usize = 16;

/// Keeps the token of one credential in a file.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
    /// Issuer, team and boot, as they are sealed in.
    place: String,
}

/// Says why a token is not kept, or what was kept is not read.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file, or the way to it.
    #[error("token cache: {0}")]
    File(#[from] FileError),
    /// It cannot be written.
    #[error("token cache: {path} cannot be written, as {error}; see state.dir")]
    Write {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: DurableError,
    },
    /// The system has no randomness.
    #[error("token cache: the system gives no random bytes")]
    NoRandomness,
}

impl From<PathError> for CacheError {
    fn from(error: PathError) -> Self {
        Self::File(error.into())
    }
}

/// What is sealed: moments in milliseconds.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept<'a> {
    token: &'a str,
    team_name: &'a str,
    expires_at: u64,
    wall_end: u64,
    issued: u64,
    expires: u64,
}

impl Cache {
    /// Names the file of a credential; `boot` is the machine's word for its present boot.
    #[must_use]
    pub fn new(state_dir: &Path, credential: &str, issuer: &str, team: &str, boot: &str) -> Self {
        let place = format!("{issuer}\n{}\n{boot}", team.to_ascii_lowercase());
        Self { path: state_dir.join(format!("token-{credential}.sealed")), place }
    }

    /// Keeps a token, in place of the one before. Blocks as long as the file system does.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then the one before stays.
    pub fn keep(&self, key: &ApiKey, published: &Published) -> Result<(), CacheError> {
        let sealed = self.seal(key, published).ok_or(CacheError::NoRandomness)?;
        let (directory, name) = self.directory()?;
        let written = durable_file::replace(&directory, name.as_ref(), &sealed, Look::PRIVATE);
        written.map_err(|error| CacheError::Write { path: self.path.clone(), error })
    }

    /// Gives the token that was kept, if this key can open it and both clocks leave it some life.
    ///
    /// # Errors
    ///
    /// When there is a file that is not as it should be: its mode, its owner, the way to it.
    pub fn recall(
        &self,
        key: &ApiKey,
        now: Tick,
        wall: Wall,
    ) -> Result<Option<(Grant, Lease)>, CacheError> {
        let (directory, name) = self.directory()?;
        let mut trail = Trail::default();
        match read_file(&directory, name, Access::OwnerOnly, &mut trail) {
            Ok(contents) => Ok(self.open(key, &contents.bytes, now, wall)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn directory(&self) -> Result<(TrustedDir, &Path), CacheError> {
        let parent_and_name = self.path.parent().zip(self.path.file_name());
        let (parent, name) =
            parent_and_name.ok_or_else(|| PathError::new(&self.path, Errno::ISDIR))?;
        Ok((TrustedDir::open(parent, &mut Trail::default())?, Path::new(name)))
    }

    fn seal(&self, key: &ApiKey, published: &Published) -> Option<Vec<u8>> {
        let (lease, token) = (published.lease(), published.token());
        let kept = Kept {
            token: std::str::from_utf8(token.expose()).ok()?,
            team_name: published.team_name(),
            expires_at: millis(published.expires_at().since_epoch()),
            wall_end: millis(published.wall_end().since_epoch()),
            issued: millis(lease.issued.since_boot()),
            expires: millis(lease.expires.since_boot()),
        };
        let (salt, nonce): ([u8; SALT_LEN], [u8; NONCE_LEN]) = (random()?, random()?);
        let mut body = serde_json::to_vec(&kept).ok()?;
        let aad = self.aad(key);
        let sealing = sealing_key(key, &salt)?;
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        sealing.seal_in_place_append_tag(nonce_used, Aad::from(&aad), &mut body).ok()?;
        Some([FORMAT.as_slice(), &salt, &nonce, &body].concat())
    }

    fn open(&self, key: &ApiKey, sealed: &[u8], now: Tick, wall: Wall) -> Option<(Grant, Lease)> {
        let rest = sealed.strip_prefix(FORMAT.as_slice())?;
        let (salt, rest) = rest.split_at_checked(SALT_LEN)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = self.aad(key);
        let opened = sealing_key(key, salt)?.open_in_place(nonce, Aad::from(&aad), &mut body);
        let kept: Kept<'_> = serde_json::from_slice(opened.ok()?).ok()?;
        kept.into_grant(now, wall)
    }

    fn aad(&self, key: &ApiKey) -> Vec<u8> {
        [FORMAT.as_slice(), self.place.as_bytes(), b"\n", key.id().as_bytes()].concat()
    }
}

impl Kept<'_> {
    /// Judges it by both clocks (faults 63 to 67).
    fn into_grant(self, now: Tick, wall: Wall) -> Option<(Grant, Lease)> {
        let moment = Duration::from_millis;
        let left = Wall::from_unix(moment(self.wall_end)).since(wall);
        let lease = Lease {
            serial: Serial::NONE.next(),
            issued: Tick::from_boot(moment(self.issued)),
            published: now,
            expires: Tick::from_boot(moment(self.expires)).min(now + left),
        };
        // What was issued later than now is of no boot of this machine.
        if !lease.is_valid(now) || lease.issued > now || !is_b64token(self.token) {
            return None;
        }
        let grant = Grant {
            token: Secret::copy_of(self.token.as_bytes()),
            lifetime: lease.lifetime(),
            expires_at: Wall::from_unix(moment(self.expires_at)),
            team_name: self.team_name.to_owned(),
        };
        Some((grant, lease))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn sealing_key(key: &ApiKey, salt: &[u8]) -> Option<LessSafeKey> {
    let drawn = Salt::new(HKDF_SHA256, salt).extract(key.secret().expose());
    let drawn = drawn.expand(&[PURPOSE], &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(drawn)))
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(any(test, feature = "fuzzing"))]
#[path = "cache_sealed.rs"]
pub(crate) mod sealed;

#[cfg(test)]
mod tests {
    use std::{
        fs::{read, set_permissions, write},
        os::unix::fs::PermissionsExt,
    };

    use tempfile::{TempDir, tempdir};

    use super::*;

    const ID: &str = "0a1b2c3d-0000-4000-8000-00000000abcd";
    const NOW: Tick = Tick::from_boot(Duration::from_secs(5000));
    const WALL: Wall = Wall::from_seconds(1_769_846_400);

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn key(secret: &str) -> ApiKey {
        ApiKey::new(ID, secret, None).ok().unwrap()
    }

    fn cache(home: &TempDir) -> Cache {
        Cache::new(home.path(), "default", "https://a.example", "acme", "boot")
    }

    fn published() -> Published {
        let lease = Lease {
            serial: Serial::new(9),
            issued: NOW,
            published: NOW + secs(1),
            expires: NOW + secs(3600),
        };
        let grant = Grant {
            token: Secret::copy_of(b"SNTL.a.b"),
            lifetime: secs(3600),
            expires_at: WALL + secs(3600),
            team_name: "acme".into(),
        };
        Published::new(grant, lease, WALL + secs(1))
    }

    fn recalled(cache: &Cache, key: &ApiKey, passed: u64, wall: u64) -> Option<u64> {
        let (now, wall) = (NOW + secs(passed), WALL + secs(wall));
        let kept = cache.recall(key, now, wall).unwrap();
        kept.map(|(grant, lease)| {
            assert_eq!(grant.token.expose(), b"SNTL.a.b");
            assert_eq!(grant.expires_at, WALL + secs(3600));
            Published::new(grant, lease, wall).remaining(now, wall).as_secs()
        })
    }

    // faults 63, 64, 66, 67
    #[test]
    fn a_token_that_was_kept_has_the_life_that_both_clocks_leave_it() {
        let home = tempdir().unwrap();
        let (cache, key) = (cache(&home), key("secret"));
        assert_eq!(recalled(&cache, &key, 2, 2), None, "there is none yet");
        cache.keep(&key, &published()).unwrap();
        for (passed, wall, left) in [
            (2, 2, Some(3598)),
            (2, 3000, Some(600)),
            (3000, 2, Some(600)),
            (3600, 2, None),
            (2, 3600, None),
        ] {
            assert_eq!(recalled(&cache, &key, passed, wall), left, "{passed} {wall}");
        }
        let before = cache.recall(&key, Tick::default(), WALL).unwrap();
        assert!(before.is_none(), "no boot of this machine is so young");
    }

    // fault 238
    #[test]
    fn only_the_same_key_team_issuer_and_boot_open_it() {
        let home = tempdir().unwrap();
        let (cache, own) = (cache(&home), key("secret"));
        cache.keep(&own, &published()).unwrap();
        let place = |issuer, team, boot| Cache::new(home.path(), "default", issuer, team, boot);
        let here = "https://a.example";
        assert!(recalled(&place(here, "ACME", "boot"), &own, 2, 2).is_some());
        for other in [
            place("https://b.example", "acme", "boot"),
            place(here, "globex", "boot"),
            place(here, "acme", "other"),
        ] {
            assert_eq!(recalled(&other, &own, 2, 2), None);
        }
        assert_eq!(recalled(&cache, &key("other"), 2, 2), None);
        let other_id = ApiKey::new(&ID.replace('a', "b"), "secret", None).ok().unwrap();
        assert_eq!(recalled(&cache, &other_id, 2, 2), None);
        let file = read(&cache.path).unwrap();
        for secret in [&b"SNTL"[..], b"secret", b"acme"] {
            assert!(!file.windows(secret.len()).any(|part| part == secret));
        }
    }

    #[test]
    fn what_was_changed_or_cut_opens_for_nobody() {
        let home = tempdir().unwrap();
        let (cache, key) = (cache(&home), key("secret"));
        cache.keep(&key, &published()).unwrap();
        let good = read(&cache.path).unwrap();
        for place in 0..good.len() {
            let mut changed = good.clone();
            changed[place] ^= 1;
            assert!(cache.open(&key, &changed, NOW, WALL).is_none(), "{place}");
            assert!(cache.open(&key, &good[..place], NOW, WALL).is_none(), "{place}");
        }
        assert!(cache.open(&key, &good, NOW, WALL).is_some());
        write(&cache.path, "something else").unwrap();
        assert_eq!(recalled(&cache, &key, 2, 2), None);
    }

    // fault 84
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let home = tempdir().unwrap();
        let (cache, key) = (cache(&home), key("secret"));
        cache.keep(&key, &published()).unwrap();
        set_permissions(&cache.path, PermissionsExt::from_mode(0o640)).unwrap();
        let refused = cache.recall(&key, NOW, WALL).err().unwrap().to_string();
        assert!(refused.contains("0640") && refused.contains("chmod 600"), "{refused}");
        cache.keep(&key, &published()).unwrap();
        assert!(recalled(&cache, &key, 2, 2).is_some(), "the next one is made well");
    }

    #[test]
    fn each_seal_is_another_one() {
        let home = tempdir().unwrap();
        let (cache, key) = (cache(&home), key("secret"));
        let [one, two] = [(); 2].map(|()| cache.seal(&key, &published()).unwrap());
        assert!(one[FORMAT.len()..] != two[FORMAT.len()..]);
    }
}
