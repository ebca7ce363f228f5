//! What befalls the fleet: fourteen histories, each begun by a deployment of all within a second.

use std::time::Duration;

use bearerd::{
    key::{
        journal::Journal,
        rotation::Rotation,
        step::{Found, Plan},
    },
    rotator::task::place,
    token::timing::Wall,
};

use crate::{
    chance::Chance,
    issuer::Mood,
    world::{World, at, secs},
};

pub(crate) const MINUTE: u64 = 60;
pub(crate) const HOUR: u64 = 3600;
pub(crate) const DAY: u64 = 24 * HOUR;
/// When it happens, whatever it is.
pub(crate) const EVENT: u64 = 6 * HOUR;
/// Users on whom the thousand are spread.
const USERS: usize = 10;

/// One history.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// Name of its plot.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) sidecars: usize,
    pub(crate) users: usize,
    /// What is shaded, in seconds since the beginning.
    pub(crate) event: Span,
    /// What is shown and measured.
    pub(crate) shown: Span,
    /// Tells a fleet what befalls it, up to the end of what is shown.
    play: fn(&mut World, Span),
}

/// Seconds since the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

pub(crate) const fn span(from: u64, to: u64) -> Span {
    Span { from, to }
}

impl Case {
    /// Plays it with these chances.
    pub(crate) fn play(&self, chance: Chance) -> World {
        let mut world = World::new(self.sidecars, self.users, chance);
        (self.play)(&mut world, self.event);
        world.run_to(at(self.shown.to));
        world
    }

    /// Calls in a second, when nothing happens.
    pub(crate) fn steady(&self) -> f64 {
        self.sidecars as f64 / (0.5 * 3600.0)
    }

    /// Prolongs what is shown.
    pub(crate) const fn for_days(mut self, days: u64) -> Self {
        self.shown.to = days * DAY;
        self
    }
}

const fn case(name: &'static str, about: &'static str, play: fn(&mut World, Span)) -> Case {
    let event = span(EVENT, EVENT + 10 * MINUTE);
    Case {
        name,
        about,
        sidecars: 1000,
        users: USERS,
        event,
        shown: span(4 * HOUR, 12 * HOUR),
        play,
    }
}

/// Nobody has a token, and all want one at once.
pub(crate) const DEPLOY: Case = Case {
    event: span(0, 5 * MINUTE),
    shown: span(0, 8 * HOUR),
    ..case("deploy", "all deployed within a second", |world, _| world.deploy(secs(1)))
};

/// The same for longer: nothing happens.
pub(crate) const STEADY: Case = Case {
    event: span(HOUR, HOUR),
    shown: span(HOUR, DAY),
    ..case("steady", "left alone", |world, _| world.deploy(secs(1)))
};

/// The same before an issuer that can do all at once.
pub(crate) const ROOMY_DEPLOY: Case = Case {
    event: span(0, 5 * MINUTE),
    shown: span(0, 6 * HOUR),
    ..case("roomy-deploy", "deployed within a second before a quick issuer", |world, _| {
        world.issuer.capacity = 10_000.0;
        world.deploy(secs(1));
    })
};

pub(crate) const OUTAGE: Case =
    case("outage", "ten minutes in which nobody listens", |world, event| {
        moody(world, event, Mood::Gone);
    });

pub(crate) const UNAVAILABLE: Case = case("unavailable", "ten minutes of 503", |world, event| {
    moody(world, event, Mood::Unavailable);
});

pub(crate) const HANGING: Case =
    case("hanging", "ten minutes in which no call is answered", |world, event| {
        moody(world, event, Mood::Hanging);
    });

/// Every token ends meanwhile.
pub(crate) const LONG_OUTAGE: Case = Case {
    event: span(EVENT, EVENT + 2 * HOUR),
    ..case("long-outage", "two hours in which nobody listens", |world, event| {
        moody(world, event, Mood::Gone);
    })
};

pub(crate) const SLOW: Case = Case {
    event: span(EVENT, EVENT + HOUR),
    ..case("slow", "an hour in which each answer takes 8 s", |world, event| {
        moody(world, event, Mood::Slow(secs(8)));
    })
};

pub(crate) const REVOCATION: Case = Case {
    event: span(EVENT, EVENT + 5 * MINUTE),
    ..case("revocation", "all tokens revoked, applications call once a minute", |world, event| {
        revoked(world, event, secs(60));
    })
};

