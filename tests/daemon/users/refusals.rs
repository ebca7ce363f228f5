//! What people read when the issuer says no.

use bearerd::emulator::{FaultPlan, Role};

use super::{Scene, assert_says};

// A5, K8
#[tokio::test]
async fn a_missing_role_is_named() {
    for scene in Scene::both().await {
        scene.issuer().set_role("robot", Role::None);
        let reading = ["401 authorization_error", "pam_admin, resource_admin", "default"];
        scene.fails(&["users", "list"], 77, &reading).await;
        scene.fails(&["keys", "list", "robot"], 77, &reading).await;
        scene.issuer().set_role("robot", Role::SecurityAdmin);
        scene.done(&["users", "list"]).await;
        let writing = ["Missing capability", "the role resource_admin,", "administrator"];
        scene.fails(&["users", "create", "x"], 77, &writing).await;
        let mints = scene.mints();
        assert_eq!(mints, if scene.daemon.is_some() { 1 } else { 4 }, "none for a missing role");
    }
}

#[tokio::test]
async fn what_was_not_done_is_said_in_one_line() {
    let rows = [
        ("api@400", 1, "400 invalid_request (Injected fault): correct"),
        ("api@403-disabled-team", 77, "the team acme is disabled"),
        ("api@403", 77, "the role pam_admin"),
        ("api@429", 69, "the hourly budget is spent, come again in"),
        ("api@503", 69, "the answer is 503 service_offline"),
        ("api@html=502", 69, "the answer is 502"),
        ("api@html", 69, "not what an Okta issuer sends"),
        ("api@307=http://127.0.0.1:9/", 69, "the answer is 307"),
        ("api@401", 77, "was not accepted: try again"),
    ];
    for scene in Scene::both().await {
        for (fault, code, words) in rows {
            scene.issuer().inject(fault.parse::<FaultPlan>().unwrap());
            scene.fails(&["users", "list"], code, &[words]).await;
            scene.issuer().clear_faults();
        }
    }
}

// fault 32
#[tokio::test]
async fn an_issuer_that_quotes_the_request_shows_nobody_the_token() {
    for scene in Scene::both().await {
        for status in [400, 401, 404, 500] {
            scene.issuer().inject(format!("api@echo={status}").parse::<FaultPlan>().unwrap());
            let ended = scene.ask(&["users", "list"]).await;
            assert_says(&ended, &[&format!("{status} authentication_error (Bearer …)")]);
            scene.issuer().clear_faults();
        }
    }
}
