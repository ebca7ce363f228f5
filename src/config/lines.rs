//! On which line of a TOML file a key stands, for text that is already known to be well formed.
//!
//! The parser gives values without places. A wrong line would be worse than none: what this does
//! not understand is left out, and the line of the table around it is told instead.

use std::collections::BTreeMap;

/// Knows the line of each key by its path.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<Vec<String>, usize>);

impl Lines {
    /// Finds the keys of TOML.
    pub(super) fn of_toml(text: &str) -> Self {
        let mut lines = Self::default();
        let mut table = Vec::new();
        for (line, statement) in statements(text) {
            if let Some(header) = statement.strip_prefix('[') {
                table = dotted_key(header.trim_start_matches('['), ']');
                lines.note(table.clone(), line);
            } else {
                let mut path = table.clone();
                path.extend(dotted_key(statement, '='));
                lines.note(path, line);
            }
        }
        lines
    }

    /// Tells the line of a key, or of the nearest table around it.
    pub(super) fn of(&self, path: &[String]) -> Option<usize> {
        (1..=path.len()).rev().find_map(|length| self.0.get(path.get(..length)?).copied())
    }

    fn note(&mut self, path: Vec<String>, line: usize) {
        self.0.entry(path).or_insert(line);
    }
}

/// Cuts TOML into headers and `key = value` pairs, each with its line.
fn statements(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let (statement, after) = rest.split_at(statement_length(rest));
        let trimmed = statement.trim_start();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            found.push((line, trimmed));
        }
        line += statement.matches('\n').count();
        rest = after;
    }
    found
}

/// Measures a statement with its line end: lines go on inside brackets and long strings.
fn statement_length(text: &str) -> usize {
    let (mut at, mut depth) = (0_usize, 0_usize);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        at += match rest.chars().next() {
            Some('\n') if depth == 0 => return at + 1,
            Some('#') => rest.find('\n').unwrap_or(rest.len()),
            Some('"' | '\'') => string_length(rest),
            Some('[' | '{') => {
                depth += 1;
                1
            }
            Some(']' | '}') => {
                depth = depth.saturating_sub(1);
                1
            }
            other => other.map_or(1, char::len_utf8),
        };
    }
    at
}

/// Measures the string that the text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let quote = text.get(..1).unwrap_or_default();
    let long = quote.repeat(3);
    let fence = if text.starts_with(&long) { long.as_str() } else { quote };
    let mut at = fence.len();
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(fence) {
            return at + fence.len();
        }
        let mut chars = rest.chars();
        at += chars.next().map_or(1, char::len_utf8);
        if quote == "\"" && rest.starts_with('\\') {
            at += chars.next().map_or(0, char::len_utf8);
        }
    }
    text.len()
}

/// Reads a dotted key up to the sign that ends it.
fn dotted_key(text: &str, end: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text;
    while let Some(char) = rest.chars().next().filter(|char| *char != end) {
        let length = match char {
            '"' | '\'' => string_length(rest),
            _ => char.len_utf8(),
        };
        let (piece, after) = rest.split_at(length);
        match (char, parts.last_mut()) {
            ('.', _) => parts.push(String::new()),
            (_, Some(part)) => part.push_str(piece.trim().trim_matches(['"', '\''])),
            (_, None) => {}
        }
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# a comment with = and [brackets]
top = 1

[credentials . "prod"]   # header
team_name = "a#b"  # it's [one
list = [
  "x = 1",  # [not.a.header]
  "y",
]
refresh.at = 0.5
long = """
fake = 1
[fake]
"""
[[more]]
inline = { deep = 1 }
"#;

    fn line(path: &str) -> Option<usize> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        Lines::of_toml(TEXT).of(&path)
    }

    #[test]
    fn keys_and_headers_are_found_on_their_lines() {
        assert_eq!(line("top"), Some(2));
        assert_eq!(line("credentials.prod"), Some(4));
        assert_eq!(line("credentials.prod.team_name"), Some(5));
        assert_eq!(line("credentials.prod.list"), Some(6));
        assert_eq!(line("credentials.prod.refresh.at"), Some(10));
        assert_eq!(line("credentials.prod.long"), Some(11));
        assert_eq!(line("more"), Some(15));
    }

    #[test]
    fn what_is_not_seen_has_the_line_of_its_table_or_none() {
        assert_eq!(line("more.inline.deep"), Some(16));
        assert_eq!(line("credentials.prod.absent"), Some(4));
        assert_eq!(line("fake"), None);
        assert_eq!(line("x"), None);
    }

    #[test]
    fn text_that_ends_in_the_middle_ends_the_search() {
        for broken in ["\"", "a = \"\\", "[", "a = [\n\n", "'''", "é = \"é", "=", "a = '''\n''"] {
            drop(Lines::of_toml(broken));
        }
    }
}
