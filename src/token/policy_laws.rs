//! The laws of the policy, checked after every step of random histories.

use proptest::prelude::*;

use super::{
    world::{Act, World, ms},
    *,
};

fn acts() -> impl Strategy<Value = Act> {
    let life = prop_oneof![1_u64..10_000, 10_000_u64..100_000_000, Just(u64::MAX)];
    prop_oneof![
        4 => (0_u64..20_000).prop_map(Act::Pass),
        1 => (0_u64..10_000_000).prop_map(Act::Pass),
        6 => Just(Act::PassToWake),
        4 => any::<bool>().prop_map(|stale| Act::Report { stale }),
        2 => Just(Act::Witness),
        2 => any::<bool>().prop_map(|refused| Act::Probed { refused }),
        1 => Just(Act::NewKey),
        1 => Just(Act::OldKey),
        2 => (0_u64..5_000_000).prop_map(Act::Wanted),
        1 => Just(Act::Ask),
        1 => Just(Act::Lapse),
        6 => life.clone().prop_map(Act::Grant),
        6 => (any::<bool>(), prop::option::of(0_u64..2_000_000))
            .prop_map(|(outside, retry_after)| Act::Fail { outside, retry_after }),
        1 => life.prop_map(Act::Late),
    ]
}

fn settings() -> impl Strategy<Value = RefreshSettings> {
    (1_u64..5_000, 1_u64..5_000, 0_u64..100_000, 1_000_u64..100_000_000).prop_map(
        |(interval, retry, more, longest)| RefreshSettings {
            min_interval: ms(interval),
            retry_min: ms(retry),
            retry_max: ms(retry + more),
            max_lifetime: ms(longest),
            ..RefreshSettings::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn laws_1_to_6_and_11_to_13_hold_after_every_step(
        settings in settings(),
        history in prop::collection::vec((acts(), 0.0_f64..1.0), 1..80),
    ) {
        let mut world = World::new(settings);
        for (act, chance) in history {
            world.play(act, chance);
        }
    }

    #[test]
    fn law_7_the_first_step_starts_a_mint(settings in settings(), act in acts()) {
        let step = World::new(settings).play(act, 0.5);
        prop_assert!(step.mint.is_some());
    }

    #[test]
    fn law_10_a_report_about_another_serial_changes_nothing(
        history in prop::collection::vec((acts(), 0.0_f64..1.0), 1..40),
        other in 1_000_u64..2_000,
    ) {
        let mut world = World::new(RefreshSettings::default());
        for (act, chance) in history {
            world.play(act, chance);
        }
        let before = format!("{:?}", world.policy);
        let step = world.policy.step(world.now, Event::Rejected(Serial::new(other)), 0.5);
        prop_assert_eq!(step.verdict, Some(Verdict::Stale));
        prop_assert_eq!(Step { verdict: None, wake_at: None, ..step }, Step::default());
        prop_assert_eq!(before, format!("{:?}", world.policy));
    }

    #[test]
    fn law_14_success_forgives_earlier_failures(
        history in prop::collection::vec((acts(), 0.0_f64..1.0), 1..60),
    ) {
        let mut world = World::new(RefreshSettings::default());
        for (act, chance) in history {
            world.play(act, chance);
        }
        world.play(Act::OldKey, 0.5);
        world.play(Act::PassToWake, 0.5);
        let granted = world.play(Act::Grant(u64::MAX), 0.5);
        prop_assert!(granted.publish.is_some());
        world.play(Act::PassToWake, 0.5);
        world.play(Act::Fail { outside: false, retry_after: None }, 0.999);
        let hurried = world.play(Act::Lapse, 0.5);
        prop_assert!(hurried.wake_at.expect("at rest").since(world.now) <= ms(1_000));
    }

    // fault 195
    #[test]
    fn patience_leaves_half_of_the_life_and_ends_when_somebody_waits(
        history in prop::collection::vec((acts(), 0.0_f64..1.0), 0..60),
        chance in 0.0_f64..1.0,
    ) {
        let mut world = World::new(RefreshSettings::default());
        for (act, chance) in history {
            world.play(act, chance);
        }
        // A new key, and a report that is under way, are no matter of patience.
        world.play(Act::OldKey, 0.5);
        world.play(Act::Probed { refused: false }, 0.5);
        world.play(Act::PassToWake, 0.5);
        world.play(Act::Grant(u64::MAX), 0.5);
        world.play(Act::PassToWake, 0.5);
        let failed = world.play(Act::Fail { outside: false, retry_after: None }, chance);
        let rest = failed.wake_at.expect("at rest").since(world.now);
        prop_assert_eq!(rest, ms(900_000).mul_f64(chance).max(ms(1_000)), "the life left is long");
        let reported = world.play(Act::Report { stale: false }, 0.5);
        let wake = reported.wake_at.map_or(Duration::ZERO, |wake| wake.since(world.now));
        prop_assert!(wake <= ms(1_000), "{wake:?}");
    }

    // fault 194
    #[test]
    fn no_refresh_is_planned_later_than_at_and_jitter_say(
        at in 0.1_f64..0.9,
        jitter in 0.0_f64..0.3,
        history in prop::collection::vec((acts(), 0.0_f64..1.0), 1..60),
    ) {
        let settings = RefreshSettings { at, jitter, ..RefreshSettings::default() };
        let mut world = World::new(settings);
        for (act, chance) in history {
            let step = world.play(act, chance);
            if let (Some(Publish { lease, .. }), Some(wake)) = (step.publish, step.wake_at) {
                let latest = lease.issued + lease.lifetime().mul_f64((at + jitter).min(1.0));
                // Rounding, and the distance of two mints.
                let latest = latest.max(world.now + settings.min_interval) + ms(1);
                prop_assert!(wake <= latest, "{wake:?} {latest:?}");
            }
        }
    }

    /// Laws 8 and 9: reports never cost more than the budget, nor a moment without a token.
    #[test]
    fn law_9_a_healthy_issuer_means_never_an_expired_lease(
        interval in 1_u64..3_000,
        latency in 0_u64..10_000,
        spare in 0_u64..100_000,
        reports in prop::collection::vec(1_u64..3_000, 0..400),
        chances in prop::collection::vec(0.0_f64..1.0, 16),
        refused in any::<bool>(),
    ) {
        let settings = RefreshSettings { min_interval: ms(interval), ..RefreshSettings::default() };
        let lifetime = ms(4 * (interval + latency) + spare + 1);
        healthy(World::new(settings), lifetime, ms(latency), &reports, &chances, refused);
    }
}

/// Runs a healthy issuer under a storm of reports, then in peace.
fn healthy(
    mut world: World,
    lifetime: Duration,
    latency: Duration,
    reports: &[u64],
    chances: &[f64],
    refused: bool,
) {
    let mut chances = chances.iter().copied().cycle();
    let mut chance = || chances.next().expect("never empty");
    let life = u64::try_from(lifetime.as_millis()).expect("short");
    world.play(Act::Pass(0), chance());
    let mut pauses = reports.iter().copied();
    let mut report_at = world.now;
    let mut probe_at = None;
    for _ in 0..600 {
        let lands = world.flight.map(|(_, started)| started + latency);
        let wakes = world.policy.wake_at();
        let next = [lands, wakes, probe_at, Some(report_at)].into_iter().flatten().min();
        let next = next.expect("law 2").max(world.now);
        if let Some(lease) = world.lease {
            assert!(lease.is_valid(next), "law 9: expired at {next:?}, {lease:?}");
        }
        world.now = next;
        if lands == Some(next) {
            world.play(Act::Grant(life), chance());
        } else if probe_at == Some(next) {
            probe_at = None;
            world.play(Act::Probed { refused }, chance());
        } else if report_at == next {
            world.play(Act::Report { stale: false }, chance());
            report_at = next + pauses.next().map_or(Duration::from_secs(86_400), ms);
        } else {
            world.play(Act::Pass(0), chance());
        }
        if world.probe.is_some() && probe_at.is_none() {
            probe_at = Some(next + latency);
        }
    }
}

/// A world with a token of an hour that is as old as this.
fn with_a_token(age: u64) -> World {
    let mut world = World::new(RefreshSettings::default());
    world.play(Act::Pass(0), 0.5);
    world.play(Act::Grant(3_600_000), 0.5);
    world.play(Act::Pass(age), 0.5);
    world
}

/// Reports the current token every `pause` and tells how many mints this caused.
fn storm(pause: u64, duration: u64, refused: bool) -> usize {
    let mut world = with_a_token(0);
    let mut steps = Vec::new();
    for _ in 0..duration / pause {
        steps.push(world.play(Act::Pass(pause), 0.5));
        steps.push(world.play(Act::Report { stale: false }, 0.5));
        steps.push(world.play(Act::Probed { refused }, 0.5));
        world.play(Act::Grant(3_600_000), 0.5);
    }
    let mints = steps.iter().filter_map(|step| step.mint);
    mints.filter(|mint| mint.trigger == Trigger::Rejected).count()
}

// faults 27, 175
#[test]
fn law_8_a_storm_of_false_reports_mints_within_the_budget() {
    assert_eq!(storm(1, 2_999, false), 0, "a token younger than 3 s is not doubted");
    assert_eq!(storm(1, 4_000, false), 1);
    assert_eq!(storm(10, 600_000, false), 10);
    // Mints at 3 s, 6 s, 9 s and, of an interval of 4 s, at its very end.
    assert_eq!(storm(1_000, 12_999, false), 3);
    assert_eq!(storm(1_000, 13_000, false), 4);
}

// faults 27, 175
#[test]
fn tokens_that_the_issuer_refuses_again_and_again_cost_a_mint_each_5_s() {
    let mints = storm(10, 600_000, true);
    assert!((100..=130).contains(&mints), "{mints}");
}

#[test]
fn the_refresh_is_drawn_around_its_point_and_within_the_life() {
    let point = |at, jitter, chance| {
        let settings = RefreshSettings { at, jitter, ..RefreshSettings::default() };
        let mut world = World::new(settings);
        world.play(Act::Pass(0), chance);
        world.play(Act::Grant(1_000_000), chance);
        world.play(Act::PassToWake, chance);
        let next = world.play(Act::Grant(1_000_000), chance).wake_at;
        next.expect("at rest").since(world.now)
    };
    assert_eq!(point(0.5, 0.125, 0.0), ms(375_000));
    assert_eq!(point(0.5, 0.125, 1.0), ms(625_000));
    assert_eq!(point(0.9, 0.5, 1.0), ms(1_000_000));
}

// fault 194
#[test]
fn the_first_refresh_is_drawn_over_a_whole_period() {
    let point = |jitter, chance| {
        let settings = RefreshSettings { jitter, ..RefreshSettings::default() };
        let mut world = World::new(settings);
        world.play(Act::Pass(0), chance);
        let next = world.play(Act::Grant(1_000_000), chance).wake_at;
        next.expect("at rest").since(world.now)
    };
    for (chance, planned) in
        [(0.0, 250), (0.5, 500), (0.625, 562), (0.75, 625), (0.76, 130), (1.0, 250)]
    {
        assert_eq!(point(0.125, chance).as_secs(), planned, "{chance}");
        assert_eq!(point(0.0, chance).as_secs(), 500, "jitter = 0 leaves nothing to chance");
    }
}

// fault 195
#[test]
fn a_refresh_that_came_late_makes_up_for_it() {
    let next_after = |late| {
        let mut world = World::new(RefreshSettings::default());
        world.play(Act::Pass(0), 0.5);
        world.play(Act::Grant(1_000_000), 0.5);
        world.play(Act::PassToWake, 0.5);
        world.play(Act::Fail { outside: false, retry_after: None }, 0.0);
        world.play(Act::Pass(late), 0.5);
        let next = world.play(Act::Grant(1_000_000), 0.5).wake_at;
        next.expect("at rest").since(world.now)
    };
    assert_eq!(next_after(100_000), ms(400_000));
    assert_eq!(next_after(400_000), ms(100_000));
    assert_eq!(next_after(400_001), ms(500_000), "too soon after the last one");
}

// fault 2
#[test]
fn a_much_shorter_token_does_not_replace_a_good_one_until_it_must() {
    let mut world = with_a_token(0);
    let mut mints = 0;
    while world.lease.map(|lease| lease.serial) == Some(Serial::new(1)) {
        world.play(Act::PassToWake, 0.5);
        world.play(Act::Grant(10_000), 0.5);
        mints += 1;
    }
    assert!((5..=10).contains(&mints), "{mints}");
    assert!(world.now < Tick::from_boot(Duration::from_secs(1_003_600)));
}

// faults 27, 175
#[test]
fn what_our_own_proxy_saw_needs_no_probe_and_costs_a_mint_each_5_s_at_most() {
    let mut world = with_a_token(0);
    let mut mints = 0;
    for _ in 0..60_000 {
        for act in [Act::Pass(10), Act::Witness] {
            let step = world.play(act, 0.5);
            assert_eq!(step.probe, None);
            mints += usize::from(step.mint.is_some_and(|m| m.trigger == Trigger::Rejected));
        }
        world.play(Act::Grant(3_600_000), 0.5);
    }
    assert!((100..=130).contains(&mints), "{mints}");
}

// faults 27, 91
#[test]
fn with_the_budget_spent_a_report_still_waits_for_a_new_key_that_is_being_tried() {
    let mut world = with_a_token(4_000);
    world.play(Act::Report { stale: false }, 0.5);
    world.play(Act::Grant(3_600_000), 0.5);
    world.play(Act::Pass(3_000), 0.5);
    world.play(Act::Report { stale: false }, 0.5);
    world.play(Act::Grant(3_600_000), 0.5);
    world.play(Act::NewKey, 0.5);
    let step = world.play(Act::Witness, 0.5);
    assert_eq!((step.verdict, step.mint), (Some(Verdict::Wait), None));
    assert!(world.play(Act::Grant(3_600_000), 0.5).publish.is_some());
}

#[test]
fn a_tenth_of_a_life_must_have_passed_and_no_more() {
    let wanted = |after| {
        let mut world = World::new(RefreshSettings::default());
        world.play(Act::Pass(0), 0.5);
        world.play(Act::Grant(60_000), 0.5);
        world.play(Act::Pass(after), 0.5);
        world.play(Act::Wanted(59_000), 0.5).verdict
    };
    assert_eq!(wanted(5_999), Some(Verdict::Enough));
    assert_eq!(wanted(6_000), Some(Verdict::Wait));
}

// fault 2
#[test]
fn a_token_that_ends_5_s_earlier_still_replaces() {
    let serial_after = |lifetime| {
        let mut world = World::new(RefreshSettings::default());
        world.play(Act::Pass(0), 0.5);
        world.play(Act::Grant(3_600_000), 0.5);
        world.play(Act::PassToWake, 0.5);
        world.play(Act::Grant(lifetime), 0.5);
        world.lease.map(|lease| lease.serial)
    };
    assert_eq!(serial_after(1_795_000), Some(Serial::new(2)));
    assert_eq!(serial_after(1_794_999), Some(Serial::new(1)));
}

#[test]
fn a_report_that_has_to_wait_does_not_put_off_the_refresh() {
    let mut world = World::new(RefreshSettings::default());
    let start = world.now;
    world.play(Act::Pass(0), 0.5);
    world.play(Act::Grant(4_000), 0.5);
    world.play(Act::Pass(1_000), 0.5);
    let step = world.play(Act::Report { stale: false }, 0.5);
    assert_eq!((step.verdict, step.wake_at), (Some(Verdict::Wait), Some(start + ms(2_000))));
}

// fault 116
#[test]
fn a_lease_is_cut_to_the_end_of_its_key_and_refreshed_before() {
    let second = Duration::from_secs(1);
    let mut policy = Policy::new(RefreshSettings::default(), None);
    let now = Tick::from_boot(1000 * second);
    let mint = policy.step(now, Event::Wake, 0.5).mint.unwrap();
    let minted = Event::Minted { attempt: mint.attempt, lifetime: 3600 * second };
    policy.step(now, minted, 0.5);
    assert_eq!(policy.cut_life(now + 4000 * second, 0.5), None, "it ends before its key");
    assert_eq!(policy.cut_life(now + 3600 * second, 0.5), None, "it ends with its key");
    let lease = policy.cut_life(now + 600 * second, 0.5).unwrap();
    assert_eq!(lease.remaining(now), 600 * second);
    assert_eq!(policy.wake_at(), Some(now + 300 * second));
    let over = policy.cut_life(Tick::default(), 0.5).unwrap();
    assert!(!over.is_valid(now));
}

#[test]
fn other_settings_hold_for_the_token_at_hand() {
    let second = Duration::from_secs(1);
    let mut policy = Policy::new(RefreshSettings::default(), None);
    let now = Tick::from_boot(1000 * second);
    let mint = policy.step(now, Event::Wake, 0.5).mint.unwrap();
    let minted = Event::Minted { attempt: mint.attempt, lifetime: 3600 * second };
    policy.step(now, minted, 0.5);
    let shorter = RefreshSettings { max_lifetime: 600 * second, ..RefreshSettings::default() };
    policy.reconfigure(shorter, 0.5);
    assert_eq!(policy.wake_at(), Some(now + 300 * second));
    assert_eq!(policy.cut_life(now + 600 * second, 0.5), None, "it was cut already");
}

/// Reports the token again and again, which has to be patient each time.
fn report_five_times(world: &mut World) {
    for _ in 0..5 {
        assert_eq!(world.play(Act::Report { stale: false }, 0.5).verdict, Some(Verdict::Wait));
    }
}

/// Reports a new token as soon as that is believed; it brings a mint if little budget is spent.
fn the_next_report_mints(world: &mut World) {
    world.play(Act::Grant(3_600_000), 0.5);
    world.play(Act::Pass(3_000), 0.5);
    let step = world.play(Act::Report { stale: false }, 0.5);
    assert_eq!(step.mint.map(|mint| mint.trigger), Some(Trigger::Rejected));
}

// faults 27, 175
#[test]
fn reports_that_a_mint_on_its_way_answers_spend_nothing() {
    let mut world = with_a_token(10_000);
    world.play(Act::Ask, 0.5);
    report_five_times(&mut world);
    assert_eq!(world.policy.budget.free_at(), Tick::default(), "nothing is spent");
    the_next_report_mints(&mut world);
}

// faults 27, 175
#[test]
fn reports_of_a_young_token_spend_one_mint_together() {
    let mut world = with_a_token(1_000);
    report_five_times(&mut world);
    world.play(Act::PassToWake, 0.5);
    the_next_report_mints(&mut world);
}

/// Reports the token each second, until that is worth a probe only.
fn while_a_report_is_looked_into() -> World {
    let mut world = with_a_token(0);
    while world.probe.is_none() {
        world.play(Act::Grant(3_600_000), 0.5);
        world.play(Act::Pass(1_000), 0.5);
        world.play(Act::Report { stale: false }, 0.5);
    }
    world
}

// faults 27, 175
#[test]
fn reports_wait_for_the_probe_that_is_under_way() {
    let mut world = while_a_report_is_looked_into();
    report_five_times(&mut world);
}

// fault 27
#[test]
fn who_waits_for_a_probe_is_told_until_when_the_budget_is_spent() {
    let mut world = while_a_report_is_looked_into();
    let release = world.play(Act::Probed { refused: false }, 0.5).release;
    assert_eq!(release, Some(Release::Throttled(ms(1_000))));
    let mut world = while_a_report_is_looked_into();
    world.play(Act::NewKey, 0.5);
    let release = world.play(Act::Probed { refused: false }, 0.5).release;
    assert_eq!(release, None, "what the new key brings is worth the wait");
}

// fault 27
#[test]
fn probes_are_5_s_apart_and_of_tokens_that_are_3_s_old() {
    let mut world = with_a_token(0);
    let mut probes = Vec::new();
    for second in 1..=45 {
        world.play(Act::Pass(1_000), 0.5);
        if world.play(Act::Report { stale: false }, 0.5).probe.is_some() {
            probes.push(second);
            world.play(Act::Probed { refused: false }, 0.5);
        }
        world.play(Act::Grant(3_600_000), 0.5);
    }
    // Mints are at 3, 6, 9, 13, 21 and 37 s.
    assert_eq!(probes, [12, 17, 24, 29, 34, 40, 45]);
}

#[test]
fn a_key_that_comes_too_soon_after_another_abandons_that_one_only() {
    let mut world = with_a_token(10_000);
    let tried = world.play(Act::NewKey, 0.5).mint.expect("law 12");
    assert_eq!(world.play(Act::NewKey, 0.5).abandon, Some(tried.attempt));
    world.play(Act::Ask, 0.5);
    let step = world.play(Act::NewKey, 0.5);
    assert_eq!(step.abandon, None, "a mint of the current key serves until the new one is due");
}

// fault 91
#[test]
fn an_operator_is_heard_while_a_refused_key_rests_and_its_rests_go_on_growing() {
    let mut world = with_a_token(10_000);
    world.play(Act::NewKey, 0.0);
    let refused = Act::Fail { outside: true, retry_after: None };
    let rests = [false, false, true, true].map(|is_asked| {
        let mut step = world.play(refused, 0.0);
        if step.mint.is_some() {
            // The current key is asked as well.
            step = world.play(Act::Grant(3_600_000), 0.0);
        }
        let rest = step.wake_at.expect("at rest").since(world.now);
        let asked = if is_asked { Act::Ask } else { Act::PassToWake };
        world.play(Act::Pass(if is_asked { 10_000 } else { 0 }), 0.0);
        assert_eq!(world.play(asked, 0.0).mint.map(|mint| mint.key), Some(Key::Candidate));
        rest.as_secs()
    });
    assert_eq!(rests, [30, 60, 120, 240]);
}

#[test]
fn who_wants_no_more_than_is_left_has_enough() {
    let mut world = with_a_token(1_800_000);
    assert_eq!(world.play(Act::Wanted(1_800_000), 0.5).verdict, Some(Verdict::Enough));
    assert_eq!(world.play(Act::Wanted(1_800_001), 0.5).verdict, Some(Verdict::Wait));
}

// fault 195
#[test]
fn settings_that_change_nothing_leave_the_plan_as_it_is() {
    let mut world = World::new(RefreshSettings::default());
    world.play(Act::Pass(0), 0.5);
    world.play(Act::Grant(1_000_000), 0.5);
    world.policy.reconfigure(RefreshSettings::default(), 0.5);
    world.play(Act::PassToWake, 0.5);
    world.play(Act::Fail { outside: false, retry_after: None }, 0.0);
    world.play(Act::Pass(100_000), 0.5);
    let next = world.play(Act::Grant(1_000_000), 0.5).wake_at.expect("at rest");
    assert_eq!(next.since(world.now), ms(400_000), "the time lost is made up for");
}

// section 6: dashboards and alerts know them by these names
#[test]
fn triggers_have_the_names_of_the_metrics() {
    let names = ["startup", "scheduled", "rejected", "min_ttl", "key_changed", "manual"];
    assert_eq!(Trigger::ALL.map(Trigger::label), names);
}

// law 6
#[test]
fn an_operator_is_heard_while_the_key_rests() {
    let mut world = with_a_token(10_000);
    for wait in [0, 10_000, 10_000] {
        world.play(Act::Pass(wait), 0.5);
        let mint = world.play(Act::Ask, 0.5).mint;
        assert_eq!(mint.map(|mint| mint.trigger), Some(Trigger::Manual));
        world.play(Act::Fail { outside: true, retry_after: None }, 0.5);
    }
}

// faults 66 and 67
#[test]
fn a_token_that_another_clock_has_ended_is_enough_for_nobody() {
    let mut world = with_a_token(1_000);
    assert_eq!(world.play(Act::Wanted(1), 0.5).verdict, Some(Verdict::Enough));
    world.play(Act::Lapse, 0.5);
    assert_eq!(world.play(Act::Wanted(1), 0.5).verdict, Some(Verdict::Wait));
}

#[test]
fn who_wants_a_longer_life_waits_for_the_mint_that_a_report_will_bring() {
    let mut world = World::new(RefreshSettings::default());
    world.play(Act::Pass(0), 1.0);
    world.play(Act::Grant(10_000), 1.0);
    world.play(Act::Pass(1_500), 1.0);
    assert_eq!(world.play(Act::Report { stale: false }, 1.0).mint, None, "it is too young");
    let step = world.play(Act::Wanted(9_500), 1.0);
    assert_eq!((step.verdict, step.mint), (Some(Verdict::Wait), None));
    let mint = world.play(Act::Pass(1_500), 1.0).mint;
    assert_eq!(mint.map(|mint| mint.trigger), Some(Trigger::Rejected));
}

// faults 27, 175
#[test]
fn only_mints_that_reports_brought_count_for_the_budget() {
    let mut world = with_a_token(10_000);
    world.play(Act::Ask, 0.5);
    world.play(Act::Grant(3_600_000), 0.5);
    assert_eq!(world.policy.budget, RejectBudget::default());
}
