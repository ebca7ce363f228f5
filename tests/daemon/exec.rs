//! `bearerd exec`: a program with the token in its environment, and what it hears of a new one.

mod daemon;
mod files;
mod init;
mod restart;
mod terminal;

use std::{fs, path::Path, process::Command};

use rustix::process::Signal;

use crate::bench::{
    Daemon, Home, Stand,
    daemon::{Ended, run},
    until,
};

/// Makes a command that runs a line of shell below `bearerd exec`.
fn exec(home: &Home, flags: &[&str], line: &str) -> Command {
    let mut command = home.command(&["exec"]);
    command.args(flags).args(["--", "/bin/sh", "-c", line]);
    command
}

async fn done(home: &Home, flags: &[&str], line: &str) -> String {
    let ended = run(exec(home, flags, line)).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.out
}

#[tokio::test]
async fn the_token_is_in_the_variables_that_were_asked_for() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    let home = &stand.home;
    assert_eq!(done(home, &[], "echo \"$OKTA_BEARER_TOKEN\"").await, format!("{token}\n"));
    let flags = ["--env", "A=header", "--env", "B_1=raw", "--credential", "default"];
    let line = "echo \"$A|$B_1|$OKTA_BEARER_TOKEN\"";
    let expected = format!("Authorization: Bearer {token}|{token}|\n");
    assert_eq!(done(home, &flags, line).await, expected);
    let json = done(home, &["--env", "T=json", "--min-ttl", "1m"], "echo \"$T\"").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["bearer_token"], token);
}

#[tokio::test]
async fn what_is_meant_for_us_is_not_handed_on_and_all_else_is() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    let mut command = exec(&stand.home, &[], "env");
    let socket = stand.home.path("apps.sock");
    command.env("BEARERD_SOCKET", socket).env("NOTIFY_SOCKET", "/x").env("LISTEN_FDS", "1");
    command.env("KEPT", "yes");
    let out = run(command).await.out;
    let names: Vec<_> = out.lines().filter_map(|line| line.split('=').next()).collect();
    for gone in ["BEARERD_SOCKET", "NOTIFY_SOCKET", "LISTEN_FDS"] {
        assert!(!names.contains(&gone), "{out}");
    }
    assert!(names.contains(&"KEPT") && names.contains(&"OKTA_BEARER_TOKEN"), "{out}");
}

// A program is not to be hardened without its knowledge: sudo, core files and file modes are its own.
// fault 239
#[tokio::test]
async fn a_program_runs_as_if_we_were_not_there() {
    let stand = Stand::new().await;
    let home = &stand.home;
    let line = "umask; ulimit -c; ulimit -n; ls /proc/$$/fd; \
                grep -E '^(NoNewPrivs|Seccomp|CapEff|SigBlk):' /proc/self/status";
    let plain = Command::new("/bin/sh").args(["-c", line]).output().unwrap();
    let plain = String::from_utf8(plain.stdout).unwrap();
    assert_eq!(done(home, &["--daemon"], line).await, plain);
    let _daemon = stand.start().await;
    for flags in [&[][..], &["--file", "T=raw"], &["--on-refresh", "restart"]] {
        assert_eq!(done(home, flags, line).await, plain, "{flags:?}");
    }
}

// What nohup, or a shell that starts something in the background, has decided is for the program.
#[tokio::test]
async fn signals_that_are_ignored_stay_so() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    for flags in [&[][..], &["--file", "T=raw"]] {
        let inner = exec(&stand.home, flags, "kill -HUP $PPID; kill -HUP $$; echo still here");
        let mut outer = Command::new("/bin/sh");
        outer.args(["-c", "trap '' HUP; \"$@\"", "sh"]).env_clear();
        outer.arg(inner.get_program()).args(inner.get_args());
        let ended = run(outer).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), "still here\n"), "{ended:?}");
    }
}

#[tokio::test]
async fn its_end_is_our_end() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let home = &stand.home;
    for flags in [&[][..], &["--on-refresh", "signal:HUP"], &["--file", "T=raw"]] {
        assert_eq!(run(exec(home, flags, "exit 7")).await.code, Some(7));
        let killed = run(exec(home, flags, "kill -TERM $$")).await.code;
        assert_eq!(killed, if flags.is_empty() { None } else { Some(143) });
    }
    let start = async |program: &Path| {
        let mut command = home.command(&["exec"]);
        command.arg("--").arg(program);
        run(command).await
    };
    let missing = start(Path::new("/nowhere/at/all")).await;
    assert_eq!(missing.code, Some(127), "{missing:?}");
    assert!(missing.err.contains("/nowhere/at/all"), "{missing:?}");
    assert_eq!(start(&home.path("key.json")).await.code, Some(126));
    drop(daemon);
    let gone = run(exec(home, &[], "echo it ran")).await;
    assert_eq!((gone.code, gone.out.as_str()), (Some(69), ""), "{gone:?}");
}

