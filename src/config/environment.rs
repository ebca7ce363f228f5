//! Which environment variables are ours, and which key each of them sets.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use super::{
    finding::{Complaint, Finding, Severity, shown_key},
    tree::Origin,
};

/// What the names of our variables begin with.
const PREFIX: &str = "BEARERD_";

/// Sections whose keys are names, which a variable spells without regard to case.
const NAMED: [&str; 3] = ["credentials", "listeners", "sinks"];

/// Most segments that a key of ours can have; more would only cost recursion.
const MAX_DEPTH: usize = 8;

/// Sets one key to a text, from a variable or a flag.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// Name of the variable or flag.
    pub(super) name: String,
    /// Whether it is a flag.
    pub(super) is_flag: bool,
    /// The key, segment by segment.
    pub(super) path: Vec<String>,
    /// The text.
    pub(super) value: String,
}

/// Finds the pairs in an environment, in the order of their names.
///
/// `names` are the names that the files use, by section: a variable that means one of them is
/// given its spelling.
pub(super) fn pairs(
    environment: &[(OsString, OsString)],
    names: impl Fn(&str) -> Vec<String>,
) -> (Vec<Pair>, Vec<Finding>) {
    let mut ours: Vec<_> = environment.iter().filter(|(name, _)| is_ours(name)).collect();
    ours.sort();
    let (mut pairs, mut findings) = (Vec::<Pair>::new(), Vec::new());
    for (name, value) in ours {
        let found = pair(name, value, &names).and_then(|pair| unique(&pairs, pair));
        match found {
            Ok(pair) => pairs.push(pair),
            Err(finding) => findings.push(finding),
        }
    }
    (pairs, findings)
}

/// Spells the variable that sets a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

fn is_ours(name: &OsStr) -> bool {
    let Some(rest) = name.as_bytes().strip_prefix(PREFIX.as_bytes()) else {
        return false;
    };
    rest != b"SOCKET" && !name.to_str().is_some_and(is_made_by_kubernetes)
}

/// Recognises what Kubernetes derives from the name of a Service, as `BEARERD_PORT_8420_TCP_ADDR`.
fn is_made_by_kubernetes(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.match_indices("_PORT_").any(|(at, sign)| {
            let rest = name.get(at + sign.len()..).unwrap_or_default();
            let after = rest.trim_start_matches(|char: char| char.is_ascii_digit());
            after.len() < rest.len() && after.starts_with("_TCP")
        })
}

fn pair(name: &OsStr, value: &OsStr, names: impl Fn(&str) -> Vec<String>) -> Result<Pair, Finding> {
    let shown = shown_key(&name.to_string_lossy());
    let refuse = |problem: &'static str, remedy: &'static str| {
        refusal(Complaint::new(problem, remedy), shown.clone())
    };
    let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
        return Err(refuse("is not UTF-8", "set it to UTF-8 text, or unset it"));
    };
    let path = path_of(name, names);
    if path.len() > MAX_DEPTH || path.iter().any(String::is_empty) {
        return Err(refuse("names no key", "unset it; `__` stands between the parts of a key"));
    }
    Ok(Pair { name: shown, is_flag: false, path, value: value.to_owned() })
}

fn refusal(complaint: Complaint, variable: String) -> Finding {
    complaint.at(Severity::Error, None, Origin::Variable(variable))
}

fn path_of(name: &str, names: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let lower = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase();
    let mut path: Vec<String> = lower.split("__").map(str::to_owned).collect();
    if let [section, name, ..] = path.as_mut_slice()
        && NAMED.contains(&section.as_str())
        && let Some(spelling) = names(section).into_iter().find(|it| it.eq_ignore_ascii_case(name))
    {
        *name = spelling;
    }
    path
}

