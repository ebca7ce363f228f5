//! What to say of a file that is not even TOML or JSON.

use serde_json::error::Category;

use super::finding::Complaint;

/// Says that a text is malformed, without a word of it.
///
/// Somebody may have pasted a secret (fault 255).
pub(super) struct SyntaxError {
    /// Line, from 1.
    pub(super) line: usize,
    /// What is wrong there.
    pub(super) complaint: Complaint,
}

impl SyntaxError {
    /// Makes an error of its place, from 1, and its kind.
    pub(super) fn new(line: usize, column: usize, kind: &str) -> Self {
        let problem = format!("cannot be understood at column {column}: {kind}");
        Self { line, complaint: Complaint::new(problem, "mend that line") }
    }

    /// Translates what the TOML parser says about the byte at which it stopped.
    pub(super) fn in_toml(text: &str, at: usize, message: &str) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Self::new(line, column, toml_kind(message))
    }

    /// Translates what the JSON parser says.
    pub(super) fn in_json(error: &serde_json::Error) -> Self {
        let kind = match error.classify() {
            // The only thing that is asked of the data.
            Category::Data => "a key that is already there",
            Category::Eof => "it ends too early",
            Category::Io | Category::Syntax => "not JSON",
        };
        Self::new(error.line(), error.column(), kind)
    }
}

/// Chooses words of our own by those of the parser, which quote (fault 255).
fn toml_kind(message: &str) -> &'static str {
    const KINDS: [(&str, &str); 7] = [
        ("duplicate key", "a key that is already there"),
        ("recursion limit", "nested too deep"),
        ("table header", "not a table header, as [okta]"),
        ("expected `.`, `=`", "a key without `=` and a value"),
        ("string", "a string that does not end, or an escape that is none"),
        ("array", "a list that does not end"),
        ("number", "a number out of range"),
    ];
    let kind = KINDS.iter().find(|(needle, _)| message.contains(needle));
    kind.map_or("not TOML: a value is text in quotes, a number, true, false or a list", |it| it.1)
}
