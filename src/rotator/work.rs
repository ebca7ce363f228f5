//! The work with the key at one place, from the lock on: step by step, with rests between.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    handle::{Command, Rotated, View},
    hands::Hands,
    task::Seat,
};
use crate::{
    key::{
        journal::{DAY, GRACE, JournalFlaw},
        rotation::Rotation,
        step::{Denied, Found, Outcome, Step},
    },
    okta::keys::KeyIssuer,
    token::{
        backoff::{Failure, Mend},
        handle::{Handle, KeyEnd},
        lease::Serial,
        timing::{Tick, Wall},
    },
};

/// Longest rest without a look at the wall clock, which anybody may set.
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);
/// Rest while there is no token to ask with.
const TOKEN_REST: Duration = Duration::from_secs(5);
/// First and last rest before a command that failed gets the new key again.
const COMMAND_REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));
/// Time between two looks at the issuer's list of keys (fault 124).
const LIST_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// The work with one place, from the lock on.
pub(super) struct Work<'s, I> {
    seat: &'s Seat<I>,
    hands: Hands<I>,
    machine: Rotation,
    /// The operator who waits.
    waiting: Option<(oneshot::Sender<Result<Rotated, String>>, String)>,
    trouble: Option<String>,
    /// What a step failed by that is taken again: no trouble any more once one goes well.
    held_up: Option<String>,
    /// The key in use is about to end, and not by us.
    foreign: Option<String>,
    /// What the issuer's list told of the key in use.
    key_ends: Option<Wall>,
    list_at: Tick,
    /// The key was not found in the list: nobody could ask yet, or was not answered.
    is_unlisted: bool,
    /// The newest token there was to ask with at that time.
    asked_with: Option<Serial>,
    /// A newer key is in the file, and the end of the last token of the old one.
    adopting: Option<Wall>,
    /// The latest token when the broker was looked at.
    looked_at: Serial,
    /// The command has not got the new key yet: when it is tried, and the rest after a failure.
    untold: Option<(Tick, Duration)>,
}

impl<'s, I: KeyIssuer> Work<'s, I> {
    pub(super) fn new(seat: &'s Seat<I>, hands: Hands<I>, found: Found) -> Self {
        let before = told_at_start(&found);
        let machine = Rotation::resume(seat.plan, found);
        let mut work = Self {
            seat,
            hands,
            machine,
            waiting: None,
            trouble: None,
            held_up: None,
            foreign: None,
            key_ends: None,
            list_at: Tick::default(),
            is_unlisted: false,
            asked_with: None,
            // Of tokens that an earlier process gave out nothing is known but how long they can live.
            adopting: Some(seat.clock.wall() + DAY),
            looked_at: Serial::NONE,
            untold: None,
        };
        work.note_superseded();
        before.into_iter().for_each(|trouble| work.tell(trouble, "the key should be looked at"));
        work
    }

    /// Takes step after step until `stop`, or until the place has to be taken anew.
    pub(super) async fn run(
        mut self,
        line: &mut mpsc::Receiver<Command>,
        stop: &CancellationToken,
    ) {
        if let Err(error) = self.hands.probe().await {
            self.tell(error.to_string(), "the key cannot be rotated");
        }
        if self.machine.is_stranded() {
            self.tell(STRANDED.to_owned(), "the key is about to end");
        }
        while self.hands.are_whole() {
            if stop.is_cancelled() && !self.machine.is_critical() {
                break;
            }
            match self.next() {
                Step::Rest(_) if stop.is_cancelled() => break,
                Step::Rest(until) => self.rest(until, line, stop).await,
                step => self.take(&step).await,
            }
        }
        self.hands.put_down().await;
    }

    /// Gives the next step, and puts off what needs a token as long as there is none.
    fn next(&mut self) -> Step {
        let now = self.seat.clock.wall();
        let has_tokens = self.seat.own.current().is_some()
            && (self.seat.asking)().is_some_and(|it| it.current().is_some());
        match self.machine.next(now) {
            Step::Prove if !has_tokens => Step::Rest(Some(now + TOKEN_REST)),
            step => step,
        }
    }

