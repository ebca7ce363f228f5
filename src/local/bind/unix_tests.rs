//! Sockets that are bound, found, replaced, and gone with their listener.

use std::{
    fs::{
        create_dir, hard_link, read_dir, remove_dir, remove_file, rename, set_permissions,
        symlink_metadata, write,
    },
    io::Write,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        net::{UnixDatagram, UnixListener as StdListener, UnixStream},
    },
    sync::Barrier,
    thread,
};

use tempfile::{TempDir, tempdir};
use tokio::runtime::Handle;

use super::*;

const PLAIN: SocketFile =
    SocketFile { mode: 0o660, owner: None, group: None, allow_shared_directory: false };

fn home() -> (TempDir, PathBuf) {
    let home = tempdir().unwrap();
    let path = home.path().join("sock");
    (home, path)
}

fn refusal(path: &Path) -> BindError {
    bind_unix(path, &PLAIN).err().expect("refused")
}

fn names(directory: &TempDir) -> Vec<OsString> {
    let mut names: Vec<_> =
        read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// Leaves what a killed daemon leaves: a socket without a listener, and a lock nobody holds.
fn kill(bound: BoundUnix) {
    let Claim { spot, .. } = &bound.guard.claim;
    let directory = spot.directory.path().to_owned();
    let saved = directory.join("saved");
    let files = [spot.name.clone(), spot.beside("lock")];
    create_dir(&saved).unwrap();
    for name in &files {
        hard_link(directory.join(name), saved.join(name)).unwrap();
    }
    drop(bound);
    for name in &files {
        rename(saved.join(name), directory.join(name)).unwrap();
    }
    remove_dir(saved).unwrap();
}

fn root_or_skipped() -> bool {
    let root = our_uid() == 0;
    if !root {
        writeln!(std::io::stderr(), "SKIPPED: chown needs root").unwrap();
    }
    root
}

// fault 157
#[tokio::test]
async fn the_mode_is_the_configured_one_whatever_the_umask() {
    if !crate::process::apart::is_alone(
        module_path!(),
        "the_mode_is_the_configured_one_whatever_the_umask",
    ) {
        return;
    }
    let (home, path) = home();
    for umask in [0o000, 0o022, 0o027, 0o077] {
        for mode in [0o600, 0o660, 0o666] {
            let before = rustix::process::umask(Mode::from_raw_mode(umask));
            let bound = bind_unix(&path, &SocketFile { mode, ..PLAIN });
            let ours = rustix::process::umask(before);
            assert_eq!(ours.as_raw_mode(), umask, "the umask was left alone");
            let bound = bound.map_err(|error| error.to_string()).unwrap();
            assert_eq!(symlink_metadata(&path).unwrap().mode() & 0o7777, mode);
            assert_eq!(names(&home), [".sock.lock", "sock"]);
            drop(bound);
            assert!(names(&home).is_empty());
        }
    }
}

#[tokio::test]
async fn clients_get_through() {
    let (_home, path) = home();
    let bound = bind_unix(&path, &PLAIN).ok().unwrap();
    let (client, accepted) =
        tokio::join!(tokio::net::UnixStream::connect(&path), bound.listener.accept());
    assert_eq!(client.unwrap().peer_cred().unwrap().uid(), our_uid());
    accepted.unwrap();
}

#[tokio::test]
async fn owner_and_group_are_each_on_their_own() {
    if !root_or_skipped() {
        return;
    }
    let (_home, path) = home();
    for (owner, group) in [(None, Some(4242)), (Some(4241), None), (Some(4241), Some(4242))] {
        let file = SocketFile { owner, group, ..PLAIN };
        kill(bind_unix(&path, &file).ok().unwrap());
        let stat = symlink_metadata(&path).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (owner.unwrap_or(0), group.unwrap_or(0)));
        assert_eq!(stat.mode() & 0o7777, 0o660);
        // Stale, and of the owner that we gave it to: replaced.
        drop(bind_unix(&path, &file).ok().unwrap());
    }
}

