//! News about a file: one look after another, and what has changed since the last that was told.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use super::{
    fingerprint::Fingerprint,
    trusted_dir::Trail,
    watch::{Eyes, Watcher},
};

/// Time between two looks that must agree before a change is believed (fault 80).
const SETTLING: Duration = Duration::from_millis(100);

/// Names files that are read as a whole and may change.
pub trait Source: Send + Sync + 'static {
    /// What a good one holds.
    type Content: Send + 'static;
    /// What can be wrong with one.
    type Trouble: Clone + Eq + Send + 'static;

    /// Reads it once, and notes in `trail` which names led to it, also when there is none.
    ///
    /// Blocks as long as the file system does.
    ///
    /// # Errors
    ///
    /// When the files, or the way to them, are not as they should be.
    fn read(&self, trail: &mut Trail) -> Result<Self::Content, Self::Trouble>;

    /// Stands for a content where two are compared.
    fn fingerprint(content: &Self::Content) -> Fingerprint;

    /// Says that a look broke off, for a reason of our own.
    fn broken_off(&self) -> Self::Trouble;
}

/// Follows one source and tells what is new.
///
/// Looks are taken on threads for blocking work, so a file system that hangs stops nobody else.
pub struct Feed<S: Source> {
    source: Arc<S>,
    watcher: Watcher,
    judge: Judge<S::Trouble>,
    stage: Stage<S>,
}

impl<S: Source> Feed<S> {
    /// Makes a feed; `nudge` makes it look again at once.
    ///
    /// The first look is taken when [`Feed::next`] is first awaited.
    #[must_use]
    pub fn new(source: S, nudge: Arc<Notify>) -> Self {
        Self {
            source: Arc::new(source),
            watcher: Watcher::new(nudge),
            judge: Judge::new(),
            stage: Stage::Due(Instant::now()),
        }
    }

    /// Waits for the next news. May be cancelled and called again: nothing is lost.
    ///
    /// The first call comes back as soon as the source has been read twice.
    pub async fn next(&mut self) -> News<S> {
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

    fn look(&self) -> Stage<S> {
        let source = Arc::clone(&self.source);
        let watched = self.watcher.trail().cloned();
        Stage::Looking(spawn_blocking(move || Look::take(&*source, watched.as_ref())))
    }

    /// Weighs what a look found, and says when to take the next one; `None` if it broke off.
    fn weigh(&mut self, look: Option<Look<S>>) -> Option<News<S>> {
        let Look { found, trail, eyes } = look.unwrap_or_else(|| self.broken_off());
        let again = if self.judge.has_told() { SETTLING } else { Duration::ZERO };
        let rearmed = eyes.is_some();
        if let Some(eyes) = eyes {
            self.watcher.watch(trail, eyes);
        }
        self.watcher.looked(found.is_ok());
        let verdict = self.judge.weigh(Seen::of::<S>(&found));
        self.stage = match verdict {
            Verdict::Unsure => Stage::Due(Instant::now() + again),
            // What changed between the look and the watch is found by one look more.
            _ if rearmed => Stage::Due(Instant::now() + again),
            _ => Stage::Idle,
        };
        verdict.into_news(found)
    }

    fn broken_off(&self) -> Look<S> {
        Look { found: Err(self.source.broken_off()), trail: Trail::default(), eyes: None }
    }
}

/// Tells what is new about a source.
pub enum News<S: Source> {
    /// A content that is not the one told last.
    Changed(S::Content),
    /// The source can be read again, and holds what was told last.
    Recovered,
    /// The source cannot be read; told once for each kind of trouble. The content told last stays.
    Broken(S::Trouble),
}

enum Stage<S: Source> {
    /// Waits for a hint.
    Idle,
    /// Waits for its time.
    Due(Instant),
    /// Waits for a thread.
    Looking(JoinHandle<Look<S>>),
}

/// Holds what one look found.
struct Look<S: Source> {
    found: Result<S::Content, S::Trouble>,
    trail: Trail,
    /// New watches, if the trail is not the one that is watched.
    eyes: Option<Eyes>,
}

impl<S: Source> Look<S> {
    fn take(source: &S, watched: Option<&Trail>) -> Self {
        let mut trail = Trail::default();
        let found = source.read(&mut trail);
        let eyes = (watched != Some(&trail)).then(|| Eyes::open(&trail));
        Self { found, trail, eyes }
    }
}

/// Stands for what a look found, without any secret.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen<T> {
    Content(Fingerprint),
    Trouble(T),
}

impl<T: Clone> Seen<T> {
    fn of<S: Source<Trouble = T>>(found: &Result<S::Content, T>) -> Self {
        match found {
            Ok(content) => Self::Content(S::fingerprint(content)),
            Err(error) => Self::Trouble(error.clone()),
        }
    }
}

/// Decides what is news. Pure: looks go in, verdicts come out.
struct Judge<T> {
    told: Option<Seen<T>>,
    told_content: Option<Fingerprint>,
    suspect: Option<Seen<T>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As told before.
    Known,
    /// Not as before; a second look must agree.
    Unsure,
    /// A content other than the one told last, or a trouble.
    New,
    /// The content told last, after a trouble.
    Recovered,
}

impl<T: Eq> Judge<T> {
    const fn new() -> Self {
        Self { told: None, told_content: None, suspect: None }
    }

