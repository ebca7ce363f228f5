//! Hints that a file may have changed: inotify, a poll, and a nudge from within.
//!
//! A hint says only «look again». What is true is what a look finds, so a hint too many costs a
//! read, and a hint that never comes costs a poll (fault 83).

use std::{
    ffi::OsStr,
    future::pending,
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{
    inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags},
    statfs,
};
use tokio::{
    io::unix::AsyncFd,
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{descriptors::readable, trusted_dir::Trail};

/// Time between two looks where inotify works. The daemon's tick nudges sooner than that, for all at
/// once: this is for whoever has no tick, and wakes nobody else.
const POLL: Duration = Duration::from_secs(40);
/// Time between two looks where inotify does not work, or the last look found nothing good.
const POLL_BLIND: Duration = Duration::from_secs(10);

/// What happens to a name, or to the directory itself, that can lead to another content.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Events after which the kernel no longer watches what the path names.
const ENDS: ReadFlags = ReadFlags::IGNORED.union(ReadFlags::UNMOUNT).union(ReadFlags::MOVE_SELF);

/// File systems on which other machines or processes change files without an event here.
const SILENT: [i128; 8] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x6573_5546, // FUSE
    0x0102_1997, // 9P
    0x00c3_6400, // Ceph
    0x5346_414f, // AFS
];

/// Holds inotify watches on all directories of a trail, as far as the kernel gives them.
pub(super) struct Eyes {
    inotify: Option<OwnedFd>,
    sees_all: bool,
}

impl Eyes {
    /// Puts a watch on each directory of the trail. Blocks as long as the file system does.
    pub(super) fn open(trail: &Trail) -> Self {
        let Ok(inotify) = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) else {
            return Self { inotify: None, sees_all: false };
        };
        let mut sees_all = trail.directories().next().is_some();
        for directory in trail.directories() {
            sees_all &= inotify::add_watch(&inotify, directory, EVENTS).is_ok();
            sees_all &= statfs(directory).is_ok_and(|fs| !SILENT.contains(&magic(fs.f_type)));
        }
        Self { inotify: Some(inotify), sees_all }
    }
}

/// Keeps the 32 bits that mean something; type and sign of the field differ by architecture.
fn magic(f_type: impl Into<i128>) -> i128 {
    f_type.into() & 0xffff_ffff
}

/// Waits for hints; every method may be cancelled and called again.
pub(super) struct Watcher {
    nudge: Arc<Notify>,
    trail: Option<Trail>,
    inotify: Option<AsyncFd<OwnedFd>>,
    poll: Duration,
    next_poll: Instant,
}

impl Watcher {
    pub(super) fn new(nudge: Arc<Notify>) -> Self {
        let next_poll = Instant::now();
        Self { nudge, trail: None, inotify: None, poll: POLL_BLIND, next_poll }
    }

    /// Tells what is watched; `None` before the first look, and when a watch came to its end.
    pub(super) fn trail(&self) -> Option<&Trail> {
        self.trail.as_ref()
    }

    /// Replaces the watches. A look after this misses nothing; one before it might.
    pub(super) fn watch(&mut self, trail: Trail, eyes: Eyes) {
        self.inotify = eyes.inotify.and_then(|inotify| readable(inotify).ok());
        self.poll = if eyes.sees_all && self.inotify.is_some() { POLL } else { POLL_BLIND };
        self.trail = Some(trail);
    }

    /// Starts the time to the next poll anew, as a look has just been taken.
    pub(super) fn looked(&mut self, found: bool) {
        let poll = if found { self.poll } else { POLL_BLIND };
        self.next_poll = Instant::now() + poll;
    }

    /// Waits until there is a reason to look again.
    pub(super) async fn hint(&mut self) {
        let event = next_event(self.inotify.as_ref(), self.trail.as_ref());
        let ended = tokio::select! {
            ended = event => ended,
            () = self.nudge.notified() => false,
            () = sleep_until(self.next_poll) => false,
        };
        if ended {
            self.trail = None;
        }
    }
}

/// Waits for an event that concerns the trail; true if its watch has come to its end.
async fn next_event(inotify: Option<&AsyncFd<OwnedFd>>, trail: Option<&Trail>) -> bool {
    let (Some(inotify), Some(trail)) = (inotify, trail) else {
        return pending().await;
    };
    loop {
        let Ok(mut ready) = inotify.readable().await else {
            return pending().await;
        };
        match ready.try_io(|fd| drain(fd.get_ref(), trail)) {
            Ok(Ok(Seen::Ours { ended })) => return ended,
            Ok(Ok(Seen::Nothing)) | Err(_) => {}
            // An inotify that cannot be read any more counts as one whose watch has ended.
            Ok(Err(_)) => return true,
        }
    }
}

