//! The house stays as it was drawn: which room may know which, and what the pure ones never name; and its
//! pages lead where they say.

mod pages;

mod secrets;
mod supply;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each room and the rooms that it may name.
const ROOMS: [(&str, &[&str]); 17] = [
    (
        "app",
        &[
            "config",
            "control",
            "key",
            "kubernetes",
            "local",
            "okta",
            "outlet",
            "process",
            "proxy",
            "rotator",
            "telemetry",
            "token",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "config",
            "control",
            "emulator",
            "key",
            "local",
            "okta",
            "outlet",
            "process",
            "rotator",
            "telemetry",
            "token",
        ],
    ),
    ("config", &[]),
    ("control", &["local", "outlet", "process", "proxy", "rotator", "telemetry", "token"]),
    ("emulator", &["okta"]),
    ("fuzzing", &["config", "key", "local", "okta", "process", "proxy", "telemetry", "token"]),
    ("key", &["config", "process"]),
    ("kubernetes", &["config", "key", "process"]),
    ("local", &["config", "okta", "outlet", "process", "proxy", "telemetry", "token"]),
    ("main", &[]),
    ("okta", &["config", "key", "process"]),
    ("outlet", &["config", "process", "telemetry", "token"]),
    ("process", &[]),
    ("proxy", &["config", "key", "okta", "process", "token"]),
    ("rotator", &["config", "key", "kubernetes", "okta", "outlet", "process", "token"]),
    ("telemetry", &["config", "process"]),
    ("token", &["key", "okta", "process", "telemetry"]),
];

/// Pure leaves that any room may name: the configuration is made of their types, and Okta's paths and
/// links are read in one way only.
const LEAVES: [&str; 5] =
    ["token::format", "token::timing", "proxy::rules", "proxy::path", "proxy::link"];

/// Files that decide and do nothing else.
const PURE: [&str; 40] = [
    "cli/api/call.rs",
    "cli/api/pages.rs",
    "cli/doctor/credential.rs",
    "cli/doctor/daemon.rs",
    "cli/doctor/finding.rs",
    "cli/doctor/person.rs",
    "cli/span.rs",
    "cli/status/draw.rs",
    "cli/table.rs",
    "cli/text.rs",
    "control/history.rs",
    "control/page.rs",
    "control/page/plot.rs",
    "control/span.rs",
    "key/journal.rs",
    "key/rotation.rs",
    "key/step.rs",
    "kubernetes/wire.rs",
    "local/framing.rs",
    "local/guard.rs",
    "local/query.rs",
    "okta/brief.rs",
    "okta/certificate.rs",
    "okta/chunks.rs",
    "okta/classify.rs",
    "okta/key_answers.rs",
    "okta/retry_time.rs",
    "okta/timestamp.rs",
    "okta/wire.rs",
    "proxy/headers.rs",
    "proxy/link.rs",
    "proxy/path.rs",
    "proxy/replay.rs",
    "proxy/rules.rs",
    "token/backoff.rs",
    "token/budget.rs",
    "token/format.rs",
    "token/lease.rs",
    "token/policy.rs",
    "token/timing.rs",
];

/// What a pure file never names: I/O, time, chance, the runtime.
const IMPURE: [&str; 12] = [
    "tokio",
    "hyper",
    "reqwest",
    "rustix",
    "nix::",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "Instant",
    "SystemTime",
    "ring::rand",
];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 50, "the sources were not found");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path: PathBuf = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("below").display().to_string();
            let text = fs::read_to_string(&path).expect("text");
            // Tests may look at their neighbours.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            found.push((name, code.to_owned()));
        }
    }
}

fn is_test(name: &str) -> bool {
    ["tests", "laws"].iter().any(|word| name.contains(word))
}

fn room(name: &str) -> &str {
    name.split('/').next().unwrap_or(name).trim_end_matches(".rs")
}

/// The paths behind every `crate::` in a text, to the second segment.
fn named(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => paths.extend(branches(group)),
            None => {
                paths.insert(path(rest));
            }
        }
    }
    paths
}

