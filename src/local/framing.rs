//! Where requests end, read along with HTTP's own parser: who says so twice says too much.
//!
//! The parser drops what contradicts, so that a `Content-Length` beside a `Transfer-Encoding`, or
//! a second one, can no longer be seen when a request is answered. But whoever sent it may have
//! meant another end, and have put a second request behind it (fault 140). Here the same bytes are
//! read only for their lengths. Whatever the parser itself refuses need not be refused here.

/// Longest part of a line that is kept; what a length needs is much shorter.
const LINE: usize = 64;

/// Follows the bytes of one connection from request to request.
pub struct Framing {
    place: Place,
    /// The start of the line that is being read.
    line: [u8; LINE],
    /// Length of that line so far, of which only the start is kept.
    length: usize,
    begun: u32,
    ambiguous: Option<u32>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy)]
enum Place {
    /// The line of the method, or blank lines before it.
    Start,
    /// A line of a header.
    Header(Lengths),
    /// A body of so many more bytes.
    Body(u64),
    /// The line with the size of a chunk.
    Size,
    /// A chunk of so many more bytes, its line end included.
    Chunk(u64),
    /// A line behind the last chunk.
    Trailer,
    /// Nothing that could be told.
    Lost,
}

/// What one head says about where its request ends.
#[derive(Clone, Copy, Default)]
struct Lengths {
    length: Option<u64>,
    is_chunked: bool,
    is_ambiguous: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self { place: Place::Start, line: [0; LINE], length: 0, begun: 0, ambiguous: None }
    }
}

impl Framing {
    /// Reads on.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while let [_, ..] = bytes {
            bytes = match self.place {
                Place::Lost => return,
                Place::Body(left) => self.skip(left, bytes, Place::Body, Place::Start),
                Place::Chunk(left) => self.skip(left, bytes, Place::Chunk, Place::Size),
                Place::Start | Place::Header(_) | Place::Size | Place::Trailer => {
                    self.read_line(bytes)
                }
            };
        }
    }

    /// Tells how many requests have begun; more than anybody can count if that is not known.
    #[must_use]
    pub const fn begun(&self) -> u32 {
        self.begun
    }

    /// Tells whether the last request is over and no byte of the next has come.
    #[must_use]
    pub const fn is_between_requests(&self) -> bool {
        matches!(self.place, Place::Start) && self.length == 0
    }

    /// Tells the first request, from 1 on, of which two readers could see different ends.
    #[must_use]
    pub const fn ambiguous(&self) -> Option<u32> {
        self.ambiguous
    }

    fn skip<'a>(
        &mut self,
        left: u64,
        bytes: &'a [u8],
        same: fn(u64) -> Place,
        next: Place,
    ) -> &'a [u8] {
        let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left.saturating_sub(here as u64);
        self.place = if left == 0 { next } else { same(left) };
        bytes.get(here..).unwrap_or_default()
    }

    /// Takes what there is of a line; at its end says what comes next.
    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr(b'\n', bytes);
        let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        let is_alone = self.length == 0;
        self.note_start(part);
        self.length += part.len();
        if end.is_some() && is_alone {
            // Nearly every line comes whole, and need not be kept.
            self.end_line(part.get(..LINE).unwrap_or(part));
            return rest;
        }
        self.keep(part);
        if end.is_some() {
            let line = self.line;
            self.end_line(line.get(..self.length).unwrap_or(&line));
        }
        rest
    }

    fn note_start(&mut self, part: &[u8]) {
        let is_first = self.length == 0 && !matches!(part, [b'\r' | b'\n', ..]);
        if is_first && matches!(self.place, Place::Start) {
            self.begun = self.begun.saturating_add(1);
        }
    }

    /// Keeps what there is room for of the part that was counted last.
    fn keep(&mut self, part: &[u8]) {
        let room = self.line.get_mut(self.length - part.len()..).unwrap_or_default();
        room.iter_mut().zip(part).for_each(|(kept, byte)| *kept = *byte);
    }

    fn end_line(&mut self, start: &[u8]) {
        let next = self.place.after(trim_end(start), self.length <= LINE);
        self.enter(next);
    }

    fn enter(&mut self, next: Result<Place, Unclear>) {
        self.length = 0;
        self.place = next.unwrap_or_else(|unclear| {
            match unclear {
                Unclear::Ambiguous => self.ambiguous = Some(self.begun),
                Unclear::Broken => self.begun = u32::MAX,
            }
            Place::Lost
        });
    }
}

/// Says why it cannot be told where a request ends.
enum Unclear {
    /// Two readers could disagree.
    Ambiguous,
    /// The parser will refuse it.
    Broken,
}

impl Place {
    /// Tells what comes behind a line, of which all is there or only the start.
    fn after(self, line: &[u8], is_whole: bool) -> Result<Self, Unclear> {
        match self {
            Self::Start if line.is_empty() => Ok(Self::Start),
            Self::Start => Ok(Self::Header(Lengths::default())),
            Self::Header(lengths) if line.is_empty() => lengths.body(),
            Self::Header(lengths) => Ok(Self::Header(lengths.and(line, is_whole))),
            Self::Size => chunk_size(line),
            Self::Trailer if line.is_empty() => Ok(Self::Start),
            Self::Trailer => Ok(Self::Trailer),
            Self::Body(_) | Self::Chunk(_) | Self::Lost => Err(Unclear::Broken),
        }
    }
}

