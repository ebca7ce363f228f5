//! News about files: one look after another, and what has changed since the last that was told.

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

/// Reads something from files, again and again.
pub trait Source: Send + Sync + 'static {
    /// What is found there.
    type Found: Send + 'static;
    /// Why nothing is found there.
    type Trouble: Clone + PartialEq + Send + 'static;

    /// Reads it once and notes which names led to it. Blocks as long as the file system does.
    ///
    /// # Errors
    ///
    /// When there is nothing to be found.
    fn read(&self, trail: &mut Trail) -> Result<Self::Found, Self::Trouble>;

    /// Tells one content from another.
    fn fingerprint(found: &Self::Found) -> Fingerprint;

    /// Names the trouble of a look that broke off for a reason of our own.
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

/// Tells what is new about a source.
pub enum News<S: Source> {
    /// A content that is not the one told last.
    Changed(S::Found),
    /// There is something to be found again, and it is what was told last.
    Recovered,
    /// Nothing is found; told once for each kind of trouble. What was told last stays.
    Broken(S::Trouble),
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
            judge: Judge::default(),
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
    found: Result<S::Found, S::Trouble>,
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
    fn of<S: Source<Trouble = T>>(found: &Result<S::Found, T>) -> Self {
        match found {
            Ok(found) => Self::Content(S::fingerprint(found)),
            Err(trouble) => Self::Trouble(trouble.clone()),
        }
    }
}

/// Decides what is news. Pure: looks go in, verdicts come out.
struct Judge<T> {
    told: Option<Seen<T>>,
    told_content: Option<Fingerprint>,
    suspect: Option<Seen<T>>,
}

impl<T> Default for Judge<T> {
    fn default() -> Self {
        Self { told: None, told_content: None, suspect: None }
    }
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

impl<T: PartialEq> Judge<T> {
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
    fn into_news<S: Source>(self, found: Result<S::Found, S::Trouble>) -> Option<News<S>> {
        match (self, found) {
            (Self::Known | Self::Unsure, _) => None,
            (Self::Recovered, _) => Some(News::Recovered),
            (Self::New, Ok(found)) => Some(News::Changed(found)),
            (Self::New, Err(trouble)) => Some(News::Broken(trouble)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{create_dir, remove_dir, remove_dir_all, remove_file, rename, write},
        os::unix::fs::symlink,
        path::{Path, PathBuf},
    };

    use tempfile::{TempDir, tempdir};
    use tokio::time::timeout;

    use super::{
        super::{
            owned_file::{Access, FileError, read_file},
            trusted_dir::TrustedDir,
        },
        *,
    };

    /// Shorter than any poll, so that only a watch can bring the news in time (fault 81).
    const SOON: Duration = Duration::from_secs(8);
    /// Longer than a look and its confirmation.
    const QUIET: Duration = Duration::from_millis(400);

    /// Finds the text of one file.
    struct Text(PathBuf);

    impl Source for Text {
        type Found = String;
        type Trouble = FileError;

        fn read(&self, trail: &mut Trail) -> Result<String, FileError> {
            let root = TrustedDir::open(Path::new("/"), trail)?;
            let contents = read_file(&root, &self.0, Access::Unchecked, trail)?;
            Ok(String::from_utf8(contents.bytes.to_vec()).unwrap())
        }

        fn fingerprint(text: &String) -> Fingerprint {
            Fingerprint::of([text.as_bytes()])
        }

        fn broken_off(&self) -> FileError {
            FileError::NotRegular { path: self.0.clone() }
        }
    }

    fn home() -> (TempDir, PathBuf) {
        let home = tempdir().unwrap();
        let path = home.path().join("text");
        (home, path)
    }

    fn feed(path: &Path) -> Feed<Text> {
        Feed::new(Text(path.into()), Arc::new(Notify::new()))
    }

    /// Waits for the next news and tells the text, or the label of the trouble.
    async fn news(feed: &mut Feed<Text>) -> String {
        match timeout(SOON, feed.next()).await.expect("no news in time") {
            News::Changed(text) => text,
            News::Recovered => "recovered".to_owned(),
            News::Broken(error) => error.label().to_owned(),
        }
    }

    async fn no_news(feed: &mut Feed<Text>) {
        assert!(timeout(QUIET, feed.next()).await.is_err());
    }

    // fault 81
    #[tokio::test]
    async fn rename_and_rewrite_are_seen() {
        let (home, path) = home();
        write(&path, "one").unwrap();
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "one");
        write(home.path().join("new"), "two").unwrap();
        rename(home.path().join("new"), &path).unwrap();
        assert_eq!(news(&mut feed).await, "two");
        write(&path, "three").unwrap();
        assert_eq!(news(&mut feed).await, "three");
        write(&path, "three").unwrap();
        no_news(&mut feed).await;
    }

    // faults 77 and 78
    #[tokio::test]
    async fn trouble_and_recovery_are_told_once() {
        let (_home, path) = home();
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "missing");
        write(&path, "one").unwrap();
        assert_eq!(news(&mut feed).await, "one");
        remove_file(&path).unwrap();
        assert_eq!(news(&mut feed).await, "missing");
        no_news(&mut feed).await;
        create_dir(&path).unwrap();
        assert_eq!(news(&mut feed).await, "not_regular");
        remove_dir(&path).unwrap();
        write(&path, "one").unwrap();
        assert_eq!(news(&mut feed).await, "recovered");
    }

