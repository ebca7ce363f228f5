//! Keeps the shipped configurations true: they load, and the reference names every key.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::*;

fn config_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn root() -> Surroundings {
    Surroundings::new(&[], 0, 0)
}

/// Gives the sources of root with these files and nothing else.
fn sources(files: Vec<PathBuf>) -> Sources {
    let surroundings = Surroundings { gid: rustix::process::getegid().as_raw(), ..root() };
    let fallback_file = "/nonexistent/bearerd.toml".into();
    Sources { files, fallback_file, environment: Vec::new(), flags: Vec::new(), surroundings }
}

/// Switches every key of the reference on that is off.
fn all_switched_on(text: &str) -> String {
    let begins =
        |rest: &str| rest.starts_with(|char: char| char.is_ascii_lowercase() || char == '[');
    text.lines()
        .map(|line| line.strip_prefix('#').filter(|rest| begins(rest)).unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn keys_and_values(table: &toml::Table, parent: &str, into: &mut BTreeMap<String, toml::Value>) {
    for (key, value) in table {
        let path = if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") };
        match value {
            toml::Value::Table(table) => keys_and_values(table, &path, into),
            value => drop(into.insert(path, value.clone())),
        }
    }
}

fn entries_of(text: &str) -> Vec<Entry> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bearerd.toml");
    fs::write(&file, text).unwrap();
    let sources = sources(vec![file]);
    let (tree, _) = load::merge(&sources).unwrap();
    read(&tree, &sources.surroundings).1.entries()
}

fn reference() -> String {
    fs::read_to_string(config_dir().join("bearerd.toml")).unwrap()
}

#[test]
fn every_shipped_configuration_loads() {
    let mut loaded = 0;
    for dir in [config_dir(), config_dir().join("examples")] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let result = load(&sources(vec![path.clone()]));
                let found = result.unwrap_or_else(|findings| panic!("{findings}"));
                let on_tcp = ["examples/tcp.toml", "examples/read-only-proxy.toml"];
                let expected = usize::from(on_tcp.iter().any(|file| path.ends_with(file)));
                assert_eq!(found.warnings.len(), expected, "{:?}", found.warnings);
                loaded += 1;
            }
        }
    }
    assert!(loaded >= 5);
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let text = all_switched_on(&reference());
    let mut written = BTreeMap::new();
    keys_and_values(&text.parse().unwrap(), "", &mut written);
    let known: BTreeSet<String> = entries_of(&text).into_iter().map(|entry| entry.key).collect();
    assert_eq!(written.into_keys().collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_reference_states_the_real_defaults() {
    let examples = [
        "okta.base_url",
        "credentials.default.team_name",
        "credentials.default.key_file",
        "listeners.apps.bind",
    ];
    let active = entries_of(&reference());
    for entry in active.iter().filter(|entry| entry.origin != Origin::Default) {
        let is_example = entry.default.is_none() && examples.contains(&entry.key.as_str());
        assert!(is_example || entry.value == entry.default, "{entry:?}");
    }
}

#[test]
fn the_reference_switches_off_only_what_has_no_default() {
    let active: BTreeSet<_> = entries_of(&reference())
        .into_iter()
        .filter(|entry| entry.origin != Origin::Default)
        .map(|entry| entry.key)
        .collect();
    for entry in entries_of(&all_switched_on(&reference())) {
        let is_off = !active.contains(&entry.key);
        let in_example = entry.key.starts_with("sinks.");
        assert!(!is_off || in_example || entry.default.is_none(), "{entry:?}");
    }
}

#[test]
fn the_reference_explains_every_key() {
    let text = reference();
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2) {
        let is_key = |line: &str| line.trim_start_matches('#').starts_with(char::is_lowercase);
        let [before, line] = pair else { continue };
        let explained = before.starts_with("# ") || is_key(before);
        assert!(!is_key(line) || explained, "no comment above: {line}");
    }
}
