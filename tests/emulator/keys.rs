//! API keys: cases K1 to K8.

use bearerd::emulator::{FaultPlan, Role, RotationEnd};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::{Bench, Reply, bench, bench_with};

const KEYS: &str = "service_users/robot/keys";
const NEVER: &str = "0001-01-01T00:00:00Z";
const DAY: i64 = 24 * 60 * 60;

fn key(rotation: &Reply) -> (String, String) {
    assert_eq!(rotation.status, 200, "{rotation:?}");
    let field = |name: &str| rotation.json[name].as_str().unwrap().to_owned();
    (field("id"), field("secret"))
}

/// Tells how a key is listed.
async fn listed(bench: &Bench, token: &str, id: &str) -> Value {
    let reply = bench.get(token, KEYS).await;
    let list = reply.json["list"].as_array().unwrap();
    list.iter().find(|key| key["id"] == id).cloned().unwrap_or_default()
}

fn time(key: &Value, field: &str) -> Timestamp {
    key[field].as_str().unwrap().parse().unwrap()
}

// fault 276
#[tokio::test]
async fn k1_a_rotation_makes_a_key_without_end_and_ends_the_others() {
    let bench = bench().await;
    let token = bench.token().await;
    let (old, _) = bench.issuer.key();
    assert_eq!(listed(&bench, &token, &old).await["expires_at"], NEVER);
    let rotation = bench.post(&token, KEYS, None).await;
    let (id, secret) = key(&rotation);
    assert_eq!(secret.len(), 88);
    assert_eq!(rotation.json["expires_at"], NEVER);
    assert_eq!(rotation.json["last_used"], Value::Null);
    assert_eq!(rotation.json.as_object().unwrap().len(), 5);
    let ended = listed(&bench, &token, &old).await;
    assert_eq!(
        time(&ended, "expires_at").as_second() - rotation.time("issued_at").as_second(),
        2 * DAY
    );
    let fresh = listed(&bench, &token, &id).await;
    assert_eq!(fresh.get("secret"), None);
    assert_eq!(bench.mint(&(id, secret)).await.status, 200);
}

// fault 282
#[tokio::test]
async fn k2_a_second_rotation_keeps_or_moves_the_first_end() {
    for (rule, days) in [(RotationEnd::Keep, 2), (RotationEnd::Move, 3)] {
        let bench = bench_with(|options| {
            options.rotation_end = rule;
            options.lifetime = std::time::Duration::from_secs(7 * 24 * 3600);
        });
        let bench = bench.await;
        let token = bench.token().await;
        let first = bench.post(&token, KEYS, None).await;
        bench.issuer.set_clock_skew(DAY);
        let second = bench.post(&token, KEYS, None).await;
        let oldest = listed(&bench, &token, &bench.issuer.key().0).await;
        let left = time(&oldest, "expires_at").duration_since(first.time("issued_at"));
        assert_eq!(left.as_hours() / 24, days);
        let middle = listed(&bench, &token, &key(&first).0).await;
        let left = time(&middle, "expires_at").duration_since(second.time("issued_at"));
        assert_eq!(left.as_hours() / 24, 2);
    }
}

#[tokio::test]
async fn k3_the_old_key_mints_inside_its_grace_and_k4_not_past_it() {
    let bench = bench().await;
    bench.post(&bench.token().await, KEYS, None).await;
    bench.issuer.set_clock_skew(DAY);
    let late = bench.token().await;
    bench.issuer.set_clock_skew(3 * DAY);
    let reply = bench.mint(&bench.issuer.key()).await;
    assert_eq!(reply.error(), (401, "authentication_error"));
    assert_eq!(bench.get(&late, "current_user").await.status, 401);
}

#[tokio::test]
async fn k5_a_key_is_deleted_once() {
    let bench = bench().await;
    let token = bench.token().await;
    let (id, _) = bench.issuer.add_key("robot");
    let path = format!("{KEYS}/{id}");
    let first = bench.delete(&token, &path).await;
    assert_eq!((first.status, first.text.as_str()), (204, ""));
    assert_eq!(bench.delete(&token, &path).await.error(), (404, "resource_does_not_exist"));
}

#[tokio::test]
async fn k5_a_key_is_deleted_only_below_its_own_user() {
    let bench = bench().await;
    let token = bench.token().await;
    let other = bench.issuer.add_key("other");
    assert_eq!(bench.delete(&token, &format!("{KEYS}/{}", other.0)).await.status, 404);
    assert_eq!(bench.mint(&other).await.status, 200);
}

// fault 277
#[tokio::test]
async fn k6_the_last_use_is_the_last_mint() {
    let bench = bench().await;
    let fresh = bench.issuer.add_key("robot");
    let token = bench.token().await;
    assert_eq!(listed(&bench, &token, &fresh.0).await["last_used"], Value::Null);
    bench.issuer.set_clock_skew(60);
    bench.mint(&fresh).await;
    let used = listed(&bench, &token, &fresh.0).await;
    assert!(time(&used, "last_used") > time(&used, "issued_at"));
}

#[tokio::test]
async fn k7_a_rotation_whose_answer_is_lost_has_happened() {
    let bench = bench().await;
    let token = bench.token().await;
    bench.issuer.inject("lost:1".parse::<FaultPlan>().unwrap());
    let path = format!("/v1/teams/acme/{KEYS}");
    let headers = [("authorization", &*format!("Bearer {token}"))];
    assert!(bench.send(reqwest::Method::POST, &path, &headers, None).await.is_err());
    let list = bench.get(&token, KEYS).await;
    assert_eq!(list.json["list"].as_array().unwrap().len(), 2);
    assert_eq!(bench.mint(&bench.issuer.key()).await.status, 200);
}

// fault 281
#[tokio::test]
async fn k8_a_missing_role_neither_rotates_nor_deletes() {
    let bench = bench_with(|options| options.role = Role::PamAdmin).await;
    let token = bench.token().await;
    let missing = (401, "authorization_error");
    let path = format!("{KEYS}/{}", bench.issuer.key().0);
    assert_eq!(bench.post(&token, KEYS, Some(json!({}))).await.error(), missing);
    assert_eq!(bench.delete(&token, &path).await.error(), missing);
    let list = bench.get(&token, KEYS).await;
    assert_eq!(list.json["list"].as_array().unwrap().len(), 1);
}
