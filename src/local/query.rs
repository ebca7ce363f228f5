//! The query of a request: known parameters, each once, nothing else.

use std::time::Duration;

use super::problem::{Kind, Problem};
use crate::token::format::Format;

/// Longest wait for a change that can be asked for.
const LONGEST_WAIT: Longest = (Duration::from_secs(10 * 60), "10 minutes");
/// Longest life that can be asked for: no token is believed to live longer.
const LONGEST_LIFE: Longest = (Duration::from_secs(365 * 24 * 60 * 60), "365 days");

/// A time, and how people call it.
type Longest = (Duration, &'static str);

/// Holds the parameters of the token's paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which of the listener's credentials; the first one if not said.
    pub credential: Option<String>,
    /// In which shape.
    pub format: Format,
    /// With how much life left at the least.
    pub min_ttl: Option<Duration>,
    /// How long to wait for a change.
    pub wait: Option<Duration>,
}

/// Names a parameter that a path knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// `credential`
    Credential,
    /// `format`
    Format,
    /// `min_ttl`
    MinTtl,
    /// `wait`
    Wait,
}

impl Parameter {
    /// Tells how it is written.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Format => "format",
            Self::MinTtl => "min_ttl",
            Self::Wait => "wait",
        }
    }
}

/// Reads a query of which `known` parameters may be part.
///
/// # Errors
///
/// Refuses what is unknown, there twice, without value or not of its kind.
pub fn parse(query: Option<&str>, known: &[Parameter]) -> Result<Query, Problem> {
    let mut parsed = Query::default();
    let mut seen = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(parameter) = known.iter().find(|known| known.name() == name) else {
            return Err(Kind::BadRequest.because(unknown(known)));
        };
        if seen.contains(parameter) {
            let twice = format!("the query has {} twice", parameter.name());
            return Err(Kind::BadRequest.because(twice));
        }
        seen.push(*parameter);
        set(&mut parsed, *parameter, value)?;
    }
    Ok(parsed)
}

fn set(query: &mut Query, parameter: Parameter, value: &str) -> Result<(), Problem> {
    match parameter {
        Parameter::Credential => query.credential = Some(value.to_owned()),
        Parameter::Format => {
            query.format =
                value.parse().map_err(|error: crate::token::format::UnknownFormat| {
                    Kind::BadRequest.because(error.to_string())
                })?;
        }
        Parameter::MinTtl => query.min_ttl = Some(duration("min_ttl", value, LONGEST_LIFE)?),
        Parameter::Wait => query.wait = Some(duration("wait", value, LONGEST_WAIT)?),
    }
    Ok(())
}

fn duration(name: &str, value: &str, (most, words): Longest) -> Result<Duration, Problem> {
    humantime::parse_duration(value).ok().filter(|duration| *duration <= most).ok_or_else(|| {
        Kind::BadRequest
            .because(format!("{name} is a time with a unit, as 90s or 5m, up to {words}"))
    })
}

fn unknown(known: &[Parameter]) -> String {
    let names: Vec<_> = known.iter().map(|parameter| parameter.name()).collect();
    if names.is_empty() {
        return "this path takes no query".to_owned();
    }
    format!("the query of this path may have: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Parameter; 4] =
        [Parameter::Credential, Parameter::Format, Parameter::MinTtl, Parameter::Wait];

    #[test]
    fn what_is_known_is_read() {
        assert_eq!(parse(None, &ALL), Ok(Query::default()));
        assert_eq!(parse(Some(""), &[]), Ok(Query::default()));
        let query = "credential=ci&format=oauth2&min_ttl=5m&wait=1m30s";
        let expected = Query {
            credential: Some("ci".into()),
            format: Format::Oauth2,
            min_ttl: Some(Duration::from_secs(300)),
            wait: Some(Duration::from_secs(90)),
        };
        assert_eq!(parse(Some(query), &ALL), Ok(expected));
    }

    #[test]
    fn all_else_is_refused_and_never_quoted() {
        let bad = [
            "x=1",
            "format=raw&format=raw",
            "format=RAW",
            "format",
            "format=",
            "Format=raw",
            "f%6frmat=raw",
            "min_ttl=5",
            "min_ttl=-5s",
            "min_ttl=",
            "min_ttl=99999999999999999999s",
            "min_ttl=2y",
            "wait=11m",
            "wait=1e3s",
            "SNTL=SNTL",
        ];
        for query in bad {
            let problem = parse(Some(query), &ALL).expect_err(query);
            assert_eq!(problem.kind, Kind::BadRequest, "{query}");
            assert!(!problem.detail.contains("SNTL"));
        }
        assert!(parse(Some("format=raw"), &[Parameter::Credential]).is_err());
    }

    #[test]
    fn the_longest_times() {
        for (query, fits) in [
            ("wait=600s", true),
            ("wait=601s", false),
            ("min_ttl=365d", true),
            ("min_ttl=366d", false),
        ] {
            assert_eq!(parse(Some(query), &ALL).is_ok(), fits, "{query}");
        }
    }

    #[test]
    fn what_would_do_is_named() {
        let detail = |known: &[Parameter]| parse(Some("x=1"), known).expect_err("unknown").detail;
        assert!(detail(&ALL).ends_with("credential, format, min_ttl, wait"));
        assert_eq!(detail(&[]), "this path takes no query");
        let detail = |query| parse(Some(query), &ALL).expect_err("too long").detail;
        assert!(detail("wait=11m").ends_with("up to 10 minutes"));
        assert!(detail("min_ttl=366d").ends_with("up to 365 days"));
    }

    proptest::proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in "\\PC*") {
            let _query = parse(Some(&query), &ALL);
        }
    }
}