// fault 154
#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let (home, path) = home();
    for _ in 0..100 {
        kill(bind_unix(&path, &PLAIN).ok().unwrap());
        assert_eq!(names(&home), [".sock.lock", "sock"]);
        UnixStream::connect(&path).unwrap_err();
        drop(bind_unix(&path, &PLAIN).ok().unwrap());
        assert!(names(&home).is_empty());
    }
    drop(StdListener::bind(&path).unwrap());
    drop(bind_unix(&path, &PLAIN).ok().unwrap());
}

#[tokio::test]
async fn what_a_crash_left_of_the_workshop_is_used_again() {
    let (home, path) = home();
    let workshop = home.path().join(".sock.new");
    create_dir(&workshop).unwrap();
    set_permissions(&workshop, PermissionsExt::from_mode(0o700)).unwrap();
    let _left = StdListener::bind(workshop.join(UNPLACED)).unwrap();
    let bound = bind_unix(&path, &PLAIN).ok().unwrap();
    assert_eq!(names(&home), [".sock.lock", "sock"]);
    drop(bound);
    create_dir(&workshop).unwrap();
    set_permissions(&workshop, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(refusal(&path).label(), "foreign");
}

// fault 155
#[tokio::test]
async fn a_live_instance_is_never_robbed() {
    let (home, path) = home();
    let bound = bind_unix(&path, &PLAIN).ok().unwrap();
    let inode = symlink_metadata(&path).unwrap().ino();
    assert_eq!(refusal(&path), BindError::Running { path: path.clone() });
    // Not even when its lock has been removed.
    remove_file(home.path().join(".sock.lock")).unwrap();
    assert_eq!(refusal(&path), BindError::Running { path: path.clone() });
    assert_eq!(symlink_metadata(&path).unwrap().ino(), inode);
    drop(bound);
    // Nor one of another program, however busy it is.
    let other = StdListener::bind(&path).unwrap();
    listen(&other, 0).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    assert_eq!(refusal(&path), BindError::Running { path });
}

// faults 156, 159 and 224
#[tokio::test]
async fn what_is_not_our_socket_stays() {
    let (home, path) = home();
    for what in ["a regular file", "a symbolic link", "a directory"] {
        match what {
            "a regular file" => write(&path, "x").unwrap(),
            "a symbolic link" => symlink("elsewhere", &path).unwrap(),
            _ => create_dir(&path).unwrap(),
        }
        let inode = symlink_metadata(&path).unwrap().ino();
        assert!(refusal(&path).to_string().contains(what), "{what}");
        assert_eq!(symlink_metadata(&path).unwrap().ino(), inode);
        remove_file(&path).or_else(|_| remove_dir(&path)).unwrap();
    }
    let _datagrams = UnixDatagram::bind(&path).unwrap();
    assert!(refusal(&path).to_string().contains("a socket of another program"));
    remove_file(&path).unwrap();
    assert!(names(&home).is_empty(), "nothing is left behind");
}

// faults 159 and 224
#[tokio::test]
async fn a_socket_or_lock_of_somebody_else_stays() {
    if !root_or_skipped() {
        return;
    }
    let (home, path) = home();
    drop(StdListener::bind(&path).unwrap());
    chown(&path, Some(4241), None).unwrap();
    assert!(refusal(&path).to_string().contains("a socket of uid 4241"));
    let lock = home.path().join(".sock.lock");
    write(&lock, "").unwrap();
    chown(&lock, Some(4241), None).unwrap();
    assert_eq!(refusal(&path).label(), "wrong_owner");
    remove_file(&lock).unwrap();
    symlink("elsewhere", &lock).unwrap();
    assert_eq!(refusal(&path).label(), "link_loop");
    assert_eq!(names(&home), [".sock.lock", "sock"]);
}

// fault 169
#[tokio::test]
async fn a_successor_keeps_its_socket() {
    let (home, path) = home();
    for _ in 0..100 {
        let old = bind_unix(&path, &PLAIN).ok().unwrap();
        remove_file(&path).unwrap();
        remove_file(home.path().join(".sock.lock")).unwrap();
        let new = bind_unix(&path, &PLAIN).ok().unwrap();
        drop(old);
        UnixStream::connect(&path).unwrap();
        assert_eq!(names(&home), [".sock.lock", "sock"]);
        drop(new);
        assert!(names(&home).is_empty());
    }
}

// fault 155
#[tokio::test(flavor = "multi_thread")]
async fn of_racing_starters_exactly_one_wins() {
    const STARTERS: usize = 4;
    let (home, path) = home();
    for round in 0..200 {
        if round % 2 == 0 {
            drop(StdListener::bind(&path).unwrap());
        }
        let (start, end) = (Barrier::new(STARTERS), Barrier::new(STARTERS));
        let runtime = Handle::current();
        let starter = || {
            let _entered = runtime.enter();
            start.wait();
            let bound = bind_unix(&path, &PLAIN);
            end.wait();
            bound.map(drop)
        };
        let outcomes: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..STARTERS).map(|_| scope.spawn(starter)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let lost = Err(BindError::Running { path: path.clone() });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == lost).count(), STARTERS - 1);
        assert!(names(&home).is_empty(), "round {round}");
    }
}

