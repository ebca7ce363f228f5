//! What the program is made of: crates from one registry, none with a known hole, under licences that fit.

#![expect(
    clippy::indexing_slicing,
    reason = "files of ours, and what cargo prints, have known keys"
)]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

/// Crates that are refused, and why.
const REFUSED: [(&str, &str); 19] = [
    ("ansi_term", "nobody keeps it"),
    ("async-compression", "decompression is an attack"),
    ("atty", "nobody keeps it"),
    ("brotli", "decompression is an attack"),
    ("charset", "an answer is UTF-8"),
    ("chrono", "there is one crate for times"),
    ("cookie_store", "an issuer sets no cookies here"),
    ("flate2", "decompression is an attack"),
    ("h2", "the issuer is spoken to in HTTP/1.1"),
    ("instant", "nobody keeps it"),
    ("native-tls", "there is one TLS"),
    ("openssl", "there is one TLS"),
    ("openssl-sys", "there is one TLS"),
    ("paste", "nobody keeps it"),
    ("proc-macro-error", "nobody keeps it"),
    ("rustls-pemfile", "nobody keeps it"),
    ("serde_yaml", "nobody keeps it"),
    ("serde_yml", "nobody keeps it, and it is unsound"),
    ("zstd", "decompression is an attack"),
];

/// The first versions without a known hole.
const FLOORS: [(&str, [u64; 3]); 10] = [
    ("bytes", [1, 11, 1]),
    ("hyper", [1, 6, 0]),
    ("ring", [0, 17, 12]),
    ("rustls", [0, 23, 18]),
    ("rustls-webpki", [0, 103, 13]),
    ("slab", [0, 4, 11]),
    ("time", [0, 3, 47]),
    ("tokio", [1, 44, 2]),
    ("tracing-subscriber", [0, 3, 20]),
    ("url", [2, 5, 4]),
];

/// Licences that ask for no more than their own text beside the program.
const LICENCES: [&str; 10] = [
    "Apache-2.0",
    "BSD-3-Clause",
    // The roots of TLS, which are data.
    "CDLA-Permissive-2.0",
    "ISC",
    "LLVM-exception",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "BSD-2-Clause",
];

fn file(name: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).expect("it is there").parse().expect("TOML")
}

/// Every package of the lock file: its name, version and source.
fn locked() -> Vec<(String, [u64; 3], Option<String>)> {
    let lock = file("Cargo.lock");
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    let packages = lock["package"].as_array().expect("packages").iter();
    let all: Vec<_> = packages
        .map(|package| {
            let version = text(package, "version").expect("a version");
            (text(package, "name").expect("a name"), numbers(&version), text(package, "source"))
        })
        .collect();
    assert!(all.len() > 100, "the lock file was not found");
    all
}

fn numbers(version: &str) -> [u64; 3] {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse().expect("a number"));
    [(); 3].map(|()| numbers.next().expect("three numbers"))
}

// faults 31, 36, 264, 269: what is not compiled in cannot be used against us
#[test]
fn no_crate_is_in_the_tree_that_is_refused() {
    let locked = locked();
    for (refused, why) in REFUSED {
        assert!(locked.iter().all(|(name, ..)| name != refused), "{refused}: {why}");
    }
}

// fault 261
#[test]
fn no_crate_is_older_than_its_last_hole() {
    let locked = locked();
    for (known, floor) in FLOORS {
        let versions: Vec<_> = locked.iter().filter(|(name, ..)| name == known).collect();
        assert!(!versions.is_empty(), "{known} is gone: take it from the list");
        for (_, version, _) in versions {
            assert!(*version >= floor, "{known} {version:?} is older than {floor:?}");
        }
    }
}

// fault 265
#[test]
fn every_crate_is_from_the_one_registry() {
    let own = |name: &str, source: &Option<String>| name == "bearerd" && source.is_none();
    for (name, _, source) in locked() {
        let registry = source.as_deref().is_some_and(|source| {
            source == "registry+https://github.com/rust-lang/crates.io-index"
        });
        assert!(registry || own(&name, &source), "{name} is from {source:?}");
    }
    let manifest = file("Cargo.toml");
    assert!(!manifest.contains_key("patch") && !manifest.contains_key("replace"));
}

/// The packages that are compiled for Linux, as cargo tells.
fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--locked", "--format-version=1"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let told = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let mut told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let packages = told["packages"].take();
    packages.as_array().expect("packages").clone()
}

// fault 273
#[test]
fn every_licence_lets_us_ship() {
    for package in packages() {
        let text =
            package["license"].as_str().unwrap_or_else(|| panic!("{} has none", package["name"]));
        let words = text.split([' ', '(', ')', '/']).filter(|word| !word.is_empty());
        let unknown: Vec<_> = words
            .filter(|word| !["AND", "OR", "WITH"].contains(word) && !LICENCES.contains(word))
            .collect();
        // One of several is enough, if they are offered as a choice.
        let is_choice = text.contains(" OR ") && !text.contains("AND");
        let some = text.split(" OR ").any(|one| LICENCES.contains(&one));
        assert!(unknown.is_empty() || is_choice && some, "{}: {text}", package["name"]);
    }
}

// fault 269
#[test]
fn features_of_what_speaks_to_the_world_are_the_chosen_ones() {
    let chosen: BTreeMap<_, &[&str]> = BTreeMap::from([
        ("hyper", &["client", "http1", "server"][..]),
        ("hyper-rustls", &["http1", "ring", "tls12"]),
        ("reqwest", &["rustls-no-provider"]),
        ("rustls", &["ring", "std", "tls12"]),
        ("tokio-rustls", &["ring", "tls12"]),
    ]);
    let manifest = file("Cargo.toml");
    for (name, features) in chosen {
        let entry = &manifest["dependencies"][name];
        let listed = entry["features"].as_array().expect("features").iter();
        let mut listed: Vec<_> = listed.filter_map(toml::Value::as_str).collect();
        listed.sort_unstable();
        assert_eq!(listed, features, "{name}");
        let has_defaults = entry.get("default-features").and_then(toml::Value::as_bool);
        assert!(name == "hyper" || has_defaults == Some(false), "{name}");
    }
}

// fault 268
#[test]
fn no_code_of_ours_is_unsafe() {
    assert_eq!(file("Cargo.toml")["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for (name, code) in super::sources() {
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let found = code.lines().filter(is_code).find(|line| line.contains("unsafe_code"));
        assert_eq!(found, None, "{name}");
    }
}

// fault 267
#[test]
fn a_release_checks_its_arithmetic() {
    assert_eq!(file("Cargo.toml")["profile"]["release"]["overflow-checks"].as_bool(), Some(true));
}
