//! Answers as a client reads them, strictly.

use super::holds;

/// Holds one final answer.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether HTTP's parser has made it, which knows nothing but that it cannot read on.
    pub(super) is_of_the_parser: bool,
    whole: Vec<u8>,
}

impl Answer {
    /// Tells whether this stands anywhere in it.
    pub(super) fn holds(&self, part: &str) -> bool {
        holds(&self.whole, part)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Holds it to what every answer has.
    pub(super) fn check(&self) {
        const KNOWN: [u16; 15] =
            [200, 304, 400, 401, 403, 404, 405, 408, 413, 414, 415, 421, 429, 431, 503];
        assert!(KNOWN.contains(&self.status), "{}", self.status);
        if self.is_of_the_parser {
            assert!(self.status >= 400 && self.body.is_empty());
            return;
        }
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        assert!(!self.headers.iter().any(|(name, _)| name.starts_with("access-control")));
        if self.header("content-type") == Some("application/problem+json") && !self.body.is_empty()
        {
            let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
            assert_eq!(problem["status"], self.status);
        }
        assert_eq!(self.status == 405, self.header("allow").is_some());
    }
}

/// Reads all answers; a stream may end anywhere, but nothing else may.
pub(super) fn read(said: &[u8], input: &[u8]) -> Vec<Answer> {
    let (answers, rest) = read_whole(said, input);
    assert!(rest.is_empty(), "an answer is cut off: {}", String::from_utf8_lossy(rest));
    answers
}

/// Reads the answers that are whole.
pub(super) fn read_cut(said: &[u8], input: &[u8]) -> Vec<Answer> {
    read_whole(said, input).0
}

fn read_whole<'a>(mut said: &'a [u8], input: &[u8]) -> (Vec<Answer>, &'a [u8]) {
    let mut answers = Vec::new();
    let has_head = holds(input, "HEAD");
    while let Some((answer, rest)) = read_one(said, has_head) {
        answers.extend(answer);
        said = rest;
    }
    (answers, said)
}

/// Reads the first one; `None` if not all of it is there.
fn read_one(said: &[u8], has_head: bool) -> Option<(Option<Answer>, &[u8])> {
    let end = memchr::memmem::find(said, b"\r\n\r\n")? + 4;
    let (head, rest) = said.split_at(end);
    let head = std::str::from_utf8(head).expect("a head is text");
    let mut lines = head.trim_end().split("\r\n");
    let status = status(lines.next().expect("a status line"));
    let headers: Vec<_> = lines.map(header).collect();
    if status < 200 {
        assert_eq!(status, 100, "nothing else is said in between");
        return Some((None, rest));
    }
    let find = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, it)| &**it);
    let is_bare = status == 304 || (has_head && (rest.is_empty() || rest.starts_with(b"HTTP/1.")));
    let (body, rest) = match (find("content-length"), find("transfer-encoding")) {
        _ if is_bare => (&[][..], rest),
        (Some(length), None) => {
            let length = length.parse().expect("a length");
            rest.split_at_checked(length)?
        }
        // A stream goes on until its client leaves.
        (None, Some("chunked")) => (rest, &[][..]),
        (None, None) => (rest, &[][..]),
        both => panic!("where does it end? {both:?}"),
    };
    let is_of_the_parser = find("cache-control").is_none();
    let (body, whole) = (body.to_vec(), [head.as_bytes(), body].concat());
    Some((Some(Answer { status, headers, body, is_of_the_parser, whole }), rest))
}

fn status(line: &str) -> u16 {
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    let code = rest.expect("a status line").get(..3).expect("three digits");
    code.parse().expect("digits")
}

fn header(line: &str) -> (String, String) {
    let (name, value) = line.split_once(": ").expect("a header");
    assert!(!value.contains(['\r', '\n', '\0']), "{line:?}");
    (name.to_ascii_lowercase(), value.to_owned())
}
