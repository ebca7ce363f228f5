//! What may stand in the files that are read: keys, the journal of a rotation, the sealed token.

use std::time::Duration;

use serde::Deserialize;

use super::{draw::Draw, issuer::check_key, text::check_sentence};
use crate::{
    key::{
        api_key::{ApiKey, Flaw, read_part},
        journal::{GRACE, Journal, JournalFlaw},
        rotation::{
            Rotation,
            world::{START, id, plan},
        },
        step::{Found, Outcome, Step},
    },
    token::cache::sealed,
};

// Rows that this is about (faults 34, 90, 227).
pub(super) fn key_file(data: &[u8]) {
    let read = ApiKey::from_json(data);
    assert_eq!(read.as_ref().err(), ApiKey::from_json(data).as_ref().err(), "the same flaw");
    match &read {
        Ok(key) => {
            check_key(key);
            let other = by_another_parser(data).expect("it is JSON with these fields only");
            let parts = (key.id(), key.expose_secret(), key.team_name());
            assert_eq!(parts, (&*other.key_id, &*other.key_secret, other.team_name.as_deref()));
            check_variants(data);
        }
        Err(flaw) => {
            check_sentence(&flaw.to_string());
            let lines = 1 + data.iter().filter(|byte| **byte == b'\n').count();
            if let Flaw::Malformed { line } | Flaw::Unknown { line } = flaw {
                assert!((1..=lines).contains(line), "line {line} of {lines}");
            }
            assert!(!by_another_parser(data).is_some_and(|other| other.is_good()), "{flaw}");
        }
    }
}

/// The same fields as serde has them; a field of `null` is its only liberty.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    key_id: String,
    key_secret: String,
    #[serde(default, deserialize_with = "present")]
    team_name: Option<String>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

impl Other {
    fn is_good(&self) -> bool {
        ApiKey::new(&self.key_id, &self.key_secret, self.team_name.as_deref()).is_ok()
    }
}

fn by_another_parser(data: &[u8]) -> Option<Other> {
    // It would take a list, too.
    let is_object = data.trim_ascii_start().starts_with(b"{");
    serde_json::from_slice(data).ok().filter(|_| is_object)
}

/// What no longer is a key file.
fn check_variants(good: &[u8]) {
    for bad in [[b"\xef\xbb\xbf", good].concat(), [good, b"\0"].concat(), [good, good].concat()] {
        assert!(ApiKey::from_json(&bad).is_err());
    }
    let end = good.iter().rposition(|byte| *byte == b'}').expect("an object");
    let (object, _) = good.split_at(end);
    assert!(ApiKey::from_json(object).is_err(), "it is cut off");
    for more in [&br#","key_id":"x"}"#[..], br#","key_secret":"x"}"#, br#","more":"x"}"#] {
        assert!(ApiKey::from_json(&[object, more].concat()).is_err(), "a field too many");
    }
}

/// The files of a directory, of which a mounted Secret has one for each part (faults 34, 90).
pub(super) fn key_parts(data: &[u8]) {
    let mut files = data.split(|byte| *byte == 0);
    let mut part = || read_part(files.next().unwrap_or_default());
    let (id, secret, team) = (part(), part(), part());
    for flaw in [id, secret, team].into_iter().filter_map(Result::err) {
        check_sentence(&flaw.to_string());
    }
    let (Ok(id), Ok(secret)) = (id, secret) else { return };
    match ApiKey::new(id, secret, team.ok()) {
        Ok(key) => {
            check_key(&key);
            assert!(!secret.ends_with(['\r', '\n']), "a line end is no part of it");
        }
        Err(flaw) => check_sentence(&flaw.to_string()),
    }
}

// Rows that this is about (faults 123, 125, 238).
pub(super) fn rotation_journal(data: &[u8]) {
    let read = Journal::read(data);
    assert_eq!(read, Journal::read(data));
    if let Ok(journal) = &read {
        assert_eq!(Journal::read(&journal.written()).as_ref(), Ok(journal), "it is read back");
        let ids = journal.retired.iter().map(|it| &it.id).chain([&journal.key_id]);
        ids.for_each(|id| assert!(id.len() == 36 && id.is_ascii()));
        assert!(journal.asks_of_a_day(START) <= journal.asks.len());
    }
    check_resumed(&read);
    if let Ok(journal) = read {
        check_use(journal);
    }
}

/// Whatever is found, a start goes on; and without a journal nothing is asked before a mint.
fn check_resumed(read: &Result<Journal, JournalFlaw>) {
    for beside in [None, Some(id(1))] {
        let found = Found { journal: read.clone(), file: id(0), beside };
        let mut machine = Rotation::resume(plan(), found);
        let mut now = START;
        for _ in 0..20 {
            let step = machine.next(now);
            assert_eq!(step, machine.next(now), "to ask twice changes nothing");
            match step {
                Step::Rest(None) => break,
                Step::Rest(Some(until)) => {
                    assert!(until > now, "never a spin");
                    now = until;
                }
                step => {
                    let asks = matches!(step, Step::Ask | Step::Prove | Step::Replace { .. });
                    assert!(read.is_ok() || !asks, "{step:?} without a journal or a mint");
                    now = now + Duration::from_secs(1);
                    machine.done(now, Outcome::Failed);
                }
            }
        }
    }
}

fn check_use(mut journal: Journal) {
    journal.ask(START);
    journal.succeed(&id(3), START, START + GRACE);
    assert_eq!(journal.key_id, id(3));
    assert!(journal.retired(&id(3)).is_none(), "the key in use is not retired");
    assert_eq!(Journal::read(&journal.written()), Ok(journal), "it never outgrows what it reads");
}

/// Bytes that nobody sealed, bytes that were sealed and changed, and sealed nonsense (fault 123).
pub(super) fn token_cache(data: &[u8]) {
    let mut draw = Draw::new(data);
    match draw.byte() {
        b'r' => sealed::check_unsealed(draw.rest()),
        b'c' => sealed::check_changed(usize::from(draw.byte()), draw.byte()),
        _ => sealed::check_content(draw.rest()),
    }
}
