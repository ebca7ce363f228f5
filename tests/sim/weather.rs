//! What lies between a request and its answer: fine weather, and every kind of bad one.

use std::time::Duration;

use bearerd::okta::classify::Reason;

use super::dice::Dice;

/// Says how the network and the issuer behave for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Fine,
    /// No connection, at once.
    Refused,
    NoName,
    BadTls,
    /// Nothing comes back; nothing got there.
    Blackhole,
    /// Nothing comes back; the request was carried out.
    Hangs,
    ResetBefore,
    /// Broken off after the request was carried out.
    ResetAfter,
    /// 503, perhaps with a time to come again.
    Offline(Option<u64>),
    /// 429, perhaps with a time to come again.
    Busy(Option<u64>),
    /// 500 without the issuer's own word.
    Broken,
    /// 502 of a gateway, after the request was carried out.
    Gateway,
    /// 200 with a page of HTML.
    Portal,
    /// 200 with JSON of another shape.
    Nonsense,
    /// Tokens of a few seconds.
    Short,
    /// Tokens that have ended.
    Stale,
    OtherTeam,
    Redirect,
    Forbidden,
    /// 404 with the issuer's own word.
    Unknown,
    /// Each request has its own.
    Changing,
}

const BAD: [Weather; 24] = [
    Weather::Refused,
    Weather::NoName,
    Weather::BadTls,
    Weather::Blackhole,
    Weather::Hangs,
    Weather::ResetBefore,
    Weather::ResetAfter,
    Weather::Offline(None),
    Weather::Offline(Some(5)),
    Weather::Offline(Some(240)),
    Weather::Busy(None),
    Weather::Busy(Some(1)),
    Weather::Busy(Some(30)),
    Weather::Busy(Some(7200)),
    Weather::Broken,
    Weather::Gateway,
    Weather::Portal,
    Weather::Nonsense,
    Weather::Short,
    Weather::Stale,
    Weather::OtherTeam,
    Weather::Redirect,
    Weather::Forbidden,
    Weather::Unknown,
];

impl Weather {
    /// Draws a bad one.
    pub(crate) fn bad(dice: &mut Dice) -> Self {
        if dice.hits(0.15) { Self::Changing } else { dice.pick(&BAD) }
    }

    /// Says what one request meets.
    pub(crate) fn of_request(self, dice: &mut Dice) -> Self {
        match self {
            Self::Changing if dice.hits(0.4) => Self::Fine,
            Self::Changing => dice.pick(&BAD),
            other => other,
        }
    }

    /// Tells why there is no answer at all, and whether the request was carried out nevertheless.
    pub(crate) const fn silence(self) -> Option<(Reason, bool)> {
        match self {
            Self::Refused => Some((Reason::Connect, false)),
            Self::NoName => Some((Reason::Dns, false)),
            Self::BadTls => Some((Reason::Tls, false)),
            Self::Blackhole => Some((Reason::Timeout, false)),
            Self::Hangs => Some((Reason::Timeout, true)),
            Self::ResetBefore => Some((Reason::Connect, false)),
            Self::ResetAfter => Some((Reason::Connect, true)),
            _ => None,
        }
    }

    /// Tells whether the request never left.
    pub(crate) const fn is_unsent(self) -> bool {
        matches!(self, Self::Refused | Self::NoName | Self::BadTls)
    }

    /// Tells status, wait and body of an answer that is a refusal.
    pub(crate) fn refusal(self) -> Option<(u16, Option<u64>, String)> {
        let own = |status: u16, wait, kind: &str| Some((status, wait, error(status, kind)));
        match self {
            Self::Offline(wait) => own(503, wait, "service_offline"),
            Self::Busy(wait) => own(429, wait, "too_many_requests"),
            Self::Broken => Some((500, None, "<html>".to_owned())),
            Self::Gateway => Some((502, None, "<html>".to_owned())),
            Self::Redirect => Some((302, None, String::new())),
            Self::Forbidden => own(403, None, "forbidden_error"),
            Self::Unknown => own(404, None, "not_found"),
            Self::Portal => Some((200, None, "<html>".to_owned())),
            Self::Nonsense => Some((200, None, r#"{"token":"x"}"#.to_owned())),
            _ => None,
        }
    }

    /// Tells how long the client waits before it gives up, if it has to.
    pub(crate) const fn patience(self) -> Duration {
        match self {
            Self::Blackhole | Self::Hangs => DEADLINE,
            _ => Duration::ZERO,
        }
    }
}

/// Longest time of one attempt: that of the real client with its defaults, and more.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// Writes an error as the issuer does.
pub(crate) fn error(status: u16, kind: &str) -> String {
    format!(r#"{{"code":{status},"message":"m","type":"{kind}"}}"#)
}
