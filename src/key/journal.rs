//! What a rotation has to remember over a crash: ids and times, never a secret (fault 238).
//!
//! One JSON object, versioned. A journal that cannot be read is as good as none: nothing is rotated
//! before a mint has shown that the key of the file is good (fault 123). One of a later version is
//! left alone (fault 125).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api_key::is_key_id;
use crate::token::timing::Wall;

/// The version that is written.
const VERSION: u32 = 1;
/// How long a key lives on after it was rotated away, as far as is known.
pub const GRACE: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// How long it is remembered that Okta was asked.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How many keys of the past are remembered.
const REMEMBERED: usize = 16;

/// Remembers where the rotation of one key stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    version: u32,
    /// Id of the key that the file holds, as far as was seen.
    pub key_id: String,
    /// When it was issued, or else first seen.
    #[serde(with = "seconds")]
    pub since: Wall,
    /// When Okta was asked for the next key, if it is not known what came of that.
    #[serde(with = "maybe_seconds")]
    pub asked: Option<Wall>,
    /// An answer that never came, or never came to the disk.
    pub lost: Option<Lost>,
    /// When Okta was asked in the last day.
    #[serde(with = "many_seconds")]
    pub asks: Vec<Wall>,
    /// Before this nothing is asked, because Okta refused.
    #[serde(with = "maybe_seconds")]
    pub rest_until: Option<Wall>,
    /// Keys that the file held before, the latest first.
    pub retired: Vec<Retired>,
}

/// Remembers an answer that was lost: whoever asked for it has put an end to the key of the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// When the key of the file ends by that, at the earliest.
    #[serde(with = "seconds")]
    pub ends: Wall,
    /// When it has ended for certain, if it is to end at all.
    #[serde(with = "seconds")]
    pub over: Wall,
    /// Whether another key has been asked for since; there is one such repair (fault 282).
    pub repaired: bool,
}

/// Remembers a key that was rotated away.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// Its id.
    pub id: String,
    /// When it ends, as far as is known.
    #[serde(with = "seconds")]
    pub ends: Wall,
    /// Whether a repair was made with it: there is no second one, should it come back.
    pub repaired: bool,
    /// When it may be deleted: by then its last token has ended.
    #[serde(with = "maybe_seconds")]
    pub delete_at: Option<Wall>,
}

impl Journal {
    /// Begins with a key of which nothing is known but that it mints.
    #[must_use]
    pub fn new(key_id: &str, since: Wall) -> Self {
        Self {
            version: VERSION,
            key_id: key_id.to_owned(),
            since,
            asked: None,
            lost: None,
            asks: Vec::new(),
            rest_until: None,
            retired: Vec::new(),
        }
    }

    /// Reads a journal.
    ///
    /// # Errors
    ///
    /// When it is of a later version, or is none.
    pub fn read(bytes: &[u8]) -> Result<Self, JournalFlaw> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let versioned: Versioned =
            serde_json::from_slice(bytes).map_err(|_| JournalFlaw::Corrupt)?;
        if versioned.version != VERSION {
            return Err(JournalFlaw::Version(versioned.version));
        }
        let journal: Self = serde_json::from_slice(bytes).map_err(|_| JournalFlaw::Corrupt)?;
        if journal.is_sound() { Ok(journal) } else { Err(JournalFlaw::Corrupt) }
    }

    fn is_sound(&self) -> bool {
        let mut ids = self.retired.iter().map(|retired| &retired.id).chain([&self.key_id]);
        ids.all(|id| is_key_id(id))
            && self.retired.len() <= REMEMBERED
            && self.asks.len() <= REMEMBERED
    }

    /// Writes it down.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("ids and times can be written to memory");
        text.push(b'\n');
        text
    }

    /// Tells how often Okta was asked in the day before `now`; what lies ahead of it counts too.
    #[must_use]
    pub fn asks_of_a_day(&self, now: Wall) -> usize {
        self.asks.iter().filter(|at| now.since(**at) < DAY).count()
    }

    /// Tells when the day of the oldest ask that still counts is over.
    #[must_use]
    pub fn day_ends(&self, now: Wall) -> Option<Wall> {
        let counting = self.asks.iter().filter(|at| now.since(**at) < DAY);
        counting.min().map(|at| *at + DAY)
    }

    /// Takes note that Okta is about to be asked.
    pub fn ask(&mut self, now: Wall) {
        self.asks.retain(|at| now.since(*at) < DAY);
        self.asks.truncate(REMEMBERED - 1);
        self.asks.push(now);
        self.asked = Some(now);
    }

    /// Finds a key that was rotated away.
    #[must_use]
    pub fn retired(&self, id: &str) -> Option<&Retired> {
        self.retired.iter().find(|retired| retired.id.eq_ignore_ascii_case(id))
    }

    /// Takes note that the file holds another key than before, and what becomes of that one.
    pub fn succeed(&mut self, new: &str, now: Wall, ends: Wall) {
        let repaired = self.lost.as_ref().is_some_and(|lost| lost.repaired)
            || self.retired(&self.key_id).is_some_and(|before| before.repaired);
        let old = std::mem::replace(&mut self.key_id, new.to_owned());
        let is_in_hand = |id: &str| id.eq_ignore_ascii_case(&old) || id.eq_ignore_ascii_case(new);
        self.retired.retain(|retired| !is_in_hand(&retired.id));
        if !old.eq_ignore_ascii_case(new) {
            self.retired.insert(0, Retired { id: old, ends, repaired, delete_at: None });
        }
        self.retired.truncate(REMEMBERED);
        (self.since, self.asked, self.lost, self.rest_until) = (now, None, None, None);
    }
}

