//! Kills and hinders the real binary at the system calls of a rotation, and looks at what is left.
//!
//! strace counts the calls of each thread and strikes at the n-th. After each blow the disk has to hold
//! a key that mints: a daemon is started, which finds its way by itself to a key without end, by asking
//! for one more key at the most. The short form is in the suite; `BEARERD_TEST_CRASH=all` strikes at
//! every call that there is.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy lets tests do so, but not the functions that tests share"
)]

#[path = "../daemon/bench/mod.rs"]
#[expect(dead_code, reason = "the bench of other tests, of which this one uses a part")]
mod bench;
mod blow;
mod power;

use std::{collections::BTreeMap, fs, io::Write};

use serde_json::Value;

use self::{
    bench::{
        Daemon, Place, Stand, Visitor,
        daemon::run,
        injection::find_strace,
        rotating::{due, fresh, key_in, rotations},
        until_ok,
    },
    blow::Blow,
};

/// The blows of the short form: each place at which something else lies on the disk.
///
/// In the thread that works with the files, calls come in this order: reserve the draft, write the
/// intent (Okta is asked after the fourth fsync), save the key, put it in place, write the journal.
const SHORT: [(&str, &str, usize); 14] = [
    ("pwrite64", "signal=KILL", 1),
    ("renameat", "signal=KILL", 1),
    ("fsync", "signal=KILL", 4),
    ("pwrite64", "signal=KILL", 3),
    ("fsync", "signal=KILL", 5),
    ("renameat", "signal=KILL", 2),
    ("fsync", "signal=KILL", 6),
    ("renameat", "signal=KILL", 3),
    ("fsync", "error=EIO", 5),
    ("fsync", "error=EIO", 6),
    ("pwrite64", "error=ENOSPC", 1),
    ("pwrite64", "retval=1", 3),
    ("renameat", "error=EROFS", 2),
    ("fsync", "error=EINTR", 5),
];

/// The calls that the campaign strikes at, and how.
const ALL: [(&str, &[&str]); 21] = [
    ("openat", &["signal=KILL", "error=EROFS", "error=EMFILE"]),
    ("pwrite64", &["signal=KILL", "error=EIO", "error=ENOSPC", "error=EINTR", "retval=1"]),
    ("pread64", &["signal=KILL", "error=EIO"]),
    ("ftruncate", &["signal=KILL", "error=EIO"]),
    ("fsync", &["signal=KILL", "error=EIO", "error=ENOSPC", "error=EINTR"]),
    ("renameat", &["signal=KILL", "error=EROFS", "error=EACCES", "error=EBUSY"]),
    ("renameat2", &["signal=KILL"]),
    ("fchmod", &["signal=KILL", "error=EPERM"]),
    ("fchownat", &["signal=KILL"]),
    ("unlinkat", &["signal=KILL", "error=EROFS"]),
    ("flock", &["signal=KILL"]),
    ("statx", &["signal=KILL"]),
    ("newfstatat", &["signal=KILL"]),
    ("getdents64", &["signal=KILL", "error=EIO"]),
    ("read", &["signal=KILL", "error=EIO"]),
    ("close", &["signal=KILL"]),
    ("connect", &["signal=KILL", "error=ECONNREFUSED"]),
    ("sendto", &["signal=KILL"]),
    ("writev", &["signal=KILL", "error=EPIPE"]),
    ("recvfrom", &["signal=KILL", "error=ECONNRESET"]),
    ("write", &["signal=KILL"]),
];

// faults 98 to 102, 104 to 107, 112, 119, 122 and 208
#[tokio::test]
async fn whatever_ends_or_hinders_a_rotation_leaves_a_key_that_mints() {
    let Some(strace) = find_strace() else { return };
    let blows = match std::env::var("BEARERD_TEST_CRASH").as_deref() {
        Ok("all") => campaign(&strace).await,
        _ => SHORT.map(|(call, what, when)| Blow { call, what, when: when.to_string() }).into(),
    };
    let mut hit = 0;
    for blow in &blows {
        let stand = fresh().await;
        let ended = run(blow.strike(&strace, &stand.home.command(&["keys", "rotate"]))).await;
        hit += usize::from(ended.code != Some(0));
        let told = format!("{blow}: {ended:?}");
        recover(&stand, &told).await;
    }
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{} blows, {hit} of them ended or failed the command", blows.len()).unwrap();
    assert!(hit * 2 > blows.len(), "the blows fall beside it: {hit} of {}", blows.len());
}

// fault 105: a disk that takes nothing, for as long as the rotation lasts
#[tokio::test]
async fn a_disk_that_takes_nothing_any_more_leaves_a_key_that_can_mint() {
    let Some(strace) = find_strace() else { return };
    for (when, asked) in [("1+", 0), ("5+", 1)] {
        let stand = fresh().await;
        let blow = Blow { call: "fsync", what: "error=EIO", when: when.to_owned() };
        let ended = run(blow.strike(&strace, &stand.home.command(&["keys", "rotate"]))).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        // It is the file or its directory: strace counts the calls of each thread apart.
        assert!(ended.err.contains("on the disk failed"), "{ended:?}");
        // Where the directory is the first to fail, the new key has its name already.
        let is_old = key_in(&stand)["key_id"] == stand.issuer.key().0.as_str();
        assert!(is_old || asked > 0, "{ended:?}");
        assert!(rotations(&stand).len() <= asked, "{ended:?}");
        recover(&stand, &format!("{blow}: {ended:?}")).await;
    }
}