// fault 155: a start while another stops wins or loses, but never shares
#[tokio::test(flavor = "multi_thread")]
async fn starts_and_stops_may_cross() {
    let (home, path) = home();
    let runtime = Handle::current();
    let holders = std::sync::atomic::AtomicU32::new(0);
    let rounds = || {
        let _entered = runtime.enter();
        for _ in 0..200 {
            if let Ok(bound) = bind_unix(&path, &PLAIN) {
                use std::sync::atomic::Ordering::SeqCst;
                assert_eq!(holders.fetch_add(1, SeqCst), 0);
                let Claim { spot, lock } = &bound.guard.claim;
                assert!(spot.is_still(&spot.beside("lock"), lock), "a lock that has no name");
                UnixStream::connect(&path).unwrap();
                holders.fetch_sub(1, SeqCst);
                drop(bound);
            }
        }
    };
    thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(rounds))));
    assert!(names(&home).is_empty());
}

// fault 158
#[tokio::test]
async fn a_directory_that_others_can_write_needs_leave() {
    let (home, path) = home();
    for mode in [0o777, 0o1777, 0o707] {
        set_permissions(home.path(), PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(refusal(&path).label(), "shared_directory", "{mode:o}");
        let sentence = refusal(&path).to_string();
        assert!(sentence.contains("the listener's allow_shared_directory"), "{sentence}");
        // The control socket has no such key: there must be something else to do.
        assert!(sentence.contains("choose another directory"), "{sentence}");
        let file = SocketFile { allow_shared_directory: true, ..PLAIN };
        bind_unix(&path, &file).ok().unwrap();
    }
    set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    bind_unix(&home.path().join("new/sock"), &PLAIN).ok().unwrap();
    assert_eq!(home.path().join("new").metadata().unwrap().mode() & 0o7777, 0o755);
}

// faults 166 and 167
#[tokio::test]
async fn paths_are_as_the_kernel_can_take_them() {
    let (home, _) = home();
    let room = MAX_PATH - home.path().as_os_str().len() - 1;
    let longest = home.path().join("x".repeat(room));
    let bound = bind_unix(&longest, &PLAIN).map_err(|error| error.to_string()).unwrap();
    UnixStream::connect(&longest).unwrap();
    drop(bound);
    let home_path = home.path().display();
    for path in [
        format!("{home_path}/{}", "x".repeat(room + 1)),
        format!("{home_path}/a\0b"),
        format!("{home_path}/"),
        "@abstract".to_owned(),
        "\0abstract".to_owned(),
        "relative/sock".to_owned(),
        "/".to_owned(),
        "/run/..".to_owned(),
    ] {
        assert_eq!(refusal(Path::new(&path)).label(), "path", "{path:?}");
    }
}
