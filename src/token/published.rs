//! A token as it is served: its bytes in every shape, built once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use zeroize::Zeroizing;

use super::{
    format::{self, Format},
    lease::{Lease, Serial},
    timing::{Tick, Wall},
};
use crate::{
    okta::{brief, classify::Grant, mask::Sought},
    process::{fingerprint::Fingerprint, secret::Secret},
};

/// Holds a token and the answers that carry it.
pub struct Published {
    lease: Lease,
    /// End by our own wall clock, corrected by the issuer's `Date`.
    wall_end: Wall,
    token: Secret,
    token_id: String,
    etag: HeaderValue,
    expires_at: Wall,
    team_name: String,
    bearer: HeaderValue,
    auth_headers: HeaderMap,
    text_headers: HeaderMap,
    json_headers: HeaderMap,
    raw: Bytes,
    sought: Arc<Sought>,
    header: Bytes,
    env: Bytes,
    json: Countdown,
    oauth2: Countdown,
    /// Whole answers, in the order of [`Format::ALL`].
    whole: [Latest; Format::ALL.len()],
    lapse_told: AtomicBool,
}

impl Published {
    /// Builds every answer; `wall` is our wall clock at the moment of publication.
    #[must_use]
    pub fn new(grant: Grant, lease: Lease, wall: Wall) -> Self {
        // What the policy cut off the life is cut off the end that clients are told.
        let cut = grant.lifetime.saturating_sub(lease.lifetime());
        let expires_at = grant.expires_at - cut;
        let token = grant.token.expose();
        let token_id = token_id(token);
        let etag = HeaderValue::from_str(&format!("\"{token_id}\""));
        let etag = etag.expect("hex digits are valid in a header");
        let (bearer, raw) = (bearer(token), wiped(&[token]));
        Self {
            lease,
            wall_end: wall + lease.remaining(lease.published),
            expires_at,
            auth_headers: auth_headers(&bearer, &token_id),
            bearer,
            text_headers: headers(Format::Raw, &etag),
            json_headers: headers(Format::Json, &etag),
            etag,
            sought: Arc::new(Sought::new(raw.clone())),
            raw,
            header: wiped(&[b"Authorization: Bearer ", token, b"\n"]),
            env: wiped(&[b"OKTA_BEARER_TOKEN=", token, b"\n"]),
            json: Countdown::json(token, expires_at, &grant.team_name, &token_id),
            oauth2: Countdown::oauth2(token),
            whole: Default::default(),
            token_id,
            token: grant.token,
            team_name: grant.team_name,
            lapse_told: AtomicBool::new(false),
        }
    }

    /// Gives the same token with this life, which is shorter.
    #[must_use]
    pub fn shortened(&self, lease: Lease) -> Self {
        let cut = self.lease.expires.since(lease.expires);
        let grant = Grant {
            token: Secret::copy_of(self.token.expose()),
            lifetime: lease.lifetime(),
            expires_at: self.expires_at - cut,
            team_name: self.team_name.clone(),
        };
        let published = self.wall_end - self.lease.remaining(self.lease.published);
        Self::new(grant, lease, published)
    }

