//! `POST service_token`: cases T1 to T14, as far as they concern the issuer.

use std::{sync::Arc, time::Duration};

use bearerd::emulator::{Fault, FaultPlan, Status, ThrottleForm, UnknownTeam};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{Bench, Reply, bench, bench_with, request};

const AUTHENTICATION: (u16, &str) = (401, "authentication_error");
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

async fn mint_for(bench: &Bench, team: &str, headers: &[(&str, &str)]) -> Reply {
    let body = request(&bench.issuer.key()).to_string();
    let path = format!("/v1/teams/{team}/service_token");
    bench.send(Method::POST, &path, headers, Some(body)).await.unwrap()
}

// fault 278
#[tokio::test]
async fn t01_a_good_key_gets_all_three_fields_and_nine_digits() {
    let bench = bench().await;
    let reply = bench.mint(&bench.issuer.key()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json.as_object().unwrap().len(), 3);
    assert_eq!(reply.json["team_name"], "acme");
    assert_eq!(reply.token().split('.').count(), 3);
    let expires_at = reply.json["expires_at"].as_str().unwrap();
    assert_eq!(expires_at.len(), "2026-01-01T00:00:00.123456789Z".len());
    assert_eq!((bench.issuer.mint_calls(), bench.issuer.mints()), (1, 1));
}

#[tokio::test]
async fn t02_the_lifetime_is_what_was_set() {
    let bench = bench().await;
    for seconds in [1, 60, 119, 3600] {
        bench.issuer.set_lifetime(Duration::from_secs(seconds));
        let reply = bench.mint(&bench.issuer.key()).await;
        let date = httpdate::parse_http_date(reply.header("date").unwrap()).unwrap();
        let date = jiff::Timestamp::try_from(date).unwrap().as_second();
        assert_eq!(reply.time("expires_at").as_second() - date, i64::try_from(seconds).unwrap());
    }
}

#[tokio::test]
async fn t03_the_team_compares_without_case() {
    let bench = bench().await;
    assert_eq!(mint_for(&bench, "ACME", &JSON).await.status, 200);
    assert_eq!(mint_for(&bench, "%61cme", &JSON).await.status, 200);
}

