//! Keeps the real token out of what a client hears, should the issuer repeat what it was sent.
//!
//! Error pages and traces quote requests. Each byte of the token becomes a `*`: lengths that were
//! announced stay true, and the rest of the answer, which may help, goes through.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use memchr::{memchr_iter, memmem};

/// Shortest token that is looked for: less is found by chance.
const SHORTEST: usize = 16;

/// A token that is looked for, and how to find it.
pub struct Sought {
    token: Bytes,
    /// Made once, when there is something to search: that costs more than to search an answer.
    finder: OnceLock<memmem::Finder<'static>>,
}

impl Sought {
    /// Makes what is looked for.
    #[must_use]
    pub const fn new(token: Bytes) -> Self {
        Self { token, finder: OnceLock::new() }
    }

    /// Tells where the token begins, if it is there and not too short.
    fn find_in(&self, bytes: &[u8]) -> Option<usize> {
        if self.is_too_short() || bytes.len() < self.token.len() {
            return None;
        }
        let make = || memmem::Finder::new(&self.token).into_owned();
        self.finder.get_or_init(make).find(bytes)
    }

    fn is_too_short(&self) -> bool {
        self.token.len() < SHORTEST
    }
}

/// Takes out the headers that hold the token.
#[must_use]
pub fn headers(headers: HeaderMap, sought: &Sought) -> HeaderMap {
    let quotes = |value: &HeaderValue| sought.find_in(value.as_bytes()).is_some();
    if !headers.values().any(quotes) {
        return headers;
    }
    let clean = headers.iter().filter(|(_, value)| !quotes(value));
    clean.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Masks the token in a whole body.
#[must_use]
pub fn whole(body: Bytes, sought: Arc<Sought>) -> Bytes {
    let mut mask = Mask::new(sought);
    let masked = mask.pass(body);
    joined(&masked, mask.rest().unwrap_or_default())
}

/// A body in which the token is masked.
pub struct Masked<B> {
    body: B,
    /// Nothing follows but what was held back.
    has_ended: bool,
    mask: Mask,
}

impl<B> Masked<B> {
    /// Masks a token in a body.
    #[must_use]
    pub const fn new(body: B, sought: Arc<Sought>) -> Self {
        Self { body, has_ended: false, mask: Mask::new(sought) }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Masked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, has_ended, mask } = &mut *self;
        while !*has_ended {
            let frame = ready!(Pin::new(&mut *body).poll_frame(cx)).transpose()?;
            *has_ended = frame.is_none();
            let data = frame.and_then(|frame| frame.into_data().ok());
            let data = data.map(|data| mask.pass(data)).unwrap_or_default();
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        Poll::Ready(mask.rest().map(|rest| Ok(Frame::data(rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.mask.held.is_empty() && (self.has_ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.mask.held.len() as u64;
        let hint = self.body.size_hint();
        hint.exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + held))
    }
}

/// Masks a token in bytes that come in pieces.
struct Mask {
    sought: Arc<Sought>,
    /// The end of what came, if the token may begin there.
    held: Bytes,
}

impl Mask {
    const fn new(sought: Arc<Sought>) -> Self {
        Self { sought, held: Bytes::new() }
    }

    /// Gives what can be passed on of all that has come.
    fn pass(&mut self, piece: Bytes) -> Bytes {
        let sought = &*self.sought;
        if sought.is_too_short() {
            return piece;
        }
        let mut all = joined(&std::mem::take(&mut self.held), piece);
        let mut clean = 0;
        while let Some(at) = sought.find_in(all.get(clean..).unwrap_or_default()) {
            let start = clean + at;
            clean = start + sought.token.len();
            all = blotted(all, start..clean);
        }
        let begun = begun(all.get(clean..).unwrap_or_default(), &sought.token);
        self.held = all.split_off(all.len() - begun);
        all
    }

    /// Gives what was held back when nothing follows.
    fn rest(&mut self) -> Option<Bytes> {
        Some(std::mem::take(&mut self.held)).filter(|held| !held.is_empty())
    }
}

fn joined(held: &Bytes, piece: Bytes) -> Bytes {
    if held.is_empty() {
        return piece;
    }
    let mut all = BytesMut::with_capacity(held.len() + piece.len());
    all.extend_from_slice(held);
    all.extend_from_slice(&piece);
    all.freeze()
}

fn blotted(bytes: Bytes, range: std::ops::Range<usize>) -> Bytes {
    let mut bytes = BytesMut::from(bytes);
    bytes.get_mut(range).unwrap_or_default().fill(b'*');
    bytes.freeze()
}

/// Tells how many bytes at the end may be the beginning of the token.
fn begun(bytes: &[u8], token: &[u8]) -> usize {
    let Some(first) = token.first() else { return 0 };
    let from = bytes.len().saturating_sub(token.len() - 1);
    let end = bytes.get(from..).unwrap_or_default();
    let begins = |at: &usize| end.get(*at..).is_some_and(|rest| token.starts_with(rest));
    memchr_iter(*first, end).find(begins).map_or(0, |at| end.len() - at)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, channel::Channel};

    use super::*;

    const TOKEN: &[u8] = b"eyJhbGciOi.eyJleHAi.c2lnbmVk";
    const STARS: &str = "****************************";

    fn sought(token: &'static [u8]) -> Arc<Sought> {
        Arc::new(Sought::new(Bytes::from_static(token)))
    }

    /// Sends a text through in pieces of a length.
    fn masked(text: &str, length: usize) -> String {
        let mut mask = Mask::new(sought(TOKEN));
        let mut passed = Vec::new();
        for piece in text.as_bytes().chunks(length) {
            passed.extend(mask.pass(Bytes::copy_from_slice(piece)));
        }
        passed.extend(mask.rest().unwrap_or_default());
        String::from_utf8(passed).unwrap()
    }

    #[test]
    fn the_token_is_blotted_out_however_it_is_cut() {
        let token = std::str::from_utf8(TOKEN).unwrap();
        let text = format!("Bearer {token}, {token}{token} eyJhbGci{token}eyJ");
        let blot = format!("Bearer {STARS}, {STARS}{STARS} eyJhbGci{STARS}eyJ");
        for length in 1..=text.len() {
            assert_eq!(masked(&text, length), blot, "in pieces of {length}");
        }
    }

    #[test]
    fn what_only_looks_like_it_goes_through() {
        let near = "eyJhbGciOi.eyJleHAi.c2lnbmVE eyJhbGciOi.eyJ";
        for length in 1..=near.len() {
            assert_eq!(masked(near, length), near);
        }
    }

    #[test]
    fn what_cannot_begin_it_is_not_held_back() {
        let mut mask = Mask::new(sought(TOKEN));
        let piece = Bytes::from_static(b"{\"list\": []}");
        assert_eq!(mask.pass(piece.clone()).as_ptr(), piece.as_ptr(), "and not copied");
        assert_eq!(mask.held, Bytes::new());
    }

    #[test]
    fn too_short_a_token_is_found_by_chance_and_not_looked_for() {
        let mut mask = Mask::new(sought(b"e"));
        assert_eq!(mask.pass(Bytes::from_static(b"else")), "else");
    }

    #[tokio::test]
    async fn a_body_ends_with_what_was_held_back() {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(9);
        let mut body = Masked::new(body, sought(TOKEN));
        for piece in ["a eyJ", "hbG", "", "ci"] {
            sender.send_data(piece.into()).await.unwrap();
        }
        drop(sender);
        assert!(!body.is_end_stream());
        let whole = (&mut body).collect().await.unwrap().to_bytes();
        assert_eq!(whole, "a eyJhbGci");
        assert!(body.mask.held.is_empty());
    }

    #[tokio::test]
    async fn lengths_and_ends_count_what_is_held_back() {
        for (text, passed, held) in
            [("abc", "abc", ""), ("ab eyJhb", "ab ", "eyJhb"), ("eyJ", "", "eyJ")]
        {
            let mut body = Masked::new(http_body_util::Full::from(text), sought(TOKEN));
            assert_eq!(body.size_hint().exact(), Some(text.len() as u64), "{text}");
            for piece in [passed, held].into_iter().filter(|piece| !piece.is_empty()) {
                assert!(!body.is_end_stream(), "{text}");
                let frame = body.frame().await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), piece);
                let left = if piece == passed { held.len() } else { 0 };
                assert_eq!(body.size_hint().exact(), Some(left as u64), "{text}");
            }
            assert!(body.is_end_stream(), "{text}");
            assert!(body.frame().await.is_none());
        }
        let (_sender, body) = Channel::<Bytes, Infallible>::new(9);
        assert_eq!(Masked::new(body, sought(TOKEN)).size_hint().exact(), None);
    }

    #[test]
    fn sixteen_bytes_are_no_chance() {
        for (token, expected) in [(&b"0123456789abcdef"[..], "*"), (b"0123456789abcde", "0")] {
            let passed = Mask::new(sought(token)).pass(Bytes::from_static(b"0123456789abcdef"));
            assert!(passed.starts_with(expected.as_bytes()), "{passed:?}");
        }
    }

    #[test]
    fn a_whole_body_is_masked_at_once() {
        let token = std::str::from_utf8(TOKEN).unwrap();
        let body = Bytes::from(format!("a {token} and eyJ"));
        assert_eq!(whole(body, sought(TOKEN)), format!("a {STARS} and eyJ"));
    }

    #[test]
    fn headers_that_hold_it_are_taken_out() {
        let mut all = HeaderMap::new();
        let token = std::str::from_utf8(TOKEN).unwrap();
        all.insert("x-echo", format!("Bearer {token}").parse().unwrap());
        all.insert("content-type", "text/html".parse().unwrap());
        let sought = sought(TOKEN);
        let clean = headers(all.clone(), &sought);
        assert_eq!(clean.len(), 1);
        assert!(clean.contains_key("content-type"));
        assert_eq!(headers(clean.clone(), &sought), clean);
        let short = Sought::new(Bytes::from_static(b"text"));
        assert_eq!(headers(all.clone(), &short), all, "found by chance");
    }
}
