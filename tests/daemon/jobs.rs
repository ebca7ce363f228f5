//! What Jobs need: waiting for the daemon, ending it, and one token with no daemon at all.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use bearerd::emulator::FaultPlan;
use tokio::time::{Instant, sleep};

use crate::bench::{
    Daemon, Home, Stand,
    daemon::{Ended, run},
    home::{NOBODY, any_key},
    user::User,
};

async fn command(home: &Home, arguments: &[&str]) -> Ended {
    run(home.command(arguments)).await
}

/// Starts a command in the background; its end is asked for later.
fn start(home: &Home, arguments: &[&str]) -> Child {
    let mut command = home.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn end(mut child: Child) -> (Option<i32>, String) {
    let late = Instant::now() + Duration::from_secs(40);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < late, "it does not end");
        sleep(Duration::from_millis(10)).await;
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

// fault 214: the program beside us starts first
#[tokio::test]
async fn wait_comes_before_the_daemon_and_ends_when_it_is_ready() {
    let mut stand = Stand::new().await;
    let token = stand.home.path("made/by/the-daemon");
    std::fs::create_dir_all(token.parent().unwrap()).unwrap();
    stand.home.set("listeners.apps.access_token_file", token.to_str().unwrap());
    let mut waiting = start(&stand.home, &["wait", "--timeout", "35s"]);
    sleep(Duration::from_millis(300)).await;
    assert!(waiting.try_wait().unwrap().is_none(), "nobody is there yet");
    let daemon = stand.home.start().await;
    assert_eq!(end(waiting).await, (Some(0), String::new()));
    daemon.until_ready().await;
    let again = command(&stand.home, &["wait", "--timeout", "0s"]).await;
    assert_eq!((again.code, again.out.as_str(), again.err.as_str()), (Some(0), "", ""));
}

// fault 214
#[tokio::test]
async fn wait_says_what_was_missing_last() {
    let stand = Stand::new().await;
    let nobody = command(&stand.home, &["wait", "--timeout", "200ms"]).await;
    assert_eq!(nobody.code, Some(69), "{nobody:?}");
    assert!(nobody.err.contains("not ready within 200ms: no bearerd listens at "), "{nobody:?}");
    stand.issuer.inject("401".parse::<FaultPlan>().unwrap());
    let daemon = stand.home.start().await;
    daemon.until_failed("default").await;
    let no_token = command(&stand.home, &["wait", "--timeout", "1s"]).await;
    assert_eq!(no_token.code, Some(69), "{no_token:?}");
    assert!(no_token.err.contains("does not accept this API key"), "{no_token:?}");
    assert_eq!(no_token.err.lines().count(), 1, "{no_token:?}");
}

// fault 214: what no time mends is not waited for
#[tokio::test]
async fn wait_ends_at_once_where_it_may_not_ask() {
    let mut stand = Stand::new().await;
    let token = stand.home.replace("token", "0123456789abcdef".repeat(3).as_bytes(), 0o600);
    stand.home.set("listeners.apps.access_token_file", token.to_str().unwrap());
    let _daemon = stand.start().await;
    let wrong = stand.home.replace("wrong", "fedcba9876543210".repeat(3).as_bytes(), 0o600);
    let flags = ["wait", "--timeout", "1h", "--access-token-file", wrong.to_str().unwrap()];
    let refused = command(&stand.home, &flags).await;
    assert_eq!(refused.code, Some(77), "{refused:?}");
}

// fault 216
#[tokio::test]
async fn quit_ends_the_daemon_with_0_and_does_not_linger() {
    let mut stand = Stand::new().await;
    stand.home.set("process.linger", "1h");
    let mut daemon = stand.start().await;
    let asked = command(&stand.home, &["quit"]).await;
    assert_eq!((asked.code, asked.out.as_str(), asked.err.as_str()), (Some(0), "", ""));
    assert_eq!(daemon.exit().await.code(), Some(0));
    assert!(daemon.has_said("asked to stop") && !daemon.log().contains("serving for a while"));
    assert!(!stand.home.path("apps.sock").exists());
    assert_eq!(command(&stand.home, &["quit"]).await.code, Some(69), "nobody is there any more");
}

// fault 216: whoever asks while the daemon serves on after a TERM ends that, too
#[tokio::test]
async fn quit_cuts_a_linger_short() {
    let mut stand = Stand::new().await;
    stand.home.set("process.linger", "1h");
    let mut daemon = stand.start().await;
    daemon.signal(rustix::process::Signal::TERM);
    crate::bench::until("it lingers", async || {
        daemon.has_said("stopping, but serving for a while")
    })
    .await;
    assert_eq!(command(&stand.home, &["quit"]).await.code, Some(0));
    assert_eq!(daemon.exit().await.code(), Some(0));
}

// fault 216
#[tokio::test]
async fn quit_is_for_root_our_user_and_those_who_are_named() {
    let mut stand = Stand::new().await;
    stand.home.open_to_all();
    stand.home.set("control.allow_uids", vec![i64::from(NOBODY)]);
    let mut daemon = stand.start().await;
    let control = daemon.place("control");
    let post = async |uid| {
        let mut visitor = User::number(uid).connect(&control).await?;
        Some(visitor.request("POST", "/v1/quit", &[], b"").await)
    };
    let Some(refused) = post(NOBODY - 1).await else { return };
    assert_eq!(refused.status, 403, "{refused:?}");
    let wrong = daemon.get("control", "/v1/quit").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    assert!(daemon.is_running());
    let allowed = post(NOBODY).await.unwrap();
    assert_eq!((allowed.status, allowed.text()), (200, r#"{"stopping":true}"#));
    assert_eq!(daemon.exit().await.code(), Some(0));
}

// fault 216
#[tokio::test]
async fn the_daemon_goes_with_the_process_that_it_is_told() {
    let stand = Stand::new().await;
    let mut app = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = app.id().to_string();
    let mut daemon = Daemon::start(stand.home.command(&["run", "--exit-with", &pid])).await;
    daemon.until_ready().await;
    assert!(daemon.is_running());
    app.kill().unwrap();
    assert_eq!(daemon.exit().await.code(), Some(0), "{}", daemon.log());
    app.wait().unwrap();
    let mut late = Daemon::spawn(stand.home.command(&["run", "--exit-with", &pid]));
    assert_eq!(late.exit().await.code(), Some(0), "it had ended before: {}", late.log());
    for wrong in ["0", "-1", "app"] {
        let ended = command(&stand.home, &["run", "--exit-with", wrong]).await;
        assert_eq!(ended.code, Some(2), "{wrong}");
    }
}

#[tokio::test]
async fn once_proves_a_mint_and_leaves_nothing_behind() {
    let stand = Stand::new().await;
    let ended = command(&stand.home, &["run", "--once"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(stand.issuer.mint_calls(), 1);
    assert!(!stand.home.path("apps.sock").exists() && !ended.err.contains("listening"));
}

#[tokio::test]
async fn once_tells_by_its_code_why_there_is_no_token() {
    let table = [("401", 78), ("403", 77), ("503", 69)];
    for (fault, code) in table {
        let stand = Stand::new().await;
        stand.issuer.inject(fault.parse::<FaultPlan>().unwrap());
        let ended = command(&stand.home, &["run", "--once"]).await;
        assert_eq!(ended.code, Some(code), "{fault}: {ended:?}");
        assert!(ended.err.contains("bearerd: credential default: no token: "), "{ended:?}");
    }
    let home = Home::new("http://127.0.0.1:9", &any_key());
    assert_eq!(command(&home, &["run", "--once"]).await.code, Some(69));
    std::fs::remove_file(home.path("key.json")).unwrap();
    let ended = command(&home, &["run", "--once"]).await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.err.contains("key.json does not exist"), "{ended:?}");
}

#[tokio::test]
async fn once_goes_without_what_is_not_required() {
    let mut stand = Stand::new().await;
    stand.home.credential("spare", Some("http://127.0.0.1:9"));
    stand.home.set("credentials.spare.required", false);
    let ended = command(&stand.home, &["run", "--once"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("bearerd: credential spare: no token: "), "{ended:?}");
}

// fault 216: an init container leaves the token for those that come after it
#[tokio::test]
async fn once_fills_the_sinks_or_says_why_not() {
    let mut stand = Stand::new().await;
    let file = stand.home.path("token");
    stand.home.set("sinks.app.path", file.to_str().unwrap());
    let ended = command(&stand.home, &["run", "--once"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let token = std::fs::read_to_string(&file).unwrap();
    assert_eq!(stand.accepts(&token).await, 200);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let ended = command(&stand.home, &["run", "--once"]).await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.err.contains("token is no regular file"), "{ended:?}");
    std::fs::remove_dir(&file).unwrap();
    stand.home.set("sinks.app.on_change", vec!["/bin/false"]);
    let ended = command(&stand.home, &["run", "--once"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("bearerd: sink app: "), "{ended:?}");
}
