//! Random names, secrets and the texts that are made of random bytes.

use ring::rand::{SystemRandom, generate};

/// Makes a random UUID, version 4.
pub(super) fn uuid() -> String {
    let mut bytes: [u8; 16] = random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let (a, rest) = hex.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// Makes the secret of an API key: 88 characters of base64, as the issuer's are.
pub(super) fn key_secret() -> String {
    let mut secret = encode(&random::<64>(), STANDARD);
    secret.push_str("==");
    secret
}

/// Draws `N` random bytes.
pub(super) fn random<const N: usize>() -> [u8; N]
where
    [u8; N]: ring::rand::RandomlyConstructable,
{
    generate(&SystemRandom::new()).expect("the kernel gives random bytes").expose()
}

/// Writes bytes as base64url without padding (RFC 4648 section 5).
pub(super) fn base64url(bytes: &[u8]) -> String {
    encode(bytes, URL_SAFE)
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    bytes.chunks(3).flat_map(sextets).map(|sextet| letter(sextet, alphabet)).collect()
}

fn sextets(three: &[u8]) -> impl Iterator<Item = usize> {
    let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
    let bits = bits << (8 * (3 - three.len()));
    (0..=three.len()).map(move |place| bits >> (18 - 6 * place) & 0x3f)
}

fn letter(sextet: usize, alphabet: &[u8; 64]) -> char {
    char::from(*alphabet.get(sextet).expect("six bits are below 64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_vectors_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64url(plain.as_bytes()), coded);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn secrets_have_the_usual_length_and_differ() {
        assert_eq!(key_secret().len(), 88);
        assert_ne!(key_secret(), key_secret());
    }

    #[test]
    fn uuids_are_of_version_four() {
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}
