//! The rotation of the key: by schedule, by an operator, after trouble; with and without a daemon.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
    time::Duration,
};

use bearerd::emulator::{FaultPlan, Role};
use serde_json::Value;

use crate::bench::{
    Daemon, Stand,
    daemon::{Ended, run},
    rotating::{due, fresh, key_in, rotations, stand},
    until, until_ok,
};

async fn until_used(daemon: &Daemon, key_id: &Value) {
    until("the new key is in use", async || {
        daemon.status().await["credentials"][0]["key_id"] == *key_id
    })
    .await;
}

async fn until_rotated(stand: &Stand, daemon: &Daemon) -> Value {
    let (old, _) = stand.issuer.key();
    until_ok(async || {
        let there = key_in(stand)["key_id"].clone();
        if there == *old { Err(daemon.log()) } else { Ok(()) }
    })
    .await;
    let new = key_in(stand)["key_id"].clone();
    until_used(daemon, &new).await;
    new
}

fn rotate(stand: &Stand, more: &[&str]) -> Command {
    stand.home.command(&[&["keys", "rotate"], more].concat())
}

async fn rotated_by(stand: &Stand, more: &[&str]) -> Ended {
    run(rotate(stand, more)).await
}

fn names(stand: &Stand) -> Vec<String> {
    let entries = fs::read_dir(stand.home.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains("key.json")).collect();
    names.sort();
    names
}

/// Fails if any file of the home holds a text.
fn assert_nowhere(stand: &Stand, secret: &str) {
    for entry in fs::read_dir(stand.home.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!content.contains(secret), "{} holds a retired secret", path.display());
        }
    }
}

// faults 98, 112, 122, 238 and 281
#[tokio::test]
async fn a_key_that_is_due_is_replaced_and_its_tokens_with_it() {
    let stand = due().await;
    let (old, secret) = stand.issuer.key();
    let daemon = stand.home.start().await;
    let new = until_rotated(&stand, &daemon).await;
    assert_ne!(new, old);
    assert_eq!(rotations(&stand), ["/v1/teams/acme/service_users/robot/keys"]);
    assert_eq!(names(&stand), [".key.json.lock", ".key.json.rotation", "key.json"]);
    assert_eq!(stand.home.path("key.json").metadata().unwrap().mode() & 0o777, 0o600);
    assert_nowhere(&stand, &secret);
    // What is served was made with the new key: it outlives the old one.
    assert!(stand.issuer.expire_key(&old, Duration::ZERO));
    let token = daemon.token().await;
    assert_eq!(stand.accepts(&token).await, 200);
    until("it is counted", async || {
        let metrics = daemon.metrics().await;
        metrics.get("bearerd_key_rotations_total", &[("result", "success")]) == 1.0
    })
    .await;
    let log = daemon.log();
    let new_secret = key_in(&stand)["key_secret"].as_str().unwrap().to_owned();
    assert!(!log.contains(&secret) && !log.contains(&new_secret));
}

// faults 119 and 123: a start alone rotates nothing before its time
#[tokio::test]
async fn a_key_that_is_not_due_stays_and_its_journal_outlasts_a_restart() {
    let mut stand = stand().await;
    stand.home.set("credentials.default.rotation.every", "30d");
    for _ in 0..2 {
        let mut daemon = stand.start().await;
        until("the journal is there", async || stand.home.path(".key.json.rotation").exists())
            .await;
        until("the next rotation is told", async || {
            let status = daemon.status().await;
            status["credentials"][0]["next_rotation_in"].as_u64().is_some_and(|left| left > 86_400)
        })
        .await;
        daemon.stop().await;
    }
    assert_eq!(rotations(&stand), [""; 0]);
}

