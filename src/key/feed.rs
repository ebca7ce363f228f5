//! News about the key: one look after another, and what has changed since the last that was told.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use super::{
    api_key::ApiKey,
    file::{KeyError, KeyReading, KeyWarning, read_along},
    watch::{Eyes, Watcher},
};
use crate::{
    config::model::KeySource,
    process::{fingerprint::Fingerprint, trusted_dir::Trail},
};

/// Time between two looks that must agree before a change is believed (fault 80).
const SETTLING: Duration = Duration::from_millis(100);

/// Follows one key source and tells what is new.
///
/// Looks are taken on threads for blocking work, so a file system that hangs stops nobody else.
pub struct KeyFeed {
    source: Arc<KeySource>,
    allow_group_readable: bool,
    watcher: Watcher,
    judge: Judge,
    stage: Stage,
}

impl KeyFeed {
    /// Makes a feed; `nudge` makes it look again at once.
    ///
    /// The first look is taken when [`KeyFeed::next`] is first awaited.
    #[must_use]
    pub fn new(source: KeySource, allow_group_readable: bool, nudge: Arc<Notify>) -> Self {
        Self {
            source: Arc::new(source),
            allow_group_readable,
            watcher: Watcher::new(nudge),
            judge: Judge::default(),
            stage: Stage::Due(Instant::now()),
        }
    }

    /// Waits for the next news. May be cancelled and called again: nothing is lost.
    ///
    /// The first call comes back as soon as the source has been read twice.
    pub async fn next(&mut self) -> KeyNews {
        loop {
            match &mut self.stage {
                Stage::Idle => {
                    self.watcher.hint().await;
                    self.stage = self.look();
                }
                Stage::Due(at) => {
                    sleep_until(*at).await;
                    self.stage = self.look();
                }
                Stage::Looking(look) => {
                    let look = look.await.ok();
                    if let Some(news) = self.weigh(look) {
                        return news;
                    }
                }
            }
        }
    }

    fn look(&self) -> Stage {
        let source = Arc::clone(&self.source);
        let allow_group_readable = self.allow_group_readable;
        let watched = self.watcher.trail().cloned();
        Stage::Looking(spawn_blocking(move || {
            Look::take(&source, allow_group_readable, watched.as_ref())
        }))
    }

    /// Weighs what a look found, and says when to take the next one; `None` if it broke off.
    fn weigh(&mut self, look: Option<Look>) -> Option<KeyNews> {
        let Look { found, trail, eyes } = look.unwrap_or_else(|| self.broken_off());
        let again = if self.judge.has_told() { SETTLING } else { Duration::ZERO };
        let rearmed = eyes.is_some();
        if let Some(eyes) = eyes {
            self.watcher.watch(trail, eyes);
        }
        self.watcher.looked(found.is_ok());
        let verdict = self.judge.weigh(Seen::of(&found));
        self.stage = match verdict {
            Verdict::Unsure => Stage::Due(Instant::now() + again),
            // What changed between the look and the watch is found by one look more.
            _ if rearmed => Stage::Due(Instant::now() + again),
            _ => Stage::Idle,
        };
        verdict.into_news(found)
    }

    fn broken_off(&self) -> Look {
        let path = self.source.path().to_owned();
        Look { found: Err(KeyError::BrokeOff { path }), trail: Trail::default(), eyes: None }
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

enum Stage {
    /// Waits for a hint.
    Idle,
    /// Waits for its time.
    Due(Instant),
    /// Waits for a thread.
    Looking(JoinHandle<Look>),
}

/// Holds what one look found.
struct Look {
    found: Result<KeyReading, KeyError>,
    trail: Trail,
    /// New watches, if the trail is not the one that is watched.
    eyes: Option<Eyes>,
}

impl Look {
    fn take(source: &KeySource, allow_group_readable: bool, watched: Option<&Trail>) -> Self {
        let mut trail = Trail::default();
        let found = read_along(source, allow_group_readable, &mut trail);
        let eyes = (watched != Some(&trail)).then(|| Eyes::open(&trail));
        Self { found, trail, eyes }
    }
}

/// Stands for what a look found, without any secret.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Key(Fingerprint),
    Trouble(KeyError),
}

impl Seen {
    fn of(found: &Result<KeyReading, KeyError>) -> Self {
        match found {
            Ok(reading) => Self::Key(reading.key.fingerprint()),
            Err(error) => Self::Trouble(error.clone()),
        }
    }
}

/// Decides what is news. Pure: looks go in, verdicts come out.
#[derive(Default)]
struct Judge {
    told: Option<Seen>,
    told_key: Option<Fingerprint>,
    suspect: Option<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As told before.
    Known,
    /// Not as before; a second look must agree.
    Unsure,
    /// A key other than the one told last, or a trouble.
    New,
    /// The key told last, after a trouble.
    Recovered,
}

impl Judge {
    fn weigh(&mut self, seen: Seen) -> Verdict {
        if self.told.as_ref() == Some(&seen) {
            self.suspect = None;
            return Verdict::Known;
        }
        if self.suspect.as_ref() != Some(&seen) {
            self.suspect = Some(seen);
            return Verdict::Unsure;
        }
        self.suspect = None;
        self.tell(seen)
    }