#[tokio::test]
async fn t04_extra_fields_and_a_bearer_are_ignored() {
    let bench = bench().await;
    let mut body = request(&bench.issuer.key());
    body["roles"] = json!(null);
    let headers = [JSON[0], ("authorization", "Bearer garbage")];
    let path = "/v1/teams/acme/service_token";
    let reply = bench.send(Method::POST, path, &headers, Some(body.to_string())).await.unwrap();
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn t05_wrong_secret_and_unknown_key_look_alike() {
    let bench = bench().await;
    let (id, secret) = bench.issuer.key();
    let wrong = bench.mint(&(id, "wrong".into())).await;
    let unknown = bench.mint(&("3f2504e0-4f89-41d3-9a0c-0305e82c3301".into(), secret)).await;
    assert_eq!(wrong.error(), AUTHENTICATION);
    assert_eq!((wrong.status, wrong.text), (unknown.status, unknown.text));
    assert_eq!((bench.issuer.mint_calls(), bench.issuer.mints()), (2, 0));
}

#[tokio::test]
async fn t06_dead_keys_and_dead_users_get_nothing() {
    let bench = bench().await;
    for status in [Status::Disabled, Status::Deleted] {
        assert!(bench.issuer.set_status("robot", status));
        assert_eq!(bench.mint(&bench.issuer.key()).await.error(), AUTHENTICATION);
    }
    assert!(bench.issuer.set_status("robot", Status::Active));
    let (expired, deleted) = (bench.issuer.add_key("robot"), bench.issuer.add_key("robot"));
    assert_eq!(bench.mint(&expired).await.status, 200);
    assert!(bench.issuer.expire_key(&expired.0, Duration::ZERO));
    assert!(bench.issuer.delete_key(&deleted.0));
    assert_eq!(bench.mint(&expired).await.error(), AUTHENTICATION);
    assert_eq!(bench.mint(&deleted).await.error(), AUTHENTICATION);
}

#[tokio::test]
async fn t07_other_teams_get_nothing() {
    let bench = bench().await;
    assert_eq!(mint_for(&bench, "globex", &JSON).await.error(), AUTHENTICATION);
    let other = bench_with(|options| {
        options.team = "globex".into();
        options.unknown_team = UnknownTeam::NotFound;
    });
    let other = other.await;
    assert_eq!(bench.mint(&other.issuer.key()).await.error(), AUTHENTICATION);
    let reply = mint_for(&other, "acme", &JSON).await;
    assert_eq!(reply.error(), (404, "resource_does_not_exist"));
    assert_eq!(mint_for(&other, "globex", &JSON).await.status, 200);
}

#[tokio::test]
async fn t08_a_disabled_team_gets_nothing() {
    let bench = bench().await;
    bench.issuer.set_team_disabled(true);
    assert_eq!(bench.mint(&bench.issuer.key()).await.error(), (403, "disabled_team"));
    bench.issuer.set_team_disabled(false);
    assert_eq!(bench.mint(&bench.issuer.key()).await.status, 200);
}

#[tokio::test]
async fn t09_bodies_that_make_no_sense() {
    let bench = bench().await;
    let (id, secret) = bench.issuer.key();
    for body in [
        json!({ "key_id": "robot", "key_secret": secret }),
        json!({ "key_secret": secret }),
        json!({ "key_id": id }),
        json!({ "key_id": id, "key_secret": "" }),
        json!({ "key_id": id, "key_secret": "x".repeat(513) }),
        json!({ "key_id": id, "key_secret": null }),
        json!("key_id"),
    ] {
        let reply = bench.try_mint(&body).await.unwrap();
        assert_eq!(reply.error(), (400, "invalid_request"), "{body}");
    }
    let path = "/v1/teams/acme/service_token";
    let broken = bench.send(Method::POST, path, &JSON, Some("{".into())).await.unwrap();
    assert_eq!(broken.error(), (400, "invalid_request"));
    let longest = bench.mint(&(id, "x".repeat(512))).await;
    assert_eq!(longest.error(), AUTHENTICATION);
}

#[tokio::test]
async fn t10_a_form_or_no_content_type_is_refused() {
    let bench = bench().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let like_json = [("content-type", "application/jsonp")];
    for headers in [&form[..], &like_json[..], &[]] {
        let reply = mint_for(&bench, "acme", headers).await;
        assert_eq!(reply.error(), (415, "unsupported_content_type"), "{headers:?}");
    }
}

#[tokio::test]
async fn t11_the_content_type_may_have_any_case_and_parameters() {
    let bench = bench().await;
    let headers = [("content-type", "Application/json; charset=utf-8")];
    assert_eq!(mint_for(&bench, "acme", &headers).await.status, 200);
}

#[tokio::test]
async fn t12_a_throttled_mint_names_the_time_to_come_back() {
    let bench = bench_with(|options| options.rate_limit = 1).await;
    let first = bench.mint(&bench.issuer.key()).await;
    let second = bench.mint(&bench.issuer.key()).await;
    assert_eq!(second.error(), (429, "too_many_requests"));
    assert_eq!(second.header("x-ratelimit-retry-at"), first.header("x-ratelimit-reset"));
    bench.issuer.inject(Fault::Throttle(ThrottleForm::Garbage));
    let garbage = bench.mint(&bench.issuer.key()).await;
    assert_eq!(garbage.header("x-ratelimit-retry-at"), Some("tomorrow"));
}

#[tokio::test]
async fn t13_every_way_to_fail_is_there_and_ends() {
    let bench = bench().await;
    for (fault, status) in
        [("500", 500), ("503", 503), ("504", 504), ("html", 200), ("empty", 200), ("no-token", 200)]
    {
        bench.issuer.inject(format!("mint@{fault}:1").parse::<FaultPlan>().unwrap());
        let reply = bench.mint(&bench.issuer.key()).await;
        assert_eq!(reply.status, status);
        assert!(reply.json.get("bearer_token").is_none(), "{fault}");
        assert_eq!(bench.mint(&bench.issuer.key()).await.status, 200);
    }
}

// The call that hangs is shown by others that come after it and are answered.
#[tokio::test]
async fn t14_a_call_may_be_never_answered() {
    let bench = Arc::new(bench().await);
    bench.issuer.inject("hang:1".parse::<FaultPlan>().unwrap());
    let (mut hanging, caller) = (JoinSet::new(), Arc::clone(&bench));
    hanging.spawn(async move { caller.try_mint(&request(&caller.issuer.key())).await.is_ok() });
    bench.until_mint_calls(1).await;
    assert_eq!(bench.mint(&bench.issuer.key()).await.status, 200);
    assert_eq!((bench.issuer.mint_calls(), bench.issuer.mints()), (2, 1));
    assert!(hanging.try_join_next().is_none());
}