    fn weigh(&mut self, seen: Seen<T>) -> Verdict {
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

    fn tell(&mut self, seen: Seen<T>) -> Verdict {
        let verdict = match &seen {
            Seen::Content(content) if self.told_content == Some(*content) => Verdict::Recovered,
            Seen::Content(content) => {
                self.told_content = Some(*content);
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
    fn into_news<S: Source>(self, found: Result<S::Content, S::Trouble>) -> Option<News<S>> {
        match (self, found) {
            (Self::Known | Self::Unsure, _) => None,
            (Self::Recovered, _) => Some(News::Recovered),
            (Self::New, Ok(content)) => Some(News::Changed(content)),
            (Self::New, Err(error)) => Some(News::Broken(error)),
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

    use super::{
        super::{
            owned_file::Access,
            secret::Secret,
            secret_file::{self, SecretFileError},
        },
        *,
    };

    /// Shorter than any poll, so that only a watch can bring the news in time (fault 81).
    const SOON: Duration = Duration::from_secs(8);
    /// Longer than a look and its confirmation.
    const QUIET: Duration = Duration::from_millis(400);

    /// A file of one word.
    struct Word(PathBuf);

    impl Source for Word {
        type Content = Secret;
        type Trouble = SecretFileError;

        fn read(&self, trail: &mut Trail) -> Result<Secret, SecretFileError> {
            secret_file::read(&self.0, Access::OwnerOnly, trail)
        }

        fn fingerprint(content: &Secret) -> Fingerprint {
            Fingerprint::of([content.expose()])
        }

        fn broken_off(&self) -> SecretFileError {
            SecretFileError::NoRandomness
        }
    }

    fn put(path: &Path, word: &str) {
        write(path, word).unwrap();
        set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn home() -> (TempDir, PathBuf) {
        let home = tempdir().unwrap();
        let path = home.path().join("word");
        (home, path)
    }

    fn feed(path: &Path) -> Feed<Word> {
        Feed::new(Word(path.into()), Arc::new(Notify::new()))
    }

    /// Waits for the next news and tells its word, or the label of the trouble.
    async fn news(feed: &mut Feed<Word>) -> String {
        match timeout(SOON, feed.next()).await.expect("no news in time") {
            News::Changed(word) => String::from_utf8(word.expose().to_vec()).unwrap(),
            News::Recovered => "recovered".to_owned(),
            News::Broken(error) => error.label().to_owned(),
        }
    }

    async fn no_news(feed: &mut Feed<Word>) {
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
        write(&path, "one").unwrap();
        set_permissions(&path, PermissionsExt::from_mode(0o604)).unwrap();
        assert_eq!(news(&mut feed).await, "open_mode");
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
        let path = home.path().join("a/b/word");
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
            put(&home.path().join(secret).join("word"), secret);
        }
        symlink("..data/word", &path).unwrap();
        symlink("one", home.path().join("..data")).unwrap();
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "one");
        symlink("two", home.path().join("..tmp")).unwrap();
        rename(home.path().join("..tmp"), home.path().join("..data")).unwrap();
        remove_dir_all(home.path().join("one")).unwrap();
        assert_eq!(news(&mut feed).await, "two");
        put(&home.path().join("two/word"), "three");
        assert_eq!(news(&mut feed).await, "three");
    }

    #[tokio::test]
    async fn a_nudge_looks_where_no_event_tells() {
        let (_home, path) = home();
        put(&path, "one");
        let nudge = Arc::new(Notify::new());
        let mut feed = Feed::new(Word(path.clone()), Arc::clone(&nudge));
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
            if let Ok(News::Changed(word)) = cut_short {
                return assert_eq!(word.expose(), b"two");
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
        let source = Word(path);
        assert!(feed.weigh(Some(Look::take(&source, None))).is_none());
        assert!(matches!(feed.stage, Stage::Due(_)));
        assert!(feed.weigh(Some(Look::take(&source, feed.watcher.trail()))).is_none());
        assert!(matches!(feed.stage, Stage::Idle));
    }

    const TROUBLE: Seen<()> = Seen::Trouble(());

    fn word(name: &str) -> Seen<()> {
        Seen::Content(Fingerprint::of([name.as_bytes()]))
    }

    // fault 80
    #[test]
    fn only_two_looks_that_agree_are_news() {
        let mut judge = Judge::new();
        for (seen, verdict) in [
            (word("a"), Verdict::Unsure),
            (word("a"), Verdict::New),
            (word("a"), Verdict::Known),
            (word("b"), Verdict::Unsure),
            (word("c"), Verdict::Unsure),
            (word("b"), Verdict::Unsure),
            (word("a"), Verdict::Known),
            (word("b"), Verdict::Unsure),
            (TROUBLE, Verdict::Unsure),
            (TROUBLE, Verdict::New),
            (TROUBLE, Verdict::Known),
            (word("a"), Verdict::Unsure),
            (word("a"), Verdict::Recovered),
            (TROUBLE, Verdict::Unsure),
            (TROUBLE, Verdict::New),
            (word("b"), Verdict::Unsure),
            (word("b"), Verdict::New),
        ] {
            assert_eq!(judge.weigh(seen.clone()), verdict, "{seen:?}");
        }
    }
}
