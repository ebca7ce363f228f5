//! `proxy.allow`: which calls may be forwarded.
//!
//! A rule is `METHOD PATH-GLOB` below the team: `*` stands for one segment, `**` at the end for any
//! number of them, but neither for `keys` nor `service_token`, which a rule has to spell
//! (section 5): whoever may rotate keys could take the service user over.

use std::{borrow::Cow, str::FromStr};

use super::path::Path;

/// What no wildcard stands for, nor what a server may take for it.
const GUARDED: [&str; 2] = ["keys", "service_token"];
/// What can be forwarded at all.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Lists the calls that may be forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// Lets some calls pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// As it was written.
    text: String,
    /// `None` for any.
    method: Option<&'static str>,
    pattern: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Exactly(String),
    One,
    Rest,
}

/// Says what is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// There is no method, or none that is forwarded.
    #[error("begins with none of GET, HEAD, POST, PUT, PATCH, DELETE and *")]
    Method,
    /// The pattern does not begin with a slash, or has an empty segment.
    #[error("has no path like /service_users/*")]
    Pattern,
    /// `**` stands before the end.
    #[error("has ** before its end")]
    Rest,
    /// A segment mixes letters and `*`.
    #[error("has * inside a segment, where it can only stand for a whole one")]
    Mixed,
}

impl Default for Rules {
    /// All but `service_token` and any `…/keys`.
    fn default() -> Self {
        Self(vec![Rule { text: "* /**".to_owned(), method: None, pattern: vec![Part::Rest] }])
    }
}

impl Rules {
    /// Lets pass what one of these rules lets pass.
    #[must_use]
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// Tells whether a call may be forwarded.
    #[must_use]
    pub fn allow(&self, method: &str, path: &Path) -> bool {
        self.0.iter().any(|rule| {
            rule.method.is_none_or(|allowed| allowed == method)
                && matches(&rule.pattern, &path.segments)
        })
    }
}

impl Rule {
    /// Tells the rule as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(rule: &str) -> Result<Self, RuleError> {
        let text = rule.to_owned();
        let (method, pattern) = rule.trim().split_once(' ').ok_or(RuleError::Method)?;
        let method = match method {
            "*" => None,
            method => Some(METHODS.into_iter().find(|m| *m == method).ok_or(RuleError::Method)?),
        };
        let pattern = pattern.trim_start().strip_prefix('/').ok_or(RuleError::Pattern)?;
        let parts = pattern.split('/').map(part).collect::<Result<Vec<_>, _>>()?;
        let before_end = parts.split_last().map_or(&[][..], |(_, before)| before);
        if before_end.contains(&Part::Rest) {
            return Err(RuleError::Rest);
        }
        Ok(Self { text, method, pattern: parts })
    }
}

fn part(segment: &str) -> Result<Part, RuleError> {
    match segment {
        "" => Err(RuleError::Pattern),
        "*" => Ok(Part::One),
        "**" => Ok(Part::Rest),
        mixed if mixed.contains('*') => Err(RuleError::Mixed),
        name => Ok(Part::Exactly(name.to_owned())),
    }
}

fn matches(pattern: &[Part], segments: &[String]) -> bool {
    match (pattern.split_first(), segments.split_first()) {
        (None, None) => true,
        (Some((Part::Rest, _)), Some(_)) => !segments.iter().any(|segment| is_guarded(segment)),
        (Some((part, pattern)), Some((segment, segments))) => {
            part.stands_for(segment) && matches(pattern, segments)
        }
        _ => false,
    }
}

impl Part {
    fn stands_for(&self, segment: &str) -> bool {
        match self {
            Self::Exactly(name) => name.eq_ignore_ascii_case(segment),
            Self::One => !is_guarded(segment),
            Self::Rest => false,
        }
    }
}

/// Servers differ in what they take for `keys`: with a blank, an extension or a parameter behind it.
fn is_guarded(segment: &str) -> bool {
    GUARDED.iter().any(|guarded| could_mean(segment, guarded))
}

