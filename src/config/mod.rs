//! The configuration: one validated model, from files, environment and flags.
//!
//! `load` lays the sources over each other, `reader` and `kind` turn keys into values, `build`
//! makes the model of them. Nothing stops at the first mistake: every finding is told at once.

pub mod accounts;
mod build;
mod environment;
mod file;
pub mod finding;
mod kind;
mod lines;
mod load;
pub mod model;
mod places;
mod reader;
mod sources;
mod syntax;
mod tree;
mod unknown;

pub use finding::{Finding, Findings, Severity};
pub use model::Config;
pub use places::Surroundings;
pub use reader::Entry;
pub use sources::{DEFAULT_FILE, Flag, Sources};
pub use tree::Origin;

use reader::{Journal, Section};
use tree::Node;

/// Holds a configuration that was accepted, and what people may want to know about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was accepted and should be looked at.
    pub warnings: Vec<Finding>,
    /// Every key with its effective value and origin, in the order of the contract.
    pub effective: Vec<Entry>,
}

/// Loads and validates the configuration.
///
/// # Errors
///
/// All findings at once, warnings among them, if at least one is an error.
pub fn load(sources: &Sources) -> Result<Loaded, Findings> {
    validate(load::merge(sources), sources)
}

/// Loads as if a file of this name held these bytes; no file is read.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn load_bytes(
    name: &std::path::Path,
    content: &[u8],
    sources: &Sources,
) -> Result<Loaded, Findings> {
    validate(load::merge_bytes(name, content, sources), sources)
}

type Merged = Result<(Node, Vec<Finding>), Vec<Finding>>;

fn validate(merged: Merged, sources: &Sources) -> Result<Loaded, Findings> {
    let (tree, found) = merged.map_err(Findings)?;
    let (config, journal) = read(&tree, &sources.surroundings);
    journal.report(found);
    let (effective, findings) = journal.into_parts();
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    match config {
        Some(config) if !refused => Ok(Loaded { config, warnings: findings, effective }),
        _ => Err(Findings(findings)),
    }
}

/// Reads a whole tree, whatever is wrong with it.
fn read(tree: &Node, around: &Surroundings) -> (Option<Config>, Journal) {
    let journal = Journal::default();
    let config = build::config(&Section::root(&journal, tree), around);
    journal.report(unknown::findings(&journal, tree));
    (config, journal)
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
