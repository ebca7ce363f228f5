//! Values that stand for themselves: numbers with and without a unit, words, switches.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::{Kind, quoted, text, wrong_type};
use crate::config::{
    finding::Complaint,
    reader::is_name,
    tree::{Node, Shape},
};

/// Reads true or false.
pub(in crate::config) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(&self, node: &Node) -> Result<bool, Complaint> {
        match &node.shape {
            Shape::Flag(flag) => Ok(*flag),
            Shape::Text(text) if node.origin.is_loose() => text
                .parse()
                .map_err(|_| Complaint::new("is neither true nor false", "write true or false")),
            _ => Err(wrong_type(node, "true or false", "write it without quotes")),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// Reads whole numbers in a range.
pub(in crate::config) struct Count {
    pub(in crate::config) least: usize,
    pub(in crate::config) most: usize,
}

impl Kind for Count {
    type Value = usize;

    fn read(&self, node: &Node) -> Result<usize, Complaint> {
        let number = match &node.shape {
            Shape::Whole(number) => Some(*number),
            Shape::Text(text) if node.origin.is_loose() => text.parse().ok(),
            _ => {
                let remedy = "write digits, without quotes";
                return Err(wrong_type(node, "a whole number", remedy));
            }
        };
        number
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| (self.least..=self.most).contains(number))
            .ok_or_else(|| out_of_range("a whole number", &self.least, &self.most))
    }

    fn show(&self, value: &usize) -> String {
        value.to_string()
    }
}

/// Reads a part of a whole, in a range.
pub(in crate::config) struct Fraction {
    pub(in crate::config) least: f64,
    pub(in crate::config) most: f64,
}

impl Kind for Fraction {
    type Value = f64;

    fn read(&self, node: &Node) -> Result<f64, Complaint> {
        let number = match &node.shape {
            Shape::Real(number) => Some(*number),
            // Only 0 and 1 can be meant; more is out of any range.
            Shape::Whole(number) => i32::try_from(*number).ok().map(f64::from),
            Shape::Text(text) if node.origin.is_loose() => text.parse().ok(),
            _ => return Err(wrong_type(node, "a number", "write it without quotes")),
        };
        // NaN is in no range.
        number
            .filter(|number| (self.least..=self.most).contains(number))
            .ok_or_else(|| out_of_range("a number", &self.least, &self.most))
    }

    fn show(&self, value: &f64) -> String {
        value.to_string()
    }
}

fn out_of_range<N: ToString>(what: &str, least: &N, most: &N) -> Complaint {
    let (least, most) = (least.to_string(), most.to_string());
    let problem = format!("is not {what} from {least} to {most}");
    Complaint::new(problem, format!("choose one from {least} to {most}"))
}

/// Reads durations, with their unit.
pub(in crate::config) struct Span {
    pub(in crate::config) least: Duration,
    pub(in crate::config) most: Duration,
}

impl Span {
    /// Takes what a person may wait for: 1 ms to an hour.
    pub(in crate::config) const WAIT: Self = Self {
        least: Duration::from_millis(1),
        most: Duration::from_secs(3600),
    };
    /// Takes what a calendar measures: 1 ms to ten years.
    pub(in crate::config) const LIFE: Self = Self {
        least: Duration::from_millis(1),
        most: Duration::from_secs(3650 * 86400),
    };
}

impl Kind for Span {
    type Value = Duration;

    fn read(&self, node: &Node) -> Result<Duration, Complaint> {
        let remedy = "write a number with its unit, as \"500ms\", \"10s\" or \"24h\"";
        let text = text(node, "a duration", remedy)?;
        // The parser takes a bare 0.
        let has_unit = text.contains(|char: char| char.is_ascii_alphabetic());
        let Some(span) = humantime::parse_duration(text).ok().filter(|_| has_unit) else {
            return Err(Complaint::new("is not a duration with its unit", remedy));
        };
        match (self.least..=self.most).contains(&span) {
            true => Ok(span),
            false => Err(out_of_range(
                "a duration",
                &shown(self.least),
                &shown(self.most),
            )),
        }
    }

    fn show(&self, value: &Duration) -> String {
        quoted(&shown(*value))
    }
}

fn shown(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

/// Reads an amount of memory, with its unit, up to 1 GiB.
pub(in crate::config) struct Size;

impl Size {
    const UNITS: [(&'static str, u64); 4] = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("B", 1),
    ];
    const MOST: u64 = 1 << 30;
}

impl Kind for Size {
    type Value = u64;

    fn read(&self, node: &Node) -> Result<u64, Complaint> {
        let remedy = "write a whole number with its unit B, KiB, MiB or GiB, as \"1MiB\"";
        let text = text(node, "a size", remedy)?;
        let split = Self::UNITS
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim_end(), factor)));
        let digits = split.filter(|(digits, _)| digits.bytes().all(|it| it.is_ascii_digit()));
        let bytes =
            digits.and_then(|(digits, factor)| digits.parse::<u64>().ok()?.checked_mul(*factor));
        bytes
            .filter(|bytes| (1..=Self::MOST).contains(bytes))
            .ok_or_else(|| Complaint::new("is not a size from 1B to 1GiB", remedy))
    }

    fn show(&self, value: &u64) -> String {
        let fits = |(_, factor): &&(&str, u64)| value.is_multiple_of(*factor);
        let (unit, factor) = Self::UNITS.iter().find(fits).unwrap_or(&("B", 1));
        quoted(&format!("{}{unit}", value / factor))
    }
}

