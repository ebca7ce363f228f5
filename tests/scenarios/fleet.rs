//! A thousand policies before one issuer that takes only so many mints a second.

#![expect(clippy::indexing_slicing, reason = "members are named by their place")]

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use bearerd::token::{
    backoff::{Failure, Mend},
    policy::{Attempt, Event, Policy, Step},
    timing::{RefreshSettings, Tick},
};

use crate::bench::clock::BOOT;

const MEMBERS: usize = 1000;
const LIFETIME: Duration = Duration::from_secs(3600);
/// How long the issuer takes for an answer.
const LATENCY: Duration = Duration::from_millis(100);

/// What comes next to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Wake,
    Answer { is_good: bool },
}

/// A member, its mint under way, and when its tokens came.
struct Member {
    policy: Policy,
    flight: Option<(Attempt, bool)>,
    served: Vec<Tick>,
}

/// All of them, in simulated time.
struct Fleet {
    members: Vec<Member>,
    due: BinaryHeap<Reverse<(Tick, usize, Next)>>,
    /// Seconds in which the issuer is down, counted from the start.
    outage: std::ops::Range<u64>,
    /// Mints that the issuer takes in a second; it refuses the others with 503.
    capacity: usize,
    /// Calls in each second since the start.
    calls: Vec<usize>,
    dice: u64,
}

impl Fleet {
    /// Starts every member within the first second.
    fn new(capacity: usize, outage: std::ops::Range<u64>) -> Self {
        let member = |_| Member {
            policy: Policy::new(RefreshSettings::default(), None),
            flight: None,
            served: Vec::new(),
        };
        let start = |number| {
            let ms = number * 1000 / MEMBERS;
            Reverse((BOOT + Duration::from_millis(ms as u64), number, Next::Wake))
        };
        Self {
            members: (0..MEMBERS).map(member).collect(),
            due: (0..MEMBERS).map(start).collect(),
            outage,
            capacity,
            calls: Vec::new(),
            dice: 0x9E37_79B9_7F4A_7C15,
        }
    }

    /// A chance, the same in each run of the test (xorshift).
    fn chance(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 32) as f64 / 4_294_967_296.0
    }

    fn run_for(mut self, seconds: u64) -> Self {
        let end = BOOT + Duration::from_secs(seconds);
        while let Some(Reverse((now, number, next))) = self.due.pop().filter(|due| due.0.0 <= end) {
            let chance = self.chance();
            let member = &mut self.members[number];
            let event = match (next, member.flight) {
                (Next::Answer { is_good }, Some((attempt, _))) => {
                    member.flight = None;
                    let failure = Failure { mend: Mend::Retry, retry_after: None };
                    if is_good {
                        Event::Minted { attempt, lifetime: LIFETIME }
                    } else {
                        Event::Failed { attempt, failure }
                    }
                }
                // An older wake-up than the one that counts.
                (Next::Wake, flight) => {
                    let is_early = member.policy.wake_at().is_some_and(|at| at > now);
                    if flight.is_some() || is_early {
                        continue;
                    }
                    Event::Wake
                }
                (Next::Answer { .. }, None) => continue,
            };
            let step = member.policy.step(now, event, chance);
            self.carry_out(now, number, &step);
        }
        self
    }

    fn carry_out(&mut self, now: Tick, number: usize, step: &Step) {
        if step.publish.is_some() {
            self.members[number].served.push(now);
        }
        if let Some(at) = step.wake_at {
            self.due.push(Reverse((at.max(now), number, Next::Wake)));
        }
        if let Some(mint) = step.mint {
            let is_good = self.call(now);
            self.members[number].flight = Some((mint.attempt, is_good));
            self.due.push(Reverse((now + LATENCY, number, Next::Answer { is_good })));
        }
    }

    /// Asks the issuer; tells whether it takes the call.
    fn call(&mut self, now: Tick) -> bool {
        let second = now.since(BOOT).as_secs();
        let place = usize::try_from(second).unwrap_or(usize::MAX);
        self.calls.resize(self.calls.len().max(place + 1), 0);
        self.calls[place] += 1;
        !self.outage.contains(&second) && self.calls[place] <= self.capacity
    }

    /// The calls from one second to another.
    fn calls(&self, seconds: std::ops::Range<usize>) -> usize {
        self.calls.iter().skip(seconds.start).take(seconds.len()).sum()
    }

    /// The second in which the last member got its first token at or after a moment.
    fn all_served_by(&self, after: u64) -> u64 {
        let from = BOOT + Duration::from_secs(after);
        let first = |member: &Member| member.served.iter().find(|at| **at >= from).copied();
        let all: Option<Vec<_>> = self.members.iter().map(first).collect();
        all.and_then(|all| all.into_iter().max())
            .map_or(u64::MAX, |last| last.since(BOOT).as_secs())
    }
}

// fault 194
#[test]
fn a_thousand_that_start_at_once_mint_once_each() {
    let fleet = Fleet::new(MEMBERS, 0..0).run_for(60);
    assert_eq!(fleet.calls(0..60), MEMBERS);
    assert!(fleet.all_served_by(0) <= 1);

    // An issuer that takes a twentieth of them at a time is not kept down by the others.
    let fleet = Fleet::new(MEMBERS / 20, 0..0).run_for(300);
    assert!(fleet.all_served_by(0) <= 120, "{}", fleet.all_served_by(0));
    assert!(fleet.calls(0..300) <= 6 * MEMBERS, "{}", fleet.calls(0..300));
    assert!(fleet.members.iter().all(|member| member.served.len() == 1));
}

// fault 195
#[test]
fn after_an_outage_the_retries_let_the_issuer_come_back() {
    // They start while it is down, as after a power cut; nobody has a token.
    let outage = 600;
    let fleet = Fleet::new(MEMBERS / 20, 0..outage).run_for(outage + 2 * 3600);
    // Spread below a limit of 60 s: some 33 a second, never a wave of all.
    let steady = fleet.calls(300..600);
    assert!(steady <= 300 * MEMBERS / 25, "{steady}");
    let highest = fleet.calls.iter().skip(120).max();
    assert!(highest < Some(&(MEMBERS / 10)), "{highest:?}");
    // Within twice the limit everyone has a token, and what follows is the schedule alone.
    assert!(fleet.all_served_by(outage) <= outage + 120, "{}", fleet.all_served_by(outage));
    let quiet = fleet.calls(720..1800);
    assert_eq!(quiet, 0, "no retry outlives the outage");
    let hour = fleet.calls(1800..5400);
    assert!(hour <= MEMBERS * 12 / 5, "{hour}");
}
