//! The issuer, a disk and a process around one rotation: any step may fail, any moment may be the last.

use std::collections::BTreeMap;

use super::*;
use crate::key::{
    journal::{DAY, Journal, JournalFlaw},
    step::Found,
};

pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(super) const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
pub(crate) const START: Wall = Wall::from_seconds(1_769_846_400);

pub(crate) fn plan() -> Plan {
    Plan { every: Some(MONTH), place: 0.5, delete_old: false }
}

pub(crate) fn id(number: usize) -> String {
    format!("0a1b2c3d-0000-4000-8000-{number:012}")
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Well,
    Fails,
    Refused,
    /// The answer is lost; whether the request was.
    Lost {
        done: bool,
    },
    /// The process ends before the step is taken.
    DiesBefore,
    /// The process ends when the step is taken, before it knows.
    DiesAfter,
    /// The process ends in the middle of a write.
    DiesWithin,
}

/// How the issuer behaves where nobody knows how the real one does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) lists: bool,
    pub(crate) moves_ends: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) ends: Option<Wall>,
    pub(super) has_minted: bool,
}

/// A request for a key that came as far as the issuer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Wall,
    by: usize,
    is_done: bool,
}

/// The issuer, the disk and the process, each as small as may be.
pub(crate) struct World {
    pub(super) now: Wall,
    pub(super) habits: Habits,
    pub(super) keys: BTreeMap<String, Issued>,
    pub(super) asks: Vec<Asked>,
    pub(super) file: String,
    pub(super) draft: Option<String>,
    pub(super) journal: Option<Vec<u8>>,
    pub(super) memory: Option<String>,
    pub(super) machine: Rotation,
    pub(super) mints: usize,
}

impl World {
    pub(crate) fn new(habits: Habits, journal: Option<Journal>) -> Self {
        let first = Issued { ends: None, has_minted: true };
        let found = Found {
            journal: journal.clone().ok_or(JournalFlaw::Missing),
            file: id(0),
            beside: None,
        };
        Self {
            now: START,
            habits,
            keys: BTreeMap::from([(id(0), first)]),
            asks: Vec::new(),
            file: id(0),
            draft: None,
            journal: journal.map(|journal| journal.written()),
            memory: None,
            machine: Rotation::resume(plan(), found),
            mints: 0,
        }
    }

    pub(super) fn restart(&mut self) {
        self.memory = None;
        let journal = self.journal.as_ref().ok_or(JournalFlaw::Missing);
        let found = Found {
            journal: journal.and_then(|bytes| Journal::read(bytes)),
            file: self.file.clone(),
            beside: self.draft.clone(),
        };
        self.machine = Rotation::resume(plan(), found);
    }

    pub(super) fn is_alive(&self, id: &str) -> bool {
        self.keys.get(id).is_some_and(|key| key.ends.is_none_or(|ends| self.now < ends))
    }

    /// Takes one step of the machine, with this fate.
    pub(crate) fn turn(&mut self, fate: Fate) {
        let step = self.machine.next(self.now);
        if let Step::Rest(until) = step {
            self.now = until.unwrap_or(self.now + HOUR).max(self.now + Duration::from_secs(1));
            if matches!(fate, Fate::DiesBefore | Fate::DiesAfter | Fate::DiesWithin) {
                self.restart();
            }
            return;
        }
        self.now = self.now + Duration::from_secs(1);
        match fate {
            Fate::DiesBefore => self.restart(),
            Fate::DiesAfter => {
                self.take(&step, Fate::Well);
                self.check();
                self.restart();
            }
            Fate::DiesWithin => {
                if step == Step::Save {
                    // Half a key is no key.
                    self.draft = None;
                }
                self.restart();
            }
            fate => {
                let outcome = self.take(&step, fate);
                self.machine.done(self.now, outcome);
            }
        }
        self.check();
    }

