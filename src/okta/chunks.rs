//! The body of an answer in chunks (RFC 9112 section 7.1), put together once it is all there.
//!
//! Servers send what they have not counted in this way. What is unusual in it, extensions, trailers,
//! sizes padded with blanks, is for HTTP's own machinery.

use bytes::Bytes;

use super::brief::LARGEST;

/// Most digits of a size: as many as the largest body has.
const MOST_DIGITS: usize = 4;
/// What stands behind a size, and behind each chunk, also the last and empty one.
const END: &[u8] = b"\r\n";

/// Says what the bytes of a body in chunks are, as far as they have come.
pub(super) enum Chunks {
    /// All of a body, and nothing behind it.
    Whole(Bytes),
    /// The beginning of what may become one.
    Part,
    /// What the general way is for.
    Other,
}

/// Reads what has come of a body.
#[must_use]
pub(super) fn read(came: &[u8]) -> Chunks {
    let (mut body, mut rest) = (Vec::with_capacity(came.len()), came);
    loop {
        let (size, behind) = match first(rest) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Chunks::Part,
            Err(Unusual) => return Chunks::Other,
        };
        let Some((data, end)) = behind.split_at_checked(size) else { return Chunks::Part };
        body.extend_from_slice(data);
        match end.strip_prefix(END) {
            Some([]) if size == 0 => return Chunks::Whole(body.into()),
            Some(next) if size > 0 => rest = next,
            None if END.starts_with(end) => return Chunks::Part,
            _ => return Chunks::Other,
        }
    }
}

/// What is not read here.
struct Unusual;

/// Gives the size of the first chunk and what has come behind that; `None` if not all of the size has.
fn first(came: &[u8]) -> Result<Option<(usize, &[u8])>, Unusual> {
    let digits = came.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, behind) = came.split_at(digits);
    match behind.strip_prefix(END) {
        Some(behind) => Ok(Some((size(digits).ok_or(Unusual)?, behind))),
        None if END.starts_with(behind) && digits.len() <= MOST_DIGITS => Ok(None),
        None => Err(Unusual),
    }
}

fn size(digits: &[u8]) -> Option<usize> {
    let digits = str::from_utf8(digits).ok().filter(|digits| digits.len() <= MOST_DIGITS)?;
    usize::from_str_radix(digits, 16).ok().filter(|size| *size <= LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Option<Bytes> {
        match read(text.as_bytes()) {
            Chunks::Whole(body) => Some(body),
            Chunks::Part | Chunks::Other => None,
        }
    }

    // faults 35, 140
    #[test]
    fn a_body_is_read_once_its_last_chunk_is_there() {
        let large = format!("4000\r\n{}\r\n0\r\n\r\n", "x".repeat(LARGEST));
        let large_body = "x".repeat(LARGEST);
        for (text, body) in [
            ("0\r\n\r\n", ""),
            ("2\r\n{}\r\n0\r\n\r\n", "{}"),
            ("a\r\n0123456789\r\n00\r\n\r\n", "0123456789"),
            ("0A\r\n0123456789\r\n1\r\n!\r\n0000\r\n\r\n", "0123456789!"),
            ("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
            (&large, &large_body),
        ] {
            assert_eq!(whole(text).as_deref(), Some(body.as_bytes()), "{text:?}");
            for end in 0..text.len() {
                let begun = &text[..end];
                assert!(matches!(read(begun.as_bytes()), Chunks::Part), "{begun:?}");
            }
            let more = format!("{text}H");
            assert!(matches!(read(more.as_bytes()), Chunks::Other), "{more:?}");
        }
    }

    // faults 35, 140: what two readers could read in two ways is for one of them
    #[test]
    fn what_is_unusual_is_not_read() {
        for text in [
            "\r\n",
            "\n",
            "g\r\n",
            "-2\r\n{}",
            "+2\r\n{}",
            "0x2\r\n{}",
            " 2\r\n{}",
            "2 \r\n{}",
            "2\n{}",
            "2\r{}",
            "2;a=b\r\n{}",
            "2\r\n{}0\r\n",
            "2\r\n{}\n",
            "2\r\n{}\rx",
            "00002\r\n{}",
            "10000",
            "4001\r\n",
            "ffff\r\n",
            "0\r\nA: b\r\n\r\n",
            "0;a\r\n\r\n",
            "0\r\n\r\n0\r\n\r\n",
            "0\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "2\r\n{}\r\n0\r\nx",
        ] {
            assert!(matches!(read(text.as_bytes()), Chunks::Other), "{text:?}");
        }
    }
}
