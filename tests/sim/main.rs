//! Whole worlds from a seed: the real broker, policy and rotation in paused time, for years of it.
//!
//! A world has an issuer with a clock, weather and faults of its own, a disk that can lose what was not
//! synced, clients that report truly and falsely, and people who change keys and clocks. At every event
//! the oracles look: no token past its end by the issuer's clock, no needless outage, no mint too many,
//! a key that mints after every crash, no dead end. `BEARERD_TEST_SIM_SEEDS` says how many worlds there
//! are, `BEARERD_TEST_SIM_HOURS` how long each lives, and `BEARERD_TEST_SIM_SEED` replays one of them, or
//! says which is the first.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "clippy lets tests do so, but not the functions that tests share"
)]

#[path = "../scenarios/bench/clock.rs"]
mod clock;
mod daemon;
mod dice;
mod disk;
mod issuer;
mod keys;
mod plan;
mod story;
mod watch;
mod weather;
mod world;

use std::{
    env,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use self::{story::Counts, world::Found};

/// Worlds in the suite.
const SEEDS: u64 = 100;
/// Hours that each of them lives.
const HOURS: u64 = 48;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}: {value}")))
}

/// A directory that is no disk, where there is one.
fn home() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

#[expect(clippy::disallowed_macros, reason = "a campaign tells its figures")]
fn tell(line: &str) {
    eprintln!("{line}");
}

fn run(seed: u64, hours: u64) -> Found {
    let home = home();
    let found = world::run(seed, Duration::from_secs(3600 * hours), home.path());
    if let Some(broken) = &found.broken {
        panic!(
            "the world of seed {seed} has broken a law:\n{broken}\nreplay it with\n  \
             BEARERD_TEST_SIM_SEED={seed} BEARERD_TEST_SIM_HOURS={hours} cargo test --locked --test sim"
        );
    }
    found
}

// faults 23, 24, 27, 38, 63, 64, 66, 67, 77, 78, 94, 98 to 104, 112, 119, 175, 180
#[test]
fn every_world_keeps_the_laws() {
    let hours = number("BEARERD_TEST_SIM_HOURS").unwrap_or(HOURS);
    let first = number("BEARERD_TEST_SIM_SEED");
    let count = number("BEARERD_TEST_SIM_SEEDS").unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(1);
    let (next, sum) = (AtomicU64::new(first), Mutex::new((Counts::new(), Duration::ZERO)));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let found = run(seed, hours);
                    let mut sum = sum.lock().unwrap();
                    sum.1 += found.passed;
                    for (kind, times) in found.counts {
                        *sum.0.entry(kind).or_default() += times;
                    }
                }
            });
        }
    });
    let (counts, passed) = sum.into_inner().unwrap();
    let hours = passed.as_secs() / 3600;
    tell(&format!("{count} worlds, {hours} hours"));
    counts.iter().for_each(|(kind, times)| tell(&format!("{times:>12} {kind}")));
    assert!(count < SEEDS || counts.len() > 20, "too little has happened: {counts:?}");
}

#[test]
fn a_rotation_rests_while_the_last_token_has_ended() {
    let found = world::run_dry(home().path());
    assert_eq!(found.broken, None);
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in 1..=6 {
        let [one, two] = [(); 2].map(|()| run(seed, 24));
        assert_eq!((one.counts, one.digest), (two.counts, two.digest), "seed {seed}");
    }
}
