//! The control endpoint: the same issuer, from outside the process.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Bench, Reply, bench};

async fn control(bench: &Bench, method: Method, path: &str, body: Value) -> Reply {
    let headers = [("content-type", "application/json")];
    let path = format!("/_emulator/{path}");
    bench.send(method, &path, &headers, Some(body.to_string())).await.unwrap()
}

async fn post(bench: &Bench, path: &str, body: Value) -> Reply {
    let reply = control(bench, Method::POST, path, body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

#[tokio::test]
async fn the_state_is_shown_without_any_secret() {
    let bench = bench().await;
    let (id, secret) = bench.issuer.key();
    let token = bench.token().await;
    post(&bench, "faults", json!({ "fault": "mint@503:2" })).await;
    let reply = control(&bench, Method::GET, "", json!({})).await;
    assert!(!reply.text.contains(&secret) && !reply.text.contains(&token));
    assert_eq!(reply.json["mint_calls"], 1);
    assert_eq!(reply.json["mints"], 1);
    assert_eq!(reply.json["tokens"], 1);
    assert_eq!(reply.json["faults"], json!(["mint@503:2"]));
    assert_eq!(reply.json["users"][0]["role"], "resource_admin");
    assert_eq!(reply.json["users"][0]["keys"][0]["id"], id.as_str());
}

#[tokio::test]
async fn faults_come_and_go() {
    let bench = bench().await;
    post(&bench, "faults", json!({ "fault": "503" })).await;
    assert_eq!(bench.mint(&bench.issuer.key()).await.status, 503);
    assert_eq!(control(&bench, Method::DELETE, "faults", json!({})).await.status, 200);
    assert_eq!(bench.mint(&bench.issuer.key()).await.status, 200);
    let unknown = control(&bench, Method::POST, "faults", json!({ "fault": "earthquake" })).await;
    assert_eq!(unknown.error(), (400, "invalid_request"));
    assert!(unknown.json["message"].as_str().unwrap().contains("cut-off"));
}

#[tokio::test]
async fn tokens_are_revoked_and_their_lifetime_set() {
    let bench = bench().await;
    let token = bench.token().await;
    assert_eq!(post(&bench, "revoke", json!({})).await.json["revoked"], 1);
    assert_eq!(bench.get(&token, "current_user").await.status, 401);
    post(&bench, "lifetime", json!({ "lifetime": "90s" })).await;
    let token = bench.token().await;
    post(&bench, "skew", json!({ "seconds": 100 })).await;
    assert_eq!(bench.get(&token, "current_user").await.status, 401);
    let bad = control(&bench, Method::POST, "lifetime", json!({ "lifetime": "90" })).await;
    assert_eq!(bad.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn keys_are_added_ended_and_deleted() {
    let bench = bench().await;
    let mut keys = vec![];
    for _ in 0..2 {
        let key = post(&bench, "keys", json!({ "user": "another" })).await.json;
        let field = |name: &str| key[name].as_str().unwrap().to_owned();
        keys.push((field("key_id"), field("key_secret")));
    }
    assert_eq!(bench.mint(&keys[0]).await.status, 200);
    post(&bench, &format!("keys/{}/expire", keys[0].0), json!({})).await;
    assert_eq!(bench.mint(&keys[0]).await.status, 401);
    assert_eq!(bench.mint(&keys[1]).await.status, 200);
    let path = format!("keys/{}", keys[1].0);
    assert_eq!(control(&bench, Method::DELETE, &path, json!({})).await.status, 200);
    assert_eq!(bench.mint(&keys[1]).await.status, 401);
    assert_eq!(control(&bench, Method::DELETE, &path, json!({})).await.status, 404);
}

#[tokio::test]
async fn users_team_and_limit_are_changed() {
    let bench = bench().await;
    let token = bench.token().await;
    post(&bench, "users/robot", json!({ "role": "none" })).await;
    assert_eq!(bench.get(&token, "service_users").await.status, 401);
    post(&bench, "users/robot", json!({ "role": "pam_admin" })).await;
    assert_eq!(bench.get(&token, "service_users").await.status, 200);
    let shown = post(&bench, "users/robot", json!({ "status": "DISABLED" })).await.json;
    assert_eq!((&shown["status"], &shown["role"]), (&json!("DISABLED"), &json!("pam_admin")));
    assert_eq!(bench.get(&token, "service_users").await.status, 401);
    post(&bench, "users/robot", json!({ "status": "ACTIVE" })).await;
    post(&bench, "team", json!({ "disabled": true })).await;
    assert_eq!(bench.get(&token, "service_users").await.status, 403);
    post(&bench, "team", json!({ "disabled": false })).await;
    post(&bench, "rate_limit", json!({ "limit": 1 })).await;
    assert_eq!(bench.get(&token, "service_users").await.status, 429);
}

#[tokio::test]
async fn control_calls_are_neither_counted_nor_disturbed() {
    let bench = bench().await;
    post(&bench, "faults", json!({ "fault": "close" })).await;
    post(&bench, "revoke", json!({})).await;
    assert_eq!(control(&bench, Method::GET, "nothing", json!({})).await.status, 404);
    assert_eq!(bench.issuer.calls(), 0);
    control(&bench, Method::DELETE, "faults", json!({})).await;
    bench.token().await;
    let requests = control(&bench, Method::GET, "requests", json!({})).await;
    let seen = json!([{ "method": "POST", "path": "/v1/teams/acme/service_token", "status": 200 }]);
    assert_eq!(requests.json["list"], seen);
}