/// Tells whether some server may take a segment for a name in small letters.
pub(super) fn could_mean(segment: &str, name: &str) -> bool {
    // Some letters fold to ASCII ones: the Kelvin sign, the long s.
    let folded = match segment.is_ascii() {
        true => Cow::Borrowed(segment),
        false => Cow::Owned(segment.to_uppercase().to_lowercase()),
    };
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let mut words = folded.as_bytes().split(|byte| !is_part(byte));
    words.any(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rules: &Rules, method: &str, below: &str) -> bool {
        let path = Path::parse(&format!("/v1/teams/acme{below}")).expect("a clean path");
        rules.allow(method, &path)
    }

    // fault 281
    #[test]
    fn by_default_neither_keys_nor_the_mint_can_be_reached() {
        let rules = Rules::default();
        for (method, below) in
            [("GET", "/current_user"), ("PUT", "/service_users/robot"), ("POST", "/a/b/c/d")]
        {
            assert!(allows(&rules, method, below), "{method} {below}");
        }
        for below in [
            "/service_token",
            "/Service_Token",
            "/service_users/robot/keys",
            "/service_users/robot/KEYS",
            "/service_users/robot/%6beys",
            "/service_users/robot/keys/1",
            "/keys",
            "/service_users/robot/keys%20",
            "/service_users/robot/keys;x=1",
            "/service_users/robot/keys.json",
            "/service_token;x",
            "/service_users/robot/%E2%84%AAeys",
            "/service_users/robot/key%C5%BF",
            "/%C5%BFervice_to%E2%84%AAen",
        ] {
            assert!(!allows(&rules, "GET", below), "{below}");
        }
    }

    #[test]
    fn rules_narrow() {
        let rules = ["GET /**", "* /projects/*", "PUT /service_users/*/keys", "DELETE /a/b/**"];
        let rules = Rules::new(rules.map(|rule| rule.parse().expect("valid")).into());
        let table = [
            ("GET", "/service_users", true),
            ("GET", "/a/b/c", true),
            ("HEAD", "/service_users", false),
            ("POST", "/projects/x", true),
            ("POST", "/Projects/x", true),
            ("POST", "/projects", false),
            ("POST", "/projects/x/y", false),
            ("POST", "/projects/keys", false),
            ("PUT", "/service_users/robot/keys", true),
            ("PUT", "/service_users/robot/KEYS", true),
            ("PUT", "/service_users/robot", false),
            ("GET", "/service_users/robot/keys", false),
            ("DELETE", "/a/b", false),
            ("DELETE", "/a/b/c", true),
            ("DELETE", "/a/b/c/d", true),
            ("DELETE", "/a/b/keys/d", false),
        ];
        for (method, below, expected) in table {
            assert_eq!(allows(&rules, method, below), expected, "{method} {below}");
        }
        assert!(!allows(&Rules::new(Vec::new()), "GET", "/x"));
    }

    #[test]
    fn a_rule_is_shown_as_it_was_written() {
        let rule: Rule = "GET  /service_users/*".parse().expect("valid");
        assert_eq!(rule.as_str(), "GET  /service_users/*");
    }

    #[test]
    fn wrong_rules_are_named() {
        let table = [
            ("/**", RuleError::Method),
            ("get /**", RuleError::Method),
            ("TRACE /**", RuleError::Method),
            ("GET", RuleError::Method),
            ("GET **", RuleError::Pattern),
            ("GET /", RuleError::Pattern),
            ("GET //x", RuleError::Pattern),
            ("GET /x/", RuleError::Pattern),
            ("GET /**/x", RuleError::Rest),
            ("GET /x*", RuleError::Mixed),
            ("GET /***", RuleError::Mixed),
        ];
        for (rule, expected) in table {
            assert_eq!(rule.parse::<Rule>(), Err(expected), "{rule}");
        }
    }
}
