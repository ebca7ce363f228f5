//! The laws of a rotation over random histories: any step may fail, any moment may be the last.

use proptest::prelude::*;

use super::{
    world::{Fate, HOUR, Habits, Issued, MONTH, START, World, id, plan},
    *,
};
use crate::key::{
    journal::{Journal, JournalFlaw, Lost},
    step::{Denied, Found},
};

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
        let comes_too_late = is_held_to_the_end(&world);
        while world.file == file && world.is_alive(&file) {
            was_stranded |= world.machine.is_stranded();
            world.turn(Fate::Well);
            prop_assert!(world.now.since(since) < 2 * MONTH, "{:?}", world.machine);
        }
        // Only a key whose repair was asked for, too, may die in the hands of a machine, or one for which
        // the good weather comes when the day's three tries are used up.
        let is_excused = was_stranded || comes_too_late;
        prop_assert!(world.file != file || is_excused, "{:?}", world.machine);
    }
}

/// Tells whether nothing may be asked any more before the key of the file ends.
fn is_held_to_the_end(world: &World) -> bool {
    let (ends, journal) = (world.keys[&world.file].ends, world.machine.journal());
    ends.zip(journal).is_some_and(|(ends, journal)| {
        let rest = journal.rest_until.unwrap_or_default();
        let allowed = Rotation::day_allows(journal, world.now).max(rest);
        // A few steps are taken before anything is asked.
        ends <= allowed + seconds(60)
    })
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

// faults 100, 118, 119: three tries a day, and no more, also for a key that is about to end
#[test]
fn a_repair_that_okta_refuses_is_tried_until_the_key_ends() {
    let mut world = idle();
    until(&mut world, |step| *step == Step::Ask);
    world.turn(Fate::Lost { done: true });
    let lost = world.now;
    let mut tries = Vec::new();
    while world.is_alive(&id(0)) {
        let is_try = world.machine.clone().next(world.now) == Step::Ask;
        tries.extend(is_try.then(|| world.now.since(lost).as_secs() / HOUR.as_secs()));
        world.turn(if is_try { Fate::Fails } else { Fate::Well });
    }
    assert_eq!(tries, [0, 2, 24, 28, 30]);
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

#[test]
fn a_deletion_that_is_no_longer_wanted_is_not_waited_for() {
    let mut journal = Journal::new(&id(0), START);
    journal.succeed(&id(1), START, START + GRACE);
    journal.retired[0].delete_at = Some(START + HOUR);
    for delete_old in [true, false] {
        let found = Found { journal: Ok(journal.clone()), file: id(1), beside: None };
        let mut machine = Rotation::resume(Plan { delete_old, ..plan() }, found);
        let later = START + 2 * HOUR;
        match machine.next(later) {
            Step::Delete(old) => assert_eq!((delete_old, old), (true, id(0))),
            step => {
                assert!(!delete_old && matches!(step, Step::Rest(Some(until)) if until > later));
            }
        }
    }
}

// fault 101: what a stop has to wait for, and what an operator sees meanwhile
#[test]
fn each_step_says_what_a_stop_would_lose() {
    let mut world = idle();
    let mut seen = Vec::new();
    while world.file == id(0) || !world.machine.is_quiet() {
        let mut machine = world.machine.clone();
        let step = machine.next(world.now);
        seen.push((step, machine.is_quiet(), machine.is_critical(), machine.has_new()));
        assert!(!machine.is_off() && !machine.is_stranded());
        world.turn(Fate::Well);
    }
    let expected = [
        (Step::Rest(Some(START + MONTH + MONTH / 20)), true, false, false),
        (Step::Prove, false, false, false),
        (Step::Record, false, false, false),
        (Step::Ask, false, true, false),
        (Step::Save, false, true, true),
        (Step::TryNew, false, false, true),
        (Step::Replace { over: id(0) }, false, false, true),
        (Step::Record, false, false, false),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn only_who_rests_after_a_repair_is_stranded() {
    let mut journal = Journal::new(&id(0), START);
    for (repaired, stranded) in [(false, false), (true, true)] {
        let ends = START + GRACE;
        journal.lost = Some(Lost { ends, over: ends + HOUR, repaired });
        let found = Found { journal: Ok(journal.clone()), file: id(0), beside: None };
        let mut machine = Rotation::resume(plan(), found);
        assert_eq!(machine.is_stranded(), stranded, "{repaired}");
        machine.doubt();
        assert!(!machine.is_stranded(), "the file's key may be another by now");
        assert_eq!(machine.want(START), Err(Denied::Unproven));
        assert_eq!(machine.next(START), Step::TryFile);
    }
}

// fault 124
#[test]
fn a_doubt_does_not_disturb_what_is_under_way() {
    let mut world = idle();
    until(&mut world, |step| *step == Step::Save);
    world.machine.doubt();
    assert_eq!(world.machine.next(world.now), Step::Save);
}

// fault 68
#[test]
fn an_operator_is_heard_in_1970() {
    let start = Wall::default();
    let found = Found { journal: Ok(Journal::new(&id(0), start)), file: id(0), beside: None };
    assert_eq!(Rotation::resume(plan(), found).want(start), Ok(()));
}

#[test]
fn for_a_key_that_is_refused_the_newer_one_beside_it_is_tried() {
    for (beside, step) in
        [(Some(id(1)), Step::TryNew), (None, Step::Rest(Some(START + seconds(5))))]
    {
        let found = Found { journal: Err(JournalFlaw::Missing), file: id(0), beside };
        let mut machine = Rotation::resume(plan(), found);
        assert_eq!(machine.next(START), Step::TryFile);
        machine.done(START, Outcome::Refused);
        assert_eq!(machine.next(START), step);
        if step == Step::TryNew {
            machine.done(START, Outcome::Refused);
        }
        assert_eq!(machine.next(START + seconds(5)), Step::TryFile, "each in turn");
    }
}

#[test]
fn what_fails_is_tried_again_after_five_seconds_and_then_ever_later() {
    let found = Found { journal: Err(JournalFlaw::Missing), file: id(0), beside: None };
    let mut machine = Rotation::resume(plan(), found);
    let (mut now, mut rests) = (START, Vec::new());
    for _ in 0..9 {
        assert_eq!(machine.next(now), Step::TryFile);
        machine.done(now, Outcome::Failed);
        let Step::Rest(Some(until)) = machine.next(now) else { panic!("no rest") };
        rests.push(until.since(now).as_secs());
        now = until;
    }
    assert_eq!(rests, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn a_lost_answer_ends_the_key_two_days_after_it_was_asked_for_and_an_hour_for_certain() {
    let mut world = idle();
    until(&mut world, |step| *step == Step::Ask);
    let asked = world.machine.journal().unwrap().asked.unwrap();
    world.turn(Fate::Lost { done: true });
    until(&mut world, |step| *step == Step::Prove);
    let lost = world.machine.journal().unwrap().lost.clone().unwrap();
    assert_eq!((lost.ends, lost.over), (asked + 48 * HOUR, asked + 49 * HOUR));
}

#[test]
fn only_the_latest_old_key_gets_an_earlier_end_and_only_once() {
    let rotated = || {
        let mut world = idle();
        world.machine.reloaded(Plan { delete_old: true, ..plan() });
        until(&mut world, |step| matches!(step, Step::Replace { .. }));
        world.turn(Fate::Well);
        until(&mut world, |step| matches!(step, Step::Rest(_)));
        world
    };
    let ends = rotated().machine.journal().unwrap().retired[0].ends;
    for (end, is_taken) in [(ends, false), (ends + HOUR, false), (START, true)] {
        let mut machine = rotated().machine;
        machine.adopted(end);
        assert_eq!(machine.is_quiet(), !is_taken);
        machine.adopted(end + seconds(1));
        let at = machine.journal().unwrap().retired[0].delete_at;
        assert_eq!(at, Some(end).filter(|_| is_taken), "the first word counts");
    }
    let mut world = rotated();
    assert_eq!(world.machine.want(world.now), Ok(()));
    assert_eq!(world.machine.next(world.now), Step::Prove);
    world.machine.adopted(START);
    assert_eq!(world.machine.journal().unwrap().retired[0].delete_at, None, "not in between");
    assert_eq!(world.machine.next(world.now), Step::Prove);
}

/// Goes on from a journal, has the file's key mint at `START`, and the issuer tell of it.
fn listed(journal: Journal, file: usize, beside: Option<usize>, told: Outcome) -> Rotation {
    let found = Found { journal: Ok(journal), file: id(file), beside: beside.map(id) };
    let mut machine = Rotation::resume(plan(), found);
    machine.doubt();
    assert_eq!(machine.next(START), Step::TryFile);
    machine.done(START, Outcome::Minted(id(file)));
    assert_eq!(machine.next(START), Step::List);
    machine.done(START, told);
    machine
}

const ENDLESS: Outcome = Outcome::Listed { since: None, ends: None };

// faults 94, 112 and 124
#[test]
fn the_key_before_an_unexpected_one_lives_for_two_days() {
    let mut old = Journal::new(&id(0), START);
    old.succeed(&id(1), START, START + HOUR);
    for (journal, file) in [(old, 0), (Journal::new(&id(1), START), 7)] {
        let machine = listed(journal, file, None, Outcome::Failed);
        let journal = machine.journal().unwrap();
        assert_eq!(journal.key_id, id(file));
        assert_eq!(journal.retired(&id(1)).unwrap().ends, START + 48 * HOUR);
        let lost = journal.lost.as_ref().map(|lost| (lost.ends, lost.over));
        assert_eq!(lost, (file == 0).then_some((START + HOUR, START + 2 * HOUR)));
    }
}

// fault 124
#[test]
fn beside_a_key_that_never_ends_an_older_draft_is_of_no_use() {
    for (told, keeps) in [(ENDLESS, false), (Outcome::Failed, true)] {
        let machine = listed(Journal::new(&id(0), START), 7, Some(1), told);
        assert_eq!(machine.has_new(), keeps);
    }
}

// faults 99 and 282
#[test]
fn what_the_issuer_tells_of_an_end_counts_if_it_is_earlier() {
    let mut asked = Journal::new(&id(0), START);
    asked.asked = Some(START);
    let machine = listed(asked.clone(), 0, None, ENDLESS);
    let journal = machine.journal().unwrap();
    assert_eq!((&journal.lost, journal.rest_until), (&None, Some(START + HOUR)));
    let known = START + 10 * HOUR;
    asked.lost = Some(Lost { ends: known, over: known + HOUR, repaired: true });
    for (told, ends, over) in [
        (START + 5 * HOUR, START + 5 * HOUR, known + HOUR),
        (known + HOUR, known, known + 2 * HOUR),
    ] {
        let told = Outcome::Listed { since: None, ends: Some(told) };
        let machine = listed(asked.clone(), 0, None, told);
        let lost = machine.journal().unwrap().lost.clone();
        assert_eq!(lost, Some(Lost { ends, over, repaired: true }));
    }
}

// faults 118 and 281
#[test]
fn what_is_in_the_way_rests_for_an_hour_and_a_missing_role_for_longer() {
    for (outcome, is_off) in [(Outcome::Refused, true), (Outcome::Failed, false)] {
        let mut world = idle();
        until(&mut world, |step| *step == Step::Prove);
        let (mut machine, now) = (world.machine, world.now);
        assert_eq!(machine.next(now), Step::Prove);
        machine.done(now, outcome);
        assert_eq!((machine.is_off(), machine.is_quiet()), (is_off, true));
        assert_eq!(machine.next(now), Step::Rest(Some(now + HOUR)));
    }
}

// fault 118
#[test]
fn a_refusal_is_remembered_as_an_ask_and_rested_for_twice_as_long_each_time() {
    let mut machine = listed(Journal::new(&id(0), START), 0, None, ENDLESS);
    assert_eq!(machine.next(START), Step::Record);
    machine.done(START, Outcome::Done);
    for (asks, hours) in [(1, 1), (2, 2), (3, 4)] {
        assert_eq!(machine.want(START), Ok(()));
        for step in [Step::Prove, Step::Record] {
            assert_eq!(machine.next(START), step);
            machine.done(START, Outcome::Done);
        }
        assert_eq!(machine.journal().unwrap().asked, Some(START));
        assert_eq!(machine.next(START), Step::Ask);
        machine.done(START, Outcome::Failed);
        let journal = machine.journal().unwrap();
        assert_eq!((journal.asked, journal.asks.len()), (None, asks));
        assert_eq!(journal.rest_until, Some(START + hours * HOUR));
        assert_eq!(machine.next(START), Step::Record);
        machine.done(START, Outcome::Done);
        assert!(machine.is_quiet());
    }
}

// fault 38
#[test]
fn a_new_key_has_a_day_to_be_known_everywhere() {
    for (age, keeps) in [(24 * HOUR - seconds(1), true), (24 * HOUR, false)] {
        let mut journal = Journal::new(&id(0), START);
        journal.asked = Some(START);
        let found = Found { journal: Ok(journal), file: id(0), beside: Some(id(1)) };
        let (mut machine, now) = (Rotation::resume(plan(), found), START + age);
        assert_eq!(machine.next(now), Step::TryNew);
        machine.done(now, Outcome::Refused);
        assert_eq!(machine.has_new(), keeps);
        let then = if keeps { Step::Rest(Some(now + seconds(5))) } else { Step::TryFile };
        assert_eq!(machine.next(now), then);
    }
}

#[test]
fn causes_have_the_words_of_the_logs() {
    let words = [Cause::Schedule, Cause::Repair, Cause::Operator].map(Cause::label);
    assert_eq!(words, ["schedule", "repair", "operator"]);
}