    fn tell(&mut self, seen: Seen) -> Verdict {
        let verdict = match &seen {
            Seen::Key(content) if self.told_key == Some(*content) => Verdict::Recovered,
            Seen::Key(content) => {
                self.told_key = Some(*content);
                Verdict::New
            }
            Seen::Trouble(_) => Verdict::New,
        };
        self.told = Some(seen);
        verdict
    }

    const fn has_told(&self) -> bool {
        self.told.is_some()
    }
}

impl Verdict {
    fn into_news(self, found: Result<KeyReading, KeyError>) -> Option<KeyNews> {
        match (self, found) {
            (Self::Known | Self::Unsure, _) => None,
            (Self::Recovered, _) => Some(KeyNews::Recovered),
            (Self::New, Ok(KeyReading { key, warnings })) => {
                Some(KeyNews::Changed { key: Arc::new(key), warnings })
            }
            (Self::New, Err(error)) => Some(KeyNews::Broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{create_dir, remove_dir_all, remove_file, rename, set_permissions, write},
        os::unix::fs::{PermissionsExt, symlink},
        path::{Path, PathBuf},
    };

    use tempfile::{TempDir, tempdir};
    use tokio::time::timeout;

    use super::*;

    /// Shorter than any poll, so that only a watch can bring the news in time (fault 81).
    const SOON: Duration = Duration::from_secs(8);
    /// Longer than a look and its confirmation.
    const QUIET: Duration = Duration::from_millis(400);

    fn put(path: &Path, secret: &str) {
        let id = "00000000-0000-4000-8000-000000000000";
        write(path, format!(r#"{{"key_id":"{id}","key_secret":"{secret}"}}"#)).unwrap();
        set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn home() -> (TempDir, PathBuf) {
        let home = tempdir().unwrap();
        let path = home.path().join("key.json");
        (home, path)
    }

    fn feed(path: &Path) -> KeyFeed {
        KeyFeed::new(KeySource::File(path.into()), false, Arc::new(Notify::new()))
    }

    /// Waits for the next news and tells its secret, or the label of the trouble.
    async fn news(feed: &mut KeyFeed) -> String {
        match timeout(SOON, feed.next()).await.expect("no news in time") {
            KeyNews::Changed { key, .. } => key.expose_secret().to_owned(),
            KeyNews::Recovered => "recovered".to_owned(),
            KeyNews::Broken(error) => error.label().to_owned(),
        }
    }

    async fn no_news(feed: &mut KeyFeed) {
        assert!(timeout(QUIET, feed.next()).await.is_err());
    }

    // fault 81
    #[tokio::test]
    async fn rename_and_rewrite_are_seen() {
        let (home, path) = home();
        put(&path, "one");
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "one");
        put(&home.path().join("new"), "two");
        rename(home.path().join("new"), &path).unwrap();
        assert_eq!(news(&mut feed).await, "two");
        put(&path, "three");
        assert_eq!(news(&mut feed).await, "three");
        put(&path, "three");
        no_news(&mut feed).await;
    }

    // faults 77 and 78
    #[tokio::test]
    async fn trouble_and_recovery_are_told_once() {
        let (_home, path) = home();
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "missing");
        put(&path, "one");
        assert_eq!(news(&mut feed).await, "one");
        remove_file(&path).unwrap();
        assert_eq!(news(&mut feed).await, "missing");
        no_news(&mut feed).await;
        write(&path, "{").unwrap();
        set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(news(&mut feed).await, "content");
        put(&path, "one");
        assert_eq!(news(&mut feed).await, "recovered");
    }

    // fault 84: mended by chmod alone
    #[tokio::test]
    async fn a_mended_mode_is_seen() {
        let (_home, path) = home();
        put(&path, "one");
        set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "open_mode");
        set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(news(&mut feed).await, "one");
    }

    // fault 77
    #[tokio::test]
    async fn directories_that_appear_or_are_replaced_are_followed() {
        let (home, _) = home();
        let path = home.path().join("a/b/key.json");
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "missing");
        for secret in ["one", "two"] {
            create_dir(home.path().join("a")).unwrap();
            create_dir(home.path().join("a/b")).unwrap();
            put(&path, secret);
            assert_eq!(news(&mut feed).await, secret);
            remove_dir_all(home.path().join("a")).unwrap();
            assert_eq!(news(&mut feed).await, "missing");
        }
    }

    // fault 81: the kubelet swaps a link two steps away from the name
    #[tokio::test]
    async fn a_swapped_link_is_seen() {
        let (home, path) = home();
        for secret in ["one", "two"] {
            create_dir(home.path().join(secret)).unwrap();
            put(&home.path().join(secret).join("key.json"), secret);
        }
        symlink("..data/key.json", &path).unwrap();
        symlink("one", home.path().join("..data")).unwrap();
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "one");
        symlink("two", home.path().join("..tmp")).unwrap();
        rename(home.path().join("..tmp"), home.path().join("..data")).unwrap();
        remove_dir_all(home.path().join("one")).unwrap();
        assert_eq!(news(&mut feed).await, "two");
        put(&home.path().join("two/key.json"), "three");
        assert_eq!(news(&mut feed).await, "three");
    }

