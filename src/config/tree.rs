//! The merged configuration before it means anything: values, each with its origin.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

/// Tells who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is built in.
    Default,
    /// A configuration file.
    File {
        /// The file as it was named.
        path: Arc<Path>,
        /// Line of the key, from 1, where it is known.
        line: Option<usize>,
    },
    /// An environment variable of this name.
    Variable(String),
    /// A command-line flag, as `--log-level`.
    Flag(String),
}

impl Origin {
    /// Tells whether values from here are text, whatever they stand for.
    pub(super) fn is_loose(&self) -> bool {
        matches!(self, Self::Variable(_) | Self::Flag(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Holds the keys of one table.
pub(super) type Table = BTreeMap<String, Node>;

/// Holds one value and its origin.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The value.
    pub(super) shape: Shape,
    /// Who set it.
    pub(super) origin: Origin,
}

/// Holds a value as the file format knows it.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A string; everything from environment and flags is one.
    Text(String),
    /// True or false.
    Flag(bool),
    /// An integer.
    Whole(i128),
    /// A number with a fraction.
    Real(f64),
    /// An array.
    List(Vec<Node>),
    /// A table, or JSON object.
    Table(Table),
    /// JSON's null.
    Nothing,
}

impl Node {
    /// Names the shape for people.
    pub(super) fn what(&self) -> &'static str {
        match self.shape {
            Shape::Text(_) => "text",
            Shape::Flag(_) => "true or false",
            Shape::Whole(_) => "a whole number",
            Shape::Real(_) => "a number",
            Shape::List(_) => "a list",
            Shape::Table(_) => "a table",
            Shape::Nothing => "null",
        }
    }

    /// Gives the keys below, if this is a table.
    pub(super) fn table(&self) -> Option<&Table> {
        match &self.shape {
            Shape::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Collects everyone who set something here, files only once.
    pub(super) fn origins(&self) -> Vec<&Origin> {
        let Some(table) = self.table() else {
            return vec![&self.origin];
        };
        let mut origins: Vec<&Origin> = Vec::new();
        for origin in table.values().flat_map(Self::origins) {
            let is_file = matches!(origin, Origin::File { .. });
            if !is_file || !origins.iter().any(|seen| matches!(seen, Origin::File { .. })) {
                origins.push(origin);
            }
        }
        if origins.is_empty() { vec![&self.origin] } else { origins }
    }
}
