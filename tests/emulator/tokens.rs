//! Calls with a token: cases A1 to A8, as far as they concern the issuer.

use std::time::Duration;

use bearerd::emulator::{DeletedKeyTokens, FaultPlan, Role, Status};
use reqwest::Method;

use crate::client::{bench, bench_with};

const AUTHENTICATION: (u16, &str) = (401, "authentication_error");

#[tokio::test]
async fn a1_a_good_token_learns_who_it_is_without_any_role() {
    let bench = bench_with(|options| options.role = Role::None).await;
    let token = bench.token().await;
    let reply = bench.get(&token, "current_user").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json["name"], "robot");
    assert_eq!(reply.json["team_name"], "acme");
    assert!(reply.json["id"].is_string());
}

#[tokio::test]
async fn a2_no_garbled_and_truncated_tokens_are_refused() {
    let bench = bench().await;
    let token = bench.token().await;
    for bad in ["", "garbage", &token[..token.len() - 1], &format!("{token}x")] {
        assert_eq!(bench.get(bad, "current_user").await.error(), AUTHENTICATION);
    }
    let bare = bench.send(Method::GET, "/v1/teams/acme/current_user", &[], None).await.unwrap();
    assert_eq!(bare.error(), AUTHENTICATION);
}

#[tokio::test]
async fn a3_an_expired_token_is_told_so() {
    let bench = bench().await;
    let token = bench.token().await;
    bench.issuer.set_clock_skew(3500);
    assert_eq!(bench.get(&token, "current_user").await.status, 200);
    bench.issuer.set_clock_skew(3700);
    let reply = bench.get(&token, "current_user").await;
    assert_eq!(reply.error(), AUTHENTICATION);
    assert_eq!(reply.json["message"], "Authentication token expired");
}

#[tokio::test]
async fn a4_a_token_dies_with_its_key_and_its_user() {
    let bench = bench().await;
    let (ended, deleted) = (bench.issuer.add_key("robot"), bench.issuer.add_key("robot"));
    let (by_ended, by_deleted) =
        (bench.mint(&ended).await.token(), bench.mint(&deleted).await.token());
    bench.issuer.expire_key(&ended.0, Duration::ZERO);
    bench.issuer.delete_key(&deleted.0);
    assert_eq!(bench.get(&by_ended, "current_user").await.error(), AUTHENTICATION);
    assert_eq!(bench.get(&by_deleted, "current_user").await.error(), AUTHENTICATION);

    let token = bench.token().await;
    assert_eq!(bench.get(&token, "current_user").await.status, 200);
    bench.issuer.set_status("robot", Status::Disabled);
    assert_eq!(bench.get(&token, "current_user").await.error(), AUTHENTICATION);
}

#[tokio::test]
async fn a4_tokens_of_a_deleted_key_may_be_let_live() {
    let bench = bench_with(|options| options.deleted_key_tokens = DeletedKeyTokens::Live).await;
    let token = bench.token().await;
    bench.issuer.delete_key(&bench.issuer.key().0);
    assert_eq!(bench.get(&token, "current_user").await.status, 200);
}

// fault 275
#[tokio::test]
async fn a5_a_missing_role_is_an_authorization_error() {
    let bench = bench_with(|options| options.role = Role::None).await;
    let token = bench.token().await;
    let reply = bench.get(&token, "service_users").await;
    assert_eq!(reply.error(), (401, "authorization_error"));
    assert!(reply.json["message"].as_str().unwrap().starts_with("Missing capability: "));
}

#[tokio::test]
async fn a5_roles_that_read_do_not_write() {
    let bench = bench().await;
    let token = bench.token().await;
    for role in [Role::PamAdmin, Role::SecurityAdmin, Role::DelegatedResourceAdmin] {
        bench.issuer.set_role("robot", role);
        assert_eq!(bench.get(&token, "service_users").await.status, 200);
        let write = bench.post(&token, "service_users/robot/keys", None).await;
        assert_eq!(write.error(), (401, "authorization_error"));
    }
}

#[tokio::test]
async fn a6_forbidden_and_missing_can_be_told_for_calls_alone() {
    let bench = bench().await;
    for (fault, status) in [("api@403:1", 403), ("api@404:1", 404)] {
        bench.issuer.inject(fault.parse::<FaultPlan>().unwrap());
        let token = bench.token().await;
        assert_eq!(bench.get(&token, "current_user").await.status, status);
        assert_eq!(bench.get(&token, "current_user").await.status, 200);
    }
}

#[tokio::test]
async fn a7_all_tokens_can_be_revoked_at_once() {
    let bench = bench().await;
    let (first, second) = (bench.token().await, bench.token().await);
    assert_eq!(bench.issuer.revoke_all_tokens(), 2);
    assert_eq!(bench.get(&first, "current_user").await.error(), AUTHENTICATION);
    assert_eq!(bench.get(&second, "current_user").await.error(), AUTHENTICATION);
    let third = bench.token().await;
    assert_eq!(bench.get(&third, "current_user").await.status, 200);
}

// fault 27
#[tokio::test]
async fn a8_a_fresh_token_can_be_refused_again_and_again() {
    let bench = bench().await;
    bench.issuer.inject("api@401".parse::<FaultPlan>().unwrap());
    for _ in 0..2 {
        let token = bench.token().await;
        assert_eq!(bench.get(&token, "current_user").await.error(), AUTHENTICATION);
    }
}