    /// Tells the place in the order of publications.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        self.lease.serial
    }

    /// Tells the life by boot time.
    #[must_use]
    pub const fn lease(&self) -> Lease {
        self.lease
    }

    /// Lends the token itself.
    #[must_use]
    pub const fn token(&self) -> &Secret {
        &self.token
    }

    /// Gives what to look for in answers that must not hold it.
    #[must_use]
    pub fn sought(&self) -> Arc<Sought> {
        Arc::clone(&self.sought)
    }

    /// Gives the value of `Authorization` that carries it.
    #[must_use]
    pub fn bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }

    /// Tells the team as the issuer writes it.
    #[must_use]
    pub fn team_name(&self) -> &str {
        &self.team_name
    }

    /// Tells the fingerprint that is safe to log.
    #[must_use]
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// Tells the entity tag of all its answers.
    #[must_use]
    pub const fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// Tells the end by the issuer's clock.
    #[must_use]
    pub const fn expires_at(&self) -> Wall {
        self.expires_at
    }

    /// Tells the end by our own wall clock.
    #[must_use]
    pub const fn wall_end(&self) -> Wall {
        self.wall_end
    }

    /// Tells the life that is left by the clock that gives it less; zero when it is over.
    #[must_use]
    pub fn remaining(&self, tick: Tick, wall: Wall) -> Duration {
        self.lease.remaining(tick).min(self.wall_end.since(wall))
    }

    /// Tells whether it can be served: both clocks must say so (faults 63 to 67).
    #[must_use]
    pub fn is_valid(&self, tick: Tick, wall: Wall) -> bool {
        !self.remaining(tick, wall).is_zero()
    }

    /// Tells, once, that only the wall clock finds it over.
    #[must_use]
    pub fn has_just_lapsed(&self, tick: Tick, wall: Wall) -> bool {
        self.lease.is_valid(tick)
            && !self.is_valid(tick, wall)
            && !self.lapse_told.swap(true, Ordering::Relaxed)
    }

    /// Gives the headers of the answer in a shape, made once: copy them as they are.
    #[must_use]
    pub const fn headers(&self, format: Format) -> &HeaderMap {
        match format {
            Format::Raw | Format::Header | Format::Env => &self.text_headers,
            Format::Json | Format::Oauth2 => &self.json_headers,
        }
    }

    /// Gives the headers of an answer to `/v1/auth`, which is nothing but these.
    #[must_use]
    pub const fn auth_headers(&self) -> &HeaderMap {
        &self.auth_headers
    }

    /// Gives the whole answer of HTTP/1.1 in a shape, head and body, built at most twice a second:
    /// `wall` is its `Date`.
    #[must_use]
    pub fn whole(&self, format: Format, remaining: Duration, wall: Wall) -> Bytes {
        let [now, left] = [wall.since_epoch().as_secs(), remaining.as_secs()];
        let build = || {
            let (headers, body) = (self.headers(format), self.body(format, remaining));
            let answer = brief::answer(StatusCode::OK, headers, &body, wall);
            Bytes::from_owner(Zeroizing::new(answer))
        };
        match self.whole.get(format as usize) {
            Some(latest) => latest.at([now, left], build),
            None => build(),
        }
    }

    /// Gives the answer in a shape; `expires_in` are the whole seconds of `remaining`.
    #[must_use]
    pub fn body(&self, format: Format, remaining: Duration) -> Bytes {
        match format {
            Format::Raw => self.raw.clone(),
            Format::Header => self.header.clone(),
            Format::Env => self.env.clone(),
            Format::Json => self.json.at(remaining.as_secs()),
            Format::Oauth2 => self.oauth2.at(remaining.as_secs()),
        }
    }
}

/// Tells the fingerprint of a token: 16 hex digits, safe to log, valid in this process only.
#[must_use]
pub fn token_id(token: &[u8]) -> String {
    Fingerprint::of([token]).short()
}

fn headers(format: Format, etag: &HeaderValue) -> HeaderMap {
    let mut headers = format::headers(format.media_type());
    headers.insert(header::ETAG, etag.clone());
    headers
}

fn bearer(token: &[u8]) -> HeaderValue {
    let mut bearer = HeaderValue::from_maybe_shared(wiped(&[b"Bearer ", token]))
        .expect("a token that no header can hold is not published");
    bearer.set_sensitive(true);
    bearer
}

/// Makes the headers that a reverse proxy copies into the request that it asks about.
fn auth_headers(bearer: &HeaderValue, token_id: &str) -> HeaderMap {
    let mut headers = format::bare_headers();
    headers.insert(header::AUTHORIZATION, bearer.clone());
    let token_id = HeaderValue::from_str(token_id).expect("hex digits are valid in a header");
    headers.insert(TOKEN_ID, token_id);
    headers
}

