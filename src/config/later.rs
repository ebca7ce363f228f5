//! What the contract promises and this version does not do yet: understood, and refused by name.
//!
//! The day a feature lands, its line goes away here and in the reference configuration.

use std::collections::BTreeSet;

use super::{
    finding::{Complaint, Finding, Severity},
    reader::Entry,
};

/// The refused keys, where they are set to anything but the default: `*` stands for a name, a table for
/// all its keys.
const LATER: [&str; 1] = ["credentials.*.rotation.on_rotated"];

/// Refuses what was asked for and is not there yet, each feature once.
pub(super) fn findings(entries: &[Entry]) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let changed = |entry: &&Entry| entry.value.is_some() && entry.value != entry.default;
    let asked = entries.iter().filter(changed).filter_map(|entry| {
        let key = LATER.iter().find_map(|pattern| matched(pattern, &entry.key))?;
        Some((key, entry))
    });
    asked
        .filter(|(key, _)| seen.insert(key.clone()))
        .map(|(key, entry)| {
            Complaint::new("is not part of this version yet", "leave it out").at(
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