    fn take(&mut self, step: &Step, fate: Fate) -> Outcome {
        let fails = !matches!(fate, Fate::Well);
        match step {
            Step::Rest(_) | Step::Delete(_) => unreachable!("nothing of the kind is planned"),
            Step::Ask => self.ask(fate),
            Step::Prove if fails => Outcome::Failed,
            Step::Prove => Outcome::Done,
            Step::Record if fails => Outcome::Failed,
            Step::Record => {
                self.journal = self.machine.journal().map(Journal::written);
                Outcome::Done
            }
            Step::Save if fails => Outcome::Failed,
            Step::Save => {
                self.draft.clone_from(&self.memory);
                Outcome::Done
            }
            Step::TryNew => {
                let new = self.draft.clone().expect("a key that is tried is on the disk");
                self.mint(&new, fate)
            }
            Step::Replace { .. } if fails => Outcome::Failed,
            Step::Replace { over } => self.replace(over),
            Step::TryFile => match self.mint(&self.file.clone(), fate) {
                Outcome::Done => Outcome::Minted(self.file.clone()),
                other => other,
            },
            Step::List if fails || !self.habits.lists => Outcome::Failed,
            Step::List => {
                let ends = self.keys.get(&self.file).and_then(|key| key.ends);
                Outcome::Listed { since: Some(START), ends }
            }
        }
    }

    fn ask(&mut self, fate: Fate) -> Outcome {
        let written = self.journal.as_ref().map(|bytes| Journal::read(bytes).unwrap());
        let recorded = written.as_ref().is_some_and(|journal| journal.asked.is_some());
        assert!(recorded, "law 5: asked without a record");
        assert!(self.mints > 0 || written.is_some(), "law 6");
        let by = self.file[24..].parse().unwrap();
        let is_done = matches!(fate, Fate::Well | Fate::Lost { done: true });
        self.asks.push(Asked { at: self.now, by, is_done });
        match fate {
            Fate::Well => Outcome::Issued(self.rotate()),
            Fate::Fails => Outcome::Failed,
            Fate::Refused => Outcome::Refused,
            _ if is_done => {
                self.rotate();
                self.memory = None;
                Outcome::Lost
            }
            _ => Outcome::Lost,
        }
    }

    fn rotate(&mut self) -> String {
        let (deadline, now) = (self.now + GRACE, self.now);
        for key in self.keys.values_mut().filter(|key| key.ends.is_none_or(|ends| now < ends)) {
            let earlier = key.ends.filter(|ends| !self.habits.moves_ends && *ends < deadline);
            key.ends = earlier.or(Some(deadline));
        }
        let new = id(self.keys.len());
        self.keys.insert(new.clone(), Issued { ends: None, has_minted: false });
        self.memory = Some(new.clone());
        new
    }

    fn mint(&mut self, id: &str, fate: Fate) -> Outcome {
        let slow = fate == Fate::Refused && !self.keys[id].has_minted;
        match fate {
            Fate::Well if self.is_alive(id) => {
                self.mints += 1;
                self.keys.get_mut(id).unwrap().has_minted = true;
                Outcome::Done
            }
            Fate::Well => Outcome::Refused,
            // A new key may not be known everywhere at once.
            _ if slow => Outcome::Refused,
            _ => Outcome::Failed,
        }
    }

    fn replace(&mut self, over: &str) -> Outcome {
        if self.file != over {
            return Outcome::Overtaken;
        }
        let new = self.draft.take().expect("a key takes its place from a draft");
        assert!(self.keys[&new].has_minted, "law 2: a key that has not minted takes the place");
        self.file = new;
        Outcome::Done
    }

    fn check(&self) {
        let on_disk = self.draft.iter().chain([&self.file]);
        let is_alive = on_disk.into_iter().any(|id| self.is_alive(id));
        let was_lost = self
            .asks
            .iter()
            .any(|ask| ask.is_done && id(ask.by) == self.file && ask.at + GRACE <= self.now);
        assert!(is_alive || was_lost, "law 1: no key on the disk mints");
        for ask in &self.asks {
            let day = self.asks.iter().filter(|it| it.at >= ask.at && it.at.since(ask.at) < DAY);
            assert!(day.count() <= MOST_ASKS, "law 3: {:?}", self.asks);
            let of_key = self.asks.iter().filter(|it| it.is_done && it.by == ask.by);
            let grace = of_key.filter(|it| it.at >= ask.at && it.at.since(ask.at) < GRACE);
            assert!(grace.count() <= 2, "law 4: {:?}", self.asks);
        }
    }
}
