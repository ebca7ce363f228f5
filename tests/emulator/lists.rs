//! Pages and filters: cases L1 to L7. L8 needs the proxy.

use std::collections::BTreeSet;

use bearerd::emulator::LinkForm;
use serde_json::json;

use crate::client::{Bench, Reply, bench_with};

fn ids(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let list = reply.json["list"].as_array().unwrap();
    list.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect()
}

/// Tells where a relation of the `Link` header leads, below the team.
fn link(reply: &Reply, relation: &str) -> Option<String> {
    let end = format!(">; rel=\"{relation}\"");
    let link = reply.header("link")?.split(", ").find_map(|link| link.strip_suffix(&end))?;
    Some(link.split_once("/v1/teams/acme/").unwrap().1.to_owned())
}

/// Makes an issuer with so many users, `robot` among them.
async fn users(count: usize) -> (Bench, String) {
    let bench = bench_with(|_| {}).await;
    for number in 1..count {
        bench.issuer.add_user(&format!("user-{number:03}"));
    }
    let token = bench.token().await;
    (bench, token)
}

/// Follows a relation from a page to the last, and tells the length of each page.
async fn follow(
    bench: &Bench,
    token: &str,
    from: &str,
    relation: &str,
) -> (Vec<usize>, Vec<String>) {
    let (mut lengths, mut all, mut next) = (vec![], vec![], Some(from.to_owned()));
    while let Some(path) = next {
        let reply = bench.get(token, &path).await;
        lengths.push(ids(&reply).len());
        assert!(lengths.len() < 100, "the pages do not end");
        all.extend(ids(&reply));
        next = link(&reply, relation);
    }
    (lengths, all)
}

#[tokio::test]
async fn l1_many_users_come_a_hundred_to_a_page() {
    let (bench, token) = users(250).await;
    let (lengths, all) = follow(&bench, &token, "service_users", "next").await;
    assert_eq!(lengths, [100, 100, 50]);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 250);
}

#[tokio::test]
async fn l2_count_is_kept_in_absolute_links_on_one_line() {
    let (bench, token) = users(10).await;
    let first = bench.get(&token, "service_users?count=3&starts_with=user").await;
    let second = bench.get(&token, &link(&first, "next").unwrap()).await;
    assert_eq!(second.headers.get_all("link").iter().count(), 1);
    let header = second.header("link").unwrap();
    let origin = bench.issuer.base_url();
    assert!(
        header.starts_with(&format!("<{origin}/v1/teams/acme/service_users?count=3&")),
        "{header}"
    );
    assert!(header.contains("starts_with=user"));
    assert!(header.find("rel=\"next\"") < header.find("rel=\"prev\""));
    let (lengths, _) = follow(&bench, &token, "service_users?count=3", "next").await;
    assert_eq!(lengths, [3, 3, 3, 1]);
}

#[tokio::test]
async fn l3_an_offset_alone_begins_after_that_id() {
    let (bench, token) = users(10).await;
    let all = ids(&bench.get(&token, "service_users").await);
    let rest = bench.get(&token, &format!("service_users?offset={}", all[3])).await;
    assert_eq!(ids(&rest), all[4..]);
}

#[tokio::test]
async fn l4_the_last_page_has_no_next() {
    let (bench, token) = users(5).await;
    let all = ids(&bench.get(&token, "service_users").await);
    let last = bench.get(&token, &format!("service_users?count=3&offset={}", all[2])).await;
    assert_eq!(ids(&last), all[3..]);
    assert_eq!(link(&last, "next"), None);
    assert!(link(&last, "prev").is_some());
}

#[tokio::test]
async fn l5_a_made_up_offset_begins_where_it_would_stand() {
    let (bench, token) = users(10).await;
    let all = ids(&bench.get(&token, "service_users").await);
    let high = bench.get(&token, "service_users?offset=ffffffff-ffff-4fff-bfff-ffffffffffff").await;
    assert_eq!(ids(&high), Vec::<String>::new());
    let low = bench.get(&token, "service_users?offset=00000000-0000-4000-8000-000000000000").await;
    assert_eq!(ids(&low), all);
}

#[tokio::test]
async fn l6_an_exact_multiple_links_no_empty_page() {
    let (bench, token) = users(6).await;
    let (lengths, all) = follow(&bench, &token, "service_users?count=3", "next").await;
    assert_eq!(lengths, [3, 3]);
    let end = bench.get(&token, &format!("service_users?offset={}", all[5])).await;
    assert_eq!(end.json, json!({ "list": [] }));
    assert_eq!(end.header("link"), None);
}

#[tokio::test]
async fn l7_filters_choose() {
    let (bench, token) = users(30).await;
    let all = ids(&bench.get(&token, "service_users").await);
    let set_status = |user| bench.put(&token, user, json!({ "status": "DISABLED" }));
    assert_eq!(set_status("service_users/user-007").await.status, 200);
    for (query, count) in [
        ("contains=bot", 1),
        ("contains=-01", 10),
        ("starts_with=user-00", 9),
        ("starts_with=00", 0),
        ("status=DISABLED", 1),
        ("status=ACTIVE", 29),
        ("status=DELETED", 0),
        ("include_service_users=true", 30),
        (&format!("id={}&id={}", all[4], all[9]), 2),
    ] {
        let reply = bench.get(&token, &format!("service_users?{query}")).await;
        assert_eq!(ids(&reply).len(), count, "{query}");
    }
    for query in ["status=GONE", "count=0", "count=x", "descending=maybe"] {
        let reply = bench.get(&token, &format!("service_users?{query}")).await;
        assert_eq!(reply.error(), (400, "invalid_request"), "{query}");
    }
}

#[tokio::test]
async fn l7_lists_go_down_and_back() {
    let (bench, token) = users(10).await;
    let mut all = ids(&bench.get(&token, "service_users").await);
    let last = format!("service_users?count=4&offset={}", all[7]);
    let (lengths, _) = follow(&bench, &token, &last, "prev").await;
    assert_eq!(lengths, [2, 4, 4]);
    let (_, down) = follow(&bench, &token, "service_users?count=4&descending=true", "next").await;
    all.reverse();
    assert_eq!(down, all);
}

#[tokio::test]
async fn l8_links_may_be_relative_or_name_another_origin() {
    let relative = bench_with(|options| options.links = LinkForm::Relative).await;
    let public = bench_with(|options| {
        options.public_url = Some("http://issuer.test:8080".parse().unwrap());
    });
    for (bench, begin) in [(relative, "</v1/teams"), (public.await, "<http://issuer.test:8080/v1/")]
    {
        bench.issuer.add_user("another");
        let reply = bench.get(&bench.token().await, "service_users?count=1").await;
        assert!(reply.header("link").unwrap().starts_with(begin), "{reply:?}");
    }
}