/// The branches of `{a::b, c::{d, e}}`, without its first brace.
fn branches(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut branch = String::new();
    let mut all = Vec::new();
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            all.push(std::mem::take(&mut branch));
        } else {
            branch.push(letter);
        }
    }
    all.push(branch);
    all.iter().map(|branch| path(branch.trim())).filter(|path| !path.is_empty()).collect()
}

fn path(text: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !word(c)).unwrap_or(text.len());
    text[..end].split("::").filter(|part| !part.is_empty()).take(2).collect::<Vec<_>>().join("::")
}

#[test]
fn branches_are_found() {
    let code = "use crate::{a::{b, c}, d::e::f, g};\nlet x = crate::h::I::new();";
    let expected = ["a", "d::e", "g", "h::I"].map(String::from);
    assert_eq!(named(code), BTreeSet::from(expected));
}

#[test]
fn arrows_point_the_way_that_was_drawn() {
    let mut wrong = Vec::new();
    for (name, code) in sources().iter().filter(|(name, _)| name != "lib.rs" && !is_test(name)) {
        let own = room(name);
        let (_, allowed) = ROOMS
            .iter()
            .find(|(room, _)| *room == own)
            .unwrap_or_else(|| panic!("{name}: this room is not on the map"));
        for path in named(code) {
            let target = room_of(&path);
            if target != own && !LEAVES.contains(&path.as_str()) && !allowed.contains(&target) {
                wrong.push(format!("{name} names crate::{path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn room_of(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

#[test]
fn the_arrows_of_the_map_make_no_circle() {
    let mut below: Vec<&str> = Vec::new();
    while below.len() < ROOMS.len() {
        let ready = |(room, allowed): &&(&'static str, &[&str])| {
            !below.contains(room) && allowed.iter().all(|room| below.contains(room))
        };
        let next: Vec<_> = ROOMS.iter().filter(ready).map(|(room, _)| *room).collect();
        assert!(!next.is_empty(), "a circle among the rooms that are not in {below:?}");
        below.extend(next);
    }
}

#[test]
fn every_arrow_of_the_map_is_used() {
    let sources = sources();
    for (room_name, allowed) in ROOMS {
        for target in allowed {
            let is_used = sources
                .iter()
                .filter(|(name, _)| room(name) == room_name)
                .any(|(_, code)| named(code).iter().any(|path| room_of(path) == *target));
            assert!(is_used, "{room_name} need not know {target}");
        }
    }
}

#[test]
fn pure_files_name_no_world() {
    let sources = sources();
    for pure in PURE {
        let (_, code) = sources
            .iter()
            .find(|(name, _)| name == pure)
            .unwrap_or_else(|| panic!("{pure} is gone"));
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let found = IMPURE.iter().find(|word| line.contains(**word));
            assert_eq!(found, None, "{pure}: {line}");
        }
    }
}

#[test]
fn one_file_names_figment_and_one_room_the_command_line() {
    for (name, code) in sources() {
        let in_code = |word: &str| {
            code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word))
        };
        assert!(!in_code("figment::") || name == "config/load.rs", "{name} names figment");
        let may_name_clap = ["cli", "emulator"].contains(&room(&name));
        assert!(!in_code("clap::") || may_name_clap, "{name} names clap");
    }
}

#[test]
fn main_is_short() {
    let main = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs"));
    assert!(main.expect("it is there").lines().count() <= 40);
}

// fault 89: what is judged is what was opened, and not what has its name by now
#[test]
fn a_file_that_somebody_owns_is_judged_by_its_descriptor() {
    let sources = sources();
    let (_, code) =
        sources.iter().find(|(name, _)| name == "process/owned_file.rs").expect("a file");
    assert!(code.contains("fstat("));
    for word in ["metadata(", " stat(", "lstat(", "statat(", "access(", "exists(", "fs::read"] {
        let named = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found: Vec<_> = named.filter(|line| line.contains(word)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}