/// Reads permission bits, in octal.
pub(in crate::config) struct FileMode;

impl Kind for FileMode {
    type Value = u32;

    fn read(&self, node: &Node) -> Result<u32, Complaint> {
        let remedy = "write four octal digits in quotes, as \"0660\"";
        let text = text(node, "a file mode", remedy)?;
        let octal = (3..=4).contains(&text.len())
            && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mode = u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| octal && *mode <= 0o777);
        mode.ok_or_else(|| Complaint::new("is not a file mode", remedy))
    }

    fn show(&self, value: &u32) -> String {
        quoted(&format!("{value:04o}"))
    }
}

/// Reads one of a few words.
pub(in crate::config) struct Choice(pub(in crate::config) &'static [&'static str]);

impl Kind for Choice {
    type Value = &'static str;

    fn read(&self, node: &Node) -> Result<&'static str, Complaint> {
        let all = || format!("write one of {}", self.0.join(", "));
        let wanted = text(node, "text", "").map_err(|it| Complaint {
            remedy: all().into(),
            ..it
        })?;
        let found = self.0.iter().find(|word| **word == wanted);
        found
            .copied()
            .ok_or_else(|| Complaint::new("is none of the words it can be", all()))
    }

    fn show(&self, value: &&'static str) -> String {
        quoted(value)
    }
}

/// Reads any text.
pub(in crate::config) struct Word;

impl Kind for Word {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        text(node, "text", "write text in quotes").map(str::to_owned)
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// Reads the name of a credential.
pub(in crate::config) struct Name;

impl Kind for Name {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        let remedy = "write the name of a credential";
        let name = text(node, "a name", remedy)?;
        match is_name(name) {
            true => Ok(name.to_owned()),
            false => Err(Complaint::new("is not a name", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// Reads a team's name: one harmless segment of a URL's path (fault 57).
pub(in crate::config) struct TeamName;

impl Kind for TeamName {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        let remedy = "write the team as it stands in the console: letters, digits, `-`, `_`, `.`";
        let name = text(node, "a team's name", remedy)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let harmless = name.bytes().all(allowed) && name.len() <= 255 && !is_dots(name);
        match harmless {
            true => Ok(name.to_owned()),
            false => Err(Complaint::new("is not a team's name", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

fn is_dots(name: &str) -> bool {
    name.bytes().all(|byte| byte == b'.')
}

/// Reads what is logged: a level, or a filter of `tracing`.
pub(in crate::config) struct Filter;

impl Filter {
    const LEVELS: [&'static str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

    /// Recognises a slip of the pen, which would else be the name of a module to trace.
    fn is_slip(text: &str) -> bool {
        let word = text.to_ascii_lowercase();
        !Self::LEVELS.contains(&word.as_str())
            && Self::LEVELS
                .iter()
                .any(|level| strsim::damerau_levenshtein(level, &word) <= 2)
    }
}

impl Kind for Filter {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        let remedy = "write off, error, warn, info, debug or trace, or a filter, as \
                      \"info,bearerd::audit=off\"";
        let filter = text(node, "a level", remedy)?;
        let valid = EnvFilter::builder().parse(filter).is_ok() && !Self::is_slip(filter);
        match valid {
            true => Ok(filter.to_owned()),
            false => Err(Complaint::new("is neither a level nor a filter", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// Reads a rule of what may be forwarded: a method and a path with wildcards.
pub(in crate::config) struct Rule;

impl Kind for Rule {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        let remedy = "write a method and a path below the team, as \"GET /**\"";
        let rule = text(node, "a rule", remedy)?;
        let parts = rule.split_once(' ');
        let sound = parts.is_some_and(|(method, path)| {
            METHODS.contains(&method) && path.starts_with('/') && !path.contains(' ')
        });
        match sound {
            true => Ok(rule.to_owned()),
            false => Err(Complaint::new("is not a rule", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}
