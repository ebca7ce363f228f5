//! Text that has a meaning of its own: choices, names, filters.

use tracing_subscriber::filter::Targets;

use super::{Kind, quoted, text};
use crate::{
    config::{finding::Complaint, reader::is_name, tree::Node},
    proxy::rules,
};

/// Reads one of a few words.
pub(in crate::config) struct Choice(pub(in crate::config) &'static [&'static str]);

impl Kind for Choice {
    type Value = &'static str;

    fn read(&self, node: &Node) -> Result<&'static str, Complaint> {
        let all = || format!("write one of {}", self.0.join(", "));
        let wanted =
            text(node, "text", "").map_err(|it| Complaint { remedy: all().into(), ..it })?;
        let found = self.0.iter().find(|word| **word == wanted);
        found.copied().ok_or_else(|| Complaint::new("is none of the words it can be", all()))
    }

    fn show(&self, value: &&'static str) -> String {
        quoted(value)
    }
}

/// Reads any text.
pub(in crate::config) struct Word;

impl Kind for Word {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        text(node, "text", "write text in quotes").map(str::to_owned)
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// Reads the name of a credential.
pub(in crate::config) struct Name;

impl Kind for Name {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        let remedy = "write the name of a credential";
        let name = text(node, "a name", remedy)?;
        match is_name(name) {
            true => Ok(name.to_owned()),
            false => Err(Complaint::new("is not a name", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// Reads the name of an object of Kubernetes: a DNS name, of which a path takes one segment.
pub(in crate::config) struct ObjectName;

impl Kind for ObjectName {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        let remedy = "write it as `kubectl get` shows it: lower-case letters, digits, `-` and `.`";
        let name = text(node, "a name", remedy)?;
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let inner = |byte: u8| allowed(byte) || b"-.".contains(&byte);
        let ends = [name.bytes().next(), name.bytes().last()];
        let harmless = name.bytes().all(inner) && ends.into_iter().flatten().all(allowed);
        match harmless && name.len() <= 253 {
            true => Ok(name.to_owned()),
            false => Err(Complaint::new("is not a name that Kubernetes knows", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// Reads a team's name: one harmless segment of a URL's path (fault 57).
pub(in crate::config) struct TeamName;

impl Kind for TeamName {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        let remedy = "write the team as it stands in the console: letters, digits, `-`, `_`, `.`";
        let name = text(node, "a team's name", remedy)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let harmless = name.bytes().all(allowed) && name.len() <= 255 && !is_dots(name);
        match harmless {
            true => Ok(name.to_owned()),
            false => Err(Complaint::new("is not a team's name", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

fn is_dots(name: &str) -> bool {
    name.bytes().all(|byte| byte == b'.')
}

/// Reads a service user's name or id: one segment of a URL's path, read in one way only (fault 281).
pub(in crate::config) struct UserName;

impl Kind for UserName {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        let remedy = "write the name or id of a service user, as `bearerd users list` shows it";
        let name = text(node, "a service user's name", remedy)?;
        let harmless = !name.contains(['/', '\\', '%']) && !is_dots(name);
        match harmless && name.chars().count() <= 255 {
            true => Ok(name.to_owned()),
            false => Err(Complaint::new("is no name that a path can carry", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// Reads what is logged: a level, or a filter of `tracing` by targets, as there are no spans.
pub(in crate::config) struct Filter;

impl Filter {
    const LEVELS: [&'static str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

    /// Recognises a lone word that is no level: it would name a module, and silence all others.
    fn is_slip(text: &str) -> bool {
        let word = text.to_ascii_lowercase();
        let is_word = text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        is_word && !Self::LEVELS.contains(&word.as_str())
    }
}

impl Kind for Filter {
    type Value = String;

    fn read(&self, node: &Node) -> Result<String, Complaint> {
        let remedy = "write off, error, warn, info, debug or trace, or a filter, as \
                      \"info,bearerd::audit=off\"";
        let filter = text(node, "a level", remedy)?;
        let valid = filter.parse::<Targets>().is_ok() && !Self::is_slip(filter);
        match valid {
            true => Ok(filter.to_owned()),
            false => Err(Complaint::new("is neither a level nor a filter", remedy)),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// Reads a rule of what may be forwarded: a method and a path with wildcards.
pub(in crate::config) struct Rule;

impl Kind for Rule {
    type Value = rules::Rule;

    fn read(&self, node: &Node) -> Result<rules::Rule, Complaint> {
        let remedy = "write a method and a path below the team, as \"GET /**\"";
        let rule = text(node, "a rule", remedy)?;
        rule.parse().map_err(|error: rules::RuleError| Complaint::new(error.to_string(), remedy))
    }

    fn show(&self, value: &rules::Rule) -> String {
        quoted(value.as_str())
    }
}
