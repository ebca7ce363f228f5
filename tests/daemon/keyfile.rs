//! The key's file: missing, broken, open to others, replaced; the daemon runs on and says so.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use rustix::process::Signal;

use crate::bench::{
    Daemon, Stand,
    daemon::run,
    injection::{Injection, command_with},
    until,
};

/// Waits until probes, operators and clients are told what is wrong with the key.
async fn assert_told(daemon: &Daemon, path: &Path, what: &[&str]) {
    until("the trouble is known", async || {
        daemon.status().await["credentials"][0]["key_trouble"].is_string()
    })
    .await;
    let status = daemon.status().await;
    let ready = daemon.get("telemetry", "/readyz?verbose").await.text().to_owned();
    let events = daemon.events("the API key cannot be read");
    let told = [
        status["credentials"][0]["key_trouble"].as_str().unwrap().to_owned(),
        events.last().unwrap()["problem"].as_str().unwrap().to_owned(),
    ];
    let no_token = status["credentials"][0]["state"] == "no_key";
    for sentence in told.iter().chain(no_token.then_some(&ready)) {
        assert!(sentence.contains(path.to_str().unwrap()), "{sentence}");
        assert!(what.iter().all(|word| sentence.contains(word)), "{what:?}: {sentence}");
    }
    assert_eq!(daemon.get("telemetry", "/livez").await.status, 200);
}

// fault 77
#[tokio::test]
async fn a_key_that_is_missing_at_start_is_taken_when_it_appears() {
    let stand = Stand::new().await;
    let path = stand.home.path("key.json");
    fs::remove_file(&path).unwrap();
    let daemon = stand.home.start().await;
    assert_told(&daemon, &path, &["does not exist", "create it"]).await;
    let reply = daemon.get("apps", "/v1/token").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "no-token"));
    assert!(reply.json()["detail"].as_str().unwrap().contains("key.json"), "{reply:?}");
    assert!(!daemon.is_ready().await);
    stand.home.write_key(&stand.issuer.key());
    daemon.until_ready().await;
    assert_eq!(stand.issuer.mint_calls(), 1);
}

// faults 84, 87, 79, 90: whatever stands there, the daemon runs and waits for something better
#[tokio::test]
async fn what_is_no_good_key_is_named_and_mended_without_a_restart() {
    let rows: [(&str, &[&str]); 7] = [
        ("mode", &["0644", "chmod"]),
        ("directory", &["regular file"]),
        ("empty", &[]),
        ("cut", &[]),
        ("twice", &[]),
        ("bom", &[]),
        ("fifo", &["regular file"]),
    ];
    for (kind, words) in rows {
        let stand = Stand::new().await;
        let path = stand.home.path("key.json");
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        match kind {
            "mode" => drop(stand.home.replace("key.json", &good, 0o644)),
            "directory" => fs::create_dir(&path).unwrap(),
            "fifo" => make_fifo(&path),
            "empty" => drop(stand.home.replace("key.json", b"", 0o600)),
            "cut" => drop(stand.home.replace("key.json", &good[..good.len() - 3], 0o600)),
            "bom" => {
                let marked = [b"\xef\xbb\xbf", &good[..]].concat();
                stand.home.replace("key.json", &marked, 0o600);
            }
            _ => {
                let doubled = String::from_utf8(good).unwrap().replace('{', r#"{"key_id":"x","#);
                stand.home.replace("key.json", doubled.as_bytes(), 0o600);
            }
        }
        let daemon = stand.home.start().await;
        assert_told(&daemon, &path, words).await;
        assert_eq!(stand.issuer.mint_calls(), 0, "{kind}");
        let check = run(stand.home.command(&["check"])).await;
        assert_eq!(check.code, Some(78), "{kind}: {check:?}");
        assert!(check.out.contains(path.to_str().unwrap()), "{kind}: {check:?}");
        let removed = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        removed.unwrap();
        stand.home.write_key(&stand.issuer.key());
        daemon.until_ready().await;
    }
}

fn make_fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
}

// faults 78, 79, 84: what breaks later takes neither key nor token away
#[tokio::test]
async fn a_key_file_that_breaks_later_changes_nothing_but_what_is_told() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let path = stand.home.path("key.json");
    let good = fs::read(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    assert_told(&daemon, &path, &["0604", "chmod"]).await;
    fs::remove_file(&path).unwrap();
    until("the trouble is another one", async || {
        let status = daemon.status().await;
        status["credentials"][0]["key_trouble"].as_str().is_some_and(|t| t.contains("not exist"))
    })
    .await;
    assert!(daemon.is_ready().await);
    // The key in memory goes on minting.
    daemon.signal(Signal::USR1);
    until("it has minted again", async || stand.issuer.mints() == 2).await;
    stand.home.replace("key.json", &good, 0o600);
    until("the trouble is over", async || {
        daemon.status().await["credentials"][0]["key_trouble"].is_null()
    })
    .await;
    let metrics = daemon.metrics().await;
    let reloads = |result| metrics.get("bearerd_key_reloads_total", &[("result", result)]);
    assert_eq!(reloads("failure"), 2.0);
    assert_eq!(stand.issuer.mint_calls(), 2, "the same key needs no new token");
}

