//! The corpora of `tests/fuzz`, and changes of them, on any toolchain.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::*;

fn home() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fuzz"].iter().collect()
}

/// Reads the inputs of a target in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(home().join("corpus").join(name)).expect("a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("an input")).collect()
}

/// Draws numbers from a fixed start, so that what fails once fails again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit.max(1)
    }

    /// Changes an input a little, or joins it with another one.
    fn changed(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(5) {
                0 => input.insert(at, u8::try_from(self.below(256)).expect("a byte")),
                1 => input.truncate(at),
                2 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    input.splice(at.., other[from..].iter().copied());
                }
                3 => {
                    let end = at + self.below(input.len() + 1 - at).min(16);
                    input.drain(at..end);
                }
                _ => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
            }
        }
        input
    }
}

/// Checks every input of a corpus, and so many changes of it, or what `BEARERD_TEST_CHANGES` says.
fn replay(name: &str, changes: usize) {
    let wanted = std::env::var("BEARERD_TEST_CHANGES").ok();
    let changes = wanted.map_or(changes, |text| text.parse().expect("a number"));
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    let checked = |input: &[u8]| {
        let found = std::panic::catch_unwind(|| check(name, input)).is_err();
        assert!(!found, "an input of {name} is a finding: {}", input.escape_ascii());
    };
    corpus.iter().for_each(|input| checked(input));
    let mut chance = Chance(1);
    (0..changes).for_each(|_| checked(&chance.changed(&corpus)));
}

macro_rules! replays {
    ($($name:ident: $changes:literal,)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name), $changes);
        })*

        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

// faults 3, 5, 11, 12, 25, 34, 35, 57, 90, 123, 140, 141, 142, 144, 190, 227, 248, 253
replays! {
    configuration: 1000,
    environment: 500,
    forwarded_answer: 3000,
    jwt_exp: 3000,
    key_file: 3000,
    key_parts: 3000,
    mint_answer: 3000,
    okta_path: 3000,
    policy_history: 500,
    proxied_requests: 50,
    requests: 1000,
    retry_headers: 3000,
    rotation_answer: 3000,
    rotation_history: 300,
    rotation_journal: 2000,
    timestamp: 3000,
    token_cache: 2000,
}

#[test]
fn every_target_is_fuzzed_and_replayed() {
    let known: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(home().join(folder)).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names("corpus"), known);
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(REPLAYED.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), known);
}