    #[tokio::test]
    async fn a_nudge_looks_where_no_event_tells() {
        let (_home, path) = home();
        put(&path, "one");
        let nudge = Arc::new(Notify::new());
        let mut feed = KeyFeed::new(KeySource::File(path.clone()), false, Arc::clone(&nudge));
        assert_eq!(news(&mut feed).await, "one");
        no_news(&mut feed).await;
        // Blind, as where inotify does not work.
        let trail = feed.watcher.trail().unwrap().clone();
        feed.watcher.watch(trail, Eyes::open(&Trail::default()));
        put(&path, "two");
        no_news(&mut feed).await;
        nudge.notify_one();
        assert_eq!(news(&mut feed).await, "two");
    }

    #[tokio::test]
    async fn nothing_is_lost_when_the_wait_is_cancelled_again_and_again() {
        let (_home, path) = home();
        put(&path, "one");
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "one");
        put(&path, "two");
        for _ in 0..10_000 {
            let cut_short = timeout(Duration::from_millis(1), feed.next()).await;
            if let Ok(KeyNews::Changed { key, .. }) = cut_short {
                return assert_eq!(key.expose_secret(), "two");
            }
        }
        unreachable!("no news in ten seconds");
    }

    #[tokio::test]
    async fn a_new_watch_is_followed_by_a_look_even_if_nothing_changed() {
        let (_home, path) = home();
        put(&path, "one");
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "one");
        let source = KeySource::File(path);
        assert!(feed.weigh(Some(Look::take(&source, false, None))).is_none());
        assert!(matches!(feed.stage, Stage::Due(_)));
        assert!(feed.weigh(Some(Look::take(&source, false, feed.watcher.trail()))).is_none());
        assert!(matches!(feed.stage, Stage::Idle));
    }

    fn trouble() -> Seen {
        Seen::Trouble(KeyError::Unsettled { path: PathBuf::new() })
    }

    fn key(name: &str) -> Seen {
        Seen::Key(Fingerprint::of([name.as_bytes()]))
    }

    // fault 80
    #[test]
    fn only_two_looks_that_agree_are_news() {
        let mut judge = Judge::default();
        for (seen, verdict) in [
            (key("a"), Verdict::Unsure),
            (key("a"), Verdict::New),
            (key("a"), Verdict::Known),
            (key("b"), Verdict::Unsure),
            (key("c"), Verdict::Unsure),
            (key("b"), Verdict::Unsure),
            (key("a"), Verdict::Known),
            (key("b"), Verdict::Unsure),
            (trouble(), Verdict::Unsure),
            (trouble(), Verdict::New),
            (trouble(), Verdict::Known),
            (key("a"), Verdict::Unsure),
            (key("a"), Verdict::Recovered),
            (trouble(), Verdict::Unsure),
            (trouble(), Verdict::New),
            (key("b"), Verdict::Unsure),
            (key("b"), Verdict::New),
        ] {
            assert_eq!(judge.weigh(seen.clone()), verdict, "{seen:?}");
        }
    }
}
