//! Service users and keys as people and programs read them.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cli::{
        exit::Exit,
        span::distance,
        table::{Cell, Table},
        terminal::{self, Reader, Tone},
        text::{clean, clean_json},
    },
    okta::wire::{ServiceKey, ServiceUser},
    token::timing::Wall,
};

/// Can be shown as one row of a table.
pub(in crate::cli) trait Row: DeserializeOwned + Serialize {
    const HEADS: &'static [&'static str];

    fn cells(&self, now: Wall) -> Vec<Cell>;
}

impl Row for ServiceUser {
    const HEADS: &'static [&'static str] = &["ID", "STATUS", "NAME"];

    fn cells(&self, now: Wall) -> Vec<Cell> {
        let deleted = self.deleted_at.as_ref().map(|at| format!(" {}", moment(at, now)));
        let status = format!("{}{}", clean(&self.status), deleted.unwrap_or_default());
        let tone = match self.status.as_str() {
            "ACTIVE" => Tone::Good,
            "DISABLED" => Tone::Odd,
            _ => Tone::Faint,
        };
        vec![(clean(&self.id), None), (status, Some(tone)), (clean(&self.name), None)]
    }
}

impl Row for ServiceKey {
    const HEADS: &'static [&'static str] = &["ID", "ISSUED", "ENDS", "LAST USED"];

    fn cells(&self, now: Wall) -> Vec<Cell> {
        let moments = [&self.issued_at, &self.expires_at, &self.last_used];
        let cell = |at: &Option<String>| at.as_ref().map_or("-".to_owned(), |at| moment(at, now));
        let moments = moments.map(|at| (cell(at), None));
        [(clean(&self.id), None)].into_iter().chain(moments).collect()
    }
}

fn moment(at: &str, now: Wall) -> String {
    distance(at, now).unwrap_or_else(|| clean(at))
}

/// Prints rows as they come.
pub(in crate::cli) enum Output {
    Table(Table),
    /// One object to a line.
    Json,
}

impl Output {
    pub(in crate::cli) fn new<T: Row>(json: bool) -> Self {
        if json { Self::Json } else { Self::Table(Table::new(T::HEADS, terminal::has_colour())) }
    }

    /// Prints more rows; tells whether somebody still reads.
    pub(in crate::cli) fn rows<T: Row>(&mut self, rows: &[T], now: Wall) -> Result<Reader, Exit> {
        let text = match self {
            Self::Table(table) => {
                table.draw(&rows.iter().map(|row| row.cells(now)).collect::<Vec<_>>())
            }
            Self::Json => rows.iter().map(line).collect(),
        };
        terminal::offer(text.as_bytes())
    }
}

fn line<T: Row>(row: &T) -> String {
    let json = serde_json::to_string(row).expect("texts can be written as JSON");
    format!("{}\n", clean_json(&json))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_seconds(1_769_846_400);

    fn user(name: &str, status: &str, deleted_at: Option<&str>) -> ServiceUser {
        let json = serde_json::json!({ "id": "6ac84721-a7ba-4034-9c39-41ef7b38819d", "name": name,
            "status": status, "team_name": "acme", "user_type": "service", "details": null,
            "deleted_at": deleted_at });
        serde_json::from_value(json).unwrap()
    }

    fn drawn<T: Row>(rows: &[T]) -> String {
        let cells: Vec<_> = rows.iter().map(|row| row.cells(NOW)).collect();
        Table::new(T::HEADS, false).draw(&cells)
    }

    // fault 148
    #[test]
    fn users_fit_into_80_columns_and_no_name_forges_a_row() {
        let table = drawn(&[
            user("robot", "ACTIVE", None),
            user("a\nb\u{1b}[2K", "DELETED", Some("2026-01-29T06:00:00.123456789Z")),
        ]);
        let expected = "\
ID                                    STATUS             NAME
6ac84721-a7ba-4034-9c39-41ef7b38819d  ACTIVE             robot
6ac84721-a7ba-4034-9c39-41ef7b38819d  DELETED 2d 2h ago  a\\u{a}b\\u{1b}[2K
";
        assert_eq!(table, expected);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }

    // fault 276
    #[test]
    fn keys_fit_into_80_columns() {
        let json = serde_json::json!([
            { "id": "6ac84721-a7ba-4034-9c39-41ef7b38819d", "issued_at": "2025-03-01T07:59:59Z",
              "expires_at": "0001-01-01T00:00:00Z", "last_used": null },
            { "id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "issued_at": "soon\u{7}",
              "expires_at": "2026-02-02T07:00:00Z", "last_used": "2026-01-31T07:59:01Z",
              "secret": "canary" },
        ]);
        let keys: Vec<ServiceKey> = serde_json::from_value(json).unwrap();
        let table = drawn(&keys);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        let expected = "\
ID                                    ISSUED     ENDS       LAST USED
6ac84721-a7ba-4034-9c39-41ef7b38819d  336d ago   never      -
3f2504e0-4f89-41d3-9a0c-0305e82c3301  soon\\u{7}  in 1d 23h  59s ago
";
        assert_eq!(table, expected);
        let lines: String = keys.iter().map(line).collect();
        assert!(!lines.contains("canary"), "a secret would not be shown");
    }

    #[test]
    fn a_line_of_json_is_the_whole_object() {
        let line = line(&user("a\u{9b}b", "ACTIVE", None));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((json["name"].as_str(), line.lines().count()), (Some("a\u{9b}b"), 1));
        assert!(!line.contains('\u{9b}') && json["deleted_at"].is_null());
        assert_eq!(json.as_object().unwrap().len(), 7);
    }
}
