//! Bytes that must not outlive their use: wiped on drop, printed never.

use std::ops::BitAnd;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Holds secret bytes in one fixed box that is wiped on drop.
///
/// It has no `Debug`, `Display`, `Clone` or `Serialize` (fault 226), and never grows, so that no
/// reallocation leaves a copy behind (fault 236).
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes over a box; its bytes do not move.
    #[must_use]
    pub fn from_boxed(bytes: Box<[u8]>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Copies bytes whose owner wipes the original.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self::from_boxed(bytes.into())
    }

    /// Lends the bytes, for as short as may be.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Tells the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is no byte at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares with bytes of a stranger; its time depends on the lengths only.
    #[must_use]
    pub fn matches(&self, claimed: &[u8]) -> bool {
        let own = self.expose();
        if own.len() != claimed.len() {
            return false;
        }
        // Eight at a time: byte by byte it would be a good part of the cost of a call.
        let (own, claimed) = (own.as_chunks(), claimed.as_chunks());
        let words = own.0.iter().zip(claimed.0);
        let words = words.map(|(own, claimed)| word(own).ct_eq(&word(claimed)));
        words.fold(own.1.ct_eq(claimed.1), BitAnd::bitand).into()
    }
}

const fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_ne_bytes(*bytes)
}

impl From<Vec<u8>> for Secret {
    /// Takes over the bytes; where that needs a copy, the original is wiped.
    fn from(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self::from_boxed(bytes.into_boxed_slice());
        }
        let secret = Self::copy_of(&bytes);
        bytes.zeroize();
        secret
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }
}

impl Eq for Secret {}

/// Searches this process's memory, for tests of what is left of a secret.
#[cfg(test)]
pub(crate) mod memory {
    use std::{
        fs::{File, read_to_string},
        os::unix::fs::FileExt,
    };

    use zeroize::Zeroizing;

    /// Makes the inverse of a secret of letters, so that a test's own memory does not hold it.
    pub(crate) fn inverted_secret(length: usize) -> Vec<u8> {
        let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let letters =
            std::iter::successors(Some(42), next).map(|state| b'A' + (state >> 24) as u8 % 26);
        letters.map(|letter| !letter).take(length).collect()
    }

    /// Counts the copies, in writable memory, of the bytes whose inverse is given.
    pub(crate) fn copies(inverted: &[u8]) -> usize {
        let maps = read_to_string("/proc/self/maps").unwrap();
        let memory = File::open("/proc/self/mem").unwrap();
        let writable = maps.lines().filter(|map| map.contains(" rw-p "));
        writable.map(|map| copies_in(&memory, map, inverted)).sum()
    }

    fn copies_in(memory: &File, map: &str, inverted: &[u8]) -> usize {
        let (start, end) = map.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut bytes = Zeroizing::new(vec![0; usize::try_from(end - start).unwrap()]);
        if memory.read_exact_at(&mut bytes, start).is_err() {
            return 0;
        }
        // Inverted at once, so that this buffer is no copy for the next map; nor is it for its own.
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        let itself = bytes.as_ptr_range();
        let addresses = (usize::try_from(start).unwrap()..).zip(bytes.windows(inverted.len()));
        let outside = |at: &usize| !(itself.start.addr()..itself.end.addr()).contains(at);
        addresses.filter(|(at, window)| *window == inverted && outside(at)).count()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};

    use static_assertions::assert_not_impl_any;

    use super::*;

    // faults 226 and 242
    assert_not_impl_any!(Secret: Debug, Display, Clone, Copy, serde::Serialize, AsRef<[u8]>);
    assert_not_impl_any!(Secret: std::ops::Deref, Into<Vec<u8>>, Into<String>);

    #[test]
    fn keeps_what_it_was_given() {
        let mut roomy = Vec::with_capacity(64);
        roomy.extend_from_slice(b"s3cret");
        for secret in [
            Secret::from(roomy),
            Secret::from(b"s3cret".to_vec()),
            Secret::copy_of(b"s3cret"),
            Secret::from_boxed(b"s3cret".to_vec().into_boxed_slice()),
        ] {
            assert_eq!(secret.expose(), b"s3cret");
            assert_eq!(secret.len(), 6);
            assert!(!secret.is_empty());
        }
    }

    #[test]
    fn an_exact_vector_does_not_move() {
        let exact = b"0123456789abcdef".to_vec().into_boxed_slice().into_vec();
        let address = exact.as_ptr();
        assert_eq!(Secret::from(exact).expose().as_ptr(), address);
    }

    // fault 236
    #[test]
    fn a_vector_with_room_leaves_no_copy() {
        let inverted = memory::inverted_secret(64);
        let mut roomy = Vec::with_capacity(1000);
        roomy.extend(inverted.iter().map(|byte| !byte));
        let secret = Secret::from(roomy);
        let part = &inverted[24..56];
        assert_eq!(memory::copies(part), 1, "the secret itself, so the search works");
        drop(secret);
        assert_eq!(memory::copies(part), 0);
    }

    #[test]
    fn equality_looks_at_every_byte_and_the_length() {
        let secret = Secret::copy_of(b"abc");
        for (claimed, same) in [
            (&b"abc"[..], true),
            (b"abd", false),
            (b"xbc", false),
            (b"ab", false),
            (b"abcd", false),
        ] {
            assert_eq!(secret.matches(claimed), same);
            assert_eq!(secret == Secret::copy_of(claimed), same);
        }
        // In words of eight bytes, and what is left of them.
        for length in [7, 8, 9, 16, 64, 71] {
            let own = memory::inverted_secret(length);
            let secret = Secret::copy_of(&own);
            assert!(secret.matches(&own));
            for at in 0..length {
                let mut claimed = own.clone();
                claimed[at] ^= 1 << (at % 8);
                assert!(!secret.matches(&claimed), "{at} of {length}");
            }
        }
    }
}
