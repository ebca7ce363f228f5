//! The issuer's own clock.
//!
//! The emulator plays another machine, whose clock may be wrong: it takes wall time here, with a
//! skew, and not from the clock of the process it happens to live in.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// Latest moment that an HTTP date can say: the end of 9998.
const LAST_HTTP_DATE: i64 = 253_370_764_799;

/// Tells the time, `skew` seconds ahead of the truth.
pub(super) fn now(skew: i64) -> Timestamp {
    shifted(Timestamp::now(), skew)
}

/// Moves a moment by `seconds`; stops at the ends of time.
pub(super) fn shifted(moment: Timestamp, seconds: i64) -> Timestamp {
    let edge = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    moment.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(edge)
}

/// Names the moment that comes `later`; stops at the end of time.
pub(super) fn after(moment: Timestamp, later: Duration) -> Timestamp {
    moment.checked_add(later).unwrap_or(Timestamp::MAX)
}

/// Writes a moment as `Date` does, in whole seconds.
pub(super) fn http_date(moment: Timestamp) -> String {
    let seconds = moment.as_second().clamp(0, LAST_HTTP_DATE);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_stop_at_the_edges_of_what_http_can_say() {
        assert_eq!(http_date(Timestamp::MIN), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(Timestamp::MAX), "Thu, 31 Dec 9998 23:59:59 GMT");
        assert_eq!(http_date(Timestamp::UNIX_EPOCH), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn no_shift_leaves_time() {
        assert_eq!(shifted(Timestamp::UNIX_EPOCH, i64::MAX), Timestamp::MAX);
        assert_eq!(shifted(Timestamp::UNIX_EPOCH, i64::MIN), Timestamp::MIN);
        assert_eq!(after(Timestamp::UNIX_EPOCH, Duration::MAX), Timestamp::MAX);
        assert_eq!(shifted(Timestamp::UNIX_EPOCH, -5).as_second(), -5);
    }
}
