//! How many requests a user may make, and what an answer says of it.

use std::{collections::HashMap, time::Duration};

use clap::ValueEnum;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;

use super::{
    answer::{Answer, Kind, Refusal},
    clock,
};

/// Says what a 429 tells of the time to come back (conformance case T12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThrottleForm {
    /// `X-RateLimit-Retry-At` with the unix time of the reset.
    RetryAt,
    /// Nothing.
    Bare,
    /// `Retry-After` in seconds.
    RetryAfter,
    /// `Retry-After` as a date.
    RetryAfterDate,
    /// `X-RateLimit-Retry-At` an hour ago.
    Past,
    /// `X-RateLimit-Retry-At` that is no number.
    Garbage,
}

impl ThrottleForm {
    /// Answers 429 in this form; the way is free again at `reset`, in unix seconds.
    pub(super) fn answer(self, reset: i64, now: Timestamp) -> Answer {
        let refusal = Refusal::new(Kind::TooManyRequests, "Too many requests");
        let mut answer = Answer::from(refusal);
        if let Some((name, value)) = self.header(reset, now) {
            answer.headers_mut().insert(name, value);
        }
        answer
    }

    fn header(self, reset: i64, now: Timestamp) -> Option<(HeaderName, HeaderValue)> {
        let seconds = now.as_second();
        match self {
            Self::RetryAt => Some((RETRY_AT, reset.into())),
            Self::Bare => None,
            Self::RetryAfter => {
                Some((header::RETRY_AFTER, reset.saturating_sub(seconds).max(0).into()))
            }
            Self::RetryAfterDate => Some((header::RETRY_AFTER, date(reset))),
            Self::Past => Some((RETRY_AT, seconds.saturating_sub(3600).into())),
            Self::Garbage => Some((RETRY_AT, HeaderValue::from_static("tomorrow"))),
        }
    }
}

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RETRY_AT: HeaderName = HeaderName::from_static("x-ratelimit-retry-at");

fn date(seconds: i64) -> HeaderValue {
    let moment = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    HeaderValue::try_from(clock::http_date(moment)).expect("a date is plain text")
}

/// Says where a user stands after a request was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    limit: u32,
    remaining: u32,
    /// Unix seconds.
    pub(super) reset: i64,
    /// Whether this very request is beyond the limit.
    pub(super) is_throttled: bool,
}

impl Standing {
    /// Puts the headers on that every answer has.
    pub(super) fn mark(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.into());
        headers.insert(REMAINING, self.remaining.into());
        headers.insert(RESET, self.reset.into());
    }
}

/// Counts the requests of each user in windows.
pub(super) struct RateLimits {
    pub(super) limit: u32,
    window: Duration,
    windows: HashMap<String, Window>,
}

struct Window {
    used: u32,
    reset: i64,
}

impl RateLimits {
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window, windows: HashMap::new() }
    }

    /// Counts one request of a user; one beyond the limit costs nothing more.
    pub(super) fn count(&mut self, user: &str, now: Timestamp) -> Standing {
        let (limit, reset) = (self.limit, self.next_reset(now));
        if !self.windows.contains_key(user) {
            self.windows.insert(user.to_owned(), Window { used: 0, reset });
        }
        let window = self.windows.get_mut(user).expect("it was put there if it was missing");
        if window.reset <= now.as_second() {
            *window = Window { used: 0, reset };
        }
        let is_throttled = window.used >= limit;
        window.used = window.used.saturating_add(u32::from(!is_throttled));
        let remaining = limit.saturating_sub(window.used);
        Standing { limit, remaining, reset: window.reset, is_throttled }
    }

    /// Tells the standing of one who could not be recognised, and who is not counted.
    pub(super) fn stranger(&self, now: Timestamp) -> Standing {
        let reset = self.next_reset(now);
        Standing { limit: self.limit, remaining: self.limit, reset, is_throttled: false }
    }

    fn next_reset(&self, now: Timestamp) -> i64 {
        clock::after(now, self.window).as_second().saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn r1_each_user_counts_down_and_starts_anew_at_the_reset() {
        let mut limits = RateLimits::new(2, Duration::from_secs(9));
        let first = limits.count("u", at(100));
        assert_eq!((first.remaining, first.reset, first.is_throttled), (1, 110, false));
        assert!(!limits.count("u", at(101)).is_throttled);
        assert!(limits.count("u", at(109)).is_throttled);
        assert!(!limits.count("v", at(109)).is_throttled);
        let anew = limits.count("u", at(110));
        assert_eq!((anew.remaining, anew.reset, anew.is_throttled), (1, 120, false));
    }

    #[test]
    fn t12_every_form_of_a_429() {
        let header = |form: ThrottleForm| {
            let answer = form.answer(130, at(100));
            let headers = answer.headers();
            let pick = |name| {
                headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned())
            };
            (pick(RETRY_AT), pick(header::RETRY_AFTER))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(header(ThrottleForm::RetryAt), (text("130"), None));
        assert_eq!(header(ThrottleForm::Bare), (None, None));
        assert_eq!(header(ThrottleForm::RetryAfter), (None, text("30")));
        assert_eq!(
            header(ThrottleForm::RetryAfterDate),
            (None, text("Thu, 01 Jan 1970 00:02:10 GMT"))
        );
        assert_eq!(header(ThrottleForm::Past), (text("-3500"), None));
        assert_eq!(header(ThrottleForm::Garbage), (text("tomorrow"), None));
    }
}
