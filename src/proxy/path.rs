//! The path of a forwarded call: read once, judged, written anew.
//!
//! What the issuer gets is made from the parsed form and from nothing else, so that no two readers
//! of one path can disagree about it (faults 57, 144, 285).

use std::fmt::Write;

/// Where every path of the issuer begins.
const PREFIX: &str = "/v1/teams/";

/// Holds a path below a team, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The team as the client wrote it.
    pub team: String,
    /// What follows, segment by segment; never empty.
    pub segments: Vec<String>,
}

/// Says why a path is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It is none of the issuer's.
    Elsewhere,
    /// A segment is empty, a dot segment, or holds what no name has.
    Unclean,
}

impl Path {
    /// Reads the raw path of a request target.
    ///
    /// # Errors
    ///
    /// Refuses what is not below a team, and every segment that could be read in two ways.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        let rest = raw.strip_prefix(PREFIX).ok_or(PathError::Elsewhere)?;
        let mut segments = rest.split('/').map(decoded);
        let team = segments.next().ok_or(PathError::Elsewhere)??;
        let segments = segments.collect::<Result<Vec<_>, _>>()?;
        if segments.is_empty() {
            return Err(PathError::Elsewhere);
        }
        Ok(Self { team, segments })
    }

    /// Tells whether this is the call that mints.
    #[must_use]
    pub fn is_service_token(&self) -> bool {
        matches!(self.segments.as_slice(), [only] if only.eq_ignore_ascii_case("service_token"))
    }

    /// Writes the path anew, for the team as the configuration has it.
    #[must_use]
    pub fn encode(&self, team: &str) -> String {
        let names = self.segments.iter().map(|segment| segment.len() + 1).sum::<usize>();
        let mut path = String::with_capacity(PREFIX.len() + team.len() + names);
        path.push_str(PREFIX);
        encode(team, &mut path);
        for segment in &self.segments {
            path.push('/');
            encode(segment, &mut path);
        }
        path
    }
}

/// Decodes a segment once; what then still looks encoded was encoded twice.
fn decoded(raw: &str) -> Result<String, PathError> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next())? * 16 + hex(rest.next())?,
            plain => plain,
        });
    }
    let segment = String::from_utf8(bytes).map_err(|_| PathError::Unclean)?;
    let is_dots = segment == "." || segment == "..";
    let has_evil = segment.chars().any(|c| matches!(c, '/' | '\\' | '%') || c.is_control());
    if segment.is_empty() || is_dots || has_evil { Err(PathError::Unclean) } else { Ok(segment) }
}

fn hex(digit: Option<u8>) -> Result<u8, PathError> {
    let value = digit.and_then(|digit| char::from(digit).to_digit(16));
    value.and_then(|value| u8::try_from(value).ok()).ok_or(PathError::Unclean)
}

/// Encodes all of a segment or of a query's part but what RFC 3986 calls unreserved.
#[must_use]
pub fn encoded(segment: &str) -> String {
    let mut text = String::new();
    encode(segment, &mut text);
    text
}

fn encode(segment: &str, text: &mut String) {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if segment.bytes().all(is_unreserved) {
        return text.push_str(segment);
    }
    for byte in segment.bytes() {
        match is_unreserved(byte) {
            true => text.push(char::from(byte)),
            // Writing to a string cannot fail.
            false => write!(text, "%{byte:02X}").unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Result<String, PathError> {
        Path::parse(raw).map(|path| path.encode(&path.team))
    }

    #[test]
    fn clean_paths_are_written_anew() {
        let table = [
            ("/v1/teams/acme/service_users", "/v1/teams/acme/service_users"),
            ("/v1/teams/ACME/a/b/c", "/v1/teams/ACME/a/b/c"),
            ("/v1/teams/acme/%73ervice_users", "/v1/teams/acme/service_users"),
            ("/v1/teams/acme/j%C3%BCrgen", "/v1/teams/acme/j%C3%BCrgen"),
            ("/v1/teams/acme/a%20b", "/v1/teams/acme/a%20b"),
            ("/v1/teams/acme/a@b;c=d", "/v1/teams/acme/a%40b%3Bc%3Dd"),
            ("/v1/teams/acme/a%3fb%23c", "/v1/teams/acme/a%3Fb%23c"),
            ("/v1/teams/acme/...", "/v1/teams/acme/..."),
        ];
        for (raw, expected) in table {
            assert_eq!(read(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn all_but_the_unreserved_is_encoded() {
        assert_eq!(encoded("aZ09-._~"), "aZ09-._~");
        assert_eq!(encoded("a b/\u{fc}%?"), "a%20b%2F%C3%BC%25%3F");
        assert_eq!(encoded(""), "");
    }

    // faults 57, 144, 285
    #[test]
    fn unclean_paths_are_refused() {
        use PathError::{Elsewhere, Unclean};
        let table = [
            ("/v1/teams/", Unclean),
            ("/v1/teams/acme", Elsewhere),
            ("/v1/teams/acme/", Unclean),
            ("/v1/teams//x", Unclean),
            ("/v1/teams/acme//x", Unclean),
            ("/v1/teams/acme/x/", Unclean),
            ("/v1/teams/acme/./x", Unclean),
            ("/v1/teams/acme/../x", Unclean),
            ("/v1/teams/acme/%2e%2e/x", Unclean),
            ("/v1/teams/acme/.%2E/x", Unclean),
            ("/v1/teams/acme/%2f", Unclean),
            ("/v1/teams/acme/a%5Cb", Unclean),
            ("/v1/teams/acme/a\\b", Unclean),
            ("/v1/teams/acme/%252e%252e", Unclean),
            ("/v1/teams/acme/%00", Unclean),
            ("/v1/teams/acme/a%0d%0ab", Unclean),
            ("/v1/teams/acme/%7f", Unclean),
            ("/v1/teams/acme/%c2%85", Unclean),
            ("/v1/teams/acme/%ff", Unclean),
            ("/v1/teams/acme/%", Unclean),
            ("/v1/teams/acme/%4", Unclean),
            ("/v1/teams/acme/%zz", Unclean),
            ("/v1/teams/acme/%+1", Unclean),
            ("/V1/teams/acme/x", Elsewhere),
            ("//v1/teams/acme/x", Elsewhere),
            ("/v1/token", Elsewhere),
        ];
        for (raw, expected) in table {
            assert_eq!(read(raw), Err(expected), "{raw}");
        }
    }

    #[test]
    fn the_mint_is_known_by_its_place() {
        let is_mint = |raw: &str| Path::parse(raw).is_ok_and(|path| path.is_service_token());
        assert!(is_mint("/v1/teams/acme/service_token"));
        assert!(is_mint("/v1/teams/acme/Service_Token"));
        assert!(is_mint("/v1/teams/acme/%73ervice_token"));
        assert!(!is_mint("/v1/teams/acme/service_token/x"));
        assert!(!is_mint("/v1/teams/acme/x/service_token"));
    }

    proptest::proptest! {
        // fault 285
        #[test]
        fn what_is_written_is_clean_and_reads_the_same(raw in "/v1/teams/([a-z./%\\\\2efF5cC]|\\PC){0,20}") {
            if let Ok(path) = Path::parse(&raw) {
                let written = path.encode(&path.team);
                proptest::prop_assert_eq!(Path::parse(&written), Ok(path));
                proptest::prop_assert!(written.is_ascii() && !written.contains("//") && !written.contains("/../"));
            }
        }
    }
}
