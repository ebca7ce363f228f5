//! The issuer's own times.
//!
//! Accepted is what RFC 3339 prints and the issuer sends: `2026-01-31T08:00:00.123456789Z`, upper
//! case `T` and `Z` or an offset `+05:30`, none to nine digits of fraction, seconds 00 to 59. The
//! fraction is dropped: it never extends a life (fault 278). All else is malformed (faults 4, 5).

use jiff::civil::DateTime;

/// The year that Go prints for "no time": on a key it means "never" (fault 276).
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Names a moment in the issuer's answer, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamp {
    /// A moment.
    At(i64),
    /// `0001-01-01T00:00:00Z`.
    Never,
}

/// Reads a time; `None` for all that is not on the accept list.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    if text == NO_TIME {
        return Some(Timestamp::Never);
    }
    let (civil, rest) = text.split_at_checked("2026-01-31T08:00:00".len())?;
    let seconds = civil_seconds(civil.as_bytes())?;
    let offset = offset_seconds(without_fraction(rest)?)?;
    Some(Timestamp::At(seconds.saturating_sub(offset)))
}

fn civil_seconds(text: &[u8]) -> Option<i64> {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let fits = text.len() == SHAPE.len()
        && text.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            exact => byte == exact,
        });
    if !fits {
        return None;
    }
    let field = |from: usize, to: usize| -> Option<i8> {
        std::str::from_utf8(text.get(from..to)?).ok()?.parse().ok()
    };
    let year = std::str::from_utf8(text.get(..4)?).ok()?.parse().ok()?;
    let (month, day) = (field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Some(time.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).as_secs())
}

fn without_fraction(rest: &str) -> Option<&str> {
    let Some(fraction) = rest.strip_prefix('.') else {
        return Some(rest);
    };
    let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = fraction.len() - zone.len();
    (1..=9).contains(&digits).then_some(zone)
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, clock) = match zone.split_at_checked(1)? {
        ("+", clock) => (1, clock),
        ("-", clock) if clock != "00:00" => (-1, clock),
        _ => return None,
    };
    let (hours, minutes) = clock.split_once(':')?;
    let field = |text: &str, last: i64| -> Option<i64> {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|value| digits && *value <= last)
    };
    Some(sign * (field(hours, 23)? * 3600 + field(minutes, 59)? * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    // faults 4, 5, 276, 278
    #[test]
    fn the_accept_list() {
        let eight = Some(Timestamp::At(1_769_846_400));
        let table = [
            ("2026-01-31T08:00:00Z", eight),
            ("2026-01-31T08:00:00.9Z", eight),
            ("2026-01-31T08:00:00.123456789Z", eight),
            ("2026-01-31T08:00:00.1234567890Z", None),
            ("2026-01-31T08:00:00.Z", None),
            ("2026-01-31T13:30:00+05:30", eight),
            ("2026-01-31T07:00:00.5-01:00", eight),
            ("2026-01-31T08:00:00+00:00", eight),
            ("2026-01-31T08:00:00-00:00", None),
            ("2026-01-31T08:00:00+2400", None),
            ("2026-01-31T08:00:00+24:00", None),
            ("2026-01-31T08:00:00+05:60", None),
            ("2026-01-31T08:00:00+5:30", None),
            ("2026-01-31T08:00:00++5:30", None),
            ("2026-01-31T08:00:00", None),
            ("2026-01-31T08:00:00 Z", None),
            ("2026-01-31T08:00:00Z ", None),
            (" 2026-01-31T08:00:00Z", None),
            ("2026-01-31 08:00:00Z", None),
            ("2026-01-31t08:00:00Z", None),
            ("2026-01-31T08:00:00z", None),
            ("2026-01-31T08:00:60Z", None),
            ("2026-01-31T24:00:00Z", None),
            ("2026-02-29T08:00:00Z", None),
            ("2028-02-29T08:00:00Z", Some(Timestamp::At(1_835_424_000))),
            ("2026-13-01T08:00:00Z", None),
            ("2026-1-31T08:00:00Z", None),
            ("+2026-01-31T08:00:0Z", None),
            ("2026-01-31T08:00Z", None),
            ("9999-12-31T23:59:59Z", Some(Timestamp::At(253_402_300_799))),
            ("9999-12-31T23:59:59-23:59", Some(Timestamp::At(253_402_387_139))),
            ("10000-01-01T00:00:00Z", None),
            ("0001-01-01T00:00:00Z", Some(Timestamp::Never)),
            ("0001-01-01T00:00:01Z", Some(Timestamp::At(-62_135_596_799))),
            ("1769846400", None),
            ("", None),
            ("2026-01-31T08:00:0\u{0660}Z", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        // fault 3
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _moment = parse(&text);
        }

        #[test]
        fn agrees_with_a_second_parser(seconds in 0_i64..253_000_000_000, zone in "Z|[+-]0[1-9]:[0-5][0-9]") {
            let civil = DateTime::constant(1970, 1, 1, 0, 0, 0, 0) + jiff::SignedDuration::from_secs(seconds);
            let text = format!("{civil}{zone}");
            let other: jiff::Timestamp = text.parse().expect("valid");
            proptest::prop_assert_eq!(parse(&text), Some(Timestamp::At(other.as_second())));
        }
    }
}
