//! Times as people say them.

use crate::{
    okta::timestamp::{self, Timestamp},
    token::timing::Wall,
};

/// A time in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let parts = units.map(|(unit, size)| {
        let count = rest / size;
        rest %= size;
        (count, unit)
    });
    let largest = parts.iter().skip_while(|(count, _)| *count == 0).take(2);
    let shown = largest.filter(|(count, _)| *count > 0);
    let shown: Vec<_> = shown.map(|(count, unit)| format!("{count}{unit}")).collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

/// Says how far away a moment of the issuer is; `None` for what is no moment.
pub(super) fn distance(moment: &str, now: Wall) -> Option<String> {
    let moment = match timestamp::parse(moment)? {
        Timestamp::Never => return Some("never".to_owned()),
        Timestamp::At(seconds) => Wall::from_seconds(seconds),
    };
    let (ahead, behind) = (moment.since(now).as_secs(), now.since(moment).as_secs());
    Some(if ahead > 0 { format!("in {}", span(ahead)) } else { format!("{} ago", span(behind)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        let table = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m 59s"),
            (3_600, "1h"),
            (3_601, "1h"),
            (90_061, "1d 1h"),
            (86_400 * 30 + 59, "30d"),
        ];
        for (seconds, text) in table {
            assert_eq!(span(seconds), text);
        }
    }

    // fault 276
    #[test]
    fn moments_are_told_by_their_distance() {
        let now = Wall::from_seconds(1_769_846_400);
        let table = [
            ("2026-01-31T08:00:00.999Z", Some("0s ago")),
            ("2026-01-31T07:58:30Z", Some("1m 30s ago")),
            ("2026-02-02T08:00:00Z", Some("in 2d")),
            ("0001-01-01T00:00:00Z", Some("never")),
            ("soon", None),
            ("", None),
        ];
        for (moment, expected) in table {
            assert_eq!(distance(moment, now).as_deref(), expected, "{moment}");
        }
    }
}