/// Says why a journal is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalFlaw {
    /// There is none.
    Missing,
    /// It cannot be understood.
    Corrupt,
    /// A later version of the program has written it.
    Version(u32),
}

/// Writes moments as whole seconds since 1970.
mod seconds {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::token::timing::Wall;

    pub(super) fn serialize<S: Serializer>(at: &Wall, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(at.since_epoch().as_secs())
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Wall, D::Error> {
        u64::deserialize(from).map(super::moment)
    }
}

/// Writes moments that may be absent likewise.
mod maybe_seconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::token::timing::Wall;

    pub(super) fn serialize<S: Serializer>(at: &Option<Wall>, to: S) -> Result<S::Ok, S::Error> {
        at.map(|at| at.since_epoch().as_secs()).serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Wall>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(super::moment))
    }
}

/// Writes lists of moments likewise.
mod many_seconds {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::token::timing::Wall;

    pub(super) fn serialize<S: Serializer>(all: &[Wall], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(|at| at.since_epoch().as_secs()))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<Wall>, D::Error> {
        Ok(Vec::<u64>::deserialize(from)?.into_iter().map(super::moment).collect())
    }
}

fn moment(seconds: u64) -> Wall {
    Wall::from_unix(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0a1b2c3d-0000-4000-8000-00000000abc";

    fn id(number: u8) -> String {
        format!("{ID}{}", number % 10)
    }

    fn at(seconds: u64) -> Wall {
        moment(seconds)
    }

    fn full() -> Journal {
        let mut journal = Journal::new(&id(1), at(100));
        journal.ask(at(200));
        journal.succeed(&id(2), at(210), at(300));
        journal.ask(at(220));
        journal.lost = Some(Lost { ends: at(400), over: at(450), repaired: true });
        journal.rest_until = Some(at(500));
        journal.retired[0].delete_at = Some(at(600));
        journal
    }

    #[test]
    fn what_is_written_is_read_back() {
        for journal in [Journal::new(&id(1), at(0)), full()] {
            assert_eq!(Journal::read(&journal.written()), Ok(journal));
        }
    }

    // fault 123
    #[test]
    fn every_prefix_is_corrupt() {
        let whole = full().written();
        for length in 0..whole.len() - 2 {
            assert_eq!(Journal::read(&whole[..length]), Err(JournalFlaw::Corrupt), "{length}");
        }
    }

    // faults 123 and 125
    #[test]
    fn what_is_not_ours_is_told_apart_from_what_is_later() {
        let text = String::from_utf8(full().written()).unwrap();
        let table = [
            (text.replace("\"version\":1", "\"version\":2"), JournalFlaw::Version(2)),
            ("{\"version\":7,\"a\":{}}".to_owned(), JournalFlaw::Version(7)),
            (text.replace("\"version\":1", "\"version\":-1"), JournalFlaw::Corrupt),
            (text.replace("\"since\"", "\"hence\""), JournalFlaw::Corrupt),
            (text.replace("\"key_id\":\"0a", "\"key_id\":\"x/"), JournalFlaw::Corrupt),
            (text.replace("{\"version\":1", "{\"version\":1,\"version\":1"), JournalFlaw::Corrupt),
            (text.replace("\"asks\":[200", "\"asks\":[-200"), JournalFlaw::Corrupt),
            (format!("{text}x"), JournalFlaw::Corrupt),
            ("null".to_owned(), JournalFlaw::Corrupt),
            ("[".repeat(10_000), JournalFlaw::Corrupt),
        ];
        for (text, flaw) in table {
            assert_eq!(Journal::read(text.as_bytes()), Err(flaw), "{text}");
        }
    }

    proptest! {
        // fault 123
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Journal::read(&bytes).is_err());
        }

        // fault 123
        #[test]
        fn one_changed_byte_never_crashes(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = full().written();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _read_or_refused = Journal::read(&bytes);
        }

        #[test]
        fn a_journal_never_outgrows_what_it_reads(keys in prop::collection::vec(0..10_u8, 0..60)) {
            let mut journal = Journal::new(&id(0), at(0));
            for (step, key) in (0..).zip(keys) {
                journal.ask(at(step * 7000));
                journal.succeed(&id(key), at(step * 7000), at(step * 7000 + 1));
                prop_assert!(journal.retired(&id(key)).is_none(), "the key in use is not retired");
            }
            prop_assert_eq!(Journal::read(&journal.written()), Ok(journal));
        }
    }

    // fault 119: a clock that was set back does not forget
    #[test]
    fn asks_count_for_a_day_and_those_to_come_count_too() {
        let mut journal = Journal::new(&id(1), at(0));
        for seconds in [1000, 2000, 500_000] {
            journal.ask(at(seconds));
        }
        for (now, count, ends) in
            [(2000, 1, Some(586_400)), (586_399, 1, Some(586_400)), (586_400, 0, None)]
        {
            assert_eq!(journal.asks_of_a_day(at(now)), count, "{now}");
            assert_eq!(journal.day_ends(at(now)), ends.map(at), "{now}");
        }
        let mut early = Journal::new(&id(1), at(0));
        early.ask(at(1000));
        early.ask(at(2000));
        assert_eq!((early.asks_of_a_day(at(10)), early.day_ends(at(10))), (2, Some(at(87_400))));
    }

    // fault 119
    #[test]
    fn an_ask_is_forgotten_after_a_day_and_no_sooner() {
        let mut journal = Journal::new(&id(1), at(0));
        journal.ask(at(1000));
        journal.ask(at(1000 + 86_399));
        assert_eq!(journal.asks, [at(1000), at(87_399)]);
        journal.ask(at(1000 + 86_400));
        assert_eq!(journal.asks, [at(87_399), at(87_400)]);
        for second in 0..20 {
            journal.ask(at(87_401 + second));
        }
        assert_eq!((journal.asks.len(), journal.asks.last()), (REMEMBERED, Some(&at(87_420))));
    }

    // fault 123
    #[test]
    fn ids_are_the_same_in_either_case() {
        let mut journal = Journal::new(&id(1), at(0));
        journal.succeed(&id(2), at(10), at(20));
        journal.succeed(&id(1).to_uppercase(), at(30), at(40));
        assert!(journal.retired(&id(1)).is_none(), "the key in use is not retired");
        journal.succeed(&id(1), at(50), at(60));
        assert_eq!((journal.retired.len(), &*journal.retired[0].id), (1, &*id(2)));
    }

    #[test]
    fn a_key_that_was_repaired_with_is_remembered_as_such() {
        let mut journal = full();
        journal.succeed(&id(3), at(250), at(400));
        assert!(journal.retired(&id(2)).unwrap().repaired);
        assert!(!journal.retired(&id(1)).unwrap().repaired);
        assert_eq!((journal.asked, journal.lost, journal.rest_until), (None, None, None));
    }
}
