//! The rate limit: case R1.

use crate::client::{Reply, bench_with};

fn remaining(reply: &Reply) -> &str {
    reply.header("x-ratelimit-remaining").unwrap()
}

// fault 280
#[tokio::test]
async fn r1_the_limit_counts_down_per_user_until_the_reset() {
    let bench = bench_with(|options| options.rate_limit = 2).await;
    let token = bench.token().await;
    let second = bench.get(&token, "current_user").await;
    assert_eq!((second.status, remaining(&second)), (200, "0"));
    assert_eq!(second.header("x-ratelimit-limit"), Some("2"));
    let third = bench.get(&token, "current_user").await;
    assert_eq!(third.error(), (429, "too_many_requests"));

    let other = bench.mint(&bench.issuer.add_key("other")).await;
    assert_eq!((other.status, remaining(&other)), (200, "1"));

    bench.issuer.set_clock_skew(3602);
    let anew = bench.mint(&bench.issuer.key()).await;
    assert_eq!((anew.status, remaining(&anew)), (200, "1"));
    assert!(anew.header("x-ratelimit-reset") > third.header("x-ratelimit-reset"));
}

#[tokio::test]
async fn r1_every_answer_has_the_headers_and_a_date() {
    let bench = bench_with(|_| {}).await;
    let token = bench.token().await;
    bench.issuer.inject("api@404:1".parse::<bearerd::emulator::FaultPlan>().unwrap());
    for path in ["current_user", "current_user", "service_users/nobody", "nothing"] {
        let reply = bench.get(&token, path).await;
        for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "date"] {
            assert_eq!(reply.headers.get_all(name).iter().count(), 1, "{name} at {path}");
        }
    }
    assert_eq!(remaining(&bench.get("garbage", "current_user").await), "10000");
}
