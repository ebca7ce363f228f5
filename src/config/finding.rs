//! What is wrong with a configuration, where, and what to do about it.

use std::{borrow::Cow, fmt};

use super::tree::Origin;

/// Says whether a finding stops the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, and somebody should look.
    Warning,
}

/// Tells one thing that is wrong.
///
/// Displays as one line: where, what, what to do. A value is never quoted: it may be a secret that
/// was pasted into the wrong place (fault 255).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it stops the daemon.
    pub severity: Severity,
    /// Dotted path of the key; `None` when it is about a whole file.
    pub key: Option<String>,
    /// Who set the value; `Default` when nobody did.
    pub origin: Origin,
    /// What is wrong, as the rest of a sentence that the key begins.
    pub problem: Cow<'static, str>,
    /// What to do.
    pub remedy: Cow<'static, str>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, &self.key) {
            (Origin::Default, None) => {}
            (Origin::Default, Some(key)) => write!(f, "`{key}` ")?,
            (origin, None) => write!(f, "{origin} ")?,
            (origin, Some(key)) => write!(f, "{origin}: `{key}` ")?,
        }
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

/// Tells everything that is wrong, errors and warnings, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

/// Says what is wrong with a value, before it is known whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The rest of a sentence that the key begins.
    pub(super) problem: Cow<'static, str>,
    /// What to do.
    pub(super) remedy: Cow<'static, str>,
}

impl Complaint {
    /// Makes a complaint of its two halves; what they name may be any string that TOML can hold.
    pub(super) fn new(
        problem: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { problem: on_one_line(problem.into()), remedy: on_one_line(remedy.into()) }
    }

    /// Adds where and how bad.
    pub(super) fn at(self, severity: Severity, key: Option<String>, origin: Origin) -> Finding {
        Finding { severity, key, origin, problem: self.problem, remedy: self.remedy }
    }
}

/// Shows control characters instead of writing them.
fn on_one_line(text: Cow<'static, str>) -> Cow<'static, str> {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut shown = String::new();
    for letter in text.chars() {
        match letter.is_control() {
            true => shown.extend(letter.escape_debug()),
            false => shown.push(letter),
        }
    }
    shown.into()
}

/// Shows a key that somebody else wrote: without control characters, cut at 64 characters as shown.
pub(super) fn shown_key(key: &str) -> String {
    const LONGEST: usize = 64;
    let mut shown = String::new();
    let mut room = LONGEST;
    for letter in key.chars().map(char::escape_debug) {
        let Some(left) = room.checked_sub(letter.len()) else {
            shown.push('…');
            break;
        };
        room = left;
        shown.extend(letter);
    }
    shown
}

/// Lists names that somebody else wrote, the first eight of them.
pub(super) fn shown_names(names: &[String]) -> String {
    const MOST: usize = 8;
    let mut shown: Vec<_> = names.iter().take(MOST).map(|name| shown_key(name)).collect();
    if let Some(more) = names.len().checked_sub(MOST).filter(|more| *more > 0) {
        shown.push(format!("… ({more} more)"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_that_says_where_what_and_what_to_do() {
        let origin = Origin::Variable("BEARERD_OKTA__BASE_URL".into());
        let finding = Complaint::new("has no scheme", "write https://…").at(
            Severity::Error,
            Some("okta.base_url".into()),
            origin,
        );
        assert_eq!(
            finding.to_string(),
            "environment variable BEARERD_OKTA__BASE_URL: `okta.base_url` has no scheme; write https://…"
        );
    }

    #[test]
    fn a_finding_is_one_line_whatever_it_names() {
        let complaint =
            Complaint::new("is a file of `sinks.a\n\u{1b}`".to_owned(), "take\u{0}care");
        let finding = complaint.at(Severity::Error, None, Origin::Default);
        assert_eq!(finding.to_string(), "is a file of `sinks.a\\n\\u{1b}`; take\\0care");
    }

    #[test]
    fn a_strange_key_stays_on_its_line() {
        assert_eq!(shown_key("a\n\u{1b}[31m"), "a\\n\\u{1b}[31m");
        assert_eq!(shown_key(&"x".repeat(64)), "x".repeat(64));
        assert_eq!(shown_key(&"x".repeat(70)), format!("{}…", "x".repeat(64)));
    }

    // Found by fuzzing: eight names of nothing but control characters filled a line of 5,112 bytes.
    #[test]
    fn a_strange_key_is_not_longer_than_a_plain_one() {
        let shown = shown_key(&"\u{1c}".repeat(64));
        assert_eq!(shown, format!("{}…", "\\u{1c}".repeat(10)), "ten times six letters");
    }

    #[test]
    fn of_many_names_the_first_are_listed() {
        let names = |count: usize| (1..=count).map(|it| format!("n{it}")).collect::<Vec<_>>();
        assert_eq!(shown_names(&names(1)), "n1");
        assert_eq!(shown_names(&names(8)), "n1, n2, n3, n4, n5, n6, n7, n8");
        assert_eq!(shown_names(&names(1000)), "n1, n2, n3, n4, n5, n6, n7, n8, … (992 more)");
    }
}
