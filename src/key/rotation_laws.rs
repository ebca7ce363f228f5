//! The laws of a rotation over random histories: any step may fail, any moment may be the last.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::key::{
    journal::{DAY, Journal, JournalFlaw},
    step::{Denied, Found},
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const START: Wall = Wall::from_seconds(1_769_846_400);

fn plan() -> Plan {
    Plan { every: Some(MONTH), place: 0.5, delete_old: false }
}

fn id(number: usize) -> String {
    format!("0a1b2c3d-0000-4000-8000-{number:012}")
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
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

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Well),
        2 => Just(Fate::Fails),
        1 => Just(Fate::Refused),
        2 => any::<bool>().prop_map(|done| Fate::Lost { done }),
        1 => Just(Fate::DiesBefore),
        2 => Just(Fate::DiesAfter),
        1 => Just(Fate::DiesWithin),
    ]
}

/// How the issuer behaves where nobody knows how the real one does.
#[derive(Clone, Copy, Debug)]
struct Habits {
    lists: bool,
    moves_ends: bool,
}

#[derive(Clone, Debug)]
struct Issued {
    ends: Option<Wall>,
    has_minted: bool,
}

/// A request for a key that came as far as the issuer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Wall,
    by: usize,
    is_done: bool,
}

/// The issuer, the disk and the process, each as small as may be.
struct World {
    now: Wall,
    habits: Habits,
    keys: BTreeMap<String, Issued>,
    asks: Vec<Asked>,
    file: String,
    draft: Option<String>,
    journal: Option<Vec<u8>>,
    memory: Option<String>,
    machine: Rotation,
    mints: usize,
}

