//! The access token of a listener: made, judged, asked for, followed, and found by commands.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use crate::bench::{
    Daemon, Place, Reply, Stand, Visitor,
    client::Header,
    daemon::{Ended, run},
    home::{NOBODY, program},
    until,
};

/// Another token than any that was made.
const OTHER: &str = "0123456789-abcdefghijklmnopqrstuvwxyz";

/// Makes a stand whose listeners ask for the token in one file, which is yet to be made.
async fn stand() -> (Stand, PathBuf) {
    let mut stand = Stand::new().await;
    let file = stand.home.path("access-token");
    for listener in ["apps", "web"] {
        let key = format!("listeners.{listener}.access_token_file");
        stand.home.set(&key, file.to_str().unwrap());
    }
    (stand, file)
}

async fn ask(place: &Place, headers: &[Header<'_>]) -> Reply {
    Visitor::connect(place).await.request("GET", "/v1/token", headers, b"").await
}

async fn ask_with(place: &Place, token: &str) -> u16 {
    ask(place, &[("Authorization", &format!("Bearer {token}"))]).await.status
}

async fn denied(daemon: &Daemon, listener: &str) -> f64 {
    let labels = [("listener", listener), ("reason", "credential")];
    daemon.metrics().await.get("bearerd_requests_denied_total", &labels)
}

#[tokio::test]
async fn a_missing_file_is_made_for_the_listeners_group_and_kept() {
    let (mut stand, file) = stand().await;
    let root = rustix::process::geteuid().is_root();
    let group = if root { NOBODY } else { rustix::process::getegid().as_raw() };
    stand.home.set("listeners.apps.group", i64::from(group));
    let mut daemon = stand.start().await;
    let token = fs::read_to_string(&file).unwrap();
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "256 bits");
    let stat = file.metadata().unwrap();
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (0o640, uid, group));
    for place in daemon.places() {
        assert_eq!(ask_with(&place, &token).await, 200);
    }
    assert!(!daemon.log().contains(&token));
    daemon.stop().await;
    let daemon = stand.start().await;
    assert_eq!(ask_with(&daemon.place("apps"), &token).await, 200, "it outlives a restart");
}

// faults 135, 145
#[tokio::test]
async fn without_it_every_route_of_both_sockets_is_closed() {
    let (mut stand, file) = stand().await;
    stand.home.set("log.level", "trace");
    let daemon = stand.start().await;
    let token = fs::read_to_string(&file).unwrap();
    let good = format!("Bearer {token}");
    let near = [
        format!("Bearer {}", &token[1..]),
        format!("Bearer {token}0"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer  {token}"),
        format!("Bearer{token}"),
        format!("Basic {token}"),
        token.clone(),
        "Bearer".to_owned(),
        String::new(),
        format!("Bearer {}", "x".repeat(10_000)),
    ];
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let routes = [
            ("GET", "/v1/token"),
            ("GET", "/v1/token?format=raw"),
            ("POST", "/v1/token/rejected"),
            ("GET", "/v1/ready"),
            ("GET", "/v1/teams/acme/current_user"),
            ("OPTIONS", "/v1/token"),
            ("GET", "/nothing"),
            ("GET", "/"),
        ];
        let before = denied(&daemon, listener).await;
        for (method, path) in routes {
            let reply = Visitor::connect(&place).await.request(method, path, &[], b"").await;
            assert_refused(&reply);
        }
        for value in &near {
            assert_refused(&ask(&place, &[("Authorization", value)]).await);
        }
        let twice = [("Authorization", good.as_str()), ("Authorization", "Bearer x")];
        for headers in [&twice[..], &[twice[1], twice[0]], &[twice[0], twice[0]]] {
            assert_refused(&ask(&place, headers).await);
        }
        let refusals = routes.len() + near.len() + 3;
        assert_eq!(denied(&daemon, listener).await, before + refusals as f64);
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let value = format!("{scheme} {token}");
            assert_eq!(ask(&place, &[("Authorization", &value)]).await.status, 200, "{scheme}");
        }
        assert_eq!(denied(&daemon, listener).await, before + refusals as f64);
    }
    let refused = daemon.events("refused");
    assert!(refused.iter().all(|it| it["reason"] == "credential"), "{refused:?}");
    assert!(refused.iter().all(|it| it["target"] == "bearerd::audit") && !refused.is_empty());
    assert!(!daemon.log().contains(&token), "not even at trace");
}

