//! Marks, by which a test says what it covers, and mentions, by which code and documents speak of a row.

use std::collections::BTreeSet;

/// What one text holds.
#[derive(Default)]
pub(crate) struct Found {
    /// Rows that a test names as its own.
    pub(crate) marks: BTreeSet<u16>,
    /// Rows that are named anywhere, marks among them.
    pub(crate) mentions: BTreeSet<u16>,
    /// What looks like a mark and is none.
    pub(crate) flaws: Vec<String>,
}

/// Finds what a text says of rows, of which these are the numbers.
pub(crate) fn find(path: &str, text: &str, rows: &BTreeSet<u16>) -> Found {
    let mut found = Found::default();
    let mut is_test = is_test_file(path);
    for line in text.lines() {
        is_test |= line.trim_start().starts_with("#[cfg(test)]");
        found.mentions.extend(mentions(line));
        if path.ends_with(".toml") && line.starts_with("covers = ") {
            found.marks.extend(mentions(line));
            continue;
        }
        let Some(comment) = comment(path, line).filter(|text| looks_like_a_mark(text)) else {
            continue;
        };
        match mark(comment, rows) {
            Ok(marks) if is_test => found.marks.extend(marks),
            Ok(_) => found.flaws.push(format!("{path}: a mark is in no test: {comment}")),
            Err(flaw) => found.flaws.push(format!("{path}: {flaw}: {comment}")),
        }
    }
    found
}

fn is_test_file(path: &str) -> bool {
    !path.starts_with("src/")
        || ["/tests/", "tests.rs", "_laws.rs"].iter().any(|part| path.contains(part))
}

/// The text of a plain comment on a line of its own.
fn comment<'a>(path: &str, line: &'a str) -> Option<&'a str> {
    let is_rust = path.ends_with(".rs");
    line.trim_start().strip_prefix(if is_rust { "// " } else { "# " })
}

/// Whether a comment would name rows: it begins so, or does after the name of a case.
fn looks_like_a_mark(comment: &str) -> bool {
    let named = comment.starts_with("case").then(|| comment.rsplit(", ").next()).flatten();
    let begins = |text: &str| {
        let words = text.to_lowercase();
        let rest = words.strip_prefix("faults ").or_else(|| words.strip_prefix("fault "));
        rest.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    };
    begins(comment) || named.is_some_and(begins)
}

/// Reads `fault 1`, `faults 1, 3 to 5 and 7`, either with `: words` behind it.
fn mark(comment: &str, rows: &BTreeSet<u16>) -> Result<Vec<u16>, String> {
    let list = comment.split(':').next().unwrap_or(comment);
    let unreadable = || "a mark that cannot be read".to_owned();
    if let Some(number) = list.strip_prefix("fault ") {
        return Ok(vec![number.parse().map_err(|_| unreadable())?]);
    }
    let list = list.strip_prefix("faults ").ok_or_else(unreadable)?.replace(" and ", ", ");
    let mut all = Vec::new();
    for item in list.split(", ") {
        let (first, last) = item.split_once(" to ").unwrap_or((item, item));
        let first = first.parse().map_err(|_| unreadable())?;
        let last = last.parse().map_err(|_| unreadable())?;
        if first > last {
            return Err(format!("{item} runs backwards"));
        }
        if let Some(hole) = (first + 1..last).find(|number| !rows.contains(number)) {
            return Err(format!("{item} runs over {hole}, which is no row"));
        }
        all.extend(first..=last);
    }
    if all.len() < 2 {
        return Err(unreadable());
    }
    Ok(all)
}

/// All numbers behind `fault` and `faults` in a line.
fn mentions(line: &str) -> Vec<u16> {
    let mut all = Vec::new();
    for word in ["fault ", "faults "] {
        for (place, _) in line.match_indices(word) {
            // `default 5` is no row.
            let is_word = !line[..place].ends_with(char::is_alphanumeric);
            all.extend(is_word.then(|| numbers(&line[place + word.len()..])).into_iter().flatten());
        }
    }
    all
}

/// The numbers of a list at the beginning of a text; what is between the ends of a range is not told.
fn numbers(text: &str) -> Vec<u16> {
    let mut all = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let Ok(number) = number.parse() else { return all };
        all.push(number);
        let next = [", ", " and ", " to "].iter().find_map(|between| after.strip_prefix(between));
        let Some(next) = next else { return all };
        rest = next;
    }
}