impl World {
    fn new(habits: Habits, journal: Option<Journal>) -> Self {
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

    fn restart(&mut self) {
        self.memory = None;
        let journal = self.journal.as_ref().ok_or(JournalFlaw::Missing);
        let found = Found {
            journal: journal.and_then(|bytes| Journal::read(bytes)),
            file: self.file.clone(),
            beside: self.draft.clone(),
        };
        self.machine = Rotation::resume(plan(), found);
    }

    fn is_alive(&self, id: &str) -> bool {
        self.keys.get(id).is_some_and(|key| key.ends.is_none_or(|ends| self.now < ends))
    }

    /// Takes one step of the machine, with this fate.
    fn turn(&mut self, fate: Fate) {
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

fn habits() -> impl Strategy<Value = Habits> {
    any::<(bool, bool)>().prop_map(|(lists, moves_ends)| Habits { lists, moves_ends })
}

proptest! {
    // faults 98 to 102, 104, 105, 107, 112, 115, 118, 119, 282
    #[test]
    fn the_laws_hold_whatever_happens(
        habits in habits(),
        known in any::<bool>(),
        fates in prop::collection::vec(fate(), 0..300),
    ) {
        let mut world = World::new(habits, known.then(|| Journal::new(&id(0), START)));
        fates.into_iter().for_each(|fate| world.turn(fate));
    }

    // fault 100: whatever has happened, in good weather all comes right again
    #[test]
    fn after_any_trouble_the_key_is_rotated_again(
        habits in habits(),
        fates in prop::collection::vec(fate(), 0..60),
    ) {
        let mut world = World::new(habits, Some(Journal::new(&id(0), START)));
        fates.into_iter().for_each(|fate| world.turn(fate));
        world.machine.reloaded(plan());
        if !world.is_alive(&world.file) && world.draft.is_none() {
            return Ok(());
        }
        let (file, since, mut was_stranded) = (world.file.clone(), world.now, false);
        while world.file == file && world.is_alive(&file) {
            was_stranded |= world.machine.is_stranded();
            world.turn(Fate::Well);
            prop_assert!(world.now.since(since) < 2 * MONTH, "{:?}", world.machine);
        }
        // Only a key whose repair was asked for, too, may die in the hands of a machine.
        prop_assert!(world.file != file || was_stranded, "{:?}", world.machine);
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Takes steps that go well until a certain one comes.
fn until(world: &mut World, wanted: impl Fn(&Step) -> bool) {
    for _ in 0..100 {
        if wanted(&world.machine.clone().next(world.now)) {
            return;
        }
        world.turn(Fate::Well);
    }
    panic!("it does not come: {:?}", world.machine);
}

fn idle() -> World {
    World::new(Habits { lists: false, moves_ends: false }, Some(Journal::new(&id(0), START)))
}

#[test]
fn a_rotation_that_goes_well_takes_seven_steps() {
    let mut world = idle();
    let mut steps = Vec::new();
    while world.file == id(0) || !world.machine.is_quiet() {
        steps.push(world.machine.clone().next(world.now));
        world.turn(Fate::Well);
    }
    let due = START + MONTH + MONTH / 20;
    let expected = [
        Step::Rest(Some(due)),
        Step::Prove,
        Step::Record,
        Step::Ask,
        Step::Save,
        Step::TryNew,
        Step::Replace { over: id(0) },
        Step::Record,
    ];
    assert_eq!(steps, expected);
    let journal = world.machine.journal().unwrap();
    assert_eq!((journal.key_id.as_str(), journal.asked), (id(1).as_str(), None));
    assert_eq!(journal.retired(&id(0)).unwrap().ends.since(journal.since) + seconds(5), GRACE);
}

// fault 120
#[test]
fn a_fleet_is_spread_over_a_tenth_of_the_period() {
    let due = |place| {
        let found = Found { journal: Ok(Journal::new(&id(0), START)), file: id(0), beside: None };
        Rotation::resume(Plan { place, ..plan() }, found).due(START).unwrap().since(START)
    };
    assert_eq!((due(0.0), due(1.0)), (MONTH, MONTH + MONTH / 10));
}

// faults 118 and 281
#[test]
fn what_okta_refuses_rests_for_an_hour_and_a_missing_role_until_a_reload() {
    let mut world = idle();
    until(&mut world, |step| *step == Step::Ask);
    world.turn(Fate::Fails);
    let refused = world.now;
    until(&mut world, |step| matches!(step, Step::Rest(_)));
    let Step::Rest(Some(until_then)) = world.machine.next(world.now) else { panic!("no rest") };
    assert!(until_then.since(refused) >= HOUR);
    until(&mut world, |step| *step == Step::Ask);
    world.turn(Fate::Refused);
    until(&mut world, |step| matches!(step, Step::Rest(_)));
    assert!(world.machine.is_off());
    assert_eq!(world.machine.next(world.now), Step::Rest(None));
    world.machine.reloaded(plan());
    assert!(world.machine.due(world.now).is_some());
}

// faults 99 and 100
#[test]
fn a_lost_answer_is_repaired_once() {
    for done in [false, true] {
        let mut world = idle();
        until(&mut world, |step| *step == Step::Ask);
        world.turn(Fate::Lost { done });
        assert_eq!(world.machine.next(world.now), Step::TryFile);
        until(&mut world, |step| *step == Step::Ask);
        assert_eq!(world.machine.cause(), Cause::Repair);
        world.turn(Fate::Lost { done });
        let lost = world.now;
        until(&mut world, |step| matches!(step, Step::Rest(_)));
        assert!(world.machine.is_stranded());
        assert_eq!(world.machine.due(world.now), None);
        let ends = world.machine.journal().unwrap().lost.as_ref().unwrap().ends;
        assert!(ends.since(lost) < GRACE, "the earlier end is believed (fault 282)");
    }
}

// fault 99
#[test]
fn a_request_that_never_got_there_is_found_out_by_the_list() {
    let mut world =
        World::new(Habits { lists: true, moves_ends: false }, Some(Journal::new(&id(0), START)));
    until(&mut world, |step| *step == Step::Ask);
    world.turn(Fate::Lost { done: false });
    until(&mut world, |step| matches!(step, Step::Rest(_)));
    assert_eq!(world.machine.journal().unwrap().lost, None);
    assert!(world.machine.due(world.now).unwrap() >= world.now + HOUR - seconds(10));
}

// fault 123
#[test]
fn without_a_journal_the_key_has_to_mint_first() {
    for flaw in [JournalFlaw::Missing, JournalFlaw::Corrupt] {
        let found = Found { journal: Err(flaw), file: id(0), beside: None };
        let mut machine = Rotation::resume(plan(), found);
        assert_eq!(machine.want(START), Err(Denied::Unproven));
        assert_eq!(machine.next(START), Step::TryFile);
        machine.done(START, Outcome::Failed);
        assert!(matches!(machine.next(START), Step::Rest(Some(_))));
        let later = START + HOUR;
        assert_eq!(machine.next(later), Step::TryFile);
        machine.done(later, Outcome::Minted(id(0)));
        assert_eq!(machine.next(later), Step::List);
        machine.done(later, Outcome::Listed { since: Some(START), ends: None });
        assert_eq!(machine.next(later), Step::Record);
        assert_eq!(machine.journal(), Some(&Journal::new(&id(0), START)));
    }
}

// fault 94
#[test]
fn an_old_file_that_comes_back_is_known_and_repaired_once() {
    let mut world = idle();
    until(&mut world, |step| matches!(step, Step::Replace { .. }));
    world.turn(Fate::Well);
    until(&mut world, |step| matches!(step, Step::Rest(_)));
    for (repair, new) in [(true, 2), (false, 2)] {
        world.file = id(0);
        world.restart();
        until(&mut world, |step| matches!(step, Step::Rest(_) | Step::Ask));
        let asks = world.machine.next(world.now) == Step::Ask;
        assert_eq!(asks, repair, "{:?}", world.machine);
        if asks {
            until(&mut world, |step| matches!(step, Step::Rest(_)));
            assert_eq!(world.file, id(new));
        }
    }
    assert!(world.machine.is_stranded());
}

// fault 94: an operator rotates after an old file was put back, which is not asked of twice
#[test]
fn a_newer_key_takes_the_place_of_an_old_one_that_was_put_back() {
    for lists in [false, true] {
        let mut world =
            World::new(Habits { lists, moves_ends: false }, Some(Journal::new(&id(0), START)));
        until(&mut world, |step| matches!(step, Step::Replace { .. }));
        until(&mut world, |step| matches!(step, Step::Rest(_)));
        world.file = id(0);
        assert_eq!(world.machine.want(world.now), Ok(()));
        until(&mut world, |step| matches!(step, Step::Replace { .. }));
        world.turn(Fate::Well);
        assert_eq!(world.file, id(0), "it is overtaken");
        until(&mut world, |step| matches!(step, Step::Rest(_)));
        assert_eq!((world.file.as_str(), world.asks.len()), (id(2).as_str(), 2));
        assert_eq!(world.machine.key_id(), id(2));
    }
}

// faults 109, 112 and 124: the file is the truth
#[test]
fn a_key_that_somebody_has_put_there_is_taken_when_it_has_minted() {
    let mut world = idle();
    world.keys.insert(id(7), Issued { ends: None, has_minted: false });
    until(&mut world, |step| matches!(step, Step::Replace { .. }));
    world.file = id(7);
    world.turn(Fate::Well);
    assert_eq!(world.machine.next(world.now), Step::TryFile);
    until(&mut world, |step| matches!(step, Step::Rest(_)));
    let journal = world.machine.journal().unwrap();
    assert_eq!((world.file.as_str(), journal.key_id.as_str()), (id(7).as_str(), id(7).as_str()));
}

// fault 119
#[test]
fn an_operator_is_heard_three_times_a_day() {
    let mut world = idle();
    for _ in 0..MOST_ASKS {
        assert_eq!(world.machine.want(world.now), Ok(()));
        assert_eq!(world.machine.next(world.now), Step::Prove);
        assert_eq!(world.machine.want(world.now), Err(Denied::Busy));
        until(&mut world, |step| matches!(step, Step::Rest(_)));
    }
    let Err(Denied::TooOften(again)) = world.machine.want(world.now) else { panic!("heard") };
    assert_eq!(world.machine.want(again), Ok(()));
}

#[test]
fn the_old_key_is_deleted_when_its_last_token_has_ended() {
    let found = Found { journal: Ok(Journal::new(&id(0), START)), file: id(0), beside: None };
    let mut world = idle();
    world.machine = Rotation::resume(Plan { delete_old: true, ..plan() }, found);
    until(&mut world, |step| matches!(step, Step::Replace { .. }));
    world.turn(Fate::Well);
    until(&mut world, |step| matches!(step, Step::Rest(_)));
    let end = world.now + HOUR;
    world.machine.adopted(end);
    until(&mut world, |step| matches!(step, Step::Rest(_)));
    assert_eq!(world.machine.next(world.now), Step::Rest(Some(end)));
    assert_eq!(world.machine.next(end), Step::Delete(id(0)));
    world.machine.done(end, Outcome::Failed);
    assert!(matches!(world.machine.next(end), Step::Rest(Some(_))));
    assert_eq!(world.machine.next(end + HOUR), Step::Delete(id(0)));
    world.machine.done(end + HOUR, Outcome::Done);
    assert_eq!(world.machine.next(end + HOUR), Step::Record);
    assert_eq!(world.machine.journal().unwrap().retired(&id(0)).unwrap().delete_at, None);
}
