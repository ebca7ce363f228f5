//! Files with the token, for one program: where they lie, who may read them, when they go.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use rustix::process::Signal;

use super::{done, exec, lines};
use crate::bench::{Daemon, Home, Stand, daemon::run, stay_on_one_core, until, user::is_root};

/// Writes what a program knows of its file `$T` into files of the test's.
fn tell(home: &Home) -> String {
    format!("echo $T > {0}/path; cat $T > {0}/content; echo $$ > {0}/pid", home.path("").display())
}

fn read(home: &Home, name: &str) -> String {
    fs::read_to_string(home.path(name)).unwrap_or_default().trim().to_owned()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

/// Makes a directory for private files, which nobody else uses, and a command that uses it.
fn private(home: &Home, flags: &[&str], line: &str) -> std::process::Command {
    let mut command = exec(home, flags, line);
    let place = home.path("private");
    fs::create_dir_all(&place).unwrap();
    command.env("XDG_RUNTIME_DIR", place);
    command
}

// fault 232
#[tokio::test]
async fn a_file_holds_the_token_and_goes_with_the_program_however_that_ends() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    let home = &stand.home;
    for (end, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -9 $$", 137)] {
        let looks = "stat -c %a $T $(dirname $T); env | grep -c ^OKTA_BEARER_TOKEN";
        let line = format!("{}; {looks}; {end}", tell(home));
        let ended = run(private(home, &["--file", "T=header"], &line)).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert_eq!(ended.out, "600\n700\n0\n", "and the token is in no variable");
        assert_eq!(read(home, "content"), format!("Authorization: Bearer {token}"));
        let path = read(home, "path");
        assert!(path.starts_with(home.path("private").to_str().unwrap()), "{path}");
        assert_eq!(home.path("private").read_dir().unwrap().count(), 0, "after {end}");
    }
    // A program that cannot be started, and one whose token is not to be had.
    let mut missing = home.command(&["exec", "--file", "T=raw"]);
    missing.args(["--", "/nowhere/at/all"]).env("XDG_RUNTIME_DIR", home.path("private"));
    assert_eq!(run(missing).await.code, Some(127));
    drop(daemon);
    assert_eq!(run(private(home, &["--file", "T=raw"], "true")).await.code, Some(69));
    assert_eq!(home.path("private").read_dir().unwrap().count(), 0);
}

// There one thread does it all.
#[tokio::test]
async fn a_program_has_its_daemon_and_its_file_on_one_core_too() {
    let stand = Stand::new().await;
    stay_on_one_core();
    let held = done(&stand.home, &["--daemon", "--file", "T=raw"], "nproc; cat $T").await;
    let (cores, token) = held.split_once('\n').unwrap();
    assert_eq!((cores, stand.accepts(token).await), ("1", 200));
}

#[tokio::test]
async fn the_file_follows_the_token_and_is_new_before_the_program_hears_of_it() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let (home, seen) = (&stand.home, stand.home.path("seen"));
    let line = format!(
        "{}; trap 'cat $T >> {1}; echo >> {1}' USR1; echo began >> {1}; while :; do sleep 0.05; done",
        tell(home),
        seen.display()
    );
    let flags = ["--file", "T=raw", "--on-refresh", "signal:USR1"];
    let mut running = Daemon::spawn(private(home, &flags, &line));
    lines(&seen, 1).await;
    daemon.refresh("default").await;
    let token = daemon.token().await;
    assert_eq!(lines(&seen, 2).await, ["began", &token]);
    running.signal(Signal::TERM);
    assert_eq!(running.exit().await.code(), Some(143));
}

#[tokio::test]
async fn the_file_follows_the_token_also_of_a_program_that_is_told_nothing() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let home = &stand.home;
    let line = format!("{}; exec sleep 60", tell(home));
    let mut running = Daemon::spawn(private(home, &["--file", "T=raw", "--file", "J=json"], &line));
    until("the program runs", async || !read(home, "pid").is_empty()).await;
    let path = read(home, "path");
    for _ in 0..2 {
        daemon.refresh("default").await;
        let token = daemon.token().await;
        until("the file is new", async || fs::read_to_string(&path).is_ok_and(|it| it == token))
            .await;
    }
    assert!(Path::new(&path).with_file_name("J").exists());
    // As a service manager would end it.
    running.signal(Signal::TERM);
    assert_eq!(running.exit().await.code(), Some(143));
    assert_eq!(home.path("private").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_kill_of_ours_leaves_behind_stays_private() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    let home = &stand.home;
    let line = format!("{}; exec sleep 60", tell(home));
    let mut running = Daemon::spawn(private(home, &["--file", "T=raw"], &line));
    until("the program runs", async || !read(home, "pid").is_empty()).await;
    running.signal(Signal::KILL);
    running.exit().await;
    let path = read(home, "path");
    assert_eq!((mode(Path::new(&path)), mode(Path::new(&path).parent().unwrap())), (0o600, 0o700));
    let orphan = rustix::process::Pid::from_raw(read(home, "pid").parse().unwrap()).unwrap();
    rustix::process::kill_process(orphan, Signal::KILL).unwrap();
}

#[tokio::test]
async fn the_next_place_is_taken_where_the_first_is_not_to_be_trusted() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    let mut command = exec(&stand.home, &["--file", "T=raw"], "dirname $T");
    command.env("XDG_RUNTIME_DIR", "/nowhere/at/all");
    let ended = run(command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.out.trim().is_empty() && !Path::new(ended.out.trim()).exists(), "{ended:?}");
}

// fault 234
#[tokio::test]
async fn the_parent_keeps_no_token() {
    if !is_root() {
        return;
    }
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let home = &stand.home;
    let flags = ["--file", "T=raw", "--env", "V=raw", "--on-refresh", "signal:USR1"];
    let line = format!("{}; trap : USR1; while :; do sleep 0.05; done", tell(home));
    let mut running = Daemon::spawn(private(home, &flags, &line));
    until("the program runs", async || !read(home, "pid").is_empty()).await;
    let path = read(home, "path");
    for turn in 0..2 {
        let token = daemon.token().await;
        until("the file is new", async || fs::read_to_string(&path).is_ok_and(|it| it == token))
            .await;
        until("it is forgotten", async || crate::secrets::copies(running.pid(), &token) == 0).await;
        // The search finds what is there: the program has it in its environment.
        let program = read(home, "pid").parse().unwrap();
        assert!(turn > 0 || crate::secrets::copies(program, &token) > 0);
        daemon.refresh("default").await;
    }
    running.signal(Signal::TERM);
    // The program ends with it, which takes a moment.
    running.exit().await;
}

#[tokio::test]
async fn a_name_has_one_value() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    let twice = run(exec(&stand.home, &["--env", "A=raw", "--file", "A=raw"], "true")).await;
    assert_eq!(twice.code, Some(2), "{twice:?}");
    assert!(twice.err.contains('A'), "{twice:?}");
    done(&stand.home, &["--env", "A=raw", "--file", "B=raw"], "test -n \"$A\" && test -f $B").await;
}
