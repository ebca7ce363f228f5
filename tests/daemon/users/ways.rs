//! Who asks the issuer: the daemon, or the command itself; and who may let the daemon ask.

use bearerd::emulator::{FaultPlan, Role};

use super::{Scene, assert_says};
use crate::{
    bench::{
        Home, Stand, Visitor,
        daemon::run,
        home::{any_key, program},
    },
    guard::as_nobody,
};

#[tokio::test]
async fn the_daemon_is_asked_if_there_is_one_and_the_issuer_else() {
    let [mut with, without] = Scene::both().await;
    with.done(&["users", "list"]).await;
    assert_eq!(with.mints(), 1, "the daemon's own");
    with.daemon.take().unwrap().stop().await;
    with.done(&["users", "list"]).await;
    assert_eq!(with.mints(), 2, "one for the command");
    let control = without.stand.home.path("control.sock");
    let named = ["users", "list", "--control", control.to_str().unwrap()];
    without.fails(&named, 69, &["no bearerd listens at"]).await;
    assert_eq!(without.mints(), 0, "who is named is asked, and nobody else");
}

#[tokio::test]
async fn a_credential_is_chosen_by_name() {
    let [mut with, mut without] = Scene::both().await;
    with.daemon.take().unwrap().stop().await;
    for scene in [&mut with, &mut without] {
        scene.stand.home.credential("spare", None);
        let (id, secret) = scene.issuer().add_key("reader");
        let key = serde_json::json!({ "key_id": id, "key_secret": secret }).to_string();
        let path = scene.stand.home.replace("spare.json", key.as_bytes(), 0o600);
        scene.stand.home.set("credentials.spare.key_file", path.to_str().unwrap());
    }
    with.daemon = Some(with.stand.start().await);
    for scene in [with, without] {
        scene.done(&["users", "list"]).await;
        let spare = ["users", "list", "--credential", "spare"];
        scene.issuer().set_role("reader", Role::None);
        scene.fails(&spare, 77, &["service user of credential spare"]).await;
        let unknown = ["users", "list", "--credential", "nobody"];
        scene.fails(&unknown, 2, &["there is default, spare"]).await;
        scene.issuer().set_role("reader", Role::ResourceAdmin);
        let disable = ["users", "set-status", "robot", "disabled", "--credential", "spare"];
        scene.done(&disable).await;
    }
}

#[tokio::test]
async fn without_a_token_it_is_said_why() {
    let scene = Scene { stand: Stand::new().await, daemon: None };
    let rows = [("mint@401", 78, "(401)"), ("mint@403", 77, "(403)"), ("mint@503", 69, "(5xx)")];
    for (fault, code, words) in rows {
        scene.issuer().inject(fault.parse::<FaultPlan>().unwrap());
        scene.fails(&["users", "list"], code, &["credential default", words]).await;
        assert_eq!(scene.calls("GET", "service_users"), 0);
        scene.issuer().clear_faults();
    }
    scene.issuer().inject("mint@401".parse::<FaultPlan>().unwrap());
    let daemon = scene.stand.home.start().await;
    daemon.until_failed("default").await;
    let words = ["credential default", "does not accept this API key"];
    scene.fails(&["users", "create", "x"], 69, &words).await;
    drop(daemon);
    scene.stand.home.replace("key.json", b"{}", 0o600);
    scene.fails(&["users", "list"], 78, &["key.json"]).await;
    let daemon = scene.stand.home.start().await;
    scene.fails(&["users", "list"], 78, &["key.json"]).await;
    drop(daemon);
    let home = Home::new("http://127.0.0.1:9", &any_key());
    let ended = run(home.command(&["users", "list"])).await;
    assert_eq!(ended.code, Some(69));
    assert_says(&ended, &["credential default"]);
}

#[tokio::test]
async fn an_issuer_that_is_gone_is_unreachable_on_both_roads() {
    for Scene { stand, daemon: _daemon } in Scene::both().await {
        stand.issuer.stop().await;
        let ended = run(stand.home.command(&["users", "list"])).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(69), ""), "{ended:?}");
        assert_says(&ended, &["the issuer could not be connected to"]);
    }
}

// A7: a token that was revoked behind the daemon's back
#[tokio::test]
async fn through_the_daemon_a_dead_token_is_replaced() {
    let [scene, _] = Scene::both().await;
    scene.issuer().revoke_all_tokens();
    scene.done(&["users", "list"]).await;
    assert_eq!(scene.mints(), 2);
}

// fault 160
#[tokio::test]
async fn who_may_see_the_status_may_not_use_the_token() {
    let mut stand = Stand::new().await;
    stand.home.open_to_all();
    stand.home.set("control.allow_uids", [65_534_i64].to_vec());
    let daemon = stand.start().await;
    let control = stand.home.path("control.sock");
    let arguments = ["users", "list", "--control", control.to_str().unwrap()];
    assert_eq!(run(program(&arguments)).await.code, Some(0));
    let Some(ended) = as_nobody(program(&arguments)).await else { return };
    assert_eq!((ended.code, ended.out.as_str()), (Some(77), ""), "{ended:?}");
    assert_says(&ended, &["only root and the daemon's own user"]);
    drop(daemon);
}

#[tokio::test]
async fn the_control_socket_forwards_these_calls_and_no_others() {
    let [scene, _] = Scene::both().await;
    let control = scene.daemon.as_ref().unwrap().place("control");
    let rows = [
        ("GET", "service_users", 200),
        ("GET", "current_user", 200),
        ("POST", "service_token", 403),
        ("POST", "service_users/robot/keys", 403),
        ("GET", "projects", 403),
        ("GET", "service_users/../projects", 400),
    ];
    for (method, below, status) in rows {
        let path = format!("/v1/teams/acme/{below}");
        let mut visitor = Visitor::connect(&control).await;
        let reply = visitor.request(method, &path, &[], b"").await;
        assert_eq!(reply.status, status, "{method} {below}: {reply:?}");
    }
    for (team, credential, status) in [("other", "default", 404), ("acme", "nobody", 404)] {
        let path = format!("/v1/teams/{team}/current_user");
        let mut visitor = Visitor::connect(&control).await;
        let named = [("X-Bearerd-Credential", credential)];
        let reply = visitor.request("GET", &path, &named, b"").await;
        assert_eq!(reply.status, status, "{team} {credential}");
    }
    let metrics = scene.daemon.as_ref().unwrap().metrics().await;
    let asked = [("listener", "control"), ("code", "200")];
    assert_eq!(metrics.get("bearerd_proxy_upstream_requests_total", &asked), 2.0);
}