    // fault 77
    #[tokio::test]
    async fn directories_that_appear_or_are_replaced_are_followed() {
        let (home, _) = home();
        let path = home.path().join("a/b/text");
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "missing");
        for text in ["one", "two"] {
            create_dir(home.path().join("a")).unwrap();
            create_dir(home.path().join("a/b")).unwrap();
            write(&path, text).unwrap();
            assert_eq!(news(&mut feed).await, text);
            remove_dir_all(home.path().join("a")).unwrap();
            assert_eq!(news(&mut feed).await, "missing");
        }
    }

    // fault 81: the kubelet swaps a link two steps away from the name
    #[tokio::test]
    async fn a_swapped_link_is_seen() {
        let (home, path) = home();
        for text in ["one", "two"] {
            create_dir(home.path().join(text)).unwrap();
            write(home.path().join(text).join("text"), text).unwrap();
        }
        symlink("..data/text", &path).unwrap();
        symlink("one", home.path().join("..data")).unwrap();
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "one");
        symlink("two", home.path().join("..tmp")).unwrap();
        rename(home.path().join("..tmp"), home.path().join("..data")).unwrap();
        remove_dir_all(home.path().join("one")).unwrap();
        assert_eq!(news(&mut feed).await, "two");
        write(home.path().join("two/text"), "three").unwrap();
        assert_eq!(news(&mut feed).await, "three");
    }

    #[tokio::test]
    async fn a_nudge_looks_where_no_event_tells() {
        let (_home, path) = home();
        write(&path, "one").unwrap();
        let nudge = Arc::new(Notify::new());
        let mut feed = Feed::new(Text(path.clone()), Arc::clone(&nudge));
        assert_eq!(news(&mut feed).await, "one");
        no_news(&mut feed).await;
        // Blind, as where inotify does not work.
        let trail = feed.watcher.trail().unwrap().clone();
        feed.watcher.watch(trail, Eyes::open(&Trail::default()));
        write(&path, "two").unwrap();
        no_news(&mut feed).await;
        nudge.notify_one();
        assert_eq!(news(&mut feed).await, "two");
    }

    #[tokio::test]
    async fn nothing_is_lost_when_the_wait_is_cancelled_again_and_again() {
        let (_home, path) = home();
        write(&path, "one").unwrap();
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "one");
        write(&path, "two").unwrap();
        for _ in 0..10_000 {
            let cut_short = timeout(Duration::from_millis(1), feed.next()).await;
            if let Ok(News::Changed(text)) = cut_short {
                return assert_eq!(text, "two");
            }
        }
        unreachable!("no news in ten seconds");
    }

    #[tokio::test]
    async fn a_new_watch_is_followed_by_a_look_even_if_nothing_changed() {
        let (_home, path) = home();
        write(&path, "one").unwrap();
        let mut feed = feed(&path);
        assert_eq!(news(&mut feed).await, "one");
        let source = Text(path);
        assert!(feed.weigh(Some(Look::take(&source, None))).is_none());
        assert!(matches!(feed.stage, Stage::Due(_)));
        assert!(feed.weigh(Some(Look::take(&source, feed.watcher.trail()))).is_none());
        assert!(matches!(feed.stage, Stage::Idle));
    }

    fn trouble() -> Seen<&'static str> {
        Seen::Trouble("trouble")
    }

    fn text(name: &str) -> Seen<&'static str> {
        Seen::Content(Fingerprint::of([name.as_bytes()]))
    }

    // fault 80
    #[test]
    fn only_two_looks_that_agree_are_news() {
        let mut judge = Judge::default();
        for (seen, verdict) in [
            (text("a"), Verdict::Unsure),
            (text("a"), Verdict::New),
            (text("a"), Verdict::Known),
            (text("b"), Verdict::Unsure),
            (text("c"), Verdict::Unsure),
            (text("b"), Verdict::Unsure),
            (text("a"), Verdict::Known),
            (text("b"), Verdict::Unsure),
            (trouble(), Verdict::Unsure),
            (trouble(), Verdict::New),
            (trouble(), Verdict::Known),
            (text("a"), Verdict::Unsure),
            (text("a"), Verdict::Recovered),
            (trouble(), Verdict::Unsure),
            (trouble(), Verdict::New),
            (text("b"), Verdict::Unsure),
            (text("b"), Verdict::New),
        ] {
            assert_eq!(judge.weigh(seen.clone()), verdict, "{seen:?}");
        }
    }
}