/// Names the token where there is no body that could.
const TOKEN_ID: HeaderName = HeaderName::from_static("x-bearerd-token-id");

/// Bytes that hold for some second; built anew when that is over.
struct Latest(ArcSwap<([u64; 2], Bytes)>);

impl Default for Latest {
    fn default() -> Self {
        Self(ArcSwap::from_pointee(([u64::MAX; 2], Bytes::new())))
    }
}

impl Latest {
    /// Gives what was built for these seconds, or builds it.
    fn at(&self, seconds: [u64; 2], build: impl FnOnce() -> Bytes) -> Bytes {
        let latest = self.0.load();
        if latest.0 == seconds {
            return latest.1.clone();
        }
        let built = build();
        self.0.store(Arc::new((seconds, built.clone())));
        built
    }
}

/// A JSON object whose last field counts down; built at most once a second.
struct Countdown {
    prefix: Zeroizing<Vec<u8>>,
    latest: Latest,
}

impl Countdown {
    fn json(token: &[u8], expires_at: Wall, team_name: &str, token_id: &str) -> Self {
        let team_name = serde_json::to_string(team_name).unwrap_or_default();
        let rest = format!(
            r#"","expires_at":"{expires_at}","team_name":{team_name},"token_id":"{token_id}","expires_in":"#
        );
        Self::new(&[br#"{"bearer_token":""#, token, rest.as_bytes()])
    }

    fn oauth2(token: &[u8]) -> Self {
        Self::new(&[br#"{"access_token":""#, token, br#"","token_type":"Bearer","expires_in":"#])
    }

    fn new(parts: &[&[u8]]) -> Self {
        let prefix = Zeroizing::new(parts.concat());
        Self { prefix, latest: Latest::default() }
    }

    fn at(&self, seconds: u64) -> Bytes {
        let build = || wiped(&[&self.prefix, seconds.to_string().as_bytes(), b"}"]);
        self.latest.at([seconds, 0], build)
    }
}

/// Joins parts into bytes that are wiped when the last answer has let go of them.
fn wiped(parts: &[&[u8]]) -> Bytes {
    Bytes::from_owner(Zeroizing::new(parts.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const START: Tick = Tick::from_boot(secs(100));
    const WALL: Wall = Wall::from_seconds(1_769_846_400);

    /// A token of an hour that was minted in 2 s, of which the policy believes `believed` seconds.
    fn published(believed: u64) -> Published {
        let grant = Grant {
            token: Secret::copy_of(b"SNTL.a.b"),
            lifetime: secs(3600),
            expires_at: WALL + secs(3600),
            team_name: "ac\"me".into(),
        };
        let lease = Lease {
            serial: Serial::new(7),
            issued: START,
            published: START + secs(2),
            expires: START + secs(believed),
        };
        Published::new(grant, lease, WALL + secs(2))
    }

    fn text(format: Format, remaining: u64) -> String {
        let body = published(3600).body(format, secs(remaining));
        String::from_utf8(body.to_vec()).expect("text")
    }

    #[test]
    fn every_shape() {
        assert_eq!(text(Format::Raw, 9), "SNTL.a.b");
        assert_eq!(text(Format::Header, 9), "Authorization: Bearer SNTL.a.b\n");
        assert_eq!(text(Format::Env, 9), "OKTA_BEARER_TOKEN=SNTL.a.b\n");
        let oauth2 = r#"{"access_token":"SNTL.a.b","token_type":"Bearer","expires_in":9}"#;
        assert_eq!(text(Format::Oauth2, 9), oauth2);
        let json: serde_json::Value = serde_json::from_str(&text(Format::Json, 9)).expect("JSON");
        let id = token_id(b"SNTL.a.b");
        let expected = serde_json::json!({"bearer_token": "SNTL.a.b", "team_name": "ac\"me",
            "expires_at": "2026-01-31T09:00:00Z", "token_id": id, "expires_in": 9});
        assert_eq!(json, expected);
    }

    // fault 116
    #[test]
    fn a_life_that_is_cut_is_cut_for_every_clock_and_reader() {
        let whole = published(3600);
        let lease = Lease { expires: START + secs(600), ..whole.lease() };
        let cut = whole.shortened(lease);
        assert_eq!((cut.token_id(), cut.etag()), (whole.token_id(), whole.etag()));
        assert_eq!(cut.expires_at(), whole.expires_at() - secs(3000));
        assert_eq!(cut.wall_end(), whole.wall_end() - secs(3000));
        let now = (START + secs(10), WALL + secs(10));
        assert_eq!(cut.remaining(now.0, now.1), secs(590));
        let json = String::from_utf8(cut.body(Format::Json, secs(590)).to_vec()).expect("text");
        assert!(json.contains("2026-01-31T08:10:00Z"), "{json}");
    }

    #[test]
    fn the_seconds_count_down() {
        let published = published(3600);
        for seconds in [9, 8, 8, 0] {
            let body = published.body(Format::Json, secs(seconds));
            let tail = format!("\"expires_in\":{seconds}}}");
            assert!(body.ends_with(tail.as_bytes()));
        }
    }

    // faults 3, 63, 66, 67
    #[test]
    fn whichever_clock_says_expired_wins() {
        let published = published(600);
        assert_eq!(published.expires_at().to_string(), "2026-01-31T08:10:00Z");
        let left =
            |tick, wall| published.remaining(START + secs(tick), WALL + secs(wall)).as_secs();
        assert_eq!(left(2, 2), 598);
        assert_eq!(left(2, 500), 100, "the wall clock went forward");
        assert_eq!(left(500, 2), 100, "the wall clock went back, or the machine slept");
        assert_eq!((left(600, 2), left(2, 600)), (0, 0));
        assert!(published.is_valid(START + secs(599), WALL + secs(599)));
        assert!(!published.is_valid(START + secs(600), WALL));
        assert!(!published.is_valid(START, WALL + secs(600)));
    }

    #[test]
    fn a_lapse_by_wall_clock_is_told_once() {
        let published = published(600);
        assert!(!published.has_just_lapsed(START, WALL));
        assert!(!published.has_just_lapsed(START + secs(600), WALL + secs(600)));
        assert!(published.has_just_lapsed(START, WALL + secs(600)));
        assert!(!published.has_just_lapsed(START, WALL + secs(600)));
    }

    #[test]
    fn each_shape_has_its_headers() {
        let published = published(600);
        for format in Format::ALL {
            let headers = published.headers(format);
            let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
            assert_eq!(value(header::CONTENT_TYPE), Some(format.media_type()));
            assert_eq!(value(header::CACHE_CONTROL), Some("no-store"));
            assert_eq!(value(header::X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
            assert_eq!(headers.get(header::ETAG), Some(published.etag()));
        }
    }

    #[test]
    fn an_answer_to_a_reverse_proxy_is_headers_only() {
        let published = published(600);
        let headers = published.auth_headers();
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(value("authorization"), Some("Bearer SNTL.a.b"));
        assert_eq!(value("x-bearerd-token-id"), Some(published.token_id()));
        assert_eq!(value("cache-control"), Some("no-store"));
        assert_eq!(value("x-content-type-options"), Some("nosniff"));
        assert_eq!(headers.len(), 4);
        assert!(!format!("{headers:?}").contains("SNTL"));
    }

    #[test]
    fn the_entity_tag_is_the_quoted_fingerprint() {
        let published = published(600);
        assert_eq!(published.etag().to_str().ok(), Some(&*format!("\"{}\"", published.token_id())));
    }
}
