//! A daemon for one program: it comes before it, is there while it runs, and goes after it.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
};

use bearerd::emulator::FaultPlan;
use rustix::process::{Pid, Signal, getpgid, kill_process};

use super::{exec, lines};
use crate::bench::{Daemon, Stand, daemon::run, home::NOBODY, until, until_ok, user::is_root};

const OWN: &[&str] = &["--daemon"];

/// Lists the processes that a process has started and that still are there.
fn children(pid: u32) -> BTreeSet<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return BTreeSet::new();
    };
    let listed =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    listed
        .flat_map(|list| {
            list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

fn arguments(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

/// Finds the daemon among what a process has started.
async fn daemon_of(running: &Daemon) -> Pid {
    until_ok(async || {
        let all = children(running.pid());
        let found = all.iter().find(|pid| arguments(**pid).contains(" run --config "));
        found.and_then(|pid| Pid::from_raw(*pid)).ok_or(all)
    })
    .await
}

fn is_there(pid: Pid) -> bool {
    fs::exists(format!("/proc/{}", pid.as_raw_pid())).unwrap()
}

// faults 214, 216
#[tokio::test]
async fn a_daemon_comes_before_the_program_and_goes_after_it() {
    let stand = Stand::new().await;
    let home = &stand.home;
    for end in ["exit 7", "kill -9 $$"] {
        let line = format!("echo $OKTA_BEARER_TOKEN; test -S apps.sock && echo there; {end}");
        let ended = run(exec(home, OWN, &line)).await;
        assert_eq!(ended.code, Some(if end == "exit 7" { 7 } else { 137 }), "{ended:?}");
        let (token, there) = ended.out.split_once('\n').unwrap();
        assert_eq!((stand.accepts(token).await, there), (200, "there\n"));
        assert!(ended.err.contains("\"stopped\""), "its log is ours: {ended:?}");
        assert!(!home.path("apps.sock").exists() && !home.path("control.sock").exists());
    }
    let without = run(exec(home, &[], "echo it ran")).await;
    assert_eq!((without.code, without.out.as_str()), (Some(69), ""), "{without:?}");
    assert!(without.err.contains("--daemon"), "{without:?}");
}

// fault 215
#[tokio::test]
async fn it_is_in_a_process_group_of_its_own_and_lingers_for_nobody() {
    let mut stand = Stand::new().await;
    stand.home.set("process.linger", "60s");
    let seen = stand.home.path("seen");
    let line = format!("echo $$ >> {}; exec sleep 60", seen.display());
    let mut running = Daemon::spawn(exec(&stand.home, OWN, &line));
    let program = Pid::from_raw(lines(&seen, 1).await[0].parse().unwrap());
    let daemon = daemon_of(&running).await;
    let ours = Pid::from_raw(i32::try_from(running.pid()).unwrap());
    assert_eq!(getpgid(program).unwrap(), getpgid(ours).unwrap());
    assert_eq!(getpgid(Some(daemon)).unwrap(), daemon);
    let name = fs::read_to_string(format!("/proc/{}/comm", daemon.as_raw_pid())).unwrap();
    assert_eq!(name, "bearerd\n");
    assert_eq!(running.stop().await.0.code(), Some(143));
    assert!(running.has_said("stopped"), "it was not killed: {}", running.log());
    assert!(!is_there(daemon));
}

#[tokio::test]
async fn a_daemon_that_dies_is_started_again_and_the_program_goes_on() {
    let stand = Stand::new().await;
    let seen = stand.home.path("seen");
    let line = format!(
        "trap 'exit 5' TERM; echo began >> {}; while :; do sleep 0.05; done",
        seen.display()
    );
    let mut running = Daemon::spawn(exec(&stand.home, OWN, &line));
    lines(&seen, 1).await;
    let first = daemon_of(&running).await;
    kill_process(first, Signal::KILL).unwrap();
    until("it is said", async || running.log().contains("the daemon has ended")).await;
    let second = until_ok(async || {
        let pid = daemon_of(&running).await;
        if pid == first { Err(pid) } else { Ok(pid) }
    })
    .await;
    until("the next listens", async || running.events("ready").len() == 2).await;
    assert_eq!(running.stop().await.0.code(), Some(5));
    assert!(!is_there(second));
    assert_eq!(lines(&seen, 1).await, ["began"]);
}

// What is killed stops nobody.
#[tokio::test]
async fn a_daemon_ends_when_we_are_killed() {
    let stand = Stand::new().await;
    let seen = stand.home.path("seen");
    let line = format!("echo $$ >> {}; exec sleep 60", seen.display());
    let mut command = exec(&stand.home, OWN, &line);
    // What is left behind goes with the test.
    command.env("XDG_RUNTIME_DIR", stand.home.path(""));
    let mut running = Daemon::spawn(command);
    let program = Pid::from_raw(lines(&seen, 1).await[0].parse().unwrap()).unwrap();
    let daemon = daemon_of(&running).await;
    running.signal(Signal::KILL);
    running.exit().await;
    let has_ended = async || !is_there(daemon) && !stand.home.path("apps.sock").exists();
    until("the daemon has stopped", has_ended).await;
    assert!(is_there(program), "it is not the program's end");
    kill_process(program, Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_daemon_without_a_token_is_waited_for_and_not_for_ever() {
    let stand = Stand::new().await;
    stand.issuer.inject("503".parse::<FaultPlan>().unwrap());
    let flags = ["--daemon", "--timeout", "1500ms"];
    let ended = run(exec(&stand.home, &flags, "echo it ran")).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(69), ""), "{ended:?}");
    assert!(ended.err.contains("not ready within 1s 500ms: "), "{ended:?}");
    assert!(!stand.home.path("apps.sock").exists());
    let mut waiting = Daemon::spawn(exec(&stand.home, OWN, "echo it ran"));
    let daemon = daemon_of(&waiting).await;
    until("it has tried", async || waiting.log().contains("server_error")).await;
    assert_eq!(waiting.stop().await.0.code(), Some(143));
    assert!(!is_there(daemon));
}

#[tokio::test]
async fn a_daemon_that_cannot_start_ends_us_with_its_code() {
    let stand = Stand::new().await;
    let other = stand.start().await;
    let ended = run(exec(&stand.home, OWN, "echo it ran")).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("ended before there was a token"), "{ended:?}");
    assert!(other.is_ready().await, "the other one is as it was");
}

// What the environment names is another daemon's, and perhaps another team's.
#[tokio::test]
async fn its_own_daemon_has_the_same_flags_and_is_asked_and_no_other() {
    let stand = Stand::new().await;
    let other = format!("listeners.apps.bind=unix:{}", stand.home.path("other.sock").display());
    let line = "test -S other.sock && echo $OKTA_BEARER_TOKEN";
    let mut command = exec(&stand.home, &["--daemon", "--set", &other], line);
    command.env("BEARERD_SOCKET", stand.home.path("of-somebody-else.sock"));
    let ended = run(command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(stand.accepts(ended.out.trim()).await, 200);
}

#[tokio::test]
async fn a_place_for_its_sockets_is_found_where_the_system_gives_none() {
    if !is_root() {
        return;
    }
    let mut stand = Stand::new().await;
    stand.home.unset("listeners.apps").unset("listeners.web").unset("control.bind");
    let mut command = exec(&stand.home, OWN, "echo $OKTA_BEARER_TOKEN; env | grep -c XDG_.*/");
    stand.home.give_to(NOBODY);
    // As sudo may leave it.
    command.uid(NOBODY).gid(NOBODY).env("XDG_RUNTIME_DIR", "");
    let ended = run(command).await;
    let (token, variables) = ended.out.split_once('\n').unwrap();
    assert_eq!((stand.accepts(token).await, variables), (200, "0\n"), "{ended:?}");
}

// The kernel gives what belongs to a process that hides itself to root.
// faults 230, 232
#[tokio::test]
async fn whoever_holds_a_token_for_the_program_hides_and_the_program_does_as_it_likes() {
    if !is_root() {
        return;
    }
    let mut stand = Stand::new().await;
    stand.home.unset("listeners.apps").unset("listeners.web").unset("control.bind");
    let seen = stand.home.path("seen");
    let line = format!("echo $$ >> {}; exec sleep 60", seen.display());
    let mut command = exec(&stand.home, &["--daemon", "--file", "T=raw"], &line);
    stand.home.give_to(NOBODY);
    command.uid(NOBODY).gid(NOBODY);
    let mut running = Daemon::spawn(command);
    let program = lines(&seen, 1).await[0].parse().unwrap();
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
    let daemon = u32::try_from(daemon_of(&running).await.as_raw_pid()).unwrap();
    assert_eq!([owner(running.pid()), owner(daemon), owner(program)], [0, 0, NOBODY]);
    assert_eq!(running.stop().await.0.code(), Some(143));
}

#[tokio::test]
async fn files_and_signals_work_with_it_as_with_any() {
    let stand = Stand::new().await;
    let seen = stand.home.path("seen");
    let line = format!(
        "trap 'cat $T >> {0}; echo >> {0}; exit 4' USR1; cat $T >> {0}; echo >> {0}; \
         while :; do sleep 0.05; done",
        seen.display()
    );
    let flags = ["--daemon", "--file", "T=raw", "--on-refresh", "signal:USR1"];
    let mut running = Daemon::spawn(exec(&stand.home, &flags, &line));
    lines(&seen, 1).await;
    run(stand.home.command(&["refresh"])).await;
    assert_eq!(running.exit().await.code(), Some(4));
    let tokens = lines(&seen, 2).await;
    assert_ne!(tokens[0], tokens[1]);
}
