//! What to do next about one API key: a state machine free of I/O.
//!
//! It says one [`Step`] at a time and is told its [`Outcome`]. Time is an argument, and all that has to
//! outlast a crash is in its [`Journal`], so every history can be replayed, with a crash at any point.
//! The laws that it keeps are property tests in [`laws`](self):
//!
//! 1. The disk always holds a key that mints, as long as the end that a lost answer has set is ahead.
//! 2. The last key that worked is not written over before a newer one has minted.
//! 3. Okta is asked for at most three keys a day.
//! 4. A lost answer is repaired once, with the old key, and not again before that key's end has passed.
//! 5. Okta is never asked without a record of it on the disk.
//! 6. Nothing is asked before a mint has shown that the key of the file is good, if there is no journal.

use std::time::Duration;

use super::{
    journal::{GRACE, Journal, Lost},
    step::{Cause, Denied, Found, Outcome, Plan, Step},
};
use crate::token::timing::Wall;

/// Most keys that are asked for in a day (fault 119).
pub const MOST_ASKS: usize = 3;
/// First rest after Okta has refused, or something on this machine was in the way (fault 118).
const REFUSED_REST: Duration = Duration::from_secs(60 * 60);
/// How late a key may end, as clocks differ and calls take time.
const SLACK: Duration = Duration::from_secs(60 * 60);
/// First and longest rest before what failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));
/// Part of the period over which a fleet is spread, as a divisor (fault 120).
const SPREAD_PART: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The file's key has to mint before anything is believed.
    Checking,
    /// And the issuer to tell of it, if it may be asked.
    Listing,
    Idle,
    Proving,
    Announcing,
    Asking,
    Saving,
    Trying,
    Replacing,
    /// The journal has to be written; then all is quiet.
    Noting,
}

/// Decides about one API key.
#[derive(Clone, Debug)]
pub struct Rotation {
    plan: Plan,
    journal: Option<Journal>,
    /// The journal as it was before the key was asked for.
    before: Option<Journal>,
    file: String,
    /// Id of a newer key that is in a draft, or in memory on its way there.
    new: Option<String>,
    phase: Phase,
    cause: Cause,
    rest: Option<Wall>,
    tries: u32,
    is_wanted: bool,
    is_off: bool,
}

impl Rotation {
    /// Goes on from what an earlier process has left.
    #[must_use]
    pub fn resume(plan: Plan, found: Found) -> Self {
        let journal = found.journal.ok();
        let was_asked = journal.as_ref().is_some_and(|journal| journal.asked.is_some());
        let is_known = |journal: &Journal| {
            journal.key_id == found.file || journal.retired(&found.file).is_some()
        };
        let phase = match &journal {
            Some(journal) if was_asked && found.beside.is_some() && is_known(journal) => {
                Phase::Trying
            }
            Some(journal) if !was_asked && journal.key_id == found.file => Phase::Idle,
            _ => Phase::Checking,
        };
        Self {
            plan,
            journal,
            before: None,
            file: found.file,
            new: found.beside,
            phase,
            cause: Cause::Schedule,
            rest: None,
            tries: 0,
            is_wanted: false,
            is_off: false,
        }
    }

    /// Tells what has to be on the disk after [`Step::Record`].
    #[must_use]
    pub const fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Tells the id of the key that the file holds, as far as is known.
    #[must_use]
    pub fn key_id(&self) -> &str {
        self.journal.as_ref().map_or(&self.file, |journal| &journal.key_id)
    }

    /// Tells what started the rotation that is under way, or the last one.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// Tells whether a newer key lies beside the file, or is on its way there.
    #[must_use]
    pub const fn has_new(&self) -> bool {
        self.new.is_some()
    }

    /// Tells whether a stop now would lose the answer of Okta.
    #[must_use]
    pub const fn is_critical(&self) -> bool {
        matches!(self.phase, Phase::Asking | Phase::Saving)
    }

