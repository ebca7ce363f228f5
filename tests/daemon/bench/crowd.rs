//! Clients that ask so many times a second, none of which tries twice.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{Place, Visitor, client::request};

/// Clients of a crowd that keep their connections.
const CLIENTS: u64 = 50;

/// Asks until it is told to go.
pub(crate) struct Crowd {
    over: CancellationToken,
    asking: JoinSet<Answers>,
}

/// Says how a client uses connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// A new one for each request.
    Anew,
    /// One for as long as the daemon does not close it, or say that an answer is the last.
    Stays,
}

/// Counts answers by their status, and requests without one by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Answers(BTreeMap<String, u64>);

impl Crowd {
    /// Starts to ask for the token at this rate, whatever time an answer takes.
    pub(crate) fn gather(place: &Place, rate: u64, manner: Manner) -> Self {
        let (over, mut asking) = (CancellationToken::new(), JoinSet::new());
        match manner {
            Manner::Anew => {
                asking.spawn(ask_anew(place.clone(), rate, over.clone()));
            }
            Manner::Stays => {
                for _ in 0..CLIENTS {
                    asking.spawn(stay(place.clone(), rate.div_ceil(CLIENTS), over.clone()));
                }
            }
        }
        Self { over, asking }
    }

    /// Lets everybody end what is under way; tells how often they asked and what came.
    pub(crate) async fn disperse(self) -> Answers {
        self.over.cancel();
        let mut all = Answers::default();
        self.asking.join_all().await.into_iter().for_each(|answers| all.add(answers));
        all
    }
}

impl Answers {
    pub(crate) fn asked(&self) -> u64 {
        self.0.values().sum()
    }

    /// Tells what came instead of a token, and how often.
    pub(crate) fn failures(&self) -> BTreeMap<&str, u64> {
        let all = self.0.iter().filter(|(what, _)| *what != "200");
        all.map(|(what, count)| (what.as_str(), *count)).collect()
    }

    fn note(&mut self, what: String) {
        *self.0.entry(what).or_default() += 1;
    }

    fn add(&mut self, others: Self) {
        for (what, count) in others.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

async fn ask_anew(place: Place, rate: u64, over: CancellationToken) -> Answers {
    let (mut answers, mut asking) = (Answers::default(), JoinSet::new());
    let mut pace = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
    while over.run_until_cancelled(pace.tick()).await.is_some() {
        let place = place.clone();
        asking.spawn(async move { ask(&mut None, &place).await });
        while let Some(answer) = asking.try_join_next() {
            answers.note(answer.unwrap());
        }
    }
    asking.join_all().await.into_iter().for_each(|answer| answers.note(answer));
    answers
}

async fn stay(place: Place, rate: u64, over: CancellationToken) -> Answers {
    let (mut answers, mut connection) = (Answers::default(), None);
    let mut pace = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while over.run_until_cancelled(pace.tick()).await.is_some() {
        answers.note(ask(&mut connection, &place).await);
    }
    answers
}

/// Asks once, on the connection that is there or on a new one; tells what came.
async fn ask(connection: &mut Option<Visitor>, place: &Place) -> String {
    let mut visitor = match open(connection.take(), place).await {
        Ok(visitor) => visitor,
        Err(error) => return format!("no connection: {}", error.kind()),
    };
    visitor.try_send(&request("GET", "/v1/token", &[], b"")).await;
    let Some(reply) = visitor.try_reply().await else {
        return "closed without an answer".to_owned();
    };
    if !reply.is_last() {
        *connection = Some(visitor);
    }
    reply.status.to_string()
}

/// Takes the connection that is there if it is still open, as any client's pool does.
async fn open(kept: Option<Visitor>, place: &Place) -> std::io::Result<Visitor> {
    if let Some(mut visitor) = kept
        && !visitor.is_closed().await
    {
        return Ok(visitor);
    }
    Visitor::try_connect(place).await
}
