//! When the issuer wants to be asked again.
//!
//! `Retry-After` in both forms (RFC 9110 section 10.2.3) and `X-RateLimit-Retry-At` in seconds
//! since 1970. What does not parse, or is there twice, is as if it were not there (faults 24, 25);
//! the policy clamps the rest.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use super::issuer::Allowance;
use crate::token::timing::Wall;

/// Longest value that is looked at.
const LONGEST: usize = 64;

static RETRY_AT: HeaderName = HeaderName::from_static("x-ratelimit-retry-at");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Tells how long to wait from `now`, by the issuer's clock; the longer of the two headers wins.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Wall) -> Option<Duration> {
    let after = single(headers, &header::RETRY_AFTER).and_then(|text| seconds_or_date(text, now));
    let at = single(headers, &RETRY_AT)
        .and_then(digits)
        .map(|seconds| Wall::from_unix(Duration::from_secs(seconds)).since(now));
    after.max(at)
}

/// Tells what is left of the user's budget.
#[must_use]
pub fn allowance(headers: &HeaderMap) -> Option<Allowance> {
    let number = |name| single(headers, name).and_then(digits);
    Some(Allowance {
        remaining: number(&REMAINING)?,
        limit: number(&LIMIT),
        reset: number(&RESET).map(|at| Wall::from_unix(Duration::from_secs(at))),
    })
}

/// Tells the issuer's own time.
#[must_use]
pub fn date(headers: &HeaderMap) -> Option<Wall> {
    single(headers, &header::DATE).and_then(http_date)
}

fn seconds_or_date(text: &str, now: Wall) -> Option<Duration> {
    let seconds = digits(text).map(Duration::from_secs);
    seconds.or_else(|| http_date(text).map(|date| date.since(now)))
}

fn http_date(text: &str) -> Option<Wall> {
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(std::time::UNIX_EPOCH).ok().map(Wall::from_unix)
}

/// Reads digits and nothing else.
pub(super) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && value.len() <= LONGEST).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-31T08:00:00Z
    const NOW: Wall = Wall::from_seconds(1_769_846_400);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().expect("a header"))
        };
        pairs.iter().map(pair).collect()
    }

    // faults 23, 24, 25
    #[test]
    fn every_form_of_a_retry_time() {
        let far = "1".repeat(100);
        type Pairs<'a> = &'a [(&'static str, &'a str)];
        let table: [(Pairs<'_>, Option<u64>); 18] = [
            (&[], None),
            (&[("retry-after", "30")], Some(30)),
            (&[("retry-after", "0")], Some(0)),
            (&[("retry-after", "-30")], None),
            (&[("retry-after", "+30")], None),
            (&[("retry-after", "1.5")], None),
            (&[("retry-after", "")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "1000000000000")], Some(1_000_000_000_000)),
            (&[("retry-after", "99999999999999999999999")], None),
            (&[("retry-after", &far)], None),
            (&[("retry-after", "30"), ("retry-after", "30")], None),
            (&[("retry-after", "Sat, 31 Jan 2026 08:00:45 GMT")], Some(45)),
            (&[("retry-after", "Sat, 31 Jan 2026 07:00:00 GMT")], Some(0)),
            (&[("x-ratelimit-retry-at", "1769846460")], Some(60)),
            (&[("x-ratelimit-retry-at", "1")], Some(0)),
            (&[("x-ratelimit-retry-at", "-1")], None),
            (&[("x-ratelimit-retry-at", "1769846460"), ("retry-after", "90")], Some(90)),
        ];
        for (pairs, expected) in table {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(retry_after(&headers(pairs), NOW), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_longest_time_does_not_overflow() {
        let last = headers(&[("x-ratelimit-retry-at", "18446744073709551615")]);
        assert!(retry_after(&last, NOW).is_some());
    }

    #[test]
    fn the_rest_of_the_budget_and_the_date() {
        let good = headers(&[
            ("x-ratelimit-remaining", "9999"),
            ("x-ratelimit-limit", "10000"),
            ("x-ratelimit-reset", "1769846400"),
            ("date", "Sat, 31 Jan 2026 08:00:00 GMT"),
        ]);
        let told = Allowance { remaining: 9999, limit: Some(10_000), reset: Some(NOW) };
        assert_eq!(allowance(&good), Some(told));
        assert_eq!(date(&good), Some(NOW));
        let bad = headers(&[("x-ratelimit-remaining", "many"), ("date", "today")]);
        assert_eq!((allowance(&bad), date(&bad)), (None, None));
    }
}