    async fn take(&mut self, step: &Step) {
        let name = self.seat.name.as_str();
        if *step == Step::Ask {
            let cause = self.machine.cause().label();
            tracing::info!(credential = name, cause, "Okta is asked for a new key");
        }
        let taken = tokio::select! {
            taken = self.hands.take(step, self.machine.journal()) => taken,
            () = self.seat.site.keep() => return,
        };
        if self.hands.are_overtaken() {
            return self.give_way(taken.trouble.unwrap_or_default());
        }
        let now = self.seat.clock.wall();
        let (was_stranded, key_id) = (self.machine.is_stranded(), self.machine.key_id().to_owned());
        self.report(step, &taken.outcome, taken.trouble);
        self.machine.done(now, taken.outcome);
        if self.machine.key_id() != key_id {
            // What was wrong was about the other one.
            (self.trouble, self.foreign, self.list_at) = (None, None, Tick::default());
        }
        if *step == Step::Record {
            self.note_superseded();
        }
        if self.machine.is_quiet() && !self.machine.has_new() && *step == Step::Record {
            self.hands.tidy().await;
        }
        if self.machine.is_stranded() && !was_stranded {
            self.tell(STRANDED.to_owned(), "the key is about to end");
        }
    }

    /// Leaves the key to somebody else who rotates it, or has changed it: nothing of this has failed.
    fn give_way(&mut self, problem: String) {
        tracing::info!(credential = self.seat.name, problem, "the place of the key is taken anew");
        if let Some((reply, _)) = self.waiting.take() {
            // Who has left does not need it.
            drop(reply.send(Err(problem)));
        }
    }

    /// Logs and counts what a step came to.
    fn report(&mut self, step: &Step, outcome: &Outcome, trouble: Option<String>) {
        let (name, metrics) = (&self.seat.name, self.seat.own.metrics());
        match (step, outcome) {
            (Step::Replace { .. }, Outcome::Done) => {
                metrics.count_key_rotation(true);
                tracing::info!(credential = name, "a new key is in the place of the old one");
                self.trouble = None;
                self.adopting = Some(self.end_of_token());
                self.list_at = Tick::default();
                self.untold = Some((Tick::default(), COMMAND_REST.0));
                self.seat.nudge.notify_one();
            }
            (Step::Ask, Outcome::Issued(id)) => {
                tracing::info!(credential = name, key_id = id, "Okta has issued a new key");
            }
            (Step::Ask, _) => {
                metrics.count_key_rotation(false);
                let trouble = trouble.unwrap_or_default();
                let sentence = match outcome {
                    Outcome::Lost => format!(
                        "the answer to a rotation was lost ({trouble}): a key may have been made \
                         whose secret nobody has, and the one in use may end in two days"
                    ),
                    Outcome::Refused => format!("{trouble}. It is not asked again before a reload"),
                    _ => trouble,
                };
                self.tell(sentence, "the key was not rotated");
            }
            (Step::Delete(id), Outcome::Done) => {
                tracing::info!(credential = name, key_id = id, "the old key is deleted");
            }
            // Optional: whose role does not allow it is not to read of it each time.
            (Step::List, _) => {}
            (_, Outcome::Done | Outcome::Minted(_)) => {
                let past = self.held_up.take();
                self.trouble.take_if(|trouble| past.as_ref() == Some(trouble));
            }
            (Step::Prove, Outcome::Failed | Outcome::Refused) => {
                metrics.count_key_rotation(false);
                self.tell(trouble.unwrap_or_default(), "the key is not rotated now");
            }
            (_, _) => {
                self.held_up.clone_from(&trouble);
                trouble.into_iter().for_each(|trouble| self.tell(trouble, "a rotation is held up"));
            }
        }
    }

    /// Remembers what a person should know, and logs it once.
    fn tell(&mut self, sentence: String, what: &'static str) {
        if self.trouble.as_ref() != Some(&sentence) {
            tracing::warn!(credential = self.seat.name, problem = sentence, "{what}");
        }
        self.trouble = Some(sentence);
    }

