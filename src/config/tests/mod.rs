//! The fault tables of the configuration: what is written, and what is said about it.

use std::fs;

use super::*;

mod chance;
mod kubernetes;
mod layers;
mod places;
mod ports;
mod refused;
mod rotation;
mod values;

/// The least that is accepted; rows add to it or override it.
const BASE: &str = r#"
[okta]
base_url = "https://acme.pam.okta.com"
[credentials.default]
team_name = "acme"
key_file = "key.json"
"#;

const BASE_VARIABLES: [(&str, &str); 3] = [
    ("BEARERD_OKTA__BASE_URL", "https://acme.pam.okta.com"),
    ("BEARERD_CREDENTIALS__DEFAULT__TEAM_NAME", "acme"),
    ("BEARERD_CREDENTIALS__DEFAULT__KEY_FILE", "/etc/bearerd/key.json"),
];

struct Given {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl Given {
    /// Begins with nothing at all, as root.
    fn nothing() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gid = rustix::process::getegid().as_raw();
        let sources = Sources {
            files: Vec::new(),
            fallback_file: dir.path().join("absent.toml"),
            environment: Vec::new(),
            flags: Vec::new(),
            surroundings: Surroundings { gid, ..Surroundings::default() },
        };
        Self { dir, sources }
    }

    fn file(mut self, name: &str, text: &str) -> Self {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        self.sources.files.push(path);
        self
    }

    fn variables(mut self, variables: &[(&str, &str)]) -> Self {
        let pairs = variables.iter().map(|(name, value)| (name.into(), value.into()));
        self.sources.environment.extend(pairs);
        self
    }

    fn flag(mut self, name: &str, key: &str, value: &str) -> Self {
        let [name, key, value] = [name, key, value].map(str::to_owned);
        self.sources.flags.push(Flag { name, key, value });
        self
    }

    fn load(&self) -> Result<Loaded, Findings> {
        load(&self.sources)
    }

    #[track_caller]
    fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|findings| panic!("{findings}"))
    }

    /// Tells all findings, with the directory's name taken out.
    fn said(&self) -> Vec<String> {
        let findings = match self.load() {
            Ok(loaded) => loaded.warnings,
            Err(Findings(findings)) => findings,
        };
        let dir = format!("{}/", self.dir.path().display());
        findings.iter().map(|finding| finding.to_string().replace(&dir, "")).collect()
    }
}

/// What is said about a file, on its own.
fn said(text: &str) -> Vec<String> {
    Given::nothing().file("b.toml", text).said()
}

/// What is said about keys of one table beside the base.
fn said_of(table: &str, keys: &str) -> Vec<String> {
    said(&format!("{BASE}\n[{table}]\n{keys}\n"))
}

/// What is said about a credential's keys, those of the base replaced.
fn said_of_credential(keys: &str) -> Vec<String> {
    said(&format!("[okta]\nbase_url = \"https://a.example\"\n[credentials.default]\n{keys}\n"))
}

#[track_caller]
fn assert_said(said: &[String], expected: &str, row: &str) {
    let found = said.iter().any(|line| line.contains(expected));
    assert!(found, "\nrow: {row}\nexpected: {expected}\nsaid: {said:#?}");
}

/// Lists every key that the reader knows.
fn entries() -> Vec<String> {
    let given = Given::nothing().file("b.toml", "[listeners.a]\n[credentials.a]\n[sinks.a]");
    let (tree, _) = load::merge(&given.sources).unwrap();
    read(&tree, &given.sources.surroundings).1.entries().into_iter().map(|it| it.key).collect()
}
