//! The key of a service user: what it may look like, and how it is written down.

use serde::Serialize;
use zeroize::Zeroizing;

use super::grammar::{Malformed, Text, read_object};
use crate::process::{fingerprint::Fingerprint, secret::Secret, secret_file::without_line_end};

/// Longest secret that the issuer takes, in characters.
const MAX_SECRET: usize = 512;
/// Longest name of a team, in characters.
const MAX_TEAM: usize = 255;

/// Most bytes of a key that is written down: each character takes six at the most.
const LONGEST_WRITTEN: usize = 6 * (MAX_SECRET + MAX_TEAM) + 128;

/// Holds an API key of well-formed parts; its secret is wiped on drop.
///
/// It has no `Debug`, `Clone` or `Serialize`, so no answer of ours can carry it (fault 242).
pub struct ApiKey {
    id: String,
    secret: Secret,
    team_name: Option<String>,
}

impl ApiKey {
    /// Reads the JSON form: `{"key_id": "…", "key_secret": "…"[, "team_name": "…"]}`.
    ///
    /// UTF-8 without byte order mark; exactly these fields, each once, in any order, all strings;
    /// white space and line ends of any kind between them and at the end (fault 90).
    ///
    /// # Errors
    ///
    /// The first flaw found, which never quotes the input.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Flaw> {
        let text = as_text(bytes)?;
        let mut fields = Fields::default();
        read_object(text, |name, value, line| fields.set(name, value, line))?;
        fields.into_key()
    }

    /// Makes a key of its parts.
    ///
    /// # Errors
    ///
    /// The first flaw found, which never quotes the input.
    pub fn new(id: &str, secret: &str, team_name: Option<&str>) -> Result<Self, Flaw> {
        if !is_key_id(id) {
            return Err(Flaw::Id);
        }
        if !is_printable(secret, MAX_SECRET) {
            return Err(Flaw::Secret);
        }
        if !team_name.is_none_or(|name| is_printable(name, MAX_TEAM)) {
            return Err(Flaw::Team);
        }
        let secret = Secret::copy_of(secret.as_bytes());
        Ok(Self { id: id.to_owned(), secret, team_name: team_name.map(str::to_owned) })
    }

    /// Tells the id, which is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Lends the secret.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Lends the secret as the text it was read from.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        std::str::from_utf8(self.secret.expose()).expect("a key's secret is made from a str")
    }

    /// Tells the team the key says it is for, if it says so.
    #[must_use]
    pub fn team_name(&self) -> Option<&str> {
        self.team_name.as_deref()
    }

    /// Writes it down as [`ApiKey::from_json`] reads it, as a key of this team.
    #[must_use]
    pub fn to_json(&self, team_name: Option<&str>) -> Zeroizing<Vec<u8>> {
        #[derive(Serialize)]
        struct Written<'a> {
            key_id: &'a str,
            key_secret: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            team_name: Option<&'a str>,
        }
        let written = Written { key_id: self.id(), key_secret: self.expose_secret(), team_name };
        // It never grows, so that no copy is left behind (fault 236).
        let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_WRITTEN));
        serde_json::to_writer(&mut *text, &written).expect("it can be written to memory");
        text.push(b'\n');
        text
    }

    /// Hashes all of the key, to tell it from another within this process.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let team_name = self.team_name.as_ref().map(String::as_bytes);
        Fingerprint::of([self.id.as_bytes(), self.secret.expose()].into_iter().chain(team_name))
    }
}

/// Reads the text of a file or field that holds one part of a key, without a line end at its end.
///
/// # Errors
///
/// When there is nothing, or no UTF-8 text.
pub fn read_part(bytes: &[u8]) -> Result<&str, Flaw> {
    as_text(without_line_end(bytes))
}

/// Says what is wrong with a key's content, as the end of a sentence, quoting nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// There is nothing but white space.
    #[error("is empty: write the API key into it")]
    Empty,
    /// It starts with a byte order mark.
    #[error("starts with a byte order mark: save it as UTF-8 without one")]
    ByteOrderMark,
    /// It is not UTF-8.
    #[error("is not UTF-8 text: save it as UTF-8")]
    NotUtf8,
    /// It is not an object of strings.
    #[error(
        "is not a JSON object of strings, line {line}: \
             write {{\"key_id\": \"…\", \"key_secret\": \"…\"}}"
    )]
    Malformed {
        /// Line, from 1.
        line: usize,
    },
    /// It has a field that no key has.
    #[error(
        "has an unknown field, line {line}: only key_id, key_secret and team_name may stand there"
    )]
    Unknown {
        /// Line, from 1.
        line: usize,
    },
    /// It has a field twice.
    #[error("has the field {field} twice: remove one")]
    Duplicate {
        /// Name of the field.
        field: &'static str,
    },
    /// It lacks a field.
    #[error("lacks the field {field}: add it")]
    Lacking {
        /// Name of the field.
        field: &'static str,
    },
    /// The id is not the issuer's.
    #[error("has a key_id that is not a UUID: copy it again from Okta")]
    Id,
    /// The secret is not the issuer's.
    #[error(
        "has a key_secret that is not 1 to {MAX_SECRET} printable characters: copy it again from Okta"
    )]
    Secret,
    /// The team's name cannot be one.
    #[error(
        "has a team_name that is not 1 to {MAX_TEAM} printable characters: correct or remove it"
    )]
    Team,
}