    fn note_superseded(&mut self) {
        let retired = self.machine.journal().map(|journal| journal.retired.as_slice());
        let ids = retired.unwrap_or_default().iter().map(|retired| retired.id.clone());
        self.seat.superseded.replace(ids.collect());
    }

    fn end_of_token(&self) -> Wall {
        let current = self.seat.own.current();
        current.map_or_else(|| self.seat.clock.wall(), |(published, _)| published.wall_end())
    }

    async fn rest(
        &mut self,
        until: Option<Wall>,
        line: &mut mpsc::Receiver<Command>,
        stop: &CancellationToken,
    ) {
        if self.machine.is_quiet() {
            self.hands.put_down().await;
        }
        self.answer();
        // Before the look: a token that comes during it is a reason for another one.
        let asking = (self.seat.asking)();
        let asks_with = asking.as_ref().map(Handle::latest);
        if std::mem::replace(&mut self.asked_with, asks_with) != asks_with && self.is_unlisted {
            self.list_at = Tick::default();
        }
        self.look_after_key().await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.tell_command() => {}
        }
        self.show();
        let (tick, wall) = (self.seat.clock.tick(), self.seat.clock.wall());
        let rest = until.map_or(LONGEST_REST, |until| until.since(wall)).min(LONGEST_REST);
        let untold = self.untold.map(|(at, _)| at);
        let wake_at = untold.into_iter().fold(tick + rest, Tick::min);
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.seat.clock.sleep_until(wake_at) => {}
            () = self.seat.site.keep() => {}
            _newer = self.seat.own.changed_from(self.looked_at) => {}
            () = newer_token(asking.zip(asks_with)) => {}
            command = line.recv() => match command {
                Some(Command::Rotate(reply)) => self.asked(reply),
                Some(Command::Reloaded(plan)) => {
                    self.trouble = None;
                    self.machine.reloaded(plan);
                }
                None => stop.cancelled().await,
            },
        }
        self.looked_at = self.seat.own.latest();
        self.look_at_broker();
    }

    /// Lets the command have the new key, again and again until it has taken it.
    async fn tell_command(&mut self) {
        let now = self.seat.clock.tick();
        let Some((_, rest)) = self.untold.filter(|(at, _)| *at <= now) else { return };
        match self.seat.tell_command().await {
            Ok(()) => {
                // What was wrong with it is no trouble any more.
                self.trouble.take_if(|_| rest > COMMAND_REST.0);
                self.untold = None;
            }
            Err(problem) => {
                self.tell(problem, "a command did not take the new key; it is run again");
                let again = self.seat.clock.tick() + rest;
                self.untold = Some((again, rest.saturating_mul(2).min(COMMAND_REST.1)));
            }
        }
    }

    /// Begins what an operator asks for, or tells him why not.
    fn asked(&mut self, reply: oneshot::Sender<Result<Rotated, String>>) {
        let now = self.seat.clock.wall();
        let key_id = self.machine.journal().map(|journal| journal.key_id.clone());
        let denied = self.machine.want(now).err().map(denied);
        match (denied, key_id) {
            (None, Some(key_id)) => {
                self.trouble = None;
                self.waiting = Some((reply, key_id));
            }
            // Who has left does not need it.
            (denied, _) => drop(reply.send(Err(denied.unwrap_or_default()))),
        }
    }

    /// Tells the operator who waits, once there is nothing to do for now.
    fn answer(&mut self) {
        let Some((reply, old)) = self.waiting.take() else { return };
        drop(reply.send(rotated(&self.machine, &old, self.trouble.as_ref())));
    }

    /// Compares what the broker uses with what the journal says.
    fn look_at_broker(&mut self) {
        let state = self.seat.own.state();
        let (Some(journal), Some(used)) = (self.machine.journal(), &state.key_id) else { return };
        let is_ours = journal.key_id.eq_ignore_ascii_case(used);
        let is_refused = state
            .failing
            .is_some_and(|failing| Failure::from(&failing.error).mend == Mend::Outside);
        match self.adopting {
            Some(end) if is_ours => {
                self.adopting = None;
                self.machine.adopted(end);
            }
            // It still mints with the old one, and its tokens live on.
            Some(end) if journal.retired(used).is_some() => {
                self.adopting = Some(end.max(self.end_of_token()));
            }
            _ if !is_ours && journal.retired(used).is_none() => self.machine.doubt(),
            _ if is_refused && self.machine.has_new() => self.machine.doubt(),
            _ => {}
        }
    }

    /// Follows the end of the key in use: in the issuer's list, or else as far as is known.
    async fn look_after_key(&mut self) {
        let now = self.seat.clock.tick();
        let Some(journal) = self.machine.journal().filter(|_| self.machine.is_quiet()) else {
            return;
        };
        if now < self.list_at || self.seat.own.current().is_none() {
            return;
        }
        let (key_id, since) = (journal.key_id.clone(), journal.since);
        let assumed = journal.lost.as_ref().map(|lost| lost.ends);
        let listed = self.hands.find_listed(&key_id).await;
        (self.list_at, self.is_unlisted) = (now + LIST_EVERY, listed.is_none());
        let (issued, ends) = match listed {
            Some(listed) => (listed.issued.unwrap_or(since), listed.ends),
            None => (since, assumed),
        };
        self.key_ends = ends;
        self.seat.own.metrics().set_key(Some(issued), ends);
        self.seat.own.key_ends(KeyEnd { key_id: key_id.clone(), ends }).await;
        let foreign = ends.filter(|_| assumed.is_none()).map(|ends| {
            format!(
                "key {key_id} ends at {ends}, and not by this daemon: somebody else has rotated it, \
                 so put the newer key into {}",
                self.seat.site.path().display()
            )
        });
        if let Some(problem) = &foreign {
            tracing::warn!(credential = self.seat.name, problem, "the key is about to end");
        }
        self.foreign = foreign;
    }

    fn show(&self) {
        let next = self.machine.due(self.seat.clock.wall());
        let trouble = self.trouble.as_ref().or(self.foreign.as_ref()).cloned();
        self.seat.show(View { next, key_ends: self.key_ends, trouble });
    }
}

