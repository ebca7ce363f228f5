//! Switches and numbers, with and without a unit.

use std::time::Duration;

use super::{Kind, quoted, text, wrong_type};
use crate::config::{
    finding::Complaint,
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
    pub(in crate::config) const WAIT: Self =
        Self { least: Duration::from_millis(1), most: Duration::from_secs(3600) };
    /// Takes what a calendar measures: 1 ms to ten years.
    pub(in crate::config) const LIFE: Self =
        Self { least: Duration::from_millis(1), most: Duration::from_secs(3650 * 86400) };
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
            false => Err(out_of_range("a duration", &shown(self.least), &shown(self.most))),
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
    const UNITS: [(&'static str, u64); 4] =
        [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
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
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
        mode.ok_or_else(|| Complaint::new("is not a file mode", remedy))
    }

    fn show(&self, value: &u32) -> String {
        quoted(&format!("{value:04o}"))
    }
}
