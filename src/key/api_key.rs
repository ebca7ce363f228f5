//! The key of a service user: what it may look like, and how it is written down.

use super::grammar::{Malformed, Text, read_object};
use crate::process::{fingerprint::Fingerprint, secret::Secret};

/// Longest secret that the issuer takes, in characters.
const MAX_SECRET: usize = 512;
/// Longest name of a team, in characters.
const MAX_TEAM: usize = 255;

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

    /// Makes a key of its parts, each the content of a file with perhaps one line end at its end.
    ///
    /// # Errors
    ///
    /// The first flaw found, which never quotes the input.
    pub fn from_parts(id: &[u8], secret: &[u8], team_name: Option<&[u8]>) -> Result<Self, Flaw> {
        let team_name = team_name.map(without_line_end).transpose()?;
        Self::new(without_line_end(id)?, without_line_end(secret)?, team_name)
    }

    fn new(id: &str, secret: &str, team_name: Option<&str>) -> Result<Self, Flaw> {
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
        Ok(Self {
            id: id.to_owned(),
            secret,
            team_name: team_name.map(str::to_owned),
        })
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

    /// Hashes all of the key, to tell it from another within this process.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let team_name = self.team_name.as_ref().map(String::as_bytes);
        Fingerprint::of(
            [self.id.as_bytes(), self.secret.expose()]
                .into_iter()
                .chain(team_name),
        )
    }
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
        let secret = self.secret.ok_or(Flaw::Lacking {
            field: "key_secret",
        })?;
        ApiKey::new(
            &id,
            &secret,
            self.team_name.as_ref().map(|name| name.as_str()),
        )
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

fn without_line_end(bytes: &[u8]) -> Result<&str, Flaw> {
    let text = as_text(bytes)?;
    Ok(text
        .strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .unwrap_or(text))
}

/// Tells whether `id` is a UUID of version 1 to 5, as the issuer's own description has it.
fn is_key_id(id: &str) -> bool {
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