/// Waits until a file has so many lines, and gives them.
async fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    until("the program has written", async || read().lines().count() >= count).await;
    read().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_new_token_is_told_by_a_signal_and_ours_are_passed_on() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let seen = stand.home.path("seen");
    let line = format!(
        "trap 'echo usr1 >> {0}' USR1; trap 'echo term >> {0}; exit 3' TERM; echo began >> {0}; \
         while :; do sleep 0.05; done",
        seen.display()
    );
    let mut running = Daemon::spawn(exec(&stand.home, &["--on-refresh", "signal:SIGUSR1"], &line));
    lines(&seen, 1).await;
    daemon.refresh("default").await;
    assert_eq!(lines(&seen, 2).await, ["began", "usr1"]);
    running.signal(Signal::TERM);
    assert_eq!(running.exit().await.code(), Some(3));
    assert_eq!(lines(&seen, 3).await, ["began", "usr1", "term"]);
}

// What a program that stays holds is its own; the daemon may come and go.
#[tokio::test]
async fn a_daemon_that_goes_does_not_end_the_program() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let seen = stand.home.path("seen");
    let line = format!("echo began >> {}; sleep 1; exit 5", seen.display());
    let mut running = Daemon::spawn(exec(&stand.home, &["--on-refresh", "restart"], &line));
    lines(&seen, 1).await;
    drop(daemon);
    assert_eq!(running.exit().await.code(), Some(5));
}

#[tokio::test]
async fn oktas_own_clients_are_pointed_at_the_listener_that_serves_their_paths() {
    let mut stand = Stand::new().await;
    let refused = run(exec(&stand.home, &["--okta"], "true")).await;
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.err.contains("serve = [\"proxy\"]"), "{refused:?}");
    stand.home.set("listeners.web.bind", "tcp:127.0.0.1:18420");
    stand.home.set("listeners.web.serve", vec!["proxy"]);
    let out = done(&stand.home, &["--okta"], "env | grep ^OKTA | sort").await;
    let expected = "OKTAPAM_API_HOST=http://127.0.0.1:18420
OKTAPAM_API_KEY=00000000-0000-4000-8000-000000000000
OKTAPAM_API_SECRET=placeholder
OKTAPAM_HOST=http://127.0.0.1:18420
OKTAPAM_KEY=00000000-0000-4000-8000-000000000000
OKTAPAM_SECRET=placeholder
OKTAPAM_TEAM=acme
OKTAPAM_TEAM_NAME=acme
OKTAPAM_TRUSTED_DOMAIN_OVERRIDE=127.0.0.1
";
    assert_eq!(out, expected);
}

#[tokio::test]
async fn flags_that_mean_nothing_are_refused_at_once() {
    let stand = Stand::new().await;
    let rows: [&[&str]; 8] = [
        &[],
        &["--env", "A", "--", "true"],
        &["--env", "1=raw", "--", "true"],
        &["--env", "A=yaml", "--", "true"],
        &["--file", "A", "--", "true"],
        &["--file", "../A=raw", "--", "true"],
        &["--timeout", "1s", "--", "true"],
        &["--on-refresh", "signal:KILL", "--", "true"],
    ];
    for arguments in rows {
        let mut command = stand.home.command(&["exec"]);
        command.args(arguments);
        let Ended { code, err, .. } = run(command).await;
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
    }
}

// fault 283
#[tokio::test]
async fn oktas_own_clients_get_the_access_token_for_a_secret() {
    let mut stand = Stand::new().await;
    let file = stand.home.path("access-token");
    fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    stand.home.set("listeners.web.bind", "tcp:127.0.0.1:18420");
    stand.home.set("listeners.web.serve", vec!["proxy"]);
    stand.home.set("listeners.web.access_token_file", file.to_str().unwrap());
    let out = done(&stand.home, &["--okta"], "echo $OKTAPAM_SECRET $OKTAPAM_API_SECRET").await;
    let secret = "0123456789abcdef0123456789abcdef";
    assert_eq!(out, format!("{secret} {secret}\n"));
}
