//! The table, and the same as JSON.

use std::io;

use serde_json::{Map, Value, json};

use crate::{
    contenders::Contender,
    figures::{Ratio, Row},
    options::Options,
};

/// Prints the rows for a person, for a page, or for a program.
pub(crate) fn print(rows: &[Row], options: &Options) -> io::Result<()> {
    if options.markdown {
        print!("{}", markdown(rows));
    } else if options.json {
        let rows = rows.iter().map(json).collect::<Vec<_>>();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", table(rows));
    }
    Ok(())
}

/// Tells who was measured at all.
fn present(rows: &[Row]) -> Vec<Contender> {
    let is_there = |contender: &Contender| rows.iter().any(|row| row.median(*contender).is_some());
    Contender::ALL.into_iter().filter(is_there).collect()
}

/// Yardsticks, which the daemon is compared with.
fn yardsticks(present: &[Contender]) -> impl Iterator<Item = Contender> {
    present.iter().copied().filter(|contender| *contender != Contender::Bearerd)
}

fn table(rows: &[Row]) -> String {
    let present = present(rows);
    let mut lines = vec![titles(&present)];
    lines.extend(rows.iter().map(|row| cells(row, &present)));
    let columns = lines.first().map_or(0, Vec::len);
    let widths = (0..columns)
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect::<Vec<_>>();
    lines.iter().map(|line| aligned(line, &widths)).collect()
}

/// Writes the table of a page, in which a ratio's lowest and highest stand behind it.
fn markdown(rows: &[Row]) -> String {
    let present = present(rows);
    let yardsticks = yardsticks(&present).collect::<Vec<_>>();
    let mut titles = vec!["measure".to_owned(), "unit".to_owned()];
    titles.extend(present.iter().map(|contender| contender.name().to_owned()));
    titles.extend(yardsticks.iter().map(|yardstick| format!("÷ {}", yardstick.name())));
    let rule = titles.iter().enumerate().map(|(place, _)| if place < 2 { "---" } else { "---:" });
    let mut lines = vec![titles.join(" | "), rule.collect::<Vec<_>>().join(" | ")];
    for row in rows {
        let figures = 2 + present.len();
        let mut line = cells(row, &present).into_iter().take(figures).collect::<Vec<_>>();
        line.extend(yardsticks.iter().map(|yardstick| {
            let ratio = row.ratio(*yardstick).map(in_words);
            ratio.map_or_else(String::new, |[median, range]| match range.split_once(" … ") {
                Some((low, high)) if low != high => format!("{median} ({range})"),
                _ => median,
            })
        }));
        lines.push(line.join(" | "));
    }
    lines.iter().map(|line| format!("| {line} |\n")).collect()
}

fn titles(present: &[Contender]) -> Vec<String> {
    let mut titles = vec!["measure (medians)".to_owned(), "unit".to_owned()];
    titles.extend(present.iter().map(|contender| contender.name().to_owned()));
    for yardstick in yardsticks(present) {
        titles.extend([format!("÷ {}", yardstick.name()), "low … high".to_owned()]);
    }
    titles
}

fn cells(row: &Row, present: &[Contender]) -> Vec<String> {
    let mut cells = vec![row.name.clone(), row.unit.label().to_owned()];
    cells.extend(present.iter().map(|contender| {
        row.median(*contender).map_or_else(String::new, |found| short(found * row.unit.scale()))
    }));
    for yardstick in yardsticks(present) {
        cells.extend(row.ratio(yardstick).map_or_else(Default::default, in_words));
    }
    cells
}

fn in_words(ratio: Ratio) -> [String; 2] {
    [format!("{:.2}", ratio.median), format!("{:.2} … {:.2}", ratio.low, ratio.high)]
}

/// Three digits say all there is to say.
fn short(figure: f64) -> String {
    match figure.abs() {
        0.0..10.0 => format!("{figure:.2}"),
        10.0..100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// The first column begins at the left, figures end at the right.
fn aligned(cells: &[String], widths: &[usize]) -> String {
    let mut cells = cells.iter().zip(widths);
    let name = cells.next().map(|(cell, width)| format!("{cell:<width$}"));
    let rest = cells.map(|(cell, width)| format!("  {cell:>width$}")).collect::<String>();
    format!("{}{rest}\n", name.unwrap_or_default())
}

fn json(row: &Row) -> Value {
    let scaled = |figure: f64| figure * row.unit.scale();
    let medians = Contender::ALL.into_iter().filter_map(|contender| {
        Some((contender.name().into(), scaled(row.median(contender)?).into()))
    });
    let ratios = yardsticks(&Contender::ALL).filter_map(|yardstick| {
        let Ratio { low, median, high } = row.ratio(yardstick)?;
        Some((yardstick.name().into(), json!({"low": low, "median": median, "high": high})))
    });
    json!({
        "measure": row.name,
        "unit": row.unit.label(),
        "medians": medians.collect::<Map<_, _>>(),
        "ratios": ratios.collect::<Map<_, _>>(),
    })
}
