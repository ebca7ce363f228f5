//! What happened in a world: the last of it in words, all of it as a number and as counts.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::Notify;

use super::clock::SimClock;

/// So much is told of a world that broke a law.
const LAST: usize = 60;

/// Listens to every part of one world.
pub(crate) struct Story {
    clock: Arc<SimClock>,
    told: Mutex<Told>,
    /// Wakes whoever is to look at it when a law is broken.
    pub(crate) ended: Notify,
}

#[derive(Default)]
struct Told {
    last: VecDeque<(Duration, String)>,
    digest: u64,
    counts: Counts,
    broken: Option<String>,
}

/// Counts by kind.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

impl Story {
    pub(crate) fn new(clock: Arc<SimClock>) -> Self {
        Self { clock, told: Mutex::default(), ended: Notify::new() }
    }

    /// Notes what happened, and counts it by its kind.
    pub(crate) fn tell(&self, kind: &'static str, text: &str) {
        let now = self.clock.passed();
        let mut told = self.lock();
        *told.counts.entry(kind).or_default() += 1;
        for byte in text.bytes().chain(now.as_millis().to_le_bytes()) {
            told.digest = (told.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if told.last.len() == LAST {
            told.last.pop_front();
        }
        told.last.push_back((now, format!("{kind}: {text}")));
    }

    /// Counts what is not worth a line.
    pub(crate) fn count(&self, kind: &'static str) {
        *self.lock().counts.entry(kind).or_default() += 1;
    }

    /// Notes that a law was broken; the first time is the one that matters.
    pub(crate) fn broken(&self, law: String) {
        let mut told = self.lock();
        told.broken.get_or_insert(law);
        self.ended.notify_one();
    }

    /// Tells which law was broken, and what came before that.
    pub(crate) fn verdict(&self) -> Option<String> {
        let told = self.lock();
        let broken = told.broken.as_ref()?;
        let mut text = String::new();
        for (at, line) in &told.last {
            // Writing to a string cannot fail.
            writeln!(text, "  {} {line}", moment(*at)).ok();
        }
        Some(format!("{text}  {} BROKEN: {broken}", moment(self.clock.passed())))
    }

    /// Tells the counts, and a number that is another one for nearly every other story.
    pub(crate) fn sum(&self) -> (Counts, u64) {
        let told = self.lock();
        (told.counts.clone(), told.digest)
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("nobody panics with it")
    }
}

fn moment(at: Duration) -> String {
    let seconds = at.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    format!(
        "day {days} {hours:02}:{:02}:{:02}.{:03}",
        seconds / 60 % 60,
        seconds % 60,
        at.subsec_millis()
    )
}
