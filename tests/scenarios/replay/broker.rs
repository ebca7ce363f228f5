//! The real broker, with its handle, between a fake issuer and fake keys.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bearerd::token::{
    broker::whole_seconds,
    handle::{Claim, Handle, Refreshed, Rejection},
};

use super::Stage;
use crate::{
    bench::{
        Bench,
        clock::BOOT,
        issuer::{FakeIssuer, token},
    },
    story::{Act, Due, Seen, Served, Story},
};

/// Plays on a broker in paused time.
pub(super) struct BrokerStage {
    bench: Bench,
    heard: Arc<Mutex<String>>,
}

impl BrokerStage {
    pub(super) async fn new(story: &Story) -> Self {
        let issuer = FakeIssuer::new(story.script());
        Self { bench: Bench::started(story.settings(), issuer, 'A').await, heard: Arc::default() }
    }

    /// Asks on a task of its own and writes down what it hears, unless another has asked since.
    fn ask(&mut self, act: Act) {
        let heard = Arc::new(Mutex::new("waits".to_owned()));
        self.heard = Arc::clone(&heard);
        let handle = self.bench.handle.clone();
        self.bench.tasks.spawn(async move {
            let answer = answer(&handle, act).await;
            *heard.lock().expect("nobody panics with it") = answer;
        });
    }
}

impl Stage for BrokerStage {
    async fn pass_to(&mut self, moment: Duration) {
        self.bench.pass(moment.saturating_sub(self.bench.clock.passed())).await;
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Look => {}
            Act::Key(letter) => self.bench.keys.put(letter),
            Act::NoKey => self.bench.keys.spoil(),
            Act::Suspend(time) => self.bench.clock.suspend(time),
            Act::Forward(by) => self.bench.clock.forward(by),
            Act::Back(by) => self.bench.clock.back(by),
            request => self.ask(request),
        }
        self.bench.settle().await;
    }

    async fn look(&mut self) -> Seen {
        let serves = self.bench.serves();
        self.bench.settle().await;
        let next = self.bench.handle.state().next_refresh;
        Seen {
            mints: self.bench.issuer.mints(),
            refreshed: self.bench.refreshes("success"),
            failed: self.bench.refreshes("failure"),
            probes: self.bench.issuer.probes(),
            serves: serves.map_or(Served::Nothing, Served::Token),
            next: next.map_or(Due::Minting, |at| Due::At(at.since(BOOT))),
            hears: self.heard.lock().expect("nobody panics with it").clone(),
        }
    }
}

async fn answer(handle: &Handle, act: Act) -> String {
    match act {
        Act::Want(life) => wanted(handle, life).await.to_owned(),
        Act::Ask => match handle.refresh().await {
            Refreshed::New(_) => "newer".to_owned(),
            Refreshed::Throttled(wait) => throttled(wait),
            Refreshed::Failed => "no newer".to_owned(),
        },
        Act::ReportFirst => report(handle, token(1).as_bytes()).await,
        Act::ReportUnknown => report(handle, b"SNTL.never.granted").await,
        _ => match handle.current() {
            Some((current, _)) => report(handle, current.token().expose()).await,
            None => report(handle, b"SNTL.over").await,
        },
    }
}

async fn wanted(handle: &Handle, life: Duration) -> &'static str {
    let before = handle.current();
    match (before, handle.with_life(life).await) {
        (_, None) => "no token",
        (Some((before, _)), Some((now, _))) if before.serial() == now.serial() => "same",
        (_, Some(_)) => "newer",
    }
}

async fn report(handle: &Handle, claim: &[u8]) -> String {
    match handle.reject(Claim::Token(claim)).await {
        Rejection::Stale(_) => "stale".to_owned(),
        Rejection::Refreshed(_) => "newer".to_owned(),
        Rejection::Throttled(wait) => throttled(wait),
        Rejection::Failed => "no newer".to_owned(),
        Rejection::NoToken => "no token".to_owned(),
    }
}

fn throttled(wait: Duration) -> String {
    format!("throttled {}s", whole_seconds(wait))
}
