//! Service users: cases U1 to U7.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::bench;

#[tokio::test]
async fn u1_a_user_is_created_whole() {
    let bench = bench().await;
    let token = bench.token().await;
    let reply = bench.post(&token, "service_users", Some(json!({ "name": "café bot/1" }))).await;
    assert_eq!(reply.status, 201);
    let id = reply.json["id"].as_str().unwrap();
    let whole = json!({
        "id": id,
        "name": "café bot/1",
        "status": "ACTIVE",
        "team_name": "acme",
        "user_type": "service",
        "details": null,
        "deleted_at": null,
    });
    assert_eq!(reply.json, whole);
    for user in ["caf%C3%A9%20bot%2F1", id] {
        assert_eq!(bench.get(&token, &format!("service_users/{user}")).await.json, whole);
    }
}

#[tokio::test]
async fn u2_a_name_in_use_stays_taken_even_by_the_deleted() {
    let bench = bench().await;
    let token = bench.token().await;
    let create = || bench.post(&token, "service_users", Some(json!({ "name": "bot" })));
    assert_eq!(create().await.status, 201);
    assert_eq!(create().await.error(), (409, "resource_already_exists"));
    bench.put(&token, "service_users/bot", json!({ "status": "DELETED" })).await;
    assert_eq!(create().await.status, 409);
}

#[tokio::test]
async fn u3_names_have_1_to_255_characters() {
    let bench = bench().await;
    let token = bench.token().await;
    for (length, status) in [(0, 400), (1, 201), (255, 201), (256, 400)] {
        let body = json!({ "name": "é".repeat(length) });
        assert_eq!(bench.post(&token, "service_users", Some(body)).await.status, status);
    }
    let path = "/v1/teams/acme/service_users";
    let headers = [("authorization", &*format!("Bearer {token}"))];
    let body = Some(r#"{"name":"x"}"#.to_owned());
    let reply = bench.send(Method::POST, path, &headers, body).await.unwrap();
    assert_eq!(reply.error(), (415, "unsupported_content_type"));
}

#[tokio::test]
async fn u4_a_status_is_put_with_and_without_a_name() {
    let bench = bench().await;
    let token = bench.token().await;
    bench.issuer.add_user("bot");
    for body in [json!({ "status": "DISABLED" }), json!({ "status": "ACTIVE", "name": "bot" })] {
        let reply = bench.put(&token, "service_users/bot", body.clone()).await;
        assert_eq!((reply.status, &reply.json["status"]), (200, &body["status"]));
    }
    for body in [json!({ "status": "GONE" }), json!({}), json!({ "status": "ACTIVE", "name": "" })]
    {
        assert_eq!(bench.put(&token, "service_users/bot", body).await.status, 400);
    }
}

#[tokio::test]
async fn u5_deletion_has_a_time_that_stays() {
    let bench = bench().await;
    let token = bench.token().await;
    bench.issuer.add_user("bot");
    let put = |status| bench.put(&token, "service_users/bot", json!({ "status": status }));
    let first = put("DELETED").await;
    assert!(first.json["deleted_at"].is_string());
    assert_eq!(put("DELETED").await.json, first.json);
    assert_eq!(bench.get(&token, "service_users/bot").await.json, first.json);
    assert_eq!(put("ACTIVE").await.json["deleted_at"], Value::Null);
}

#[tokio::test]
async fn u6_nobody_disables_or_deletes_himself() {
    let bench = bench().await;
    let token = bench.token().await;
    let put = |status| bench.put(&token, "service_users/robot", json!({ "status": status }));
    assert_eq!(put("DISABLED").await.error(), (403, "forbidden_error"));
    assert_eq!(put("DELETED").await.error(), (403, "forbidden_error"));
    assert_eq!(put("ACTIVE").await.status, 200);
}

#[tokio::test]
async fn u7_unknown_users_and_calls_are_not_found() {
    let bench = bench().await;
    let token = bench.token().await;
    let missing = (404, "resource_does_not_exist");
    for path in ["service_users/nobody", "service_users/nobody/keys", "servers", ""] {
        assert_eq!(bench.get(&token, path).await.error(), missing, "{path}");
    }
    let update = json!({ "status": "ACTIVE" });
    assert_eq!(bench.put(&token, "service_users/nobody", update).await.error(), missing);
    assert_eq!(bench.post(&token, "service_users/nobody/keys", None).await.error(), missing);
    assert_eq!(bench.get(&token, "service_token").await.error(), missing);
}
