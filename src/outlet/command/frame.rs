//! One message on a stream: its length in four bytes, then JSON.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

/// Longest message: a key file, and what is told with it.
const LONGEST: usize = 128 * 1024;

/// Writes a message; the bytes may hold a key, and are wiped.
pub(super) fn pack(message: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    bytes.extend([0; 4]);
    serde_json::to_writer(&mut *bytes, message)?;
    let length = length_of(bytes.len() - 4)?;
    bytes.iter_mut().zip(length.to_be_bytes()).for_each(|(byte, digit)| *byte = digit);
    Ok(bytes)
}

fn length_of(bytes: usize) -> io::Result<u32> {
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= LONGEST);
    length.ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}

/// Makes room for the message whose length has been read.
pub(super) fn room(length: [u8; 4]) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = u32::from_be_bytes(length);
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST);
    length.map(|length| Zeroizing::new(vec![0; length])).ok_or(io::ErrorKind::InvalidData.into())
}

/// Reads a message.
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    // What it quotes may be a key.
    serde_json::from_slice(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let packed = pack(&vec!["a", "\u{1f511}"]).unwrap();
        let room = room(packed[..4].try_into().unwrap()).unwrap();
        assert_eq!(room.len(), packed.len() - 4);
        assert_eq!(unpack::<Vec<String>>(&packed[4..]).unwrap(), ["a", "\u{1f511}"]);
    }

    #[test]
    fn what_is_too_long_or_no_message_is_refused() {
        assert!(pack(&"x".repeat(LONGEST)).is_err());
        assert!(room([0, 2, 0, 1]).is_err() && room([0xff; 4]).is_err());
        assert!(unpack::<u64>(b"{").is_err());
    }
}