/// Says what is odd about what was found.
fn told_at_start(found: &Found) -> Option<String> {
    match &found.journal {
        Err(JournalFlaw::Corrupt) => Some(
            "the journal of the rotation cannot be understood, so nothing is rotated before the \
             key has minted; it is written anew then"
                .to_owned(),
        ),
        Ok(journal) if journal.retired(&found.file).is_some() => Some(format!(
            "the key file holds key {}, which was rotated away: find out what has put the old file \
             back",
            found.file
        )),
        _ => None,
    }
}

const STRANDED: &str = "two answers to rotations were lost, so the key in use may end within two \
                        days, and no more are asked for: make a new key in Okta's console and put \
                        it into the key file";

/// Waits for a token of a broker that is newer than one, which may have ended: to wait for what was
/// there before it would be no rest at all. For ever if there is no broker.
async fn newer_token(asking: Option<(Handle, Serial)>) {
    let Some((handle, seen)) = asking else { return std::future::pending().await };
    let _newer = handle.changed_from(seen).await;
}

/// Says why an operator's rotation does not begin.
pub(super) fn denied(denied: Denied) -> String {
    match denied {
        Denied::Busy => "a rotation is under way already: see 'bearerd status'".to_owned(),
        Denied::Unproven => {
            "it is not known yet whether the key of the file is good: it has to mint first"
                .to_owned()
        }
        Denied::TooOften(again) => {
            format!("three new keys were asked for within a day: come again after {again}")
        }
    }
}

/// Tells what came of a rotation of the key with the id `old`.
pub(super) fn rotated(
    machine: &Rotation,
    old: &str,
    trouble: Option<&String>,
) -> Result<Rotated, String> {
    let unknown = || "it is not done yet, and goes on by itself: see 'bearerd status'".to_owned();
    let journal = machine.journal().filter(|journal| journal.key_id != old);
    let Some(journal) = journal else {
        return Err(trouble.cloned().unwrap_or_else(unknown));
    };
    let retired = journal.retired(old);
    Ok(Rotated {
        key_id: journal.key_id.clone(),
        old_key_id: old.to_owned(),
        old_ends: retired.map_or(journal.since + GRACE, |retired| retired.ends),
    })
}