    /// Tells whether no rotation is under way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Tells whether Okta has forbidden it, so that nothing is asked before the next reload.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.is_off
    }

    /// Tells whether an answer was lost and its repair, too: only a person can help.
    #[must_use]
    pub fn is_stranded(&self) -> bool {
        let lost = self.journal.as_ref().and_then(|journal| journal.lost.as_ref());
        self.phase == Phase::Idle && lost.is_some_and(|lost| lost.repaired)
    }

    /// Tells when the next rotation starts by itself.
    #[must_use]
    pub fn due(&self, now: Wall) -> Option<Wall> {
        let journal = self.journal.as_ref().filter(|_| !self.is_off)?;
        let due = match (&journal.lost, self.plan.every) {
            (Some(lost), _) if lost.repaired => return None,
            (Some(_), _) => now,
            (None, Some(every)) => {
                journal.since + every + (every / SPREAD_PART).mul_f64(self.plan.place)
            }
            (None, None) => return None,
        };
        Some(due.max(journal.rest_until.unwrap_or_default()).max(Self::day_allows(journal, now)))
    }

    /// Takes an operator's word that the key is to be rotated now.
    ///
    /// # Errors
    ///
    /// Tells why not.
    pub fn want(&mut self, now: Wall) -> Result<(), Denied> {
        let Some(journal) = self.journal.as_ref().filter(|_| !self.is_checking()) else {
            return Err(Denied::Unproven);
        };
        if self.phase != Phase::Idle {
            return Err(Denied::Busy);
        }
        let allowed = Self::day_allows(journal, now);
        if allowed > now {
            return Err(Denied::TooOften(allowed));
        }
        (self.is_wanted, self.is_off, self.rest) = (true, false, None);
        Ok(())
    }

    /// Takes the word that a configuration was loaded: what was forbidden may be allowed now.
    pub const fn reloaded(&mut self, plan: Plan) {
        (self.plan, self.is_off) = (plan, false);
    }

    /// Takes the word that the file's key is another one now, or is refused.
    pub fn doubt(&mut self) {
        if self.phase == Phase::Idle {
            self.turn(Phase::Checking);
        }
    }

    /// Takes the word that the newer key is in use, and when the last token of the old one ends.
    pub fn adopted(&mut self, old_tokens_end: Wall) {
        let Some(journal) = self.journal.as_mut().filter(|_| self.plan.delete_old) else { return };
        let Some(latest) = journal.retired.first_mut() else { return };
        if self.phase == Phase::Idle && latest.delete_at.is_none() && old_tokens_end < latest.ends {
            latest.delete_at = Some(old_tokens_end);
            self.turn(Phase::Noting);
        }
    }

    /// Says what to do now.
    pub fn next(&mut self, now: Wall) -> Step {
        if let Some(rest) = self.rest.filter(|rest| now < *rest) {
            return Step::Rest(Some(rest));
        }
        match self.phase {
            Phase::Checking => Step::TryFile,
            Phase::Listing => Step::List,
            Phase::Idle => self.next_of_idle(now),
            Phase::Proving => Step::Prove,
            Phase::Announcing | Phase::Noting => Step::Record,
            Phase::Asking => Step::Ask,
            Phase::Saving => Step::Save,
            Phase::Trying => Step::TryNew,
            Phase::Replacing => Step::Replace { over: self.file.clone() },
        }
    }

    fn next_of_idle(&mut self, now: Wall) -> Step {
        let Some(journal) = &self.journal else {
            self.turn(Phase::Checking);
            return Step::TryFile;
        };
        // The key of the file should have ended by now. If it mints it was never to end.
        let over = journal.lost.as_ref().map(|lost| lost.over);
        if over.is_some_and(|over| over <= now) {
            self.turn(Phase::Checking);
            return Step::TryFile;
        }
        if let Some(id) = self.deletable(now) {
            return Step::Delete(id);
        }
        let due = if self.is_wanted { Some(now) } else { self.due(now) };
        if due.is_some_and(|due| due <= now) {
            self.cause = match (self.is_wanted, over) {
                (true, _) => Cause::Operator,
                (false, Some(_)) => Cause::Repair,
                (false, None) => Cause::Schedule,
            };
            self.is_wanted = false;
            self.turn(Phase::Proving);
            return Step::Prove;
        }
        // One that is not to be carried out any more is nothing to wait for.
        let planned = journal.retired.iter().filter(|_| self.deletes());
        let deletions = planned.filter_map(|retired| retired.delete_at);
        Step::Rest(deletions.chain(due).chain(over).min())
    }

    fn deletable(&self, now: Wall) -> Option<String> {
        let retired = &self.journal.as_ref()?.retired;
        let is_due = |at: Wall| self.deletes() && at <= now;
        retired.iter().find(|old| old.delete_at.is_some_and(is_due)).map(|old| old.id.clone())
    }

    const fn deletes(&self) -> bool {
        self.plan.delete_old && !self.is_off
    }

    /// Takes the outcome of the step that was said last.
    pub fn done(&mut self, now: Wall, outcome: Outcome) {
        match self.phase {
            Phase::Checking => self.checked(now, outcome),
            Phase::Listing => self.listed(now, &outcome),
            Phase::Idle => self.deleted(now, &outcome),
            Phase::Proving => self.proved(now, &outcome),
            Phase::Announcing => self.announced(now, &outcome),
            Phase::Asking => self.answered(now, outcome),
            Phase::Saving => self.go_on(now, &outcome, Phase::Trying),
            Phase::Trying => self.tried(now, &outcome),
            Phase::Replacing => self.replaced(now, &outcome),
            Phase::Noting => self.go_on(now, &outcome, Phase::Idle),
        }
    }

    fn checked(&mut self, now: Wall, outcome: Outcome) {
        match outcome {
            Outcome::Minted(id) => {
                self.file = id;
                self.turn(Phase::Listing);
            }
            // The one beside it may be the better one.
            Outcome::Refused if self.new.is_some() => self.turn(Phase::Trying),
            _ => self.retry(now),
        }
    }

    /// Judges what is known of a key that has just minted.
    fn listed(&mut self, now: Wall, outcome: &Outcome) {
        let (told, since, ends) = match outcome {
            Outcome::Listed { since, ends } => (true, *since, *ends),
            _ => (false, None, None),
        };
        let file = self.file.clone();
        let Some(journal) = &mut self.journal else {
            self.journal = Some(Journal::new(&file, since.unwrap_or(now)));
            return self.turn(Phase::Noting);
        };
        let is_endless = told && ends.is_none();
        let is_about_to_end = ends.is_some() || journal.retired(&file).is_some() && !is_endless;
        if journal.key_id == file {
            self.judge_loss(now, is_endless, ends);
        } else if self.new.is_some() && is_about_to_end {
            // Somebody has put in a key that is to end, and there is a newer one beside it.
            return self.turn(Phase::Trying);
        } else if let Some(before) = journal.retired(&file).cloned() {
            // An old file has come back (fault 94), and the newer secret is gone.
            journal.succeed(&file, now, now + GRACE);
            let ends = ends.unwrap_or(before.ends);
            let lost = Lost { ends, over: ends + SLACK, repaired: before.repaired };
            journal.lost = Some(lost).filter(|_| !is_endless);
        } else {
            journal.succeed(&file, since.unwrap_or(now), now + GRACE);
            self.new = self.new.take().filter(|_| !is_endless);
        }
        self.turn(Phase::Noting);
    }

    fn judge_loss(&mut self, now: Wall, is_endless: bool, ends: Option<Wall>) {
        let Some(journal) = &mut self.journal else { return };
        let asked = journal.asked.take();
        if is_endless {
            // Nobody has rotated: the request never got there.
            journal.lost = None;
            journal.rest_until = asked.map(|_| now + REFUSED_REST);
            return;
        }
        let told = |ends: Wall| (ends, ends + SLACK);
        let (ends, over) = match (ends, asked) {
            (Some(ends), _) => told(ends),
            (None, Some(asked)) => told(asked + GRACE),
            (None, None) => (Wall::from_unix(Duration::MAX), Wall::default()),
        };
        journal.lost = match journal.lost.take() {
            Some(lost) => {
                Some(Lost { ends: lost.ends.min(ends), over: lost.over.max(over), ..lost })
            }
            None => Some(Lost { ends, over, repaired: false }).filter(|_| asked.is_some()),
        };
        // A key that mints past its end was never given one.
        journal.lost.take_if(|lost| lost.over <= now);
    }

    fn deleted(&mut self, now: Wall, outcome: &Outcome) {
        let id = self.deletable(now);
        let Some(journal) = self.journal.as_mut() else { return };
        let old = journal.retired.iter_mut().find(|old| Some(&old.id) == id.as_ref());
        match (outcome, old) {
            (Outcome::Done | Outcome::Refused, Some(old)) => {
                old.delete_at = None;
                self.turn(Phase::Noting);
            }
            _ => self.rest = Some(now + REFUSED_REST),
        }
    }

    fn proved(&mut self, now: Wall, outcome: &Outcome) {
        let Some(journal) = self.journal.as_mut().filter(|_| *outcome == Outcome::Done) else {
            self.is_off |= *outcome == Outcome::Refused;
            self.turn(Phase::Idle);
            self.rest = Some(now + REFUSED_REST);
            return;
        };
        self.before = Some(journal.clone());
        journal.ask(now);
        if let Some(lost) = &mut journal.lost {
            lost.repaired = true;
        }
        self.turn(Phase::Announcing);
    }

    fn announced(&mut self, now: Wall, outcome: &Outcome) {
        match outcome {
            Outcome::Done => self.turn(Phase::Asking),
            // What stands on the disk now is not known, so it is written again.
            _ => self.take_back(now),
        }
    }

    fn answered(&mut self, now: Wall, outcome: Outcome) {
        match outcome {
            Outcome::Issued(id) => {
                self.new = Some(id);
                self.turn(Phase::Saving);
            }
            Outcome::Failed => self.take_back(now),
            Outcome::Refused => {
                self.is_off = true;
                self.take_back(now);
            }
            _ => self.turn(Phase::Checking),
        }
    }

    /// Nothing was done, so nothing is remembered but that Okta was asked.
    fn take_back(&mut self, now: Wall) {
        if let (Some(journal), Some(before)) = (&mut self.journal, self.before.take()) {
            let asks = std::mem::take(&mut journal.asks);
            let doublings = u32::try_from(asks.len().saturating_sub(1)).unwrap_or(u32::MAX);
            let rest = REFUSED_REST.saturating_mul(2_u32.saturating_pow(doublings.min(4)));
            *journal = before;
            (journal.asks, journal.rest_until) = (asks, Some(now + rest));
        }
        self.turn(Phase::Noting);
    }

    fn tried(&mut self, now: Wall, outcome: &Outcome) {
        let asked = self.journal.as_ref().and_then(|journal| journal.asked);
        match (outcome, asked) {
            (Outcome::Done, _) => self.turn(Phase::Replacing),
            // It may only be slow to be known everywhere (fault 38), but not for a day.
            (Outcome::Refused, Some(asked)) if now.since(asked) >= GRACE / 2 => {
                self.new = None;
                self.turn(Phase::Checking);
            }
            (Outcome::Refused, None) => {
                self.phase = Phase::Checking;
                self.retry(now);
            }
            _ => self.retry(now),
        }
    }

    fn replaced(&mut self, now: Wall, outcome: &Outcome) {
        match outcome {
            Outcome::Done => {
                let file = self.file.clone();
                let new = self.new.take().unwrap_or(file);
                let journal = self.journal.get_or_insert_with(|| Journal::new(&self.file, now));
                let ends = journal.asked.unwrap_or(now) + GRACE;
                let ends = journal.lost.as_ref().map_or(ends, |lost| lost.ends.min(ends));
                journal.succeed(&new, now, ends);
                self.file = new;
                self.turn(Phase::Noting);
            }
            Outcome::Overtaken => self.turn(Phase::Checking),
            _ => self.retry(now),
        }
    }

    fn go_on(&mut self, now: Wall, outcome: &Outcome, phase: Phase) {
        match outcome {
            Outcome::Done => self.turn(phase),
            _ => self.retry(now),
        }
    }

    const fn is_checking(&self) -> bool {
        matches!(self.phase, Phase::Checking | Phase::Listing)
    }

    /// Tells from when on the day's share of asks leaves room for one more (law 3).
    fn day_allows(journal: &Journal, now: Wall) -> Wall {
        match journal.day_ends(now) {
            Some(ends) if journal.asks_of_a_day(now) >= MOST_ASKS => ends,
            _ => Wall::default(),
        }
    }

    fn turn(&mut self, phase: Phase) {
        (self.phase, self.rest, self.tries) = (phase, None, 0);
    }

    fn retry(&mut self, now: Wall) {
        let rest = RETRY.0.saturating_mul(2_u32.saturating_pow(self.tries.min(10)));
        self.tries = self.tries.saturating_add(1);
        self.rest = Some(now + rest.min(RETRY.1));
    }
}

#[cfg(test)]
#[path = "rotation_laws.rs"]
mod laws;
#[cfg(any(test, feature = "fuzzing"))]
#[path = "rotation_world.rs"]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what breaks a law panics")]
pub(crate) mod world;