fn assert_refused(reply: &Reply) {
    assert_eq!((reply.status, reply.problem().as_str()), (401, "unauthorized"), "{reply:?}");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    assert!(reply.is_last(), "{reply:?}");
}

#[tokio::test]
async fn it_stands_in_for_no_other_guard_and_closes_no_other_door() {
    let (mut stand, file) = stand().await;
    stand.home.set("listeners.open.bind", "tcp:127.0.0.1:0");
    let daemon = stand.start().await;
    let bearer = format!("Bearer {}", fs::read_to_string(&file).unwrap());
    let web = daemon.place("web");
    let page = [("Authorization", bearer.as_str()), ("Origin", "null")];
    assert_eq!(ask(&web, &page).await.status, 403);
    let mut visitor = Visitor::connect(&web).await;
    let line = format!("GET /v1/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}");
    visitor.send(format!("{line}\r\n\r\n").as_bytes()).await;
    assert_eq!(visitor.reply().await.status, 403, "X-Bearerd is asked for, too");
    assert_eq!(daemon.get("open", "/v1/token").await.status, 200);
    assert_eq!(daemon.get("telemetry", "/readyz").await.status, 200);
    assert_eq!(daemon.get("control", "/v1/status").await.status, 200);
}

/// What no daemon starts with: the content, the mode, and a word of what is said.
const BAD_FILES: [(&str, u32, &str); 7] = [
    ("", 0o640, "fewer than 32"),
    ("0123456789012345678901234567890\n", 0o640, "fewer than 32"),
    ("two words, but long enough to be a secret", 0o640, "white space"),
    ("0123456789abcdef0123456789abcdef\n\n", 0o640, "white space"),
    ("0123456789abcdef0123456789abcdef\u{e4}", 0o640, "ASCII"),
    ("0123456789abcdef0123456789abcdef", 0o644, "chmod 640"),
    ("0123456789abcdef0123456789abcdef", 0o660, "chmod 640"),
];

// fault 84
#[tokio::test]
async fn a_bad_file_is_refused_at_start_and_by_check() {
    let (stand, file) = stand().await;
    for (content, mode, words) in BAD_FILES {
        stand.home.replace("access-token", content.as_bytes(), mode);
        for command in ["run", "check"] {
            let ended = run(stand.home.command(&[command, "--set", "log.level=error"])).await;
            assert_told(&ended, &file, words);
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), content, "left as it was");
    }
    let long = "x".repeat(513);
    stand.home.replace("access-token", long.as_bytes(), 0o640);
    assert_told(&run(stand.home.command(&["run"])).await, &file, "more than 512");
}

fn assert_told(ended: &Ended, file: &Path, words: &str) {
    assert_eq!(ended.code, Some(78), "{ended:?}");
    let said = format!("{}{}", ended.out, ended.err);
    assert!(said.contains(file.to_str().unwrap()) && said.contains(words), "{words}: {ended:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_told() {
    let (mut stand, _) = stand().await;
    let nowhere = stand.home.path("nowhere/access-token");
    stand.home.set("listeners.apps.access_token_file", nowhere.to_str().unwrap());
    let ended = run(stand.home.command(&["run"])).await;
    assert_told(&ended, nowhere.parent().unwrap(), "does not exist");
    let check = run(stand.home.command(&["check"])).await;
    assert_eq!(check.code, Some(78), "{check:?}");
    assert!(check.out.contains("does not exist"), "{check:?}");
    let there = stand.home.path("access-token");
    stand.home.set("listeners.apps.access_token_file", there.to_str().unwrap());
    let check = run(stand.home.command(&["check"])).await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.out.contains("is made when the daemon starts"), "{check:?}");
    assert!(!there.exists(), "check makes nothing");
    assert!(!check.out.contains("every local user"), "{check:?}");
}

