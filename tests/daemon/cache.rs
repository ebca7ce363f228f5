//! The token that outlives a restart.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
};

use bearerd::emulator::FaultPlan;
use rustix::process::Signal;

use crate::bench::{Stand, until};

/// Lets tokens be kept, in a directory that is there.
async fn stand() -> (Stand, PathBuf) {
    let mut stand = Stand::new().await;
    fs::create_dir(stand.home.path("state")).unwrap();
    stand.home.set("state.cache_token", true);
    let file = stand.home.path("state/token-default.sealed");
    (stand, file)
}

/// Lets the issuer fail from now on.
fn fail(stand: &Stand) {
    stand.issuer.inject("503".parse::<FaultPlan>().unwrap());
}

// faults 200 and 208: a restart in the middle of an outage
#[tokio::test]
async fn a_token_outlives_a_restart_while_the_issuer_is_down() {
    for signal in [Signal::TERM, Signal::KILL] {
        let (stand, file) = stand().await;
        let mut daemon = stand.start().await;
        let token = daemon.token().await;
        until("it is kept", async || file.exists()).await;
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(!String::from_utf8_lossy(&fs::read(&file).unwrap()).contains(&token));
        daemon.signal(signal);
        daemon.exit().await;
        fail(&stand);
        let daemon = stand.start().await;
        assert_eq!(daemon.token().await, token);
        assert!(daemon.has_said("a token that was kept is served"));
        until("a new one is tried all the same", async || daemon.has_said("a mint failed")).await;
        assert_eq!(daemon.token().await, token, "and it stays");
        stand.issuer.clear_faults();
        daemon.signal(Signal::USR1);
        until("a newer one is there", async || daemon.token().await != token).await;
    }
}

// fault 84: and a key that is not the one that sealed it
#[tokio::test]
async fn what_cannot_be_trusted_or_opened_is_not_served() {
    for is_loose in [true, false] {
        let (stand, file) = stand().await;
        let mut daemon = stand.start().await;
        let token = daemon.token().await;
        until("it is kept", async || file.exists()).await;
        daemon.stop().await;
        if is_loose {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        } else {
            stand.home.write_key(&stand.issuer.add_key("robot"));
        }
        let daemon = stand.start().await;
        assert_ne!(daemon.token().await, token);
        assert!(!daemon.has_said("a token that was kept is served"));
        assert_eq!(daemon.has_said("no token is recalled"), is_loose);
        until("the next one is kept well", async || {
            file.metadata().unwrap().mode() & 0o777 == 0o600
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_is_kept_unless_it_is_asked_for_and_a_missing_place_is_told() {
    let (mut stand, file) = stand().await;
    stand.home.set("state.cache_token", false);
    let mut daemon = stand.start().await;
    daemon.stop().await;
    assert!(!file.exists());
    fs::remove_dir(stand.home.path("state")).unwrap();
    stand.home.set("state.cache_token", true);
    let daemon = stand.start().await;
    until("it is told", async || daemon.has_said("the token is not kept")).await;
}
