//! What a certificate says of itself, for people: whose it is, who signed it, from when to when.
//!
//! Nothing is decided by it: what can be trusted is the TLS library's to say. Whatever is not read
//! here is left out.

use super::timestamp::{self, Timestamp};
use crate::token::timing::Wall;

/// Tells what stands in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Who shows it.
    pub subject: Option<String>,
    /// Who signed it.
    pub issuer: Option<String>,
    /// Begin of its time.
    pub begins: Option<Wall>,
    /// End of its time.
    pub ends: Option<Wall>,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
/// The version, which old certificates lack.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `commonName` and `organizationName`.
const NAMES: [&[u8]; 2] = [&[0x55, 4, 3], &[0x55, 4, 10]];

/// Reads a certificate as it is sent (DER, RFC 5280 section 4.1).
#[must_use]
pub fn read(der: &[u8]) -> Shown {
    let mut shown = Shown::default();
    fill(&mut shown, der);
    shown
}

/// Fills in as much as can be read; `None` where it ends too early.
fn fill(shown: &mut Shown, der: &[u8]) -> Option<()> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut rest, _) = expect(certificate, SEQUENCE)?;
    if let Some((VERSION, _, after)) = element(rest) {
        rest = after;
    }
    let (_, _serial, rest) = element(rest)?;
    let (_, _algorithm, rest) = element(rest)?;
    let (issuer, rest) = expect(rest, SEQUENCE)?;
    shown.issuer = name(issuer);
    let (validity, rest) = expect(rest, SEQUENCE)?;
    let (tag, begins, validity) = element(validity)?;
    shown.begins = moment(tag, begins);
    let (tag, ends, _) = element(validity)?;
    shown.ends = moment(tag, ends);
    let (subject, _) = expect(rest, SEQUENCE)?;
    shown.subject = name(subject);
    Some(())
}

/// Takes one element: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..0x80 => (usize::from(short), rest),
        // No certificate is longer than three bytes can say.
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let add = |sum: usize, digit: &u8| (sum << 8) | usize::from(*digit);
            ((1..=3).contains(&digits.len()).then(|| digits.iter().fold(0, add))?, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn expect(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// The common name, else the organization.
fn name(mut parts: &[u8]) -> Option<String> {
    let mut found = [None, None];
    while let Some((SET, part, rest)) = element(parts) {
        parts = rest;
        let Some((pair, _)) = expect(part, SEQUENCE) else { continue };
        let Some((kind, value)) = expect(pair, OBJECT) else { continue };
        let Some((_, text, _)) = element(value) else { continue };
        for (place, wanted) in found.iter_mut().zip(NAMES) {
            if kind == wanted {
                *place = Some(String::from_utf8_lossy(text).into_owned());
            }
        }
    }
    found.into_iter().flatten().next()
}

fn moment(tag: u8, text: &[u8]) -> Option<Wall> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // RFC 5280 section 4.1.2.5.1
        UTC_TIME if text < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| text.get(from..to);
    let (date, time) = (
        format!("{}-{}-{}", part(0, 4)?, part(4, 6)?, part(6, 8)?),
        format!("{}:{}:{}", part(8, 10)?, part(10, 12)?, part(12, 14)?),
    );
    match timestamp::parse(&format!("{date}T{time}Z"))? {
        Timestamp::At(seconds) => Some(Wall::from_seconds(seconds)),
        Timestamp::Never => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, CertifiedIssuer, DistinguishedName, DnType, KeyPair, date_time_ymd,
    };

    use super::*;

    fn certificate(name: Option<&str>) -> Vec<u8> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name = DistinguishedName::new();
        authority.distinguished_name.push(DnType::OrganizationName, "Signer of Tests");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(vec!["okta.test".into()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme");
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.not_before = date_time_ymd(1999, 12, 31);
        params.not_after = date_time_ymd(2101, 1, 2);
        let signed = params.signed_by(&KeyPair::generate().unwrap(), &authority.unwrap());
        signed.unwrap().der().to_vec()
    }

    #[test]
    fn it_says_whose_it_is_and_for_how_long() {
        let shown = read(&certificate(Some("okta.test")));
        assert_eq!(shown.subject.as_deref(), Some("okta.test"));
        assert_eq!(shown.issuer.as_deref(), Some("Signer of Tests"));
        let times = [shown.begins, shown.ends].map(|time| time.unwrap().to_string());
        assert_eq!(times, ["1999-12-31T00:00:00Z", "2101-01-02T00:00:00Z"]);
        assert_eq!(read(&certificate(None)).subject.as_deref(), Some("Acme"));
    }

    #[test]
    fn every_beginning_of_one_is_read_as_far_as_it_goes() {
        let whole = certificate(Some("okta.test"));
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), Shown::default(), "the outer length is not there");
        }
        assert_eq!(read(&[]), Shown::default());
        assert_eq!(read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), Shown::default());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(at in 0_usize..400, byte: u8) {
            let mut bytes = certificate(Some("okta.test"));
            if let Some(changed) = bytes.get_mut(at) {
                *changed = byte;
            }
            let _shown = read(&bytes);
        }
    }
}