// faults 112, 206 and 208: the daemon itself is struck, and starts again
#[tokio::test]
async fn a_daemon_that_is_killed_while_it_rotates_finds_its_way() {
    let Some(strace) = find_strace() else { return };
    let mut killed = 0;
    // Its files are worked with in several threads, so the first calls of each are struck at.
    for (call, when) in [
        ("fsync", 1),
        ("fsync", 2),
        ("fsync", 3),
        ("pwrite64", 1),
        ("pwrite64", 2),
        ("renameat", 1),
    ] {
        let stand = due().await;
        let blow = Blow { call, what: "signal=KILL", when: when.to_string() };
        let mut daemon = Daemon::spawn(blow.strike(&strace, &stand.home.command(&["run"])));
        until_ok(async || {
            let is_over = !daemon.is_running() || settled(&stand).await.is_ok() && has_new(&stand);
            if is_over { Ok(()) } else { Err(daemon.log()) }
        })
        .await;
        killed += usize::from(!daemon.is_running());
        drop(daemon);
        recover(&stand, &blow.to_string()).await;
    }
    assert!(killed >= 3, "the blows fall beside it: {killed}");
}

fn has_new(stand: &Stand) -> bool {
    key_in(stand)["key_id"] != stand.issuer.key().0
}

/// Lists every blow, by how often a rotation that goes well makes each call in one thread.
async fn campaign(strace: &std::path::Path) -> Vec<Blow> {
    let stand = fresh().await;
    let counts = blow::counts(strace, &stand.home.command(&["keys", "rotate"]), &stand).await;
    assert!(has_new(&stand), "it goes well");
    let most = |call: &str| counts.get(call).copied().unwrap_or(0);
    let blows = ALL.iter().flat_map(|(call, kinds)| {
        kinds.iter().flat_map(move |what| {
            (1..=most(call)).map(move |when| Blow { call, what, when: when.to_string() })
        })
    });
    let blows: Vec<_> = blows.collect();
    let kills = blows.iter().filter(|blow| blow.what == "signal=KILL").count();
    assert!(kills >= 150, "only {kills} points");
    blows
}

/// Starts a daemon on what is left, and waits until all is well by itself.
async fn recover(stand: &Stand, told: &str) {
    let (old, secret) = stand.issuer.key();
    serde_json::from_slice::<Value>(&fs::read(stand.home.path("key.json")).unwrap())
        .unwrap_or_else(|_| panic!("{told}: the file holds half a key"));
    // A key that lies whole beside the file is not to be asked for again.
    let most = if has_whole_draft(stand) { rotations(stand).len() } else { 2 };
    let mut daemon = stand.home.start().await;
    until_ok(async || {
        let ready = daemon.is_ready().await;
        if ready { Ok(()) } else { Err(format!("{told}: {}", daemon.log())) }
    })
    .await;
    assert_eq!(stand.accepts(&daemon.token().await).await, 200, "{told}");
    until_ok(async || {
        settled(stand).await.map_err(|what| format!("{told}: {what}: {}", daemon.log()))
    })
    .await;
    assert!(rotations(stand).len() <= most, "{told}: {:?}", rotations(stand));
    if key_in(stand)["key_id"] != old {
        assert_nowhere(stand, &secret, told);
    }
    daemon.stop().await;
}

/// Tells what is still to come: nothing may be open, and the key in use may not be about to end.
async fn settled(stand: &Stand) -> Result<(), String> {
    let journal = fs::read(stand.home.path(".key.json.rotation")).map_err(|e| e.to_string())?;
    let journal: Value = serde_json::from_slice(&journal).map_err(|e| e.to_string())?;
    let key_id = key_in(stand)["key_id"].as_str().unwrap().to_owned();
    if journal["asked"] != Value::Null || journal["lost"] != Value::Null {
        return Err(format!("it is under way: {journal}"));
    }
    if journal["key_id"] != key_id {
        return Err(format!("the journal is of another key than {key_id}: {journal}"));
    }
    let ends = ends(stand).await;
    if !ends[&key_id].starts_with("0001-") {
        return Err(format!("the key in use ends at {}", ends[&key_id]));
    }
    let files = fs::read_dir(stand.home.path("")).unwrap();
    let mut names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.find(|name| name.contains(".draft-")).map_or(Ok(()), Err)
}

fn has_whole_draft(stand: &Stand) -> bool {
    let files = fs::read_dir(stand.home.path("")).unwrap().map(|entry| entry.unwrap().path());
    let mut drafts = files.filter(|path| path.to_str().unwrap().contains("/.key.json.draft-"));
    drafts.any(|path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).is_ok())
}

/// Asks the emulator for the ends of all keys.
async fn ends(stand: &Stand) -> BTreeMap<String, String> {
    let mut visitor = Visitor::connect(&Place::Tcp(stand.issuer.address())).await;
    let shown = visitor.get("/_emulator/").await.json();
    let users = shown["users"].as_array().unwrap().iter();
    let keys = users.flat_map(|user| user["keys"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    keys.map(|key| (text(&key["id"]), text(&key["expires_at"]))).collect()
}

/// Fails if any file of the home holds a retired secret (fault 122).
fn assert_nowhere(stand: &Stand, secret: &str, told: &str) {
    for entry in fs::read_dir(stand.home.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!content.contains(secret), "{told}: {} holds it", path.display());
        }
    }
}
