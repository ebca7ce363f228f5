//! A stand-in for a secret that can be kept and compared, but not turned back.

use std::sync::OnceLock;

use ring::{
    hmac::{Context, HMAC_SHA256, Key},
    rand::SystemRandom,
};

/// Stands for one secret within this process.
///
/// A hash under a random key that is made anew at each start: it tells nothing about the secret,
/// and nothing about the same secret elsewhere (fault 240).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Hashes parts that hold no NUL byte; their order and borders count.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut context = Context::with_key(process_key());
        for part in parts {
            context.update(part);
            context.update(b"\0");
        }
        let mut hash = [0; 32];
        hash.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        Self(hash)
    }

    /// Prints the first 8 bytes as 16 hex digits: enough to tell two apart in a log.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn process_key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| {
        Key::generate(HMAC_SHA256, &SystemRandom::new())
            .expect("getrandom does not fail once the system has started")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_has_16_hex_digits() {
        let short = Fingerprint::of([b"token".as_slice()]).short();
        assert_eq!(short.len(), 16);
        assert!(short.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(short, Fingerprint::of([b"other".as_slice()]).short());
    }

    #[test]
    fn borders_and_order_count() {
        let of = |parts: &[&'static str]| Fingerprint::of(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(of(&["a", "bc"]), of(&["a", "bc"]));
        for other in [&["ab", "c"][..], &["bc", "a"], &["abc"], &["a", "bc", ""]] {
            assert_ne!(of(&["a", "bc"]), of(other));
        }
    }
}
