//! What `tests/fuzz` feeds arbitrary bytes to, and what has to hold whatever they are.
//!
//! Each target takes bytes and panics when an invariant does not hold. The same functions serve
//! libFuzzer, in `tests/fuzz`, and the replay of its corpora in the ordinary tests.

mod configuration;
mod connection;
mod draw;
mod files;
mod forwarded;
mod histories;
mod issuer;
mod paths;
mod text;

/// Checks one input of a target.
pub type Check = fn(&[u8]);

/// Lists the targets by name; each has a file in `tests/fuzz/fuzz_targets` and a corpus.
pub const TARGETS: [(&str, Check); 17] = [
    ("configuration", configuration::file),
    ("environment", configuration::environment),
    ("forwarded_answer", forwarded::answer),
    ("jwt_exp", issuer::jwt_exp),
    ("key_file", files::key_file),
    ("key_parts", files::key_parts),
    ("mint_answer", issuer::mint_answer),
    ("okta_path", paths::okta_path),
    ("policy_history", histories::policy),
    ("proxied_requests", connection::proxied),
    ("requests", connection::local),
    ("retry_headers", issuer::retry_headers),
    ("rotation_answer", issuer::rotation_answer),
    ("rotation_history", histories::rotation),
    ("rotation_journal", files::rotation_journal),
    ("timestamp", issuer::timestamp),
    ("token_cache", files::token_cache),
];

/// Checks one input of the target of this name.
///
/// # Panics
///
/// When an invariant does not hold, or there is no such target.
pub fn check(name: &str, data: &[u8]) {
    let (_, check) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    check(data);
}

#[cfg(test)]
mod tests;
