//! News about the key, from one look at its file after another.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{
    api_key::ApiKey,
    file::{KeyError, KeyReading, KeyWarning, read_along},
};
use crate::{
    config::model::KeySource,
    process::{
        feed::{Feed, News, Source},
        fingerprint::Fingerprint,
        trusted_dir::Trail,
    },
};

/// Follows one key source and tells what is new.
pub struct KeyFeed(Feed<KeyFiles>);

impl KeyFeed {
    /// Makes a feed; `nudge` makes it look again at once.
    ///
    /// The first look is taken when [`KeyFeed::next`] is first awaited.
    #[must_use]
    pub fn new(source: KeySource, allow_group_readable: bool, nudge: Arc<Notify>) -> Self {
        Self(Feed::new(KeyFiles { source, allow_group_readable }, nudge))
    }

    /// Waits for the next news. May be cancelled and called again: nothing is lost.
    ///
    /// The first call comes back as soon as the source has been read twice.
    pub async fn next(&mut self) -> KeyNews {
        match self.0.next().await {
            News::Changed(KeyReading { key, warnings }) => {
                KeyNews::Changed { key: Arc::new(key), warnings }
            }
            News::Recovered => KeyNews::Recovered,
            News::Broken(error) => KeyNews::Broken(error),
        }
    }
}

/// Tells what is new about a key.
pub enum KeyNews {
    /// A content that is not the one told last.
    Changed {
        /// The key.
        key: Arc<ApiKey>,
        /// What is odd about its file.
        warnings: Vec<KeyWarning>,
    },
    /// The key can be read again, and is the one told last.
    Recovered,
    /// The key cannot be read; told once for each kind of trouble. The key told last stays.
    Broken(KeyError),
}

/// The files of a key, and who may read them.
struct KeyFiles {
    source: KeySource,
    allow_group_readable: bool,
}

impl Source for KeyFiles {
    type Found = KeyReading;
    type Trouble = KeyError;

    fn read(&self, trail: &mut Trail) -> Result<KeyReading, KeyError> {
        read_along(&self.source, self.allow_group_readable, trail)
    }

    fn fingerprint(reading: &KeyReading) -> Fingerprint {
        reading.key.fingerprint()
    }

    fn broken_off(&self) -> KeyError {
        KeyError::BrokeOff { path: self.source.path().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{Permissions, set_permissions, write},
        os::unix::fs::PermissionsExt,
        path::Path,
        time::Duration,
    };

    use tempfile::tempdir;
    use tokio::time::timeout;

    use super::*;

    fn put(path: &Path, secret: &str) {
        let id = "00000000-0000-4000-8000-000000000000";
        write(path, format!(r#"{{"key_id":"{id}","key_secret":"{secret}"}}"#)).unwrap();
        set_mode(path, 0o600);
    }

    fn set_mode(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Waits for the next news and tells its secret, or the label of the trouble.
    async fn news(feed: &mut KeyFeed) -> String {
        // Shorter than any poll, so that only a watch can bring the news in time (fault 81).
        match timeout(Duration::from_secs(8), feed.next()).await.expect("no news in time") {
            KeyNews::Changed { key, .. } => key.expose_secret().to_owned(),
            KeyNews::Recovered => "recovered".to_owned(),
            KeyNews::Broken(error) => error.label().to_owned(),
        }
    }

    // faults 77, 78; 84: mended by chmod alone
    #[tokio::test]
    async fn a_key_is_followed_through_its_troubles() {
        let home = tempdir().unwrap();
        let path = home.path().join("key.json");
        let mut feed = KeyFeed::new(KeySource::File(path.clone()), false, Arc::default());
        assert_eq!(news(&mut feed).await, "missing");
        put(&path, "one");
        assert_eq!(news(&mut feed).await, "one");
        set_mode(&path, 0o644);
        assert_eq!(news(&mut feed).await, "open_mode");
        set_mode(&path, 0o600);
        assert_eq!(news(&mut feed).await, "recovered");
        write(&path, "{").unwrap();
        assert_eq!(news(&mut feed).await, "content");
        put(&path, "two");
        assert_eq!(news(&mut feed).await, "two");
    }
}
