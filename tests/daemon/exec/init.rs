//! The first process of a container: signals, orphans, exit codes.

use std::{
    fs,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{exec, lines};
use crate::bench::{Daemon, Stand, daemon::run, skip, until_ok};

/// Tells whether we can be a first process here; says aloud if not.
fn can_be_first() -> bool {
    let tried = first(&Command::new("true")).stderr(Stdio::null()).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        skip("process namespaces cannot be made here (unshare --pid)");
    }
    can
}

/// Makes a command the first process of a namespace of its own.
fn first(command: &Command) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
    unshare.arg(command.get_program()).args(command.get_args());
    unshare.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    if let Some(directory) = command.get_current_dir() {
        unshare.current_dir(directory);
    }
    unshare
}

/// Finds the only child of a process.
async fn child_of(pid: u32) -> Pid {
    let list = format!("/proc/{pid}/task/{pid}/children");
    until_ok(async || {
        let text = fs::read_to_string(&list).unwrap_or_default();
        text.trim().parse().ok().and_then(Pid::from_raw).ok_or(text)
    })
    .await
}

const MODES: [&[&str]; 2] = [&[], &["--file", "T=raw"]];

#[tokio::test]
async fn the_first_process_gives_the_exit_code_of_the_program() {
    if !can_be_first() {
        return;
    }
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    for flags in MODES {
        for (end, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)] {
            let ended = run(first(&exec(&stand.home, flags, end))).await;
            assert_eq!(ended.code, Some(code), "{flags:?} {end} {ended:?}");
        }
    }
    let mut missing = stand.home.command(&["exec"]);
    missing.args(["--", "/nowhere/at/all"]);
    let ended = run(first(&missing)).await;
    assert_eq!((ended.code, ended.err.lines().count()), (Some(127), 1), "{ended:?}");
}

#[tokio::test]
async fn the_first_process_reaps_what_others_leave_behind() {
    if !can_be_first() {
        return;
    }
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    for flags in MODES {
        // An orphan that nobody reaps never leaves /proc.
        let line = "orphan=$(sh -c 'sleep 0.1 > /dev/null & echo $!'); \
                    while test -d /proc/$orphan; do sleep 0.05; done; echo reaped $$";
        let ended = run(first(&exec(&stand.home, flags, line))).await;
        let (word, pid) = ended.out.trim().split_once(' ').unwrap();
        assert_eq!((ended.code, word), (Some(0), "reaped"), "{ended:?}");
        assert!(pid.parse::<u32>().unwrap() > 1, "the program is not the first itself");
    }
}

// fault 207
#[tokio::test]
async fn the_first_process_passes_signals_on() {
    if !can_be_first() {
        return;
    }
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    for (turn, flags) in MODES.into_iter().enumerate() {
        let seen = stand.home.path(&format!("seen-{turn}"));
        let line = format!(
            "trap 'echo usr1 >> {0}' USR1; trap 'exit 3' TERM; echo began >> {0}; \
             while :; do sleep 0.05; done",
            seen.display()
        );
        let mut running = Daemon::spawn(first(&exec(&stand.home, flags, &line)));
        lines(&seen, 1).await;
        let pid = child_of(running.pid()).await;
        kill_process(pid, Signal::USR1).unwrap();
        assert_eq!(lines(&seen, 2).await, ["began", "usr1"]);
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(running.exit().await.code(), Some(3), "{flags:?}");
    }
}

#[tokio::test]
async fn a_whole_container_is_one_program_with_its_daemon() {
    if !can_be_first() {
        return;
    }
    let stand = Stand::new().await;
    let seen = stand.home.path("seen");
    let line = format!("echo $OKTA_BEARER_TOKEN >> {}; exec sleep 60", seen.display());
    let mut running = Daemon::spawn(first(&exec(&stand.home, &["--daemon"], &line)));
    let token = lines(&seen, 1).await[0].clone();
    assert_eq!(stand.accepts(&token).await, 200);
    kill_process(child_of(running.pid()).await, Signal::TERM).unwrap();
    assert_eq!(running.exit().await.code(), Some(143));
    assert!(!stand.home.path("apps.sock").exists(), "the daemon was stopped, not killed");
}
