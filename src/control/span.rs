//! Times as people say them.

/// Writes a time in its two largest units.
#[must_use]
pub fn span(seconds: u64) -> String {
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
}
