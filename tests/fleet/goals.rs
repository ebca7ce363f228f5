//! What is promised of a fleet, beside what its histories show.

use std::iter::once;

use bearerd::token::broker::system_chance;

use crate::{
    campaign::{days, seeds},
    cases::{self, Case, HOUR, MINUTE, Span, span},
    chance::Chance,
    figures::Figures,
    world::at,
};

/// Two caps of a retry that nobody waits for.
const TWO_CAPS: u64 = 30 * MINUTE;

fn played(case: Case) -> Figures {
    Figures::of(case, seeds())
}

/// From two caps after the event to the end of what is shown.
const fn afterwards(case: Case) -> Span {
    span(case.event.to + TWO_CAPS, case.shown.to)
}

/// From the event to the end of what is shown.
const fn since(case: Case) -> Span {
    span(case.event.from, case.shown.to)
}

#[track_caller]
fn at_most(what: &str, seen: f64, bound: f64) {
    assert!(seen <= bound, "{what}: {seen:.2}, where at most {bound} is promised");
}

/// Nobody has ever been without a token, and all have one.
#[track_caller]
fn nobody_waited(figures: &Figures) {
    let case = figures.case;
    at_most("applications without a token", figures.waited(since(case)), 0.0);
    assert_eq!(figures.served, case.sidecars, "everyone is served");
}

/// The load is the steady one again, for good.
#[track_caller]
fn is_steady_afterwards(figures: &Figures) {
    at_most("load after two caps", figures.peak(afterwards(figures.case)), 1.2);
    at_most("the same in any seed", figures.worst_peak(afterwards(figures.case)), 1.5);
}

// fault 194
#[test]
fn a_deployment_mints_once_for_each_and_is_spread_from_then_on() {
    let mut figures = Figures::of(cases::ROOMY_DEPLOY, seeds());
    let first = figures.peak(cases::DEPLOY.event) * cases::DEPLOY.steady() * 300.0;
    assert!((first - 1000.0).abs() < 1e-6, "{first} mints for a thousand sidecars");
    figures = played(cases::DEPLOY);
    assert_eq!(figures.served, 1000);
    // 50 s are the issuer's own.
    at_most("the longest wait for a first token", figures.worst_wait(since(figures.case)), 120.0);
    at_most("load after the first minutes", figures.peak(span(5 * MINUTE, 6 * HOUR)), 1.2);
}

// fault 195
#[test]
fn a_fleet_that_is_left_alone_loads_the_issuer_evenly() {
    let case = cases::STEADY.for_days(days());
    let figures = played(case);
    let from_then_on = case.shown;
    at_most("peak over mean", figures.worst_peak(from_then_on) / figures.mean(from_then_on), 1.5);
    at_most("mean load", figures.mean(from_then_on), 1.03);
    at_most("applications without a token", figures.waited(from_then_on), 0.0);
    assert_eq!(figures.served, 1000);
}

// faults 26, 195
#[test]
fn ten_minutes_without_an_issuer_cost_it_little_and_leave_no_echo() {
    for case in [cases::OUTAGE, cases::UNAVAILABLE, cases::HANGING] {
        let figures = played(case);
        at_most("load meanwhile", figures.worst_peak(case.event), 2.0);
        let recovery = span(case.event.to, case.event.to + TWO_CAPS);
        at_most("load while it recovers", figures.peak(recovery), 2.2);
        at_most("seconds to recover", figures.recovered_after(case.event.to, recovery), 905.0);
        is_steady_afterwards(&figures);
        nobody_waited(&figures);
    }
}

// faults 195, 202
#[test]
fn after_an_outage_that_outlives_all_tokens_everyone_is_served_in_two_minutes() {
    let case = cases::LONG_OUTAGE;
    let figures = played(case);
    // Whoever has no token asks once in half a minute: half of `retry_max`, in the mean.
    at_most("load meanwhile", figures.peak(case.event), 63.0);
    at_most("seconds to recover", figures.recovered_after(case.event.to, since(case)), 120.0);
    assert_eq!(figures.served, 1000);
    at_most("load after two caps", figures.peak(afterwards(case)), 1.3);
}

