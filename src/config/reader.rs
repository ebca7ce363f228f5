//! Reads a tree key by key, and remembers what was read and what was wrong.
//!
//! The one source of truth about keys: whoever reads a key thereby names it, its kind and its
//! default. The list of effective values, the search for unknown keys and the test of the reference
//! configuration all come from here.

use std::{borrow::Cow, cell::RefCell, collections::BTreeSet};

use super::{
    finding::{Complaint, Finding, Severity, shown_key},
    kind::Kind,
    tree::{Node, Origin, Table},
};

/// Tells one key, what holds for it, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Dotted path.
    pub key: String,
    /// The value as a person would write it; `None` if the key has none.
    pub value: Option<String>,
    /// What the value would be if nobody set it.
    pub default: Option<String>,
    /// Who set the value.
    pub origin: Origin,
}

/// Remembers, over all sections, what was read and what was wrong.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: RefCell<Vec<Entry>>,
    findings: RefCell<Vec<Finding>>,
    tables: RefCell<BTreeSet<String>>,
}

impl Journal {
    /// Adds findings.
    pub(super) fn report(&self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.borrow_mut().extend(findings);
    }

    /// Lists what was read so far, in the order of reading.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.borrow().clone()
    }

    /// Lists the paths of tables whose keys are known.
    pub(super) fn tables(&self) -> BTreeSet<String> {
        self.tables.borrow().clone()
    }

    /// Gives up what was read, and what was wrong, each thing once.
    pub(super) fn into_parts(self) -> (Vec<Entry>, Vec<Finding>) {
        let mut findings = self.findings.into_inner();
        let mut told = BTreeSet::new();
        findings.retain(|finding| told.insert(finding.to_string()));
        (self.entries.into_inner(), findings)
    }
}

/// Reads the keys of one table, which may be absent.
#[derive(Clone, Debug)]
pub(super) struct Section<'t> {
    journal: &'t Journal,
    key: String,
    origin: Origin,
    table: Option<&'t Table>,
}

impl<'t> Section<'t> {
    /// Begins at the top of a tree.
    pub(super) fn root(journal: &'t Journal, tree: &'t Node) -> Self {
        Self { journal, key: String::new(), origin: Origin::Default, table: tree.table() }
    }

    /// Reads a key that has a default, which also stands in for a wrong value.
    pub(super) fn get<K: Kind>(&self, key: &str, kind: &K, default: K::Value) -> K::Value {
        let value = self.read(key, kind, Some(kind.show(&default)));
        value.unwrap_or(default)
    }

    /// Reads a key that may be absent.
    pub(super) fn find<K: Kind>(&self, key: &str, kind: &K) -> Option<K::Value> {
        self.read(key, kind, None)
    }

    /// Reads a key that must be there; reports its absence with the remedy.
    pub(super) fn need<K: Kind>(&self, key: &str, kind: &K, remedy: &str) -> Option<K::Value> {
        if !self.has(key) {
            self.complain(key, "is missing", remedy.to_owned());
        }
        self.read(key, kind, None)
    }

    /// Tells whether anyone set the key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    /// Lists the names of the tables in a table of tables.
    pub(super) fn names(&self, key: &str) -> Vec<String> {
        let table = self.node(key).and_then(Node::table);
        table.into_iter().flat_map(|table| table.keys().cloned()).collect()
    }

    /// Goes down into a table.
    pub(super) fn table(&self, key: &str) -> Self {
        let path = self.path(key);
        self.journal.tables.borrow_mut().insert(path.clone());
        let Some(node) = self.node(key) else {
            return Self { key: path, table: None, ..self.clone() };
        };
        if node.table().is_none() {
            let remedy = format!("write its keys below [{path}]");
            self.complain(key, format!("is {} where a table belongs", node.what()), remedy);
        }
        Self { journal: self.journal, key: path, origin: node.origin.clone(), table: node.table() }
    }

    /// Goes down into a table of named tables, in the order of names.
    pub(super) fn children(&self, key: &str) -> Vec<(String, Self)> {
        let parent = self.table(key);
        let children: Vec<_> =
            self.names(key).into_iter().map(|name| (name.clone(), parent.table(&name))).collect();
        self.check_names(&children);
        children
    }

    /// Reports an error about a key of this table.
    pub(super) fn complain(
        &self,
        key: &str,
        problem: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) {
        self.report(Severity::Error, key, Complaint::new(problem, remedy));
    }

    /// Reports a warning about a key of this table.
    pub(super) fn warn(
        &self,
        key: &str,
        problem: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) {
        self.report(Severity::Warning, key, Complaint::new(problem, remedy));
    }

    fn report(&self, severity: Severity, key: &str, complaint: Complaint) {
        let origin = match (self.node(key), &self.origin) {
            (Some(node), _) => node.origin.clone(),
            // What is missing is missing in the file's table; a variable has no room for it.
            (None, file @ Origin::File { .. }) => file.clone(),
            (None, _) => Origin::Default,
        };
        self.journal.report([complaint.at(severity, Some(self.path(key)), origin)]);
    }

    fn read<K: Kind>(&self, key: &str, kind: &K, default: Option<String>) -> Option<K::Value> {
        let node = self.node(key);
        let value = node.and_then(|node| {
            kind.read(node).map_err(|it| self.report(Severity::Error, key, it)).ok()
        });
        self.journal.entries.borrow_mut().push(Entry {
            key: self.path(key),
            value: value.as_ref().map(|value| kind.show(value)).or_else(|| default.clone()),
            default,
            origin: node.map_or(Origin::Default, |node| node.origin.clone()),
        });
        value
    }

    fn node(&self, key: &str) -> Option<&'t Node> {
        self.table?.get(key)
    }

    fn path(&self, key: &str) -> String {
        match self.key.as_str() {
            "" => shown_key(key),
            parent => format!("{parent}.{}", shown_key(key)),
        }
    }

    fn check_names(&self, children: &[(String, Self)]) {
        let mut seen = BTreeSet::new();
        for (name, child) in children {
            if !is_name(name) {
                let problem = "is not a name of 1 to 63 letters, digits, `-` and `_`";
                child.complain_of_itself(problem, "choose another name");
            }
            if !seen.insert(name.to_ascii_lowercase()) {
                let problem = "differs from another name only in its case";
                child.complain_of_itself(problem, "choose another name");
            }
        }
    }

    fn complain_of_itself(&self, problem: &'static str, remedy: &'static str) {
        let complaint = Complaint::new(problem, remedy);
        let finding = complaint.at(Severity::Error, Some(self.key.clone()), self.origin.clone());
        self.journal.report([finding]);
    }
}

/// Tells whether a text can name a credential, listener or sink.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&text.len()) && text.bytes().all(allowed)
}
