//! No secret that could be a real one is in the repository.

use std::{fs, path::Path};

/// What begins a secret of a well-known kind, and how many letters of it follow at the least.
const KINDS: [(&str, usize); 9] = [
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 35),
    ("ghp_", 36),
    ("github_pat_", 22),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("sk_live_", 20),
    // A JWT: two parts of JSON, then a signature.
    ("eyJ", 40),
];

/// Folders that hold no texts of ours.
const FOREIGN: [&str; 2] = [".git", "target"];

fn texts(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if !FOREIGN.contains(&name.as_str()) {
                texts(&path, found);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.display().to_string(), text));
        }
    }
}

/// What looks like a secret in a text.
fn secrets(text: &str) -> Vec<String> {
    let is_letter =
        |letter: char| letter.is_ascii_alphanumeric() || ['_', '-', '.'].contains(&letter);
    let words = text.split(|letter: char| !is_letter(letter)).filter(|word| is_secret(word));
    let mut found: Vec<_> = words.map(str::to_owned).collect();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        // The armour alone, as tests have it, is no key: a line of one has 64 letters.
        let is_key = line.contains("PRIVATE KEY-----") && !line.contains("PUBLIC");
        let next = lines.clone().next().unwrap_or_default().trim();
        if is_key && next.len() >= 48 && !next.contains(' ') {
            found.push(format!("{line} …"));
        }
    }
    found
}

fn is_secret(word: &str) -> bool {
    KINDS.iter().any(|(start, length)| match word.strip_prefix(start) {
        Some(rest) if *start == "eyJ" => is_jwt(rest, *length),
        Some(rest) => rest.len() >= *length && rest.chars().all(char::is_alphanumeric),
        None => false,
    })
}

/// Three parts, of which the second begins with a brace too and the last is a signature.
fn is_jwt(rest: &str, length: usize) -> bool {
    match rest.split('.').collect::<Vec<_>>()[..] {
        [_, claims, signature] => claims.starts_with("eyJ") && signature.len() >= length,
        _ => false,
    }
}

// fault 245
#[test]
fn no_text_holds_what_could_be_a_secret() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    texts(root, &mut all);
    assert!(all.len() > 300, "the texts were not found");
    let found: Vec<_> = all
        .iter()
        .flat_map(|(path, text)| secrets(text).into_iter().map(move |it| (path, it)))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_secret_would_be_found() {
    let (long, armour) = ("a1B2".repeat(16), "-----BEGIN PRIVATE KEY-----");
    for secret in [
        format!("key = AKIA{}", "A7".repeat(8)),
        format!("\"ghp_{}\"", &long[..36]),
        format!("Bearer eyJ{long}.eyJ{long}.{long}"),
        format!("{armour}\n{long}\n"),
    ] {
        assert_eq!(secrets(&secret).len(), 1, "{secret}");
    }
    for honest in
        ["eyJhbGciOi", "AKIA", &format!("{armour}\nAAAA\n"), "-----BEGIN CERTIFICATE-----"]
    {
        assert_eq!(secrets(honest).len(), 0, "{honest}");
    }
}
