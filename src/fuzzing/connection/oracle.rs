//! What may come of requests, as told from their bytes alone: no code is shared with the server.

use super::{
    answers::Answer,
    doors::{ACCESS, Door, TOKEN},
};

/// Counts the heads that a reader of any persuasion could find: one behind each empty line at most.
pub(super) fn most_requests(input: &[u8]) -> usize {
    heads(input).len()
}

/// Tells whether two readers could see different ends of the first request.
pub(super) fn is_ambiguous(input: &[u8]) -> bool {
    let Some(head) = heads(input).into_iter().next() else { return false };
    let lengths = head.all("content-length");
    let codings = head.all("transfer-encoding");
    let is_odd = |coding: &&[u8]| !coding.eq_ignore_ascii_case(b"chunked");
    let is_no_length = |length: &&[u8]| length.is_empty() || !length.iter().all(u8::is_ascii_digit);
    lengths.len() > 1
        || codings.len() > 1
        || !(lengths.is_empty() || codings.is_empty())
        || codings.iter().any(is_odd)
        || lengths.iter().any(is_no_length)
}

/// Checks that a token went only to those who fulfil every condition for it.
pub(super) fn check_tokens(door: &Door, input: &[u8], answers: &[Answer]) {
    let heads = heads(input);
    let has_body = |head: &Head<'_>| {
        !head.all("content-length").is_empty() || !head.all("transfer-encoding").is_empty()
    };
    for (answer, head) in answers.iter().zip(&heads) {
        if answer.holds(TOKEN) {
            assert_eq!(answer.status, 200);
            assert!(may_have_token(door, head), "a token went to who must not have it");
        }
        if has_body(head) {
            // What follows cannot be told apart from its body without a parser.
            break;
        }
    }
    let has_any = answers.iter().any(|answer| answer.holds(TOKEN));
    assert!(!has_any || heads.iter().any(|head| may_have_token(door, head)));
}

fn may_have_token(door: &Door, head: &Head<'_>) -> bool {
    let path = head.path();
    let is_auth = path == b"/v1/auth" || path.starts_with(b"/v1/auth/");
    let is_token = matches!(
        (head.method(), path),
        (b"GET", b"/v1/token" | b"/v1/token/watch") | (b"POST", b"/v1/token/rejected")
    );
    let shows_access = matches!(head.all("authorization").as_slice(), [only] if is_access(only));
    if door.needs_access && !shows_access {
        return false;
    }
    match door.is_tcp {
        _ if is_auth => door.serves_auth,
        _ if !is_token || head.tells_of_a_browser() => false,
        true => head.has_right_host() && head.all("x-bearerd") == [b"1"],
        false => true,
    }
}

fn is_access(value: &[u8]) -> bool {
    value.split_at_checked(7).is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case(b"bearer ") && token == ACCESS.as_bytes()
    })
}

/// The lines of one head.
struct Head<'a>(Vec<&'a [u8]>);

/// Cuts at empty lines; those before a head are passed over.
fn heads(input: &[u8]) -> Vec<Head<'_>> {
    let mut heads = Vec::new();
    let mut lines = Vec::new();
    let mut all: Vec<_> = input.split(|byte| *byte == b'\n').collect();
    // What follows the last line feed is no line yet.
    all.pop();
    for line in all {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (line.is_empty(), lines.is_empty()) {
            (false, _) => lines.push(line),
            (true, false) => heads.push(Head(std::mem::take(&mut lines))),
            (true, true) => {}
        }
    }
    heads
}

impl Head<'_> {
    fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.0.first().into_iter().flat_map(|line| line.split(|byte| *byte == b' '))
    }

    fn method(&self) -> &[u8] {
        self.words().next().unwrap_or_default()
    }

    /// The path of the target, in both of its forms.
    fn path(&self) -> &[u8] {
        let target = self.words().nth(1).unwrap_or_default();
        let target = target.split(|byte| b"?#".contains(byte)).next().unwrap_or_default();
        let Some(scheme) = memchr::memmem::find(target, b"://").filter(|_| target[0] != b'/')
        else {
            return target;
        };
        let authority = &target[scheme + 3..];
        memchr::memchr(b'/', authority).map_or(b"/", |slash| &authority[slash..])
    }

    /// All values of a header.
    fn all(&self, name: &str) -> Vec<&[u8]> {
        let headers =
            self.headers().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        headers.map(|(_, value)| value).collect()
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().skip(1).filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }

    fn has_right_host(&self) -> bool {
        let [host] = self.all("host")[..] else { return false };
        let host = host.to_ascii_lowercase();
        let name = host.strip_suffix(b":8420").unwrap_or(&host);
        [&b"localhost"[..], b"127.0.0.1", b"[::1]"].contains(&name)
    }

    /// Section 9 of the contract, without the one value that Node's own `fetch` sends.
    fn tells_of_a_browser(&self) -> bool {
        self.headers().any(|(name, value)| {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            match &*name {
                "sec-fetch-mode" => value != b"cors",
                "origin" | "referer" | "sec-fetch-site" | "sec-fetch-dest" | "sec-fetch-user"
                | "forwarded" | "via" | "x-real-ip" | "true-client-ip" | "cf-connecting-ip"
                | "x-original-url" | "upgrade" => true,
                name => name.starts_with("x-forwarded-"),
            }
        })
    }
}