// a crash in the very write: the file is whole or not there
#[tokio::test]
async fn a_crash_leaves_no_short_file() {
    let (stand, file) = stand().await;
    let run = stand.home.command(&["run"]);
    let mut crashing = Command::new("/bin/sh");
    crashing.args(["-c", r#"ulimit -f 0; exec "$@""#, "sh"]).arg(run.get_program());
    let crashed = crashing.args(run.get_args()).env_clear().output().unwrap();
    assert_eq!(crashed.status.signal(), Some(25), "SIGXFSZ: {crashed:?}");
    assert!(!file.exists());
    let daemon = stand.start().await;
    assert_eq!(ask_with(&daemon.place("apps"), &fs::read_to_string(file).unwrap()).await, 200);
}

/// Waits until one token is good and the other is not.
async fn until_good(place: &Place, good: &str, bad: &str) {
    until("the token has changed", async || ask_with(place, good).await == 200).await;
    assert_eq!(ask_with(place, bad).await, 401);
}

// seen by the watch alone: no poll is as quick as these waits
#[tokio::test]
async fn a_changed_file_is_taken_and_open_connections_stay() {
    let (stand, file) = stand().await;
    let daemon = stand.start().await;
    let first = fs::read_to_string(&file).unwrap();
    let mut apps = Visitor::connect(&daemon.place("apps")).await;
    let bearer = |token: &str| format!("Bearer {token}");
    let old = bearer(&first);
    let reply = apps.request("GET", "/v1/token", &[("Authorization", &old)], b"").await;
    assert_eq!(reply.status, 200);
    stand.home.replace("access-token", format!("{OTHER}\n").as_bytes(), 0o640);
    for place in daemon.places() {
        until_good(&place, OTHER, &first).await;
    }
    let new = bearer(OTHER);
    let reply = apps.request("GET", "/v1/token", &[("Authorization", &new)], b"").await;
    assert_eq!(reply.status, 200, "the connection of before is open");
    fs::write(&file, &first).unwrap();
    until_good(&daemon.place("web"), &first, OTHER).await;
    let log = daemon.log();
    assert!(!log.contains(&first) && !log.contains(OTHER), "{log}");
}

#[tokio::test]
async fn a_file_that_breaks_later_changes_nothing_but_the_log() {
    let (stand, file) = stand().await;
    let daemon = stand.start().await;
    let token = fs::read_to_string(&file).unwrap();
    let mut told = 0;
    for (content, mode, words) in [BAD_FILES[0], BAD_FILES[1], BAD_FILES[5]] {
        stand.home.replace("access-token", content.as_bytes(), mode);
        let of_apps = || {
            let events = daemon.events("the old access token stays");
            events.into_iter().filter(|event| event["listener"] == "apps").collect::<Vec<_>>()
        };
        let is_told = |it: &serde_json::Value| it["problem"].as_str().unwrap().contains(words);
        // The first two are the same trouble, which is told once.
        until("it is told", async || of_apps().last().is_some_and(is_told)).await;
        told = of_apps().len();
        assert_eq!(ask_with(&daemon.place("apps"), &token).await, 200, "{words}");
        assert_eq!(ask_with(&daemon.place("apps"), OTHER).await, 401, "{words}");
    }
    assert_eq!(told, 2);
    fs::remove_file(&file).unwrap();
    // A reload looks at once, and is not refused for what is kept.
    daemon.signal(Signal::HUP);
    until("the reload is over", async || daemon.has_said("the configuration was read again")).await;
    assert_eq!(ask_with(&daemon.place("apps"), &token).await, 200);
    stand.home.replace("access-token", token.as_bytes(), 0o640);
    until("it is good again", async || daemon.has_said("the access token can be read again")).await;
    assert!(!daemon.has_said("the access token has changed"));
}

#[tokio::test]
async fn a_reload_can_ask_for_one_and_no_longer() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    let file = stand.home.path("access-token");
    let reload = async |stand: &Stand, said: &str| {
        let before = daemon.events(said).len();
        stand.home.write();
        daemon.signal(Signal::HUP);
        until(said, async || daemon.events(said).len() > before).await;
    };
    let web = daemon.place("web");
    let mut open = Visitor::connect(&web).await;
    assert_eq!(open.get("/v1/token").await.status, 200);
    stand.home.set("listeners.web.access_token_file", file.to_str().unwrap());
    stand.home.replace("access-token", b"short", 0o640);
    reload(&stand, "the old configuration stays").await;
    assert_eq!(open.get("/v1/token").await.status, 200, "all or nothing");
    fs::remove_file(&file).unwrap();
    reload(&stand, "the configuration was read again").await;
    assert_eq!(open.rest().await, b"", "who came in without has to come again");
    let token = fs::read_to_string(&file).unwrap();
    assert_eq!((ask_with(&web, &token).await, ask_with(&web, OTHER).await), (200, 401));
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200, "the other listener's stay");
    let other = stand.home.replace("other-token", OTHER.as_bytes(), 0o600);
    stand.home.set("listeners.web.access_token_file", other.to_str().unwrap());
    reload(&stand, "the configuration was read again").await;
    assert_eq!((ask_with(&web, OTHER).await, ask_with(&web, &token).await), (200, 401));
    stand.home.unset("listeners.web.access_token_file");
    reload(&stand, "the configuration was read again").await;
    assert_eq!(daemon.get("web", "/v1/token").await.status, 200);
}

