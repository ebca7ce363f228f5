//! A request to the issuer, read whole.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use reqwest::Url;
use serde::de::DeserializeOwned;

use super::{
    answer::{Kind, Refusal},
    schedule::Target,
};

/// Longest body that is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// Holds a request.
pub(super) struct Call {
    pub(super) method: Method,
    /// As it was sent, still encoded.
    pub(super) path: String,
    segments: Vec<String>,
    /// Names and values, decoded.
    pub(super) query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    pub(super) now: Timestamp,
}

impl Call {
    /// Reads a request; `None` if its sender goes, or sends more than 64 KiB.
    pub(super) async fn read(request: Request<Incoming>, now: Timestamp) -> Option<Self> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await.ok()?.to_bytes();
        let path = head.uri.path().to_owned();
        let segments = path.split('/').skip(1).map(decode).collect();
        let query = pairs(head.uri.query().unwrap_or_default());
        Some(Self { method: head.method, path, segments, query, headers: head.headers, body, now })
    }

    /// Tells which faults the call may meet.
    pub(super) fn target(&self) -> Target {
        match (&self.method, self.parts().as_slice()) {
            _ if self.is_mint() => Target::Mint,
            (&Method::POST, ["v1", "teams", _, "service_users", _, "keys"]) => Target::Rotate,
            _ => Target::Other,
        }
    }

    /// Tells whether a token is asked for.
    pub(super) fn is_mint(&self) -> bool {
        self.method == Method::POST
            && matches!(self.parts().as_slice(), ["v1", "teams", _, "service_token"])
    }

    /// Tells what is between the slashes of the path, decoded.
    pub(super) fn parts(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// Tells the first value of a query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Tells all values of a query parameter.
    pub(super) fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Reads the body as JSON of the right content type.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        if !self.is_json() {
            let message = "Content-Type must be application/json";
            return Err(Refusal::new(Kind::UnsupportedContentType, message));
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| Refusal::new(Kind::InvalidRequest, "The body is not what it should be"))
    }

    /// Tells the bearer token that was sent.
    pub(super) fn bearer(&self) -> Option<&str> {
        self.text(header::AUTHORIZATION)?.strip_prefix("Bearer ")
    }

    /// Quotes what is secret in the request, for faults only.
    pub(super) fn quote(&self) -> String {
        let authorization = self.text(header::AUTHORIZATION).unwrap_or_default();
        format!("{authorization} {}", String::from_utf8_lossy(&self.body))
    }

    fn is_json(&self) -> bool {
        let content_type = self.text(header::CONTENT_TYPE).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("application/json")
    }

    fn text(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let mut url = Url::parse("http://localhost/").expect("this is a URL");
    url.set_query(Some(query));
    url.query_pairs().into_owned().collect()
}

/// Decodes one segment; an escape that is none stands for itself.
fn decode(segment: &str) -> String {
    let mut plain = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped = if *byte == b'%' { after.split_at_checked(2).and_then(escape) } else { None };
        let (byte, after) = escaped.unwrap_or((*byte, after));
        plain.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn escape<'a>((digits, rest): (&'a [u8], &'a [u8])) -> Option<(u8, &'a [u8])> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    Some((u8::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_decoded_one_by_one() {
        for (coded, plain) in [
            ("acme", "acme"),
            ("a%2Fb", "a/b"),
            ("%C3%A9t%c3%a9", "été"),
            ("100%", "100%"),
            ("%zz%+1%4", "%zz%+1%4"),
        ] {
            assert_eq!(decode(coded), plain);
        }
    }

    #[test]
    fn query_values_are_decoded_and_kept_in_order() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("id=a&id=b%26c&contains=x+y&flag"),
            [pair("id", "a"), pair("id", "b&c"), pair("contains", "x y"), pair("flag", "")]
        );
    }
}
