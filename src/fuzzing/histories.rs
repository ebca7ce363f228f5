//! Histories of the two state machines, each held to its laws after every step.

use std::time::Duration;

use super::draw::Draw;
use crate::{
    key::{
        journal::Journal,
        rotation::world::{self as rotating, Fate, Habits, START, id},
    },
    token::{
        policy::world::{self as refreshing, Act, ms},
        timing::RefreshSettings,
    },
};

/// Most steps of one history.
const MOST_STEPS: usize = 300;

/// Laws 1 to 6, 7 and 11 to 13 of the policy.
pub(super) fn policy(data: &[u8]) {
    let mut draw = Draw::new(data);
    let settings = settings(&mut draw);
    let mut world = refreshing::World::new(settings);
    for step in 0..MOST_STEPS {
        if step > 0 && draw.is_empty() {
            break;
        }
        let act = act(&mut draw);
        let done = world.play(act, draw.chance());
        assert!(step > 0 || done.mint.is_some(), "law 7");
    }
}

fn settings(draw: &mut Draw<'_>) -> RefreshSettings {
    let retry = 1 + draw.below(5_000);
    RefreshSettings {
        at: draw.chance(),
        jitter: draw.chance(),
        min_interval: ms(1 + draw.below(5_000)),
        retry_min: ms(retry),
        retry_max: ms(retry.saturating_add(draw.below(1_000_000))),
        max_lifetime: Duration::from_millis(1_000 + draw.below(100_000_000)),
    }
}

fn act(draw: &mut Draw<'_>) -> Act {
    match draw.byte() % 14 {
        0 | 1 => Act::PassToWake,
        2 => Act::Pass(draw.below(100_000_000)),
        3 => Act::Report { stale: draw.flag() },
        4 => Act::Witness,
        5 => Act::Probed { refused: draw.flag() },
        6 => Act::NewKey,
        7 => Act::OldKey,
        8 => Act::Wanted(draw.number()),
        9 => Act::Ask,
        10 => Act::Lapse,
        11 => Act::Grant(draw.number().max(1)),
        12 => Act::Fail { outside: draw.flag(), retry_after: draw.flag().then(|| draw.number()) },
        _ => Act::Late(draw.number().max(1)),
    }
}

/// Laws 1 to 6 of a rotation.
pub(super) fn rotation(data: &[u8]) {
    let mut draw = Draw::new(data);
    let habits = Habits { lists: draw.flag(), moves_ends: draw.flag() };
    let journal = draw.flag().then(|| Journal::new(&id(0), START));
    let mut world = rotating::World::new(habits, journal);
    for _ in 0..MOST_STEPS {
        if draw.is_empty() {
            break;
        }
        world.turn(fate(&mut draw));
    }
}

fn fate(draw: &mut Draw<'_>) -> Fate {
    match draw.byte() % 12 {
        0 => Fate::Fails,
        1 => Fate::Refused,
        2 => Fate::Lost { done: false },
        3 => Fate::Lost { done: true },
        4 => Fate::DiesBefore,
        5 => Fate::DiesAfter,
        6 => Fate::DiesWithin,
        _ => Fate::Well,
    }
}
