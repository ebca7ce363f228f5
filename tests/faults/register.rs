//! The table `tests/faults.md`.

use std::collections::{BTreeMap, BTreeSet};

/// What can go wrong, by number.
pub(crate) struct Register {
    pub(crate) rows: BTreeMap<u16, Row>,
}

/// One fault.
pub(crate) struct Row {
    pub(crate) fault: String,
    /// Why no test names it, or what stands in for one.
    pub(crate) reason: Option<String>,
}

impl Register {
    /// Reads the tables of a text and the numbers that are not in use; tells what is wrong.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut rows = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("| ")) {
            let Some((number, row)) = read_row(line)? else { continue };
            let last = rows.last_key_value().map_or(0, |(last, _)| *last);
            if number <= last {
                return Err(format!("{number} does not follow {last}"));
            }
            rows.insert(number, row);
        }
        let register = Self { rows };
        register.check_holes(&not_in_use(text)?)?;
        Ok(register)
    }

    pub(crate) fn numbers(&self) -> BTreeSet<u16> {
        self.rows.keys().copied().collect()
    }

    /// Each number up to the last is a row, or is said not to be in use; none is both.
    fn check_holes(&self, unused: &BTreeSet<u16>) -> Result<(), String> {
        let last = self.rows.last_key_value().map(|(last, _)| *last).ok_or("there are no rows")?;
        for number in 1..=last {
            match (self.rows.contains_key(&number), unused.contains(&number)) {
                (true, true) => {
                    return Err(format!("{number} is a row, and is said not to be in use"));
                }
                (false, false) => return Err(format!("{number} is no row, and nothing says why")),
                _ => {}
            }
        }
        match unused.last() {
            Some(number) if *number > last => Err(format!("{number} is beyond the last row")),
            _ => Ok(()),
        }
    }
}

/// Reads `| number | fault | reason |`; heads of tables are no rows.
fn read_row(line: &str) -> Result<Option<(u16, Row)>, String> {
    let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
    let [number, fault, reason] = cells[..] else {
        return Err(format!("a row has three columns: {line}"));
    };
    if ["#", "---"].contains(&number) {
        return Ok(None);
    }
    let number = number.parse().map_err(|_| format!("{number} is no number: {line}"))?;
    if fault.is_empty() {
        return Err(format!("{number} says nothing"));
    }
    let reason = (!reason.is_empty()).then(|| reason.to_owned());
    Ok(Some((number, Row { fault: fault.to_owned(), reason })))
}

/// Reads the line `Not in use: 3, 5.`
fn not_in_use(text: &str) -> Result<BTreeSet<u16>, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("Not in use: "));
    lines
        .flat_map(|line| line.trim_end_matches('.').split(", "))
        .map(|number| {
            number.parse().map_err(|_| format!("{number} is no number that is not in use"))
        })
        .collect()
}
