//! Every row of `tests/faults.md` has a test that names it, or a reason why there is none.
//!
//! A test names its rows by a mark: a plain comment line of its own that begins with `fault 42` or
//! `faults 42, 44 to 46` and then ends, or goes on after a colon. In shell and YAML it begins with `#`.
//! A story lists its rows in `covers`. A range may not run over a number that is no row.

#![expect(
    clippy::panic,
    reason = "clippy lets tests do so, but not the functions that tests share"
)]

mod marks;
mod register;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use self::{marks::Found, register::Register};

/// Where marks are looked for.
const FOLDERS: [&str; 4] = ["src", "tests", "deploy", ".ci"];

/// The texts of the repository that may hold marks, by their path in it.
fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut found);
    }
    // This test and its table speak of marks and hold none.
    let own =
        |path: &Path| path.starts_with(root.join("tests/faults")) || path.ends_with("faults.md");
    found.retain(|(path, _)| !own(path));
    assert!(found.len() > 300, "the texts were not found: {}", found.len());
    let name = |path: PathBuf| path.strip_prefix(root).expect("below").display().to_string();
    found.into_iter().map(|(path, text)| (name(path), text)).collect()
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path, text));
        }
    }
}

fn register() -> Register {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults.md");
    Register::read(&fs::read_to_string(path).expect("the table"))
        .unwrap_or_else(|flaw| panic!("{flaw}"))
}

/// What is wrong between the table and the marks, line by line.
fn flaws(register: &Register, texts: &[(String, String)]) -> Vec<String> {
    let mut flaws = Vec::new();
    let mut marked: BTreeMap<u16, BTreeSet<&str>> = BTreeMap::new();
    for (path, text) in texts {
        let Found { marks, mentions, flaws: strays } = marks::find(path, text, &register.numbers());
        flaws.extend(strays);
        for row in marks {
            marked.entry(row).or_default().insert(path);
        }
        let unknown = mentions.iter().filter(|row| !register.rows.contains_key(row));
        flaws.extend(unknown.map(|row| format!("{path}: {row} is no row of tests/faults.md")));
    }
    for (number, row) in &register.rows {
        match (&row.reason, marked.get(number)) {
            (None, None) => {
                flaws.push(format!("row {number} ({}) has no test and no reason", row.fault));
            }
            (Some(_), Some(paths)) => {
                flaws.push(format!(
                    "row {number} has a reason for no test, and is tested in {paths:?}"
                ));
            }
            _ => {}
        }
    }
    flaws
}

#[test]
fn every_row_has_a_test_or_a_reason() {
    let flaws = flaws(&register(), &texts());
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

#[test]
fn a_gap_a_contradiction_and_a_stray_are_seen() {
    let table = "| # | fault | instead of a test |\n| --- | --- | --- |\n\
                 | 1 | a | |\n| 2 | b | no |\n| 4 | c | |\n\nNot in use: 3.\n";
    let register = Register::read(table).expect("a table");
    let told = |path: &str, text: &str| {
        let flaws = flaws(&register, &[(path.to_owned(), text.to_owned())]);
        flaws.join("; ")
    };
    assert_eq!(told("tests/a.rs", "// faults 1, 4: here\n"), "");
    assert_eq!(told("tests/a.toml", "covers = [\"law 2\", \"fault 1\", \"fault 4\"]\n"), "");
    assert_eq!(told("deploy/check", "  # faults 1 and 4\n"), "");
    let rows = [
        ("tests/a.rs", "// fault 1\n", "row 4 (c) has no test"),
        ("tests/a.rs", "/// See faults 1, 4.\n", "row 1 (a) has no test"),
        ("tests/a.rs", "// faults 1, 2, 4\n", "row 2 has a reason for no test"),
        ("tests/a.rs", "// faults 1, 3, 4\n", "3 is no row"),
        ("tests/a.rs", "// faults 1, 4\n/// (fault 5).\n", "5 is no row"),
        ("tests/a.rs", "// faults 1 to 4\n", "runs over 3"),
        ("tests/a.rs", "// faults 4 to 1\n", "runs backwards"),
        ("tests/a.rs", "// fault 1, 4\n", "cannot be read"),
        ("tests/a.rs", "// faults 1\n", "cannot be read"),
        ("tests/a.rs", "// faults 1, 4 and more\n", "cannot be read"),
        ("tests/a.rs", "// case 7, fault 1\n", "cannot be read"),
        ("src/a.rs", "// faults 1, 4\nfn a() {}\n#[cfg(test)]\n", "is in no test"),
    ];
    for (path, text, flaw) in rows {
        let told = told(path, text);
        assert!(told.contains(flaw), "{path} {text:?}: {told}");
    }
}

#[test]
fn holes_and_doubles_of_the_table_are_seen() {
    let head = "| # | fault | instead of a test |\n| --- | --- | --- |\n";
    let rows = [
        ("| 1 | a | |\n| 1 | b | |\n", "1 does not follow 1"),
        ("| 1 | a | |\n| 3 | b | |\n", "2 is no row"),
        ("| 1 | a | |\n| 2 | b | |\n\nNot in use: 2.\n", "2 is a row"),
        ("| 1 | a | |\n\nNot in use: 7.\n", "7 is beyond"),
        ("| 1 |  | |\n", "says nothing"),
        ("| 1 | a |\n", "three columns"),
        ("", "no rows"),
    ];
    for (text, flaw) in rows {
        let told = Register::read(&format!("{head}{text}")).err().unwrap_or_default();
        assert!(told.contains(flaw), "{text:?}: {told}");
    }
}