impl From<Malformed> for Flaw {
    fn from(Malformed { line }: Malformed) -> Self {
        Self::Malformed { line }
    }
}

#[derive(Default)]
struct Fields {
    id: Option<Text>,
    secret: Option<Text>,
    team_name: Option<Text>,
}

impl Fields {
    fn set(&mut self, name: &str, value: Text, line: usize) -> Result<(), Flaw> {
        let (field, slot) = match name {
            "key_id" => ("key_id", &mut self.id),
            "key_secret" => ("key_secret", &mut self.secret),
            "team_name" => ("team_name", &mut self.team_name),
            _ => return Err(Flaw::Unknown { line }),
        };
        if slot.is_some() {
            return Err(Flaw::Duplicate { field });
        }
        *slot = Some(value);
        Ok(())
    }

    fn into_key(self) -> Result<ApiKey, Flaw> {
        let id = self.id.ok_or(Flaw::Lacking { field: "key_id" })?;
        let secret = self.secret.ok_or(Flaw::Lacking { field: "key_secret" })?;
        ApiKey::new(&id, &secret, self.team_name.as_ref().map(|name| name.as_str()))
    }
}

fn as_text(bytes: &[u8]) -> Result<&str, Flaw> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Flaw::ByteOrderMark);
    }
    if bytes.trim_ascii().is_empty() {
        return Err(Flaw::Empty);
    }
    std::str::from_utf8(bytes).map_err(|_| Flaw::NotUtf8)
}

/// Tells whether `id` is a UUID of version 1 to 5, as the issuer's own description has it.
#[must_use]
pub fn is_key_id(id: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        14 => matches!(byte, b'1'..=b'5'),
        19 => matches!(byte, b'8' | b'9' | b'a' | b'b' | b'A' | b'B'),
        _ => byte.is_ascii_hexdigit(),
    };
    id.len() == 36 && id.bytes().enumerate().all(fits)
}