#[tokio::test]
async fn an_operator_has_the_key_rotated_by_the_daemon() {
    let stand = stand().await;
    let daemon = stand.start().await;
    until("the journal is there", async || stand.home.path(".key.json.rotation").exists()).await;
    let (old, _) = stand.issuer.key();
    let mut last = old;
    for _ in 0..3 {
        let ended = rotated_by(&stand, &[]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let new = key_in(&stand)["key_id"].as_str().unwrap().to_owned();
        let said = format!("default: key {new} is in use; the old one, {last}, ends at");
        assert!(ended.out.starts_with(&said), "{ended:?}");
        until_used(&daemon, &Value::from(new.as_str())).await;
        last = new;
    }
    // fault 119
    let ended = rotated_by(&stand, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("three new keys were asked for within a day"), "{ended:?}");
    assert_eq!(rotations(&stand).len(), 3);
    let unknown = rotated_by(&stand, &["--credential", "rotator"]).await;
    assert!(unknown.err.contains("rotation.user is not set"), "{unknown:?}");
}

#[tokio::test]
async fn without_a_daemon_the_command_does_it_with_the_same_lock_and_journal() {
    let stand = stand().await;
    let (old, secret) = stand.issuer.key();
    let ended = rotated_by(&stand, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_ne!(key_in(&stand)["key_id"], old);
    assert_eq!(names(&stand), [".key.json.lock", ".key.json.rotation", "key.json"]);
    assert_nowhere(&stand, &secret);
    let daemon = stand.start().await;
    until_used(&daemon, &key_in(&stand)["key_id"]).await;
    // Another place for the control socket, as if it could not be found: the lock still tells.
    let elsewhere = format!("control.bind=unix:{}", stand.home.path("none.sock").display());
    until("the daemon has the lock", async || {
        let ended = rotated_by(&stand, &["--set", &elsewhere]).await;
        ended.err.contains("another bearerd on this machine rotates")
    })
    .await;
}

// fault 281: of whom the key is, is found out before Okta is asked for one
#[tokio::test]
async fn no_other_users_key_is_ever_replaced() {
    let mut stand = due().await;
    stand.issuer.add_user("somebody");
    stand.home.set("credentials.default.rotation.user", "somebody");
    let daemon = stand.start().await;
    until("it is told", async || {
        let status = daemon.status().await;
        let trouble = status["credentials"][0]["rotation_trouble"].as_str().unwrap_or_default();
        trouble.contains("the key is not of service user somebody")
    })
    .await;
    assert_eq!(rotations(&stand), [""; 0]);
}

fn plan(text: &str) -> FaultPlan {
    text.parse().unwrap()
}

// faults 118 and 281
#[tokio::test]
async fn what_okta_refuses_is_told_and_not_asked_again() {
    for (role, fault, words) in [
        (Role::PamAdmin, None, "lacks the role"),
        (Role::ResourceAdmin, Some("rotate@403"), "the issuer refused it (403)"),
        (Role::ResourceAdmin, Some("rotate@429"), "the issuer refused it (429)"),
        (Role::ResourceAdmin, Some("rotate@503"), "the issuer refused it (503)"),
    ] {
        let stand = due().await;
        stand.issuer.set_role("rotator", role);
        fault.into_iter().for_each(|fault| stand.issuer.inject(plan(fault)));
        let daemon = stand.start().await;
        until_ok(async || {
            let status = daemon.status().await;
            let told = status["credentials"][0]["rotation_trouble"].as_str().map(str::to_owned);
            let told = told.unwrap_or_default();
            if told.contains(words) { Ok(()) } else { Err(format!("{told} {}", daemon.log())) }
        })
        .await;
        assert_eq!(rotations(&stand).len(), 1);
        assert_eq!(key_in(&stand)["key_id"], stand.issuer.key().0);
        assert!(daemon.is_ready().await, "serving goes on");
        let metrics = daemon.metrics().await;
        assert_eq!(metrics.get("bearerd_key_rotations_total", &[("result", "failure")]), 1.0);
    }
}

// faults 37, 99, 100 and 101
#[tokio::test]
async fn a_lost_answer_is_repaired_once_with_the_old_key() {
    for fault in ["lost", "cut-off", "empty"] {
        let stand = due().await;
        stand.issuer.inject(plan(&format!("rotate@{fault}:1")));
        let daemon = stand.home.start().await;
        until_rotated(&stand, &daemon).await;
        assert_eq!(rotations(&stand).len(), 2, "{fault}");
        assert_eq!(stand.accepts(&daemon.token().await).await, 200);
    }
}

// faults 37 and 99: the list tells that nobody has rotated
#[tokio::test]
async fn a_request_that_was_not_carried_out_is_not_repaired() {
    for fault in ["rotate@reset:1", "rotate@close:1", "rotate@body:1={\"id\":\"\"}"] {
        let stand = due().await;
        stand.issuer.inject(plan(fault));
        let daemon = stand.home.start().await;
        until("the next time is told", async || {
            let status = daemon.status().await;
            status["credentials"][0]["next_rotation_in"].as_u64().is_some_and(|left| left > 3000)
        })
        .await;
        assert_eq!(rotations(&stand).len(), 1, "{fault}");
        assert_eq!(key_in(&stand)["key_id"], stand.issuer.key().0);
        let told = daemon.status().await["credentials"][0]["rotation_trouble"].clone();
        assert!(told.as_str().unwrap().contains("the answer to a rotation was lost"), "{told}");
    }
}

// fault 38: a new key that the issuer does not know everywhere yet waits beside the old one
#[tokio::test]
async fn a_new_key_that_does_not_mint_yet_takes_no_place() {
    let stand = fresh().await;
    let daemon = stand.start().await;
    until("the journal is read", async || {
        daemon.status().await["credentials"][0]["next_rotation_in"].is_u64()
    })
    .await;
    stand.issuer.inject(plan("mint@401:1"));
    let ended = rotated_by(&stand, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("the issuer does not accept this API key"), "{ended:?}");
    assert_eq!(key_in(&stand)["key_id"], stand.issuer.key().0);
    assert!(names(&stand).iter().any(|name| name.starts_with(".key.json.draft-")));
    assert_eq!(stand.accepts(&daemon.token().await).await, 200);
    until_rotated(&stand, &daemon).await;
    assert_eq!(rotations(&stand).len(), 1);
}

// faults 118, 200: an issuer that was down at the start is no trouble of the rotation once it is back
#[tokio::test]
async fn what_held_a_rotation_up_is_not_told_once_it_has_passed() {
    let stand = stand().await;
    stand.issuer.inject(plan("mint@500"));
    let daemon = stand.home.start().await;
    until("it is told", async || {
        let trouble = &daemon.status().await["credentials"][0]["rotation_trouble"];
        trouble.as_str().is_some_and(|it| it.contains("internal problem"))
    })
    .await;
    stand.issuer.clear_faults();
    until("it is over", async || {
        daemon.status().await["credentials"][0]["rotation_trouble"].is_null()
    })
    .await;
}

// fault 282: two answers are lost; the old key serves to its end, and a person is told
#[tokio::test]
async fn a_second_lost_answer_is_left_to_a_person() {
    let stand = due().await;
    stand.issuer.inject(plan("rotate@lost"));
    let daemon = stand.start().await;
    until("it is told", async || {
        let status = daemon.status().await;
        let trouble = status["credentials"][0]["rotation_trouble"].as_str().unwrap_or_default();
        trouble.contains("make a new key in Okta's console")
    })
    .await;
    assert_eq!(rotations(&stand).len(), 2);
    stand.issuer.clear_faults();
    let new = stand.issuer.add_key("robot");
    stand.home.write_key(&new);
    until_used(&daemon, &Value::from(new.0.as_str())).await;
    until("all is well", async || {
        daemon.status().await["credentials"][0]["rotation_trouble"].is_null()
    })
    .await;
}

// fault 97
#[tokio::test]
async fn a_key_that_cannot_be_replaced_is_told_at_start_and_served_all_the_same() {
    let mut stand = due().await;
    let directory = stand.home.path("fixed");
    fs::create_dir(&directory).unwrap();
    let key = fs::read(stand.home.path("key.json")).unwrap();
    fs::write(directory.join("key.json"), key).unwrap();
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(directory.join("key.json"), private).unwrap();
    let path = directory.join("key.json");
    stand.home.set("credentials.default.key_file", path.to_str().unwrap());
    let mount = |options: &[&str]| {
        let done = Command::new("mount").args(options).arg(&path).arg(&path).status();
        done.is_ok_and(|status| status.success())
    };
    if !mount(&["--bind"]) {
        return writeln!(std::io::stderr(), "SKIPPED: only root can mount").unwrap();
    }
    let unmount = || drop(Command::new("umount").arg(&path).status());
    let daemon = stand.start().await;
    let told = until_ok(async || {
        let status = daemon.status().await;
        let trouble = status["credentials"][0]["rotation_trouble"].as_str().map(str::to_owned);
        trouble.ok_or_else(|| daemon.log())
    })
    .await;
    unmount();
    assert!(told.contains("is mounted as a single file"), "{told}");
    assert_eq!(rotations(&stand), [""; 0]);
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200);
}

// fault 94
#[tokio::test]
async fn an_old_file_that_is_put_back_does_not_drive_out_the_newer_key() {
    let stand = due().await;
    let old = stand.issuer.key();
    let daemon = stand.home.start().await;
    let new = until_rotated(&stand, &daemon).await;
    until("the rotation is noted", async || {
        fs::read_to_string(stand.home.path(".key.json.rotation")).unwrap().contains(&old.0)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stand.home.write_key(&old);
    until("it is told", async || {
        let status = daemon.status().await;
        let trouble = status["credentials"][0]["key_trouble"].as_str().unwrap_or_default();
        trouble.contains("was rotated away")
    })
    .await;
    assert_eq!(daemon.status().await["credentials"][0]["key_id"], new);
    assert_eq!(daemon.refresh("default").await["problem"], Value::Null);
}

// fault 113
#[tokio::test]
async fn of_several_brokers_one_rotates_and_the_others_follow() {
    let stand = due().await;
    let first = stand.home.start().await;
    let mut daemons = vec![first];
    for number in 1..4 {
        let mut command = stand.home.command(&["run"]);
        for (key, name) in [("listeners.apps.bind", "apps"), ("control.bind", "control")] {
            let path = stand.home.path(&format!("{name}-{number}.sock"));
            command.arg("--set").arg(format!("{key}=unix:{}", path.display()));
        }
        daemons.push(Daemon::start(command).await);
    }
    let new = until_rotated(&stand, &daemons[0]).await;
    for daemon in &daemons {
        until_used(daemon, &new).await;
    }
    assert_eq!(rotations(&stand).len(), 1);
}

#[tokio::test]
async fn the_old_key_is_deleted_when_its_last_token_has_ended() {
    let mut stand = stand().await;
    stand.issuer.set_lifetime(Duration::from_secs(6));
    stand.home.set("credentials.default.rotation.delete_old", true);
    let (old, _) = stand.issuer.key();
    let daemon = stand.start().await;
    until("the journal is there", async || stand.home.path(".key.json.rotation").exists()).await;
    let ended = rotated_by(&stand, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    until("the old key is deleted", async || daemon.has_said("the old key is deleted")).await;
    assert!(!stand.issuer.delete_key(&old), "it is gone");
    assert_eq!(stand.accepts(&daemon.token().await).await, 200);
}

// the secret of another user goes to one new file and nowhere else
#[tokio::test]
async fn another_users_key_goes_into_a_file_of_its_own() {
    let stand = stand().await;
    stand.issuer.add_user("other");
    let out = stand.home.path("other.json");
    let path = out.to_str().unwrap();
    let flags = ["--credential", "rotator", "--user", "other", "--out", path];
    let ended = rotated_by(&stand, &flags).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(out.metadata().unwrap().mode() & 0o777, 0o600);
    let key: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let secret = key["key_secret"].as_str().unwrap();
    assert!(!ended.out.contains(secret) && !ended.err.contains(secret));
    let again = rotated_by(&stand, &flags).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("is there already"), "{again:?}");
    assert_eq!(rotations(&stand).len(), 1, "what cannot be kept is not asked for");
    let own = rotated_by(&stand, &["--credential", "rotator", "--user", "rotator", "--out", "x"]);
    let own = own.await;
    assert_eq!(own.code, Some(2), "{own:?}");
    let half = rotated_by(&stand, &["--user", "other"]).await;
    assert_eq!(half.code, Some(2), "{half:?}");
    let denied = rotated_by(&stand, &["--credential", "default", "--user", "other", "--out", "x"]);
    let denied = denied.await;
    assert_eq!(denied.code, Some(77), "{denied:?}");
    assert!(!stand.home.path("x").exists());
}

// fault 206: a stop waits for the answer of Okta and puts it on the disk
#[tokio::test]
async fn a_stop_in_the_middle_of_a_rotation_loses_no_key() {
    let stand = fresh().await;
    let mut daemon = stand.start().await;
    until("the journal is read", async || {
        daemon.status().await["credentials"][0]["next_rotation_in"].is_u64()
    })
    .await;
    stand.issuer.set_latency(Duration::from_millis(1500));
    let stop = async {
        until("Okta is asked", async || daemon.has_said("Okta is asked for a new key")).await;
        daemon.stop().await
    };
    // Whether the one who asked is still told does not matter.
    let (_told, (status, took)) = tokio::join!(run(rotate(&stand, &[])), stop);
    assert!(status.success() && took < Duration::from_secs(6), "{status} after {took:?}");
    stand.issuer.set_latency(Duration::ZERO);
    let daemon = stand.home.start().await;
    let new = until_rotated(&stand, &daemon).await;
    assert_eq!(rotations(&stand).len(), 1, "{new}");
}

// fault 281: what was forbidden is tried again after a reload, and not before
#[tokio::test]
async fn a_role_that_is_given_later_is_found_by_a_reload() {
    let stand = due().await;
    stand.issuer.set_role("rotator", Role::PamAdmin);
    let daemon = stand.start().await;
    until("it is refused", async || daemon.has_said("the key was not rotated")).await;
    stand.issuer.set_role("rotator", Role::ResourceAdmin);
    until("it rests, too", async || {
        let journal = fs::read_to_string(stand.home.path(".key.json.rotation")).unwrap();
        !journal.contains("\"rest_until\":null")
    })
    .await;
    daemon.signal(rustix::process::Signal::HUP);
    until("the trouble is over", async || {
        daemon.status().await["credentials"][0]["rotation_trouble"].is_null()
    })
    .await;
    // The hour's rest goes on; an operator need not wait for it.
    let ended = rotated_by(&stand, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

// fault 125
#[tokio::test]
async fn a_journal_of_a_later_version_is_left_alone_and_told() {
    let stand = due().await;
    let later = r#"{"version":9,"what":"else"}"#;
    stand.home.replace(".key.json.rotation", later.as_bytes(), 0o600);
    let daemon = stand.start().await;
    until("it is told", async || {
        let status = daemon.status().await;
        let trouble = status["credentials"][0]["rotation_trouble"].as_str().unwrap_or_default();
        trouble.contains("is of version 9")
    })
    .await;
    let ended = rotated_by(&stand, &[]).await;
    assert!(ended.err.contains("is of version 9"), "{ended:?}");
    assert_eq!(fs::read_to_string(stand.home.path(".key.json.rotation")).unwrap(), later);
    assert_eq!(rotations(&stand), [""; 0]);
}

// fault 123
#[tokio::test]
async fn a_journal_that_is_corrupt_is_made_anew_when_the_key_has_minted() {
    let stand = due().await;
    stand.home.replace(".key.json.rotation", b"{\"version\":1,", 0o600);
    stand.issuer.inject(plan("mint@503:3"));
    let daemon = stand.home.start().await;
    until("the key has minted and the journal is whole", async || {
        let journal = fs::read_to_string(stand.home.path(".key.json.rotation")).unwrap();
        journal.contains(&stand.issuer.key().0)
    })
    .await;
    daemon.until_ready().await;
    assert_eq!(rotations(&stand), [""; 0]);
}

/// A command that keeps what it gets; it fails until `mark` is there.
fn keep_all(stand: &mut Stand) -> std::path::PathBuf {
    let [kept, mark] = ["kept", "mark"].map(|name| stand.home.path(name));
    let script =
        format!("test -e {} && {{ cat; echo; env; }} > {}", mark.display(), kept.display());
    let words = ["sh", "-c", &script].map(|word| toml::Value::from(word.to_owned()));
    stand.home.set("credentials.default.rotation.on_rotated", words.to_vec());
    kept
}

// fault 239: what is told of a new key gets it, by standard input alone, until it has taken it
#[tokio::test]
async fn a_command_gets_each_new_key_and_gets_it_again_when_it_fails() {
    let mut stand = due().await;
    let kept = keep_all(&mut stand);
    let daemon = stand.home.start().await;
    until_rotated(&stand, &daemon).await;
    until("its failure is told", async || {
        let trouble = &daemon.status().await["credentials"][0]["rotation_trouble"];
        trouble.as_str().is_some_and(|it| it.contains("on_rotated did not succeed"))
    })
    .await;
    fs::write(stand.home.path("mark"), "").unwrap();
    until("it has the key", async || {
        fs::read_to_string(&kept).is_ok_and(|text| text.contains("BEARERD_KEY_ID="))
    })
    .await;
    let text = fs::read_to_string(&kept).unwrap();
    let (key, environment) = text.split_once('\n').unwrap();
    assert_eq!(serde_json::from_str::<Value>(key).unwrap(), key_in(&stand));
    let id = key_in(&stand)["key_id"].as_str().unwrap().to_owned();
    let path = stand.home.path("key.json").display().to_string();
    for line in [
        format!("BEARERD_KEY_ID={id}"),
        format!("BEARERD_FILE={path}"),
        "BEARERD_CREDENTIAL=default".into(),
    ] {
        assert!(environment.lines().any(|it| it == line), "{line}: {environment}");
    }
    let secret = key_in(&stand)["key_secret"].as_str().unwrap().to_owned();
    assert!(!environment.contains(&secret) && !daemon.log().contains(&secret));
    until("all is well", async || {
        daemon.status().await["credentials"][0]["rotation_trouble"].is_null()
    })
    .await;
}

#[tokio::test]
async fn without_a_daemon_the_command_gets_the_key_too() {
    let mut stand = fresh().await;
    let kept = keep_all(&mut stand);
    let ended = rotated_by(&stand, &[]).await;
    assert_eq!(ended.code, Some(1), "it is told that the command failed: {ended:?}");
    assert!(ended.err.contains("the key was rotated, but"), "{ended:?}");
    fs::write(stand.home.path("mark"), "").unwrap();
    let ended = rotated_by(&stand, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = fs::read_to_string(&kept).unwrap();
    let key: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(key, key_in(&stand));
}
