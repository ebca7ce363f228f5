//! Moments of the issuer as people say them.

pub(super) use crate::control::span::span;
use crate::{
    okta::timestamp::{self, Timestamp},
    token::timing::Wall,
};

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
