//! Trouble with keys, as the broker tells of it.

use bearerd::{
    okta::classify::Reason,
    token::{handle::Refreshed, timing::RefreshSettings},
};

use super::secs;
use crate::bench::{Bench, issuer::FakeIssuer, keys::key};

fn reloads(bench: &Bench) -> Vec<(String, u64)> {
    let counts = bench.counts("bearerd_key_reloads_total", "result", "");
    counts.into_iter().collect()
}

// fault 77
#[tokio::test(start_paused = true)]
async fn without_a_key_the_trouble_is_told_and_a_key_mends_it() {
    let mut bench = Bench::new(RefreshSettings::default(), FakeIssuer::says(["1h"]));
    bench.start();
    bench.keys.spoil();
    bench.pass(secs(1)).await;
    assert_eq!(bench.handle.state().trouble(), "the key file is not there");
    assert!(bench.handle.with_life(secs(60)).await.is_none());
    assert_eq!(bench.keys.looks(), 0);
    assert!(matches!(bench.handle.refresh().await, Refreshed::Failed));
    assert_eq!(bench.keys.looks(), 1, "an operator makes it look again");
    assert!(bench.clock.passed() < secs(2), "nobody waited");

    bench.keys.put('A');
    bench.settle().await;
    let state = bench.handle.state();
    assert_eq!(bench.serves(), Some(1));
    assert_eq!(state.key_id.as_deref(), Some(key('A').id()));
    assert_eq!(state.key_trouble, None);
    assert_eq!(reloads(&bench), [("failure".to_owned(), 1), ("success".to_owned(), 1)]);
}

// fault 78
#[tokio::test(start_paused = true)]
async fn a_key_file_that_is_lost_later_is_told_and_nothing_else_changes() {
    let issuer = FakeIssuer::says(["1h"]);
    let bench = Bench::started(RefreshSettings::default(), issuer, 'A').await;
    bench.keys.spoil();
    bench.pass(secs(1860)).await;
    let state = bench.handle.state();
    assert_eq!(bench.serves(), Some(2));
    assert_eq!(state.key_trouble.as_deref(), Some("the key file is not there"));
    assert_eq!(state.key_id.as_deref(), Some(key('A').id()));
}

// faults 20, 91
#[tokio::test(start_paused = true)]
async fn a_refused_new_key_is_shown_and_the_file_is_read_again() {
    let answers: [(char, &[&str]); 2] = [('A', &["1h"]), ('B', &["unauthorized x2", "1h"])];
    let issuer = FakeIssuer::says_to(answers, Vec::new());
    let bench = Bench::started(RefreshSettings::default(), issuer, 'A').await;
    bench.pass(secs(600)).await;
    bench.keys.put('B');
    bench.settle().await;
    let state = bench.handle.state();
    assert_eq!(state.key_id.as_deref(), Some(key('A').id()));
    assert_eq!(state.candidate_key_id.as_deref(), Some(key('B').id()));
    assert_eq!(state.failing, None, "the key in use is as good as ever");
    let failing = state.candidate_failing.expect("the trial has failed");
    assert_eq!((failing.error.reason, failing.times), (Reason::Unauthorized, 1));
    assert_eq!(bench.keys.looks(), 1);

    bench.keys.put('A');
    bench.settle().await;
    assert_eq!(bench.handle.state().candidate_key_id, None, "taken back");
    bench.pass(secs(15 * 60)).await;
    bench.keys.put('B');
    bench.pass(secs(120)).await;
    let state = bench.handle.state();
    assert_eq!(bench.keys.looks(), 2);
    assert_eq!(state.key_id.as_deref(), Some(key('B').id()));
    assert_eq!(state.candidate_key_id, None);
    assert!(!state.has_trouble());
}