// faults 81, 86: the way Kubernetes updates a mounted Secret
#[tokio::test]
async fn the_swap_of_a_mounted_secret_is_seen() {
    let mut stand = Stand::new().await;
    let mount = stand.home.path("secret");
    fs::create_dir(&mount).unwrap();
    let publish = |generation: &str, (id, secret): &(String, String)| {
        let directory = mount.join(generation);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        for (name, content) in [("key_id", id), ("key_secret", secret)] {
            fs::write(directory.join(name), content).unwrap();
            let private = fs::Permissions::from_mode(0o400);
            fs::set_permissions(directory.join(name), private).unwrap();
        }
        symlink(generation, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    publish("..1", &stand.issuer.key());
    for name in ["key_id", "key_secret"] {
        symlink(format!("..data/{name}"), mount.join(name)).unwrap();
    }
    // A mounted Secret is a sticky directory of root that all may write.
    fs::set_permissions(&mount, fs::Permissions::from_mode(0o1777)).unwrap();
    stand.home.unset("credentials.default.key_file");
    stand.home.set("credentials.default.key_dir", mount.to_str().unwrap());
    let daemon = stand.start().await;
    let new = stand.issuer.add_key("robot");
    publish("..2", &new);
    until("the new key is in use", async || {
        daemon.status().await["credentials"][0]["key_id"] == new.0
    })
    .await;
    assert_eq!(stand.issuer.mint_calls(), 2);
}

// fault 80: a writer that rewrites in place never makes a mixed pair
#[tokio::test]
async fn a_key_that_is_rewritten_in_place_is_never_read_torn() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let path = stand.home.path("key.json");
    let keys = [stand.issuer.key(), stand.issuer.add_key("robot")];
    for round in 0..200 {
        let (id, secret) = &keys[round % 2];
        fs::write(&path, format!(r#"{{"key_id":"{id}","#)).unwrap();
        tokio::task::yield_now().await;
        fs::write(&path, format!(r#"{{"key_id":"{id}","key_secret":"{secret}"}}"#)).unwrap();
    }
    until("the last key is in use", async || {
        daemon.status().await["credentials"][0]["key_id"] == keys[1].0
    })
    .await;
    assert_eq!(daemon.metrics().await.failures("default"), []);
}

// fault 83: the tenth second finds what no event tells of
#[tokio::test]
async fn a_new_key_is_found_where_nothing_can_be_watched() {
    tokio::join!(
        finds_a_key_without("inotify_init1", "error=EMFILE"),
        finds_a_key_without("inotify_add_watch", "error=ENOSPC"),
    );
}

async fn finds_a_key_without(call: &str, how: &str) {
    let stand = Stand::new().await;
    let Some(command) = command_with(&stand.home, call, how) else { return };
    let daemon = Daemon::start(command).await;
    daemon.until_ready().await;
    let new = stand.issuer.add_key("robot");
    stand.home.write_key(&new);
    until("the new key is in use", async || {
        daemon.status().await["credentials"][0]["key_id"] == new.0
    })
    .await;
}

// fault 92: what was read before serves until the disk is well again
#[tokio::test]
async fn a_disk_that_fails_takes_nothing_away() {
    tokio::join!(goes_on_after("EIO"), goes_on_after("ESTALE"), goes_on_after("EACCES"));
}

async fn goes_on_after(error: &str) {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let (path, token) = (stand.home.path("key.json"), daemon.token().await);
    let injection = Injection::start_on(&daemon, &path, "read", &format!("error={error}")).await;
    let Some(injection) = injection else { return };
    let new = stand.issuer.add_key("robot");
    stand.home.write_key(&new);
    assert_told(&daemon, &path, &[]).await;
    daemon.refresh("default").await;
    assert_ne!(daemon.token().await, token, "the old key still mints");
    assert_ne!(daemon.status().await["credentials"][0]["key_id"], new.0);
    drop(injection);
    until("the new key is in use", async || {
        daemon.status().await["credentials"][0]["key_id"] == new.0
    })
    .await;
}