fn is_printable(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};

    use static_assertions::assert_not_impl_any;

    use super::*;

    // faults 226 and 242
    assert_not_impl_any!(ApiKey: Debug, Display, Clone, Serialize);

    const ID: &str = "0a1b2c3d-0000-4000-8000-00000000aBcD";

    fn json(secret: &str) -> String {
        format!(r#"{{"key_id": "{ID}", "key_secret": "{secret}"}}"#)
    }

    fn flaw(bytes: impl AsRef<[u8]>) -> Option<Flaw> {
        ApiKey::from_json(bytes.as_ref()).err()
    }

    #[test]
    fn a_key_is_read_with_and_without_its_team() {
        let key = ApiKey::from_json(json("s3+/=").as_bytes()).ok().unwrap();
        assert_eq!((key.id(), key.expose_secret(), key.team_name()), (ID, "s3+/=", None));
        let text = format!(r#"{{"team_name":"acme","key_secret":"\u002B\/","key_id":"{ID}"}}"#);
        let key = ApiKey::from_json(text.as_bytes()).ok().unwrap();
        assert_eq!((key.expose_secret(), key.team_name()), ("+/", Some("acme")));
        assert_eq!(key.secret().expose(), b"+/");
    }

    // fault 236
    #[test]
    fn what_is_written_is_read_back_and_does_not_outgrow_its_room() {
        let (secret, team) = ("\u{10348}\"\\é".repeat(128), "\u{10348}".repeat(255));
        for (secret, team) in [("s3+/=", None), ("s", Some("acme")), (&secret, Some(&*team))] {
            let key = ApiKey::new(ID, secret, team).ok().unwrap();
            let text = key.to_json(key.team_name());
            assert_eq!(text.capacity(), LONGEST_WRITTEN);
            assert!(text.len() <= 8 * 1024, "fits the room that a rotation reserves");
            let read = ApiKey::from_json(&text).ok().unwrap();
            assert_eq!((read.id(), read.expose_secret(), read.team_name()), (ID, secret, team));
        }
    }

    // fault 79
    #[test]
    fn every_prefix_is_refused() {
        let text = json("secret");
        for length in 0..text.len() {
            assert!(flaw(&text[..length]).is_some(), "{length}");
        }
        assert_eq!(flaw(text), None);
        assert_eq!(flaw(" \r\n\t"), Some(Flaw::Empty));
    }

    // fault 90
    #[test]
    fn the_grammar_is_strict() {
        let good = json("secret");
        let extended = |with: &str| good.replace('}', with);
        let table: [(String, Option<Flaw>); 12] = [
            (format!("{good}\n"), None),
            (good.replace(", ", ",\r\n"), None),
            (format!("\u{feff}{good}"), Some(Flaw::ByteOrderMark)),
            (format!("{good}\0"), Some(Flaw::Malformed { line: 1 })),
            (format!("\n{good}{good}"), Some(Flaw::Malformed { line: 2 })),
            (json("se\0cret"), Some(Flaw::Malformed { line: 1 })),
            (json("se\\u0000cret"), Some(Flaw::Secret)),
            (json("line\\nline"), Some(Flaw::Secret)),
            (extended(r#","team_name":null}"#), Some(Flaw::Malformed { line: 1 })),
            (extended(",\n\"team\":\"x\"}"), Some(Flaw::Unknown { line: 2 })),
            (extended(r#","key_secret":"secret"}"#), Some(Flaw::Duplicate { field: "key_secret" })),
            (good.replace("key_id", "Key_id"), Some(Flaw::Unknown { line: 1 })),
        ];
        for (text, expected) in table {
            assert_eq!(flaw(&text), expected, "{text:?}");
        }
        assert_eq!(flaw(b"{\"key_id\":\"\xff\"}"), Some(Flaw::NotUtf8));
        assert_eq!(flaw("{}"), Some(Flaw::Lacking { field: "key_id" }));
        let lacking = format!(r#"{{"key_id":"{ID}"}}"#);
        assert_eq!(flaw(lacking), Some(Flaw::Lacking { field: "key_secret" }));
    }

    #[test]
    fn secrets_have_1_to_512_printable_characters() {
        for (secret, expected) in [
            (String::new(), Some(Flaw::Secret)),
            ("x".into(), None),
            ("é".repeat(512), None),
            ("x".repeat(513), Some(Flaw::Secret)),
            ("\u{7f}".into(), Some(Flaw::Secret)),
            ("\u{85}".into(), Some(Flaw::Secret)),
        ] {
            assert_eq!(flaw(json(&secret)), expected, "{secret:?}");
        }
        assert_eq!(ApiKey::new(ID, "x", Some("")).err(), Some(Flaw::Team));
    }

    #[test]
    fn ids_are_uuids_of_versions_1_to_5() {
        assert!(is_key_id(ID));
        for wrong in [
            "",
            "0a1b2c3d-0000-4000-8000-00000000abc",
            "0a1b2c3d-0000-4000-8000-00000000abcde",
            "0a1b2c3d-0000-0000-8000-00000000abcd",
            "0a1b2c3d-0000-6000-8000-00000000abcd",
            "0a1b2c3d-0000-4000-7000-00000000abcd",
            "0a1b2c3d-0000-4000-c000-00000000abcd",
            "0a1b2c3d00000-4000-8000-00000000abcd",
            "ga1b2c3d-0000-4000-8000-00000000abcd",
            "é1b2c3d-0000-4000-8000-00000000abcd",
        ] {
            assert!(!is_key_id(wrong), "{wrong}");
        }
    }

    #[test]
    fn one_line_end_is_not_part_of_a_file() {
        for (file, text) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a", " a")]
        {
            assert_eq!(read_part(file.as_bytes()), Ok(text));
        }
        assert_eq!(read_part(b"\n"), Err(Flaw::Empty));
    }

    #[test]
    fn every_part_counts_for_the_fingerprint() {
        let of = |secret, team| ApiKey::new(ID, secret, team).ok().unwrap().fingerprint();
        assert_eq!(of("s", Some("t")), of("s", Some("t")));
        let other_id = ApiKey::new(&ID.replace('a', "b"), "s", None).ok().unwrap().fingerprint();
        for other in [of("s", Some("t")), of("x", None), other_id] {
            assert_ne!(of("s", None), other);
        }
    }

    // promise 2: no sentence carries what was read
    #[test]
    fn flaws_quote_nothing() {
        let marker = "hunter2";
        for text in [
            marker.to_owned(),
            format!(r#"{{"{marker}":"x"}}"#),
            format!(r#"{{"key_id":"{marker}","key_secret":"{marker}"}}"#),
            json(&format!("{marker}\\n")),
        ] {
            assert!(!flaw(text).unwrap().to_string().contains(marker));
        }
    }
}