// fault 14
#[test]
fn a_slow_issuer_has_its_steady_load_and_nobody_waits() {
    let figures = played(cases::SLOW);
    at_most("load meanwhile", figures.worst_peak(cases::SLOW.event), 1.5);
    is_steady_afterwards(&figures);
    nobody_waited(&figures);
}

// faults 175, 195
#[test]
fn after_a_revocation_of_all_everyone_has_a_new_token_as_fast_as_the_issuer_can() {
    for (case, wait) in [(cases::REVOCATION, 10.0), (cases::BUSY_REVOCATION, 120.0)] {
        let figures = played(case);
        assert_eq!(figures.served, 1000);
        at_most("the longest wait after a report", figures.worst_wait(since(case)), wait);
        is_steady_afterwards(&figures);
    }
    // Calls that come slowly enough for the issuer are one mint each.
    at_most("load of the revocation", played(cases::REVOCATION).peak(cases::REVOCATION.event), 6.1);
}

#[test]
fn a_new_key_for_all_costs_a_mint_each_and_leaves_no_echo() {
    let figures = played(cases::NEW_KEY);
    at_most("load of the new key", figures.peak(cases::NEW_KEY.event), 6.5);
    is_steady_afterwards(&figures);
    nobody_waited(&figures);
}

// fault 120
#[test]
fn keys_that_are_due_together_are_rotated_over_three_days() {
    let figures = played(cases::ROTATION);
    at_most("peak over mean", figures.worst_peak(cases::ROTATION.event), 1.5);
    nobody_waited(&figures);
}

// faults 23, 280
#[test]
fn a_user_at_its_limit_never_leaves_a_sidecar_without_a_token() {
    let case = cases::LIMIT;
    let figures = played(case);
    assert!(figures.failures > 100, "the limit is felt: {} failures", figures.failures);
    nobody_waited(&figures);
    let recovery = span(case.event.from, case.event.to + 45 * MINUTE);
    at_most("seconds to recover", figures.recovered_after(case.event.to, recovery), 905.0);
}

// faults 23, 280
#[test]
fn a_revocation_at_the_limit_is_over_when_the_hour_is() {
    let case = cases::LIMITED_REVOCATION;
    let figures = played(case);
    assert_eq!(figures.served, 100);
    let rest_of_the_hour = (case.event.to - case.event.from - 30) as f64;
    at_most("the longest wait", figures.worst_wait(since(case)), rest_of_the_hour + 60.0);
}

// fault 75
#[test]
fn clones_of_one_machine_part_as_their_chances_do() {
    let own = played(cases::CLONES);
    nobody_waited(&own);
    let parted = span(cases::CLONES.event.to + 6 * HOUR, cases::CLONES.shown.to);
    at_most("load six hours after the copy", own.worst_peak(parted), 1.5);
    // The daemon's chances are no part of its memory, so a copy takes none along.
    let [mut one, mut other] = [system_chance(), system_chance()];
    assert!((0..4).any(|_| one().to_bits() != other().to_bits()));
    // Had they one chance, what brought them apart would be the issuer's queue alone.
    let soon = afterwards(cases::CLONES);
    let (own, shared) =
        (own.worst_peak(soon), played(cases::CLONES_WITH_ONE_CHANCE).worst_peak(soon));
    assert!(shared > 3.0 * own, "{shared:.2} with one chance, {own:.2} with their own");
}

#[test]
fn without_chance_a_fleet_misses_these_goals() {
    let figures = Figures::with(cases::ROOMY_DEPLOY, once(Chance::Middle));
    assert!(figures.worst_peak(span(5 * MINUTE, 6 * HOUR)) > 5.0, "all refresh in one bin");
    let world = cases::ROOMY_DEPLOY.play(Chance::Middle);
    let halves = world.seen.calls.iter().filter(|call| call.since(at(1800)).as_secs() < 2);
    assert!(halves.count() >= 1000);
}
