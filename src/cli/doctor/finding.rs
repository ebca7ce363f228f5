//! What was found: good or bad, what to do about it, and what it means for the exit code.

use serde::Serialize;

use crate::cli::{
    exit::Class,
    terminal::{Tone, paint},
    text::{clean, wrap},
};

/// Width that every terminal has.
const WIDTH: usize = 80;

/// Says how good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    Ok,
    Warn,
    Fail,
    /// Not looked at, because of what failed before.
    Skip,
}

/// Holds one thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) topic: String,
    pub(super) mark: Mark,
    pub(super) what: String,
    /// What to do; nothing where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
    #[serde(skip)]
    class: Option<Class>,
}

impl Finding {
    pub(super) fn ok(topic: &str, what: impl Into<String>) -> Self {
        Self::new(topic, Mark::Ok, what)
    }

    pub(super) fn skip(topic: &str, what: impl Into<String>) -> Self {
        Self::new(topic, Mark::Skip, what)
    }

    pub(super) fn warn(topic: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(topic, Mark::Warn, what) }
    }

    pub(super) fn fail(
        topic: &str,
        class: Class,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { remedy, class: Some(class), ..Self::new(topic, Mark::Fail, what) }
    }

    /// Fails with a sentence that says what is wrong, then after a colon what to do.
    pub(super) fn fail_with(topic: &str, class: Class, sentence: &str) -> Self {
        let mut finding = Self::warn_with(topic, sentence);
        (finding.mark, finding.class) = (Mark::Fail, Some(class));
        finding
    }

    /// Warns with such a sentence.
    pub(super) fn warn_with(topic: &str, sentence: &str) -> Self {
        Self::new(topic, Mark::Warn, sentence)
    }

    /// Only warns where what failed need not work.
    pub(super) fn unless_optional(self, required: bool) -> Self {
        match self.mark {
            Mark::Fail if !required => Self { mark: Mark::Warn, class: None, ..self },
            _ => self,
        }
    }

    fn new(topic: &str, mark: Mark, what: impl Into<String>) -> Self {
        let topic = clean(topic);
        Self { topic, mark, what: clean(&what.into()), remedy: None, class: None }
    }
}

/// Collects findings in the order in which things depend on each other.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// Names the class of the first failure: what comes after it may be its consequence.
    pub(super) fn class(&self) -> Option<Class> {
        self.findings.iter().find_map(|finding| finding.class)
    }

    /// Writes all of it for programs, in one object.
    pub(super) fn json(&self) -> String {
        let code = self.class().map_or(0, Class::code);
        serde_json::json!({ "findings": self.findings, "exit_code": code }).to_string()
    }

    /// Writes all of it for people, topic by topic, and with what to begin.
    pub(super) fn draw(&self, colour: bool) -> String {
        let mut text = String::new();
        let mut topic = None;
        for finding in &self.findings {
            if topic != Some(&finding.topic) {
                text.push_str(&paint(&finding.topic, Tone::Head, colour));
                text.push('\n');
                topic = Some(&finding.topic);
            }
            text.push_str(&lines(finding, colour));
        }
        text.push('\n');
        text.push_str(&self.verdict(colour));
        text
    }

    fn verdict(&self, colour: bool) -> String {
        let count = |mark| self.findings.iter().filter(|finding| finding.mark == mark).count();
        let (failures, warnings) = (count(Mark::Fail), count(Mark::Warn));
        let failed = format!("{}, {}", counted(failures, "failure"), counted(warnings, "warning"));
        let (tone, verdict) = match (failures, warnings) {
            (0, 0) => (Tone::Good, "all is well".to_owned()),
            (0, _) => {
                (Tone::Good, format!("all that matters is well; {}", counted(warnings, "warning")))
            }
            (1, _) => (Tone::Bad, failed),
            _ => (Tone::Bad, format!("{failed}: begin with the first, others may follow from it")),
        };
        paint(&verdict, tone, colour) + "\n"
    }
}

/// Writes a number with what it counts.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn lines(finding: &Finding, colour: bool) -> String {
    let (word, tone) = match finding.mark {
        Mark::Ok => ("ok", Tone::Good),
        Mark::Warn => ("warn", Tone::Odd),
        Mark::Fail => ("FAIL", Tone::Bad),
        Mark::Skip => ("-", Tone::Faint),
    };
    let mut text = String::new();
    for (index, line) in wrap(&finding.what, WIDTH - 8).iter().enumerate() {
        let mark = if index == 0 { word } else { "" };
        text.push_str(&format!("  {}  {line}\n", paint(&format!("{mark:4}"), tone, colour)));
    }
    for (index, line) in
        finding.remedy.iter().flat_map(|remedy| wrap(remedy, WIDTH - 11)).enumerate()
    {
        let arrow = if index == 0 { "->" } else { "  " };
        text.push_str(&format!("        {arrow} {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report { findings }
    }

    #[test]
    fn the_first_failure_gives_the_code() {
        let fail = |class| Finding::fail("t", class, "what", "do");
        let warn = || Finding::warn("t", "what", "do");
        let table = [
            (vec![], None),
            (vec![warn()], None),
            (vec![warn(), fail(Class::Denied), fail(Class::Unreachable)], Some(Class::Denied)),
            (vec![fail(Class::Unreachable), fail(Class::Failed)], Some(Class::Unreachable)),
        ];
        for (findings, class) in table {
            assert_eq!(report(findings.clone()).class(), class, "{findings:?}");
        }
    }

    #[test]
    fn what_need_not_work_is_no_failure() {
        let failed = || Finding::fail("t", Class::Denied, "what", "do");
        assert_eq!(failed().unless_optional(true), failed());
        let softened = failed().unless_optional(false);
        assert_eq!(softened, Finding::warn("t", "what", "do"));
        assert_eq!(Finding::ok("t", "x").unless_optional(false), Finding::ok("t", "x"));
    }

    #[test]
    fn people_read_topics_marks_and_remedies() {
        let long = "word ".repeat(30);
        let drawn = report(vec![
            Finding::ok("key", "good"),
            Finding::warn("key", "odd\u{1b}[31m", "look at it"),
            Finding::fail("sockets", Class::Failed, long, "mend it"),
            Finding::skip("sockets", "not tried"),
        ])
        .draw(false);
        let expected = "\
key
  ok    good
  warn  odd\\u{1b}[31m
        -> look at it
sockets
  FAIL  word word word word word word word word word word word word word word
        word word word word word word word word word word word word word word
        word word
        -> mend it
  -     not tried

1 failure, 1 warning
";
        assert_eq!(drawn, expected);
        assert!(drawn.lines().all(|line| line.len() <= WIDTH));
        assert!(report(vec![Finding::ok("a", "b")]).draw(true).contains("\u{1b}[32mall is well"));
    }

    #[test]
    fn programs_read_one_object() {
        let json = report(vec![Finding::fail("key", Class::Configuration, "bad", "mend")]).json();
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["exit_code"], 78);
        let expected =
            serde_json::json!({"topic": "key", "mark": "fail", "what": "bad", "remedy": "mend"});
        assert_eq!(read["findings"][0], expected);
    }
}
