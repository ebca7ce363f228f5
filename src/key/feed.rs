//! News about the key: what of it is new, and what is wrong with it.

use super::file::{KeyError, KeyReading, read_along};
use crate::{
    config::model::KeySource,
    process::{
        feed::{Feed, News, Source},
        fingerprint::Fingerprint,
        trusted_dir::Trail,
    },
};

/// Follows one key source.
pub type KeyFeed = Feed<KeyPlace>;

/// Tells what is new about a key.
pub type KeyNews = News<KeyPlace>;

/// Names the place of a key, and who may read it.
pub struct KeyPlace {
    /// The place.
    pub source: KeySource,
    /// Whether its group may.
    pub allow_group_readable: bool,
}

impl Source for KeyPlace {
    type Content = KeyReading;
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
    use std::{fs::write, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

    use tokio::sync::Notify;

    use super::*;

    fn put(path: &Path, content: &str) {
        write(path, content).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn key(secret: &str) -> String {
        let id = "00000000-0000-4000-8000-000000000000";
        format!(r#"{{"key_id":"{id}","key_secret":"{secret}"}}"#)
    }

    async fn news(feed: &mut KeyFeed) -> String {
        match feed.next().await {
            News::Changed(reading) => reading.key.expose_secret().to_owned(),
            News::Recovered => "recovered".to_owned(),
            News::Broken(error) => error.label().to_owned(),
        }
    }

    // faults 77 and 78: how files change at all is tested where they are followed
    #[tokio::test]
    async fn what_is_no_key_is_told_and_the_same_key_in_other_words_is_no_news() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.json");
        put(&path, &key("one"));
        let place = KeyPlace { source: KeySource::File(path.clone()), allow_group_readable: false };
        let mut feed = Feed::new(place, Arc::new(Notify::new()));
        assert_eq!(news(&mut feed).await, "one");
        put(&path, "{");
        assert_eq!(news(&mut feed).await, "content");
        put(&path, &format!(" {}\n", key("one")));
        assert_eq!(news(&mut feed).await, "recovered");
        put(&path, &key("two"));
        assert_eq!(news(&mut feed).await, "two");
    }
}
