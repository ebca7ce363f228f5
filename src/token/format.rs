//! The shapes in which a token is handed out.

use std::str::FromStr;

use http::{HeaderMap, HeaderValue, header};

/// Names a shape; the same names everywhere: query, flags, sinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The issuer's own JSON with `expires_in` and `token_id`.
    #[default]
    Json,
    /// The bare token, no newline.
    Raw,
    /// `Authorization: Bearer …` and a newline.
    Header,
    /// `OKTA_BEARER_TOKEN=…` and a newline.
    Env,
    /// The answer of an OAuth 2 token endpoint.
    Oauth2,
}

impl Format {
    /// Lists every shape.
    pub const ALL: [Self; 5] = [Self::Json, Self::Raw, Self::Header, Self::Env, Self::Oauth2];

    /// Tells the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Raw => "raw",
            Self::Header => "header",
            Self::Env => "env",
            Self::Oauth2 => "oauth2",
        }
    }

    /// Tells the media type of an answer in this shape.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::Oauth2 => "application/json",
            Self::Raw | Self::Header | Self::Env => "text/plain; charset=utf-8",
        }
    }
}

/// Makes the headers that every answer of ours carries: its type, and nobody may keep it or guess.
#[must_use]
pub fn headers(media_type: &'static str) -> HeaderMap {
    let mut headers = bare_headers();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers
}

/// Makes those of an answer without a body, which has no type.
#[must_use]
pub fn bare_headers() -> HeaderMap {
    let fields = [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    fields.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or(UnknownFormat)
    }
}

/// Says that a name is none of the five.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("format is one of json, raw, header, env, oauth2")]
pub struct UnknownFormat;