/// Refuses a pair whose key, or one above or below it, is set already.
fn unique(earlier: &[Pair], pair: Pair) -> Result<Pair, Finding> {
    let clash = earlier
        .iter()
        .find(|other| pair.path.starts_with(&other.path) || other.path.starts_with(&pair.path));
    let Some(other) = clash else {
        return Ok(pair);
    };
    let problem = format!("and {} set the same key", other.name);
    Err(refusal(Complaint::new(problem, "unset one of them"), pair.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let (pairs, findings) = pairs(&environment, |section| match section {
            "credentials" => vec!["Okta-Prod".into(), "Prod_EU".into()],
            _ => Vec::new(),
        });
        (
            pairs.iter().map(|pair| format!("{}={}", pair.path.join("."), pair.value)).collect(),
            findings.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn a_variable_sets_the_key_that_it_spells() {
        let (pairs, findings) = read(&[
            ("BEARERD_OKTA__BASE_URL", "https://a"),
            ("BEARERD_CREDENTIALS__PROD_EU__TEAM_NAME", "t"),
            ("BEARERD_CREDENTIALS__OTHER__TEAM_NAME", "u"),
            ("PATH", "/bin"),
            ("bearerd_log__level", "debug"),
        ]);
        assert_eq!(
            pairs,
            [
                "credentials.other.team_name=u",
                "credentials.Prod_EU.team_name=t",
                "okta.base_url=https://a"
            ]
        );
        assert_eq!(findings, [""; 0]);
    }

    #[test]
    fn our_socket_and_what_kubernetes_makes_are_ignored() {
        let ignored = [
            "BEARERD_SOCKET",
            "BEARERD_PORT",
            "BEARERD_SERVICE_HOST",
            "BEARERD_SERVICE_PORT",
            "BEARERD_SERVICE_PORT_METRICS",
            "BEARERD_PORT_8420_TCP",
            "BEARERD_PORT_8420_TCP_ADDR",
            "BEARERD_METRICS_SERVICE_HOST",
            "BEARERD_METRICS_PORT_9420_TCP_PROTO",
        ];
        for name in ignored {
            assert_eq!(read(&[(name, "tcp://10.0.0.1:8420")]), (vec![], vec![]), "{name}");
        }
        for name in ["BEARERD_PORTS", "BEARERD_PORT_X_TCP", "BEARERD_PORT__TCP", "BEARERD_SOCKETS"]
        {
            assert_ne!(read(&[(name, "")]), (vec![], vec![]), "{name}");
        }
    }

    #[test]
    fn names_that_cannot_be_keys_are_refused_by_name() {
        let (_, findings) = read(&[("BEARERD_", "x"), ("BEARERD_A__", "x"), ("BEARERD___A", "x")]);
        assert_eq!(findings.len(), 3);
        let deep = format!("BEARERD_{}", "A__".repeat(20_000) + "B");
        let (pairs, findings) = read(&[(&deep, "x")]);
        assert_eq!((pairs.len(), findings.len()), (0, 1));
        assert!(findings[0].len() < 250, "{}", findings[0]);
    }

    #[test]
    fn two_variables_for_one_key_are_refused() {
        let (_, findings) =
            read(&[("BEARERD_OKTA__BASE_URL", "a"), ("BEARERD_OKTA__base_url", "b")]);
        assert_eq!(
            findings,
            ["environment variable BEARERD_OKTA__base_url and \
              BEARERD_OKTA__BASE_URL set the same key; unset one of them"]
        );
        assert_eq!(read(&[("BEARERD_OKTA", "a"), ("BEARERD_OKTA__CA_FILE", "b")]).1.len(), 1);
    }

    // fault 257
    #[test]
    fn values_that_are_not_utf_8_are_refused() {
        let value = OsStr::from_bytes(b"\xff").to_owned();
        let (pairs, findings) = pairs(&[("BEARERD_LOG__LEVEL".into(), value)], |_| Vec::new());
        assert!(pairs.is_empty());
        assert_eq!(findings[0].problem, "is not UTF-8");
    }
}
