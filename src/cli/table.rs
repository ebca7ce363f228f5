//! Tables for people, drawn as the rows come.

use super::terminal::{Tone, paint};

/// A cell and what it means.
pub(super) type Cell = (String, Option<Tone>);

/// Draws rows in columns that only ever get wider; holds none of them.
pub(super) struct Table {
    /// `None` once they are drawn.
    heads: Option<Vec<Cell>>,
    widths: Vec<usize>,
    colour: bool,
}

impl Table {
    pub(super) fn new(heads: &[&str], colour: bool) -> Self {
        let widths = heads.iter().map(|head| head.chars().count()).collect();
        let heads = heads.iter().map(|head| ((*head).to_owned(), Some(Tone::Head))).collect();
        Self { heads: Some(heads), widths, colour }
    }

    /// Draws more rows; the heads come before the first ones.
    pub(super) fn draw(&mut self, rows: &[Vec<Cell>]) -> String {
        rows.iter().for_each(|row| self.widen(row));
        let heads = self.heads.take();
        heads.iter().chain(rows).map(|cells| self.line(cells)).collect()
    }

    fn widen(&mut self, row: &[Cell]) {
        for (width, (text, _)) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }

    fn line(&self, cells: &[Cell]) -> String {
        let cell = |((text, tone), width): (&Cell, &usize)| {
            let padding = " ".repeat(width.saturating_sub(text.chars().count()));
            tone.map_or_else(|| text.clone(), |tone| paint(text, tone, self.colour)) + &padding
        };
        let cells: Vec<_> = cells.iter().zip(&self.widths).map(cell).collect();
        format!("{}\n", cells.join("  ").trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 3]) -> Vec<Cell> {
        cells.map(|cell| (cell.to_owned(), None)).into()
    }

    #[test]
    fn columns_are_aligned_and_heads_come_once() {
        let mut table = Table::new(&["A", "LONG", "C"], false);
        let first = table.draw(&[row(["1", "2", ""]), row(["é1", "", "3"])]);
        assert_eq!(first, "A   LONG  C\n1   2\né1        3\n");
        assert_eq!(table.draw(&[row(["1", "12345", "3"])]), "1   12345  3\n");
        assert_eq!(table.draw(&[row(["1", "2", "3"])]), "1   2      3\n", "no column shrinks");
    }

    #[test]
    fn heads_are_drawn_where_there_is_nothing_else() {
        assert_eq!(Table::new(&["A", "B"], false).draw(&[]), "A  B\n");
    }

    #[test]
    fn colour_takes_no_width() {
        let mut table = Table::new(&["A", "B"], true);
        let drawn = table.draw(&[vec![("x".to_owned(), Some(Tone::Bad)), ("y".to_owned(), None)]]);
        assert_eq!(drawn.lines().nth(1), Some("\u{1b}[31mx\u{1b}[0m  y"));
    }
}