impl Lengths {
    /// Adds what a header says; no honest client pads a length until it no longer fits.
    fn and(mut self, line: &[u8], is_whole: bool) -> Self {
        if !matches!(line, [b'c' | b'C' | b't' | b'T', ..]) {
            return self;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = decimal(value.trim_ascii());
            self.is_ambiguous |= self.length.is_some() || length.is_none() || !is_whole;
            self.length = length;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_plain = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            self.is_ambiguous |= self.is_chunked || !is_plain || !is_whole;
            self.is_chunked = true;
        }
        self
    }

    fn body(self) -> Result<Place, Unclear> {
        match self {
            Self { is_ambiguous: true, .. } => Err(Unclear::Ambiguous),
            Self { is_chunked: true, length: Some(_), .. } => Err(Unclear::Ambiguous),
            Self { is_chunked: true, .. } => Ok(Place::Size),
            Self { length: None | Some(0), .. } => Ok(Place::Start),
            Self { length: Some(length), .. } => Ok(Place::Body(length)),
        }
    }
}

/// Reads digits and nothing else.
fn decimal(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

/// Reads the size of a chunk, behind which there may be extensions.
fn chunk_size(line: &[u8]) -> Result<Place, Unclear> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let size = line.get(..digits).and_then(|digits| str::from_utf8(digits).ok());
    let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
    match size.map(|size| (size, size.checked_add(2))) {
        Some((0, _)) => Ok(Place::Trailer),
        Some((_, Some(with_line_end))) => Ok(Place::Chunk(with_line_end)),
        _ => Err(Unclear::Broken),
    }
}

/// Takes off the end of a line.
fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a text in pieces of this size.
    fn read(text: &str, piece: usize) -> Framing {
        let mut framing = Framing::default();
        text.as_bytes().chunks(piece).for_each(|bytes| framing.read(bytes));
        framing
    }

    // fault 140
    #[test]
    fn whoever_says_twice_where_it_ends_is_found() {
        let rows = [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            "transfer-encoding:chunked\r\nX: y\r\nCONTENT-LENGTH:\t5",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 0\r\nContent-Length: 0",
            "Content-Length: 5\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length: ",
            "Content-Length: 99999999999999999999",
            "Content-Length: 5\r\nContent-Length:                                                  5",
            "Transfer-Encoding:                                                            chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: ",
            "Transfer-Encoding: \u{b}chunked",
        ];
        let before = "\r\n\nPOST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        for headers in rows {
            for piece in [1, 2, 3, 7, 1000] {
                let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
                assert_eq!(read(&request, piece).ambiguous(), Some(1), "{headers}");
                let second = read(&format!("{before}{request}GET / HTTP/1.1\r\n"), piece);
                assert_eq!((second.ambiguous(), second.begun()), (Some(2), 2), "{headers}");
            }
        }
    }

    #[test]
    fn a_request_is_over_with_its_last_byte() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let requests = [
            "GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            &format!("{chunked}2\r\nab\r\n0\r\nX: y\r\n\r\n"),
            &format!("{chunked}0\r\n\r\n"),
        ];
        for request in requests {
            for end in 0..=request.len() {
                let is_over = [0, request.len()].contains(&end);
                let framing = read(&request[..end], 2);
                assert_eq!(framing.is_between_requests(), is_over, "{:?}", &request[..end]);
            }
            assert!(!read(&format!("{request}G"), 2).is_between_requests());
        }
    }

    #[test]
    fn what_no_parser_takes_ends_the_count() {
        for body in ["zz\r\n", "\r\n", "+1\r\n", "ffffffffffffffffff\r\n", "fffffffffffffffe\r\n"] {
            let framing =
                read(&format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}x"), 3);
            assert_eq!((framing.ambiguous(), framing.begun()), (None, u32::MAX), "{body}");
        }
    }

    /// A request whose body looks like requests that are ambiguous.
    fn request() -> impl Strategy<Value = String> {
        let lie =
            "\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = (0..4_usize, 0..9_usize)
            .prop_map(move |(lies, more)| format!("{}{}", lie.repeat(lies), "x".repeat(more)));
        let long = "y".repeat(3 * LINE);
        (body, 0..4_u8, any::<bool>()).prop_map(move |(body, shape, is_lf)| {
            let head = format!("\r\nPOST /{long} HTTP/1.1\r\nHost: a\r\nX-{long}: content-length: 7\r\n");
            let head = if is_lf { head.replace("\r\n", "\n") } else { head };
            let length = body.len();
            match shape {
                0 => format!("{head}\r\n"),
                1 => format!("{head}content-LENGTH:{length}\r\nX-Content-Length: 5\r\n\r\n{body}"),
                2 => format!("{head}Transfer-Encoding: Chunked\r\n\r\n0;a=b\r\nX: y\r\n\r\n"),
                _ => format!(
                    "{head}Transfer-Encoding:chunked\r\n\r\n{:X};e\r\n{body}x\r\n1\r\n\n\r\n00\r\n\r\n",
                    length + 1
                ),
            }
        })
    }

    proptest! {
        // fault 140: whatever honest requests hold is theirs, however it comes
        #[test]
        fn honest_requests_are_followed_to_their_ends(
            requests in prop::collection::vec(request(), 0..6),
            piece in 1..300_usize,
        ) {
            let framing = read(&requests.concat(), piece);
            prop_assert_eq!(framing.ambiguous(), None);
            prop_assert_eq!(framing.begun() as usize, requests.len());
        }
    }
}
