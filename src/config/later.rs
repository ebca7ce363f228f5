//! What the contract promises and this version does not do yet: understood, and refused by name.
//!
//! The day a feature lands, its line goes away here and in the reference configuration.

use std::collections::BTreeSet;

use super::{
    finding::{Complaint, Finding, Severity},
    reader::Entry,
};

/// Says which values of a key ask for a later feature.
#[derive(Clone, Copy)]
enum When {
    /// Anything but the default.
    Changed,
    /// A value, or item of a list, that begins so.
    Begins(&'static str),
}

/// The refused keys: `*` stands for a name, a table for all its keys.
const LATER: &[(&str, When)] = &[
    ("credentials.*.rotation", When::Changed),
    ("listeners.*.bind", When::Begins("systemd:")),
    ("state.cache_token", When::Changed),
];

/// Refuses what was asked for and is not there yet, each feature once.
pub(super) fn findings(entries: &[Entry]) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let asked = LATER.iter().flat_map(|(pattern, when)| {
        entries.iter().filter_map(|entry| {
            let key = matched(pattern, &entry.key)?;
            let what = asked_for(*when, entry)?;
            Some((format!("{key}{what}"), key, what, entry))
        })
    });
    asked
        .filter(|(feature, ..)| seen.insert(feature.clone()))
        .map(|(_, key, what, entry)| {
            let problem = format!("{what} is not part of this version yet");
            Complaint::new(problem.trim_start().to_owned(), "leave it out").at(
                Severity::Error,
                Some(key),
                entry.origin.clone(),
            )
        })
        .collect()
}

/// Cuts a key to the length of the pattern that it matches.
fn matched(pattern: &str, key: &str) -> Option<String> {
    let mut parts = key.split('.');
    let fits =
        pattern.split('.').all(|want| parts.next().is_some_and(|part| want == "*" || want == part));
    let length = pattern.split('.').count();
    fits.then(|| key.split('.').take(length).collect::<Vec<_>>().join("."))
}

/// Tells what an entry asks for: nothing, the key itself (empty), or one value.
fn asked_for(when: When, entry: &Entry) -> Option<String> {
    let changed = entry.value.is_some() && entry.value != entry.default;
    match when {
        When::Begins(sign) => begins(entry, sign).then(|| format!(" with `{sign}`")),
        When::Changed => changed.then(String::new),
    }
}

/// Looks into a value as shown: text in quotes, or a list.
fn begins(entry: &Entry, sign: &str) -> bool {
    let value = entry.value.as_deref().unwrap_or_default();
    value.contains(&format!("\"{sign}"))
}
