//! A program that is started anew with each new token: not too often, and only while it runs.

use std::{fs, time::Duration};

use rustix::process::Signal;

use super::{exec, lines};
use crate::bench::{Daemon, Stand, daemon::run};

#[tokio::test]
async fn a_new_token_restarts_the_program_with_it() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let seen = stand.home.path("seen");
    // It ends by TERM only, as a server does.
    let line = format!("echo \"$OKTA_BEARER_TOKEN\" >> {}; exec sleep 60", seen.display());
    let mut running = Daemon::spawn(exec(&stand.home, &["--on-refresh", "restart"], &line));
    let first = daemon.token().await;
    assert_eq!(lines(&seen, 1).await, [first.as_str()]);
    daemon.refresh("default").await;
    let second = daemon.token().await;
    assert_ne!(first, second);
    assert_eq!(lines(&seen, 2).await, [first, second]);
    running.signal(Signal::TERM);
    assert_eq!(running.exit().await.code(), Some(143));
}

#[tokio::test]
async fn a_program_that_does_not_end_in_time_is_killed_for_the_next() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let seen = stand.home.path("seen");
    let line = format!("trap '' TERM; echo $$ >> {}; while :; do sleep 0.05; done", seen.display());
    let flags = ["--on-refresh", "restart", "--grace", "300ms"];
    let running = Daemon::spawn(exec(&stand.home, &flags, &line));
    let first = lines(&seen, 1).await.remove(0);
    daemon.refresh("default").await;
    lines(&seen, 2).await;
    assert!(!fs::exists(format!("/proc/{first}")).unwrap());
    running.signal(Signal::KILL);
    let second = lines(&seen, 2).await.remove(1).parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(second).unwrap(), Signal::KILL)
        .unwrap();
}

// fault 207
// Whoever wants an end during a restart gets it, with the code of the program.
#[tokio::test]
async fn an_end_that_is_asked_for_during_a_restart_is_the_end() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let seen = stand.home.path("seen");
    let line = format!(
        "trap 'echo term >> {0}' TERM; trap 'exit 6' INT; echo began >> {0}; \
         while :; do sleep 0.05; done",
        seen.display()
    );
    let flags = ["--on-refresh", "restart", "--grace", "1h"];
    let mut running = Daemon::spawn(exec(&stand.home, &flags, &line));
    lines(&seen, 1).await;
    daemon.refresh("default").await;
    assert_eq!(lines(&seen, 2).await, ["began", "term"]);
    running.signal(Signal::INT);
    assert_eq!(running.exit().await.code(), Some(6));
    assert_eq!(lines(&seen, 2).await.len(), 2, "it was not started anew");
}

// The new token is there, and its restart waits for the end of a second.
#[tokio::test]
async fn a_program_that_ends_by_itself_while_its_restart_is_near_gives_its_code() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    let mut refresh = stand.home.command(&["refresh"]);
    refresh.env("PATH", "/usr/bin:/bin");
    let words: Vec<_> = [refresh.get_program()].into_iter().chain(refresh.get_args()).collect();
    let words = words.join(std::ffi::OsStr::new(" "));
    let line = format!("echo began >> seen; {} && exit 9", words.display());
    let ended = run(exec(&stand.home, &["--on-refresh", "restart"], &line)).await;
    assert_eq!(ended.code, Some(9), "{ended:?}");
    assert_eq!(lines(&stand.home.path("seen"), 1).await.len(), 1);
}

#[tokio::test]
async fn a_storm_of_tokens_is_no_storm_of_restarts() {
    let mut stand = Stand::with(|options| options.lifetime = Duration::from_secs(4)).await;
    // A new one each 0.4 s, and none that runs out soon.
    stand.home.set("credentials.default.refresh.at", 0.1);
    stand.home.set("credentials.default.refresh.jitter", 0.0);
    stand.home.set("credentials.default.refresh.min_interval", "10ms");
    let daemon = stand.start().await;
    let seen = stand.home.path("seen");
    let line = format!("date +%s%N >> {}; exec sleep 60", seen.display());
    let mut running = Daemon::spawn(exec(&stand.home, &["--on-refresh", "restart"], &line));
    let starts = lines(&seen, 4).await;
    running.signal(Signal::TERM);
    running.exit().await;
    let tokens = daemon.events("a token was minted").len();
    assert!(tokens > starts.len(), "{tokens} tokens, {} starts", starts.len());
    // A shell takes a while to start, and not always the same.
    let starts: Vec<_> = starts.iter().map(|it| it.parse::<i64>().unwrap() / 1_000_000).collect();
    let whole = starts[starts.len() - 1] - starts[0];
    let least = 900 * (i64::try_from(starts.len()).unwrap() - 1);
    assert!(whole > least, "{starts:?}");
}