enum Seen {
    Nothing,
    Ours { ended: bool },
}

/// Reads one buffer of events, so that a flood of them holds up nobody else.
fn drain(inotify: &OwnedFd, trail: &Trail) -> io::Result<Seen> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(inotify, &mut buffer);
    let (mut ours, mut ended) = (false, false);
    loop {
        let event = reader.next()?;
        ours |= concerns(&event, trail);
        ended |= event.events().intersects(ENDS);
        if reader.is_buffer_empty() {
            return Ok(if ours { Seen::Ours { ended } } else { Seen::Nothing });
        }
    }
}

/// Tells whether the event is about a name of the trail, a directory itself, or an overflow.
fn concerns(event: &Event<'_>, trail: &Trail) -> bool {
    event.file_name().is_none_or(|name| trail.has_name(OsStr::from_bytes(name.to_bytes())))
}

#[cfg(test)]
mod tests {
    use std::{fs::write, path::Path};

    use tempfile::{TempDir, tempdir};
    use tokio::time::timeout;

    use super::{super::trusted_dir::TrustedDir, *};

    /// Makes a directory and a trail whose only name is `key` in it.
    fn directory() -> (TempDir, Trail) {
        let home = tempdir().unwrap();
        let mut trail = Trail::default();
        let directory = TrustedDir::open(home.path(), &mut trail).unwrap();
        directory.open_file(Path::new("key"), &mut trail).map(drop).unwrap_err();
        (home, trail)
    }

    fn watching(trail: &Trail) -> Watcher {
        let mut watcher = Watcher::new(Arc::new(Notify::new()));
        watcher.watch(trail.clone(), Eyes::open(trail));
        watcher.looked(true);
        watcher
    }

    async fn time_to_hint(watcher: &mut Watcher) -> Duration {
        let start = Instant::now();
        watcher.hint().await;
        Instant::now() - start
    }

    // fault 83
    #[tokio::test(start_paused = true)]
    async fn the_poll_is_slow_only_where_inotify_works_and_the_last_look_was_good() {
        let (_home, trail) = directory();
        let mut watcher = watching(&trail);
        assert_eq!(time_to_hint(&mut watcher).await.as_secs(), 40);
        watcher.looked(false);
        assert_eq!(time_to_hint(&mut watcher).await.as_secs(), 10);
        for (inotify, sees_all) in [(None, false), (Eyes::open(&trail).inotify, false)] {
            watcher.watch(trail.clone(), Eyes { inotify, sees_all });
            watcher.looked(true);
            assert_eq!(time_to_hint(&mut watcher).await.as_secs(), 10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_wait_does_not_put_off_the_poll() {
        let (_home, trail) = directory();
        let mut watcher = watching(&trail);
        timeout(Duration::from_secs(39), watcher.hint()).await.unwrap_err();
        assert_eq!(time_to_hint(&mut watcher).await.as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_nudge_counts_even_before_anybody_waits() {
        let (_home, trail) = directory();
        let mut watcher = watching(&trail);
        watcher.nudge.notify_one();
        assert_eq!(time_to_hint(&mut watcher).await, Duration::ZERO);
    }

    #[test]
    fn a_directory_that_cannot_be_watched_is_told() {
        let (home, trail) = directory();
        assert!(Eyes::open(&trail).sees_all);
        drop(home);
        assert!(!Eyes::open(&trail).sees_all);
        assert!(!Eyes::open(&Trail::default()).sees_all);
    }

    #[test]
    fn only_events_of_our_names_count() {
        let (home, trail) = directory();
        let inotify = Eyes::open(&trail).inotify.unwrap();
        write(home.path().join("other"), "x").unwrap();
        assert!(matches!(drain(&inotify, &trail), Ok(Seen::Nothing)));
        write(home.path().join("key"), "x").unwrap();
        assert!(matches!(drain(&inotify, &trail), Ok(Seen::Ours { ended: false })));
        assert!(drain(&inotify, &trail).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock));
        drop(home);
        assert!(matches!(drain(&inotify, &trail), Ok(Seen::Ours { ended: true })));
    }
}
