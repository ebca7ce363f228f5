//! What is written, and what an answer must be like.

use std::path::PathBuf;

use reqwest::Url;
use serde::Serialize;

/// Holds what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) base_url: String,
    pub(super) team: String,
    pub(super) key_file: PathBuf,
    /// Directory of the sockets.
    pub(super) runtime: PathBuf,
}

/// The content of a key file.
#[derive(Serialize)]
pub(super) struct KeyFile<'a> {
    pub(super) key_id: &'a str,
    pub(super) key_secret: &'a str,
}

impl Answers {
    /// Writes the configuration.
    pub(super) fn toml(&self) -> String {
        let socket = |name: &str| format!("unix:{}", self.runtime.join(name).display());
        format!(
            "# Written by 'bearerd init'. 'bearerd check' shows every other key with its default.\n\n\
             [okta]\nbase_url = {}\n\n\
             [credentials.default]\nteam_name = {}\nkey_file = {}\n\n\
             # Programs ask here: curl --unix-socket PATH http://localhost/v1/token\n\
             [listeners.apps]\nbind = {}\n\n\
             # 'bearerd status', 'refresh' and 'quit' ask here.\n\
             [control]\nbind = {}\n",
            string(&self.base_url),
            string(&self.team),
            string(&self.key_file.display().to_string()),
            string(&socket("bearerd.sock")),
            string(&socket("control.sock")),
        )
    }
}

/// Writes a string as TOML does (TOML 1.0, basic strings).
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            letter if letter.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(letter)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// Reads the address of an issuer; people leave the scheme out.
pub(super) fn base_url(text: &str) -> Result<String, &'static str> {
    const FLAW: &str = "is no address: write it as https://acme.pam.okta.com";
    let text = text.trim();
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&whole).map_err(|_| FLAW)?;
    let whole = whole.trim_end_matches('/').to_owned();
    if url.host_str().is_none() || url.path() != "/" || url.query().is_some() {
        return Err(FLAW);
    }
    Ok(whole)
}

/// Guesses the team from the address: the first part of a host in Okta's own domains.
pub(super) fn team_of(base_url: &str) -> Option<String> {
    let url = Url::parse(base_url).ok()?;
    let (team, rest) = url.domain()?.split_once('.')?;
    rest.starts_with("pam.okta").then(|| team.to_owned())
}

/// Reads the name of a team.
pub(super) fn team(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        Err("is empty: it stands in the address of your console")
    } else {
        Ok(text.to_owned())
    }
}

/// Writes a word as a shell reads it back.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+,:@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let answers = Answers {
            base_url: "https://acme.pam.okta.com".into(),
            team: "a\"c\\me\u{7f}".into(),
            key_file: "/home/é \"x\"/key.json".into(),
            runtime: "/run/bearerd".into(),
        };
        let read: toml::Table = answers.toml().parse().unwrap();
        assert_eq!(read["credentials"]["default"]["team_name"].as_str(), Some("a\"c\\me\u{7f}"));
        let key = read["credentials"]["default"]["key_file"].as_str();
        assert_eq!(key, Some("/home/é \"x\"/key.json"));
        let bind = read["listeners"]["apps"]["bind"].as_str();
        assert_eq!(bind, Some("unix:/run/bearerd/bearerd.sock"));
    }

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        let table = [
            ("https://acme.pam.okta.com", Ok("https://acme.pam.okta.com")),
            (" acme.pam.okta.com/ \n", Ok("https://acme.pam.okta.com")),
            ("http://127.0.0.1:9999", Ok("http://127.0.0.1:9999")),
            ("https://acme.pam.okta.com/v1/teams", Err(())),
            ("https://acme.pam.okta.com?x", Err(())),
            ("", Err(())),
            ("https://", Err(())),
        ];
        for (text, expected) in table {
            let read = base_url(text).map_err(|_| ());
            assert_eq!(
                read.as_deref(),
                expected.as_ref().map(|url| *url).map_err(|()| &()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_team_is_guessed_of_oktas_own_domains_only() {
        let table = [
            ("https://acme.pam.okta.com", Some("acme")),
            ("https://acme.pam.oktapreview.com", Some("acme")),
            ("https://127.0.0.1:9999", None),
            ("https://pam.example.com", None),
        ];
        for (url, team) in table {
            assert_eq!(team_of(url).as_deref(), team, "{url}");
        }
    }

    #[test]
    fn a_shell_reads_back_what_is_quoted() {
        let table = [("/a/b-c.toml", "/a/b-c.toml"), ("/a b", "'/a b'"), ("/a'$x", "'/a'\\''$x'")];
        for (word, expected) in table {
            assert_eq!(quoted(word), expected);
        }
    }
}