/// All notice it within a second, and go on reporting each second.
pub(crate) const BUSY_REVOCATION: Case = Case {
    event: span(EVENT, EVENT + 5 * MINUTE),
    ..case(
        "busy-revocation",
        "all tokens revoked, applications call each second",
        |world, event| {
            revoked(world, event, secs(1));
        },
    )
};

pub(crate) const NEW_KEY: Case = Case {
    event: span(EVENT, EVENT + 5 * MINUTE),
    ..case("new-key", "a new key for all, seen within a minute", |world, event| {
        world.deploy(secs(1));
        world.run_to(at(event.from));
        world.new_keys(secs(60));
    })
};

/// Each has a key of its own, all issued in the same moment, each 30 days.
pub(crate) const ROTATION: Case = Case {
    event: span(EVENT, EVENT + 3 * DAY),
    shown: span(4 * HOUR, 4 * DAY),
    ..case("rotation", "every daemon's own key is due, each 30 days", |world, event| {
        world.deploy(secs(1));
        for n in 0..1000 {
            world.rotate(n, at(event.from) + due_after_a_month(n));
        }
    })
};

/// Its applications spend what the hour allows ten minutes before its end.
pub(crate) const LIMIT: Case = Case {
    sidecars: 100,
    users: 1,
    event: span(EVENT + 50 * MINUTE, EVENT + HOUR),
    ..case("limit", "a user whose applications want 12,000 calls an hour", |world, _| {
        world.issuer.apps_per_hour = 12_000.0;
        world.deploy(secs(1));
    })
};

/// The worst moment for it: the hour's calls have just been spent.
pub(crate) const LIMITED_REVOCATION: Case = Case {
    sidecars: 100,
    users: 1,
    event: span(EVENT + 50 * MINUTE, EVENT + HOUR),
    ..case(
        "limited-revocation",
        "the same user's tokens revoked while it is limited",
        |world, event| {
            world.issuer.apps_per_hour = 12_000.0;
            world.deploy(secs(1));
            world.run_to(at(event.from + 30));
            world.revoke(secs(60));
        },
    )
};

/// A snapshot of one machine is started a thousand times.
pub(crate) const CLONES: Case = Case {
    event: span(EVENT, EVENT + 5 * MINUTE),
    shown: span(4 * HOUR, 16 * HOUR),
    ..case("clones", "a running machine copied a thousand times", |world, event| {
        world.deploy(secs(1));
        world.run_to(at(event.from));
        world.clone_first(true);
    })
};

/// The same, if chance were a part of the copied memory.
pub(crate) const CLONES_WITH_ONE_CHANCE: Case = Case {
    event: span(EVENT, EVENT + 5 * MINUTE),
    shown: span(4 * HOUR, 16 * HOUR),
    ..case("clones-with-one-chance", "the same, had they one chance", |world, event| {
        world.deploy(secs(1));
        world.run_to(at(event.from));
        world.clone_first(false);
    })
};

/// All that are published.
pub(crate) const ALL: [Case; 14] = [
    DEPLOY,
    STEADY,
    OUTAGE,
    UNAVAILABLE,
    HANGING,
    LONG_OUTAGE,
    SLOW,
    REVOCATION,
    BUSY_REVOCATION,
    NEW_KEY,
    ROTATION,
    LIMIT,
    LIMITED_REVOCATION,
    CLONES,
];

fn moody(world: &mut World, event: Span, mood: Mood) {
    world.issuer.feels(at(event.from), mood);
    world.issuer.feels(at(event.to), Mood::Well);
    world.deploy(secs(1));
}

fn revoked(world: &mut World, event: Span, use_every: Duration) {
    world.deploy(secs(1));
    world.run_to(at(event.from));
    world.revoke(use_every);
}

/// How long after the first of the fleet the daemon's own rotation says that a key is due.
fn due_after_a_month(n: usize) -> Duration {
    let every = secs(30 * DAY);
    let issued = Wall::from_seconds(1_769_846_400);
    let plan = Plan {
        every: Some(every),
        place: place(format!("node-{n}.example").as_bytes(), "default"),
        delete_old: false,
    };
    let file = "0a1b2c3d-0000-4000-8000-000000000001".to_owned();
    let found = Found { journal: Ok(Journal::new(&file, issued)), file, beside: None };
    Rotation::resume(plan, found).due(issued).unwrap().since(issued + every)
}
