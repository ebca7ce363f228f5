//! The headers of a forwarded call, both ways: what goes through, and as what.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::link;
use crate::{okta::brief::Field, token::timing::Wall};

/// Tells whether a header concerns only one connection (RFC 9110 section 7.6.1), besides what
/// `Connection` lists.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    // Names that the library knows are numbers, and compared as such.
    match *name {
        header::CONNECTION
        | header::TE
        | header::TRAILER
        | header::TRANSFER_ENCODING
        | header::UPGRADE
        | header::CONTENT_LENGTH => true,
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection"),
    }
}

/// Tells whether a client may say this to the issuer (section 5): not who it is, where it comes from,
/// nor what it really wants.
fn is_for_issuer(name: &HeaderName) -> bool {
    match *name {
        header::AUTHORIZATION
        | header::HOST
        | header::COOKIE
        | header::FORWARDED
        | header::VIA
        | header::ACCEPT_ENCODING
        | header::EXPECT
        // In pieces an answer could give the token away that is masked as a whole.
        | header::RANGE
        | header::IF_RANGE => return false,
        _ => {}
    }
    let name = name.as_str();
    let is_dropped = matches!(
        name,
        "cookie2"
            | "http2-settings"
            | "x-bearerd"
            | "x-host"
            | "x-http-method"
            | "x-http-method-override"
            | "x-method"
            | "x-method-override"
            | "x-override-url"
            | "x-real-ip"
    );
    // Some servers read `_` as `-`: such a name could be any of these.
    !is_dropped
        && !name.contains('_')
        && !DROPPED_REQUEST_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

const DROPPED_REQUEST_PREFIXES: [&str; 5] =
    ["proxy-", "x-forwarded", "x-original-", "x-rewrite-", "sec-"];

/// Tells whether the client hears this of the issuer: not what is for a browser, or about its own host.
fn is_for_client(name: &HeaderName) -> bool {
    match *name {
        header::SET_COOKIE
        | header::STRICT_TRANSPORT_SECURITY
        | header::CACHE_CONTROL
        | header::PROXY_AUTHENTICATE
        | header::SERVER => false,
        _ => name.as_str() != "alt-svc" && !name.as_str().starts_with(CORS) && !is_pointer(name),
    }
}

const CORS: &str = "access-control-";

/// Tells whether a header holds URLs.
fn is_pointer(name: &HeaderName) -> bool {
    matches!(*name, header::LINK | header::LOCATION)
}

/// Tells whether a header holds a moment, in seconds since 1970, that clients sleep until.
fn is_retry_time(name: &HeaderName) -> bool {
    matches!(name.as_str(), "x-ratelimit-reset" | "x-ratelimit-retry-at")
}

/// Lists the headers of the client's that the issuer gets; the token is put in elsewhere.
#[must_use]
pub fn for_issuer(client: &HeaderMap) -> Vec<Field<'_>> {
    let is_listed = listed(client);
    let is_kept = |name| !is_hop_by_hop(name) && !is_listed(name) && is_for_issuer(name);
    client.iter().filter(|(name, _)| is_kept(name)).collect()
}

/// Makes the headers that the client gets of the issuer's; `own` tells the listener's origin as the
/// client named it.
#[must_use]
pub fn for_client(
    issuer: HeaderMap,
    origin: &str,
    own: impl FnOnce() -> String,
    now: Wall,
) -> HeaderMap {
    let pointers = pointers(&issuer, origin, own);
    let mut headers = kept_for_client(issuer);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let times = headers.iter_mut().filter(|(name, _)| is_retry_time(name));
    times.for_each(|(_, value)| raise(value, now));
    for (name, text) in pointers {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    headers
}

fn kept_for_client(mut issuer: HeaderMap) -> HeaderMap {
    unkept(&issuer).iter().for_each(|name| drop(issuer.remove(name)));
    issuer
}

fn unkept(issuer: &HeaderMap) -> Vec<HeaderName> {
    let is_listed = listed(issuer);
    let is_kept = |name| !is_hop_by_hop(name) && !is_listed(name) && is_for_client(name);
    issuer.keys().filter(|name| !is_kept(name)).cloned().collect()
}

/// Tells of which names `Connection` says that they concern one connection.
fn listed(headers: &HeaderMap) -> impl Fn(&HeaderName) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    // As bytes: a line with a word that is no text lists its other words all the same.
    let words = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let listed = words.map(<[u8]>::trim_ascii).collect::<Vec<_>>();
    move |name| listed.iter().any(|word| word.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// Has what points to the issuer point to us.
fn pointers(
    issuer: &HeaderMap,
    origin: &str,
    own: impl FnOnce() -> String,
) -> Vec<(HeaderName, String)> {
    if !issuer.keys().any(is_pointer) {
        return Vec::new();
    }
    let (location, own) = (issuer.get(header::LOCATION), own());
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

/// Joins the lines of a list header into one.
fn all(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.collect::<Vec<_>>().join(", ")
}

/// A retry time in the past makes some clients sleep for a day: it is raised to now.
fn raise(value: &mut HeaderValue, now: Wall) {
    let moment = value.to_str().ok().and_then(|text| text.parse::<i128>().ok());
    let now = now.since_epoch().as_secs();
    if moment.is_some_and(|moment| moment < i128::from(now)) {
        *value = now.into();
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
        let kept = for_issuer(&client).into_iter();
        assert_eq!(kept.map(|(name, _)| name).collect::<Vec<_>>(), expected, "in their order");
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
        assert_eq!(value("x-ratelimit-limit"), Some("10000"), "a number, and no moment");
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
            let mut value = said.parse().unwrap();
            raise(&mut value, NOW);
            assert_eq!(value, heard);
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
