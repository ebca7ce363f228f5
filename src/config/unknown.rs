//! Finds what nobody reads: unknown keys, and secrets that do not belong here (faults 247, 255).

use std::collections::BTreeSet;

use super::{
    environment::variable_of,
    finding::{Complaint, Finding, Severity, shown_key},
    reader::Journal,
    tree::{Node, Origin, Shape},
};

/// Likeness of two keys, 0 to 1, from which one counts as a slip.
const ALIKE: f64 = 0.6;

/// Compares a tree with what was read of it.
pub(super) fn findings(journal: &Journal, tree: &Node) -> Vec<Finding> {
    let tables = journal.tables();
    let keys: BTreeSet<String> = journal.entries().into_iter().map(|entry| entry.key).collect();
    let mut search = Search { tables, keys, findings: Vec::new() };
    search.secrets("", tree);
    search.unknown("", tree);
    search.findings
}

struct Search {
    tables: BTreeSet<String>,
    keys: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl Search {
    /// Looks everywhere, also inside what is unknown.
    fn secrets(&mut self, path: &str, node: &Node) {
        if let Shape::List(items) = &node.shape {
            items.iter().for_each(|item| self.secrets(path, item));
        }
        for (key, child) in node.table().into_iter().flatten() {
            let path = join(path, key);
            if is_secret(key, child) {
                let complaint = Complaint::new(
                    "is a secret, and secrets do not belong in the configuration",
                    "put it into a file that only the daemon can read, name that file in \
                     `credentials.NAME.key_file`, and replace the key: it may have been read",
                );
                self.refuse(complaint, &path, &child.origin);
            } else {
                self.secrets(&path, child);
            }
        }
    }

    fn unknown(&mut self, path: &str, node: &Node) {
        for (key, child) in node.table().into_iter().flatten() {
            let path = join(path, key);
            if self.tables.contains(&path) {
                self.unknown(&path, child);
            } else if !self.keys.contains(&path) && !is_secret(key, child) {
                for origin in child.origins() {
                    let remedy = self.suggestion(&path, origin);
                    self.refuse(Complaint::new("is not a key", remedy), &path, origin);
                }
            }
        }
    }

    fn suggestion(&self, path: &str, origin: &Origin) -> String {
        let spell = |key: &str| match origin {
            Origin::Variable(_) => variable_of(key),
            _ => key.to_owned(),
        };
        let nearest = self.slip(path).or_else(|| self.misplaced(path));
        if let Some(nearest) = nearest {
            return format!("the nearest valid key is `{}`", spell(nearest));
        }
        let all: Vec<&str> = self.siblings(path).map(last).collect();
        format!("valid here: {}", all.join(", "))
    }

    /// Finds the key beside it that is spelled most alike.
    fn slip(&self, path: &str) -> Option<&str> {
        let alike = |key: &&str| strsim::normalized_damerau_levenshtein(last(path), last(key));
        self.siblings(path)
            .filter(|key| alike(key) >= ALIKE)
            .max_by(|one, other| alike(one).total_cmp(&alike(other)))
    }

    /// Finds a key of the same name that belongs into another table.
    fn misplaced(&self, path: &str) -> Option<&str> {
        self.all().find(|key| last(key) == last(path))
    }

    fn siblings(&self, path: &str) -> impl Iterator<Item = &str> {
        self.all().filter(move |key| parent(key) == parent(path))
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().chain(&self.tables).map(String::as_str)
    }

    fn refuse(&mut self, complaint: Complaint, path: &str, origin: &Origin) {
        let finding = complaint.at(Severity::Error, Some(path.to_owned()), origin.clone());
        self.findings.push(finding);
    }
}

/// Recognises a secret by its key. A table may be called anything: `[credentials.top-secret]`.
fn is_secret(key: &str, node: &Node) -> bool {
    const ENDINGS: [&str; 5] = ["secret", "password", "bearer_token", "access_token", "api_key"];
    let key = key.to_ascii_lowercase().replace('-', "_");
    node.table().is_none() && ENDINGS.iter().any(|ending| key.ends_with(ending))
}

fn join(parent: &str, key: &str) -> String {
    match parent {
        "" => shown_key(key),
        parent => format!("{parent}.{}", shown_key(key)),
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}