#[tokio::test]
async fn commands_find_it_or_say_how_to_name_it() {
    let (stand, file) = stand().await;
    let daemon = stand.start().await;
    let configured = run(stand.home.command(&["token"])).await;
    assert_eq!(configured.code, Some(0), "{configured:?}");
    let Place::Tcp(web) = daemon.place("web") else { panic!("web is on TCP") };
    let url = format!("http://{web}");
    let by_url = async |more: &[&str]| {
        run(program(&[&["token", "--url", url.as_str()], more].concat())).await
    };
    let named = by_url(&["--access-token-file", file.to_str().unwrap()]).await;
    assert_eq!((named.code, &named.out), (Some(0), &configured.out), "{named:?}");
    let other = stand.home.replace("other-token", OTHER.as_bytes(), 0o600);
    let short = stand.home.replace("short-token", b"short", 0o600);
    let nothing = stand.home.path("nothing");
    let rows: [(Option<&Path>, i32, &str); 4] = [
        (None, 77, "--access-token-file"),
        (Some(&other), 77, "does not take"),
        (Some(&short), 78, "fewer than 32"),
        (Some(&nothing), 78, "does not exist"),
    ];
    for (path, code, words) in rows {
        let arguments = path.map(|path| ["--access-token-file", path.to_str().unwrap()]);
        let ended = by_url(arguments.as_ref().map_or(&[], |pair| &pair[..])).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{ended:?}");
        assert!(ended.err.contains(words) && ended.err.lines().count() == 1, "{ended:?}");
        assert!(path.is_none_or(|path| ended.err.contains(path.to_str().unwrap())), "{ended:?}");
        assert!(!ended.err.contains(OTHER), "{ended:?}");
    }
    let socket = stand.home.path("apps.sock");
    let by_socket = run(program(&["token", "--socket", socket.to_str().unwrap()])).await;
    assert_eq!(by_socket.code, Some(77), "{by_socket:?}");
}
