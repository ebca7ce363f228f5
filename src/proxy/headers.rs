//! The headers of a forwarded call, both ways: what goes through, and as what.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::link;
use crate::token::timing::Wall;

/// What concerns only one connection (RFC 9110 section 7.6.1), besides what `Connection` lists.
static HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];

/// What a client may not tell the issuer (section 5): who it is, where it comes from, what it
/// really wants.
static DROPPED_REQUEST: [HeaderName; 19] = [
    header::AUTHORIZATION,
    header::HOST,
    header::COOKIE,
    header::FORWARDED,
    header::VIA,
    header::ACCEPT_ENCODING,
    header::EXPECT,
    // In pieces an answer could give the token away that is masked as a whole.
    header::RANGE,
    header::IF_RANGE,
    HeaderName::from_static("cookie2"),
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("x-bearerd"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-override-url"),
    HeaderName::from_static("x-real-ip"),
];
const DROPPED_REQUEST_PREFIXES: [&str; 5] =
    ["proxy-", "x-forwarded", "x-original-", "x-rewrite-", "sec-"];

/// What the issuer tells a browser, or about its own host.
static DROPPED_ANSWER: [HeaderName; 6] = [
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("alt-svc"),
    header::CACHE_CONTROL,
    header::PROXY_AUTHENTICATE,
    header::SERVER,
];
const CORS: &str = "access-control-";

/// Moments, in seconds since 1970, that clients sleep until.
static RETRY_TIMES: [HeaderName; 2] =
    [HeaderName::from_static("x-ratelimit-reset"), HeaderName::from_static("x-ratelimit-retry-at")];

/// Makes the headers that the issuer gets of the client's; the token is put in elsewhere.
#[must_use]
pub fn for_issuer(mut client: HeaderMap) -> HeaderMap {
    keep(&mut client, |name| {
        !DROPPED_REQUEST.contains(name)
            // Some servers read `_` as `-`: such a name could be any of these.
            && !name.as_str().contains('_')
            && !DROPPED_REQUEST_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
    });
    client
}

/// Makes the headers that the client gets of the issuer's; `own` tells the listener's origin as the
/// client named it.
#[must_use]
pub fn for_client(
    mut issuer: HeaderMap,
    origin: &str,
    own: impl FnOnce() -> String,
    now: Wall,
) -> HeaderMap {
    let pointers = pointers(&issuer, origin, own);
    keep(&mut issuer, |name| {
        !DROPPED_ANSWER.contains(name)
            && !name.as_str().starts_with(CORS)
            && ![header::LINK, header::LOCATION].contains(name)
    });
    let mut headers = issuer;
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    RETRY_TIMES.iter().for_each(|name| raise(&mut headers, name, now));
    for (name, text) in pointers {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Has what points to the issuer point to us.
fn pointers(
    issuer: &HeaderMap,
    origin: &str,
    own: impl FnOnce() -> String,
) -> Vec<(HeaderName, String)> {
    let location = issuer.get(header::LOCATION);
    if location.is_none() && !issuer.contains_key(header::LINK) {
        return Vec::new();
    }
    let own = own();
    let links = link::rewrite(&all(issuer, &header::LINK), origin, &own);
    let location = location.and_then(|value| value.to_str().ok());
    let location = location.map(|location| link::moved(location, origin, &own));
    let links = links.map(|links| (header::LINK, links));
    links.into_iter().chain(location.map(|location| (header::LOCATION, location))).collect()
}

/// Tells whether the body of an answer is what it seems to be, not compressed.
#[must_use]
pub fn is_plain(issuer: &HeaderMap) -> bool {
    let codings = issuer.get_all(header::CONTENT_ENCODING).iter();
    codings.into_iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Drops what is not kept, and what concerns one connection only.
fn keep(headers: &mut HeaderMap, is_kept: impl Fn(&HeaderName) -> bool) {
    let lines = headers.get_all(header::CONNECTION).iter();
    // As bytes: a line with a word that is no text lists its other words all the same.
    let words = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let listed = words.map(<[u8]>::trim_ascii).collect::<Vec<_>>();
    let is_listed = |name: &HeaderName| {
        listed.iter().any(|word| word.eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    let is_dropped =
        |name: &&HeaderName| HOP_BY_HOP.contains(*name) || is_listed(name) || !is_kept(name);
    let dropped: Vec<_> = headers.keys().filter(is_dropped).cloned().collect();
    dropped.iter().for_each(|name| drop(headers.remove(name)));
}

/// Joins the lines of a list header into one.
fn all(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.collect::<Vec<_>>().join(", ")
}

/// A retry time in the past makes some clients sleep for a day: it is raised to now.
fn raise(headers: &mut HeaderMap, name: &HeaderName, now: Wall) {
    let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) else {
        return;
    };
    let now = now.since_epoch().as_secs();
    if value.parse::<i128>().is_ok_and(|moment| moment < i128::from(now)) {
        headers.insert(name.clone(), now.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_seconds(1_769_846_400);

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    // fault 285
    #[test]
    fn the_issuer_hears_what_the_client_wants_and_not_who_it_is() {
        let client = map(&[
            ("accept", "*/*"),
            ("content-type", "application/json"),
            ("content-length", "3"),
            ("if-none-match", "\"x\""),
            ("range", "bytes=0-1"),
            ("if-range", "\"x\""),
            ("cookie2", "$Version=1"),
            ("http2-settings", "x"),
            ("x-host", "x"),
            ("x-method", "DELETE"),
            ("x-override-url", "/x"),
            ("user-agent", "sdk/1"),
            ("authorization", "Bearer local"),
            ("host", "localhost"),
            ("cookie", "a=b"),
            ("connection", "close, X-Listed"),
            ("x-listed", "1"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("proxy-anything", "x"),
            ("forwarded", "for=x"),
            ("x-forwarded-for", "x"),
            ("via", "x"),
            ("accept-encoding", "gzip"),
            ("expect", "100-continue"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/x"),
            ("x-rewrite-url", "/x"),
            ("sec-fetch-mode", "cors"),
            ("x-forwarded", "x"),
            ("x_http_method_override", "DELETE"),
            ("x-bearerd", "1"),
        ]);
        let expected = ["accept", "content-type", "if-none-match", "user-agent"];
        assert_eq!(names(&for_issuer(client)), expected);
    }

    #[test]
    fn the_client_hears_the_answer_and_nothing_for_browsers() {
        let issuer = map(&[
            ("content-type", "application/json"),
            ("etag", "\"x\""),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-listed"),
            ("x-listed", "1"),
            ("set-cookie", "a=b"),
            ("access-control-allow-origin", "*"),
            ("strict-transport-security", "max-age=1"),
            ("alt-svc", "h3"),
            ("cache-control", "public"),
            ("x-ratelimit-limit", "10000"),
            ("x-ratelimit-reset", "1769846399"),
            ("x-ratelimit-retry-at", "1769846500"),
            ("location", "https://acme.pam.okta.com/v1/teams/acme/x"),
            ("link", "<https://acme.pam.okta.com/v1/teams/acme/x?offset=1>; rel=\"next\""),
        ]);
        let client =
            for_client(issuer, "https://acme.pam.okta.com", || "http://127.0.0.1:8420".into(), NOW);
        let expected = [
            "cache-control",
            "content-type",
            "etag",
            "link",
            "location",
            "x-content-type-options",
            "x-ratelimit-limit",
            "x-ratelimit-reset",
            "x-ratelimit-retry-at",
        ];
        assert_eq!(names(&client), expected);
        let value = |name: &str| client.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(value("cache-control"), Some("no-store"));
        assert_eq!(value("x-ratelimit-reset"), Some("1769846400"), "raised to now");
        assert_eq!(value("x-ratelimit-retry-at"), Some("1769846500"));
        assert_eq!(value("location"), Some("http://127.0.0.1:8420/v1/teams/acme/x"));
        let next = "<http://127.0.0.1:8420/v1/teams/acme/x?offset=1>; rel=\"next\"";
        assert_eq!(value("link"), Some(next));
    }

    // fault 24
    #[test]
    fn only_a_moment_is_raised() {
        for (said, heard) in [
            ("-5", "1769846400"),
            ("0", "1769846400"),
            ("soon", "soon"),
            ("9", "1769846400"),
            ("+1769846400", "+1769846400"),
        ] {
            let mut headers = map(&[("x-ratelimit-retry-at", said)]);
            raise(&mut headers, &HeaderName::from_static("x-ratelimit-retry-at"), NOW);
            assert_eq!(headers["x-ratelimit-retry-at"], heard);
        }
    }

    // fault 287
    #[test]
    fn what_points_to_the_issuer_points_to_us_alone_and_together() {
        let link = ("link", "</x>; rel=\"next\"");
        let location = ("location", "https://acme.pam.okta.com/y");
        for (headers, links, locations) in [
            (vec![link], 1, 0),
            (vec![location], 0, 1),
            (vec![link, location], 1, 1),
            (vec![], 0, 0),
        ] {
            let (mut asked, ours) = (0, "http://[::1]:8420");
            let own = || {
                asked += 1;
                ours.to_owned()
            };
            let client = for_client(map(&headers), "https://acme.pam.okta.com", own, NOW);
            let found = ["link", "location"].map(|name| {
                let values = client.get_all(name).iter();
                values.filter(|value| value.to_str().is_ok_and(|it| it.contains(ours))).count()
            });
            assert_eq!((found, asked), ([links, locations], usize::from(links + locations > 0)));
        }
    }

    // fault 31
    #[test]
    fn only_what_is_not_coded_is_plain() {
        for (codings, expected) in [
            (&[][..], true),
            (&["identity"], true),
            (&["Identity", "IDENTITY"], true),
            (&["gzip"], false),
            (&["identity", "gzip"], false),
            (&["identity, gzip"], false),
            (&[""], false),
        ] {
            let headers: Vec<_> = codings.iter().map(|it| ("content-encoding", *it)).collect();
            assert_eq!(is_plain(&map(&headers)), expected, "{codings:?}");
        }
    }
}
