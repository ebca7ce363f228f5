//! Configurations: whatever is wrong is told with its place, and no value is quoted.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::text::{SENTINEL, check_sentence};
use crate::config::{Finding, Loaded, Origin, Severity, Sources, Surroundings, load, load_bytes};

/// The file: JSON if it begins with a brace, else TOML (faults 227, 248, 253, 255).
pub(super) fn file(data: &[u8]) {
    let is_json = data.trim_ascii_start().starts_with(b"{");
    let name = Path::new(if is_json { "bearerd.json" } else { "bearerd.toml" });
    let sources = sources(Vec::new());
    let quotes_nothing = match is_json {
        true => has_sentinel_as_value(data, &[b": \"", b":\""], b"_.- \t{\""),
        false => has_sentinel_as_value(data, &[b"= \"", b"=\"", b"="], b"_.- \t"),
    };
    check(data, quotes_nothing, || load_bytes(name, data, &sources).map_err(|findings| findings.0));
}

/// Variables, one in a line, beside those that make a whole configuration (faults 227, 248).
pub(super) fn environment(data: &[u8]) {
    let mut variables: Vec<_> = data.split(|byte| *byte == b'\n').filter_map(variable).collect();
    for (name, value) in [
        ("BEARERD_OKTA__BASE_URL", "https://acme.pam.okta.com"),
        ("BEARERD_CREDENTIALS__DEFAULT__TEAM_NAME", "acme"),
        ("BEARERD_CREDENTIALS__DEFAULT__KEY_FILE", "/etc/bearerd/key.json"),
    ] {
        if !variables.iter().any(|(known, _)| known == name) {
            variables.push((name.into(), value.into()));
        }
    }
    let sources = sources(variables);
    let quotes_nothing = has_sentinel_as_value(data, &[b"="], b"_");
    check(data, quotes_nothing, || load(&sources).map_err(|findings| findings.0));
}

fn variable(line: &[u8]) -> Option<(OsString, OsString)> {
    let equals = memchr::memchr(b'=', line)?;
    let (name, value) = line.split_at(equals);
    let name = [b"BEARERD_", name].concat();
    Some((OsStr::from_bytes(&name).to_owned(), OsStr::from_bytes(value.get(1..)?).to_owned()))
}

fn sources(environment: Vec<(OsString, OsString)>) -> Sources {
    let surroundings = Surroundings { home: Some("/root".into()), ..Surroundings::default() };
    let fallback_file = "/nonexistent/bearerd.toml".into();
    Sources { files: Vec::new(), fallback_file, environment, flags: Vec::new(), surroundings }
}

fn check(data: &[u8], quotes_nothing: bool, load: impl Fn() -> Result<Loaded, Vec<Finding>>) {
    let outcome = load();
    // Half of the time goes into the second load; what depends on chance shows in a part of the inputs.
    if data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).is_multiple_of(8) {
        check_again(&outcome, &load());
    }
    match outcome {
        Ok(loaded) => {
            check_taken(&loaded);
            loaded.warnings.iter().for_each(|it| check_finding(it, quotes_nothing));
            assert!(loaded.warnings.iter().all(|it| it.severity == Severity::Warning));
        }
        Err(findings) => {
            assert!(findings.iter().any(|it| it.severity == Severity::Error), "nothing is wrong");
            findings.iter().for_each(|it| check_finding(it, quotes_nothing));
        }
    }
}

fn check_again(first: &Result<Loaded, Vec<Finding>>, again: &Result<Loaded, Vec<Finding>>) {
    match (first, again) {
        (Ok(first), Ok(again)) => {
            let shown = [first, again].map(|loaded| format!("{:?}", loaded.config));
            assert_eq!(shown[0], shown[1], "the same means the same");
        }
        (Err(first), Err(again)) => assert_eq!(first, again, "the same is wrong again"),
        _ => panic!("taken once and refused once"),
    }
}

fn check_taken(loaded: &Loaded) {
    let config = &loaded.config;
    assert!(!config.credentials.is_empty() && !config.listeners.is_empty());
    for (name, credential) in &config.credentials {
        let url = &credential.base_url;
        let is_loopback = matches!(url.host_str(), Some("localhost" | "[::1]"))
            || url.host_str().is_some_and(|host| host.starts_with("127."));
        assert!(url.scheme() == "https" || is_loopback, "{name}: {url}");
        assert!(url.username().is_empty() && url.password().is_none(), "{name}: {url}");
        assert!(!credential.team_name.is_empty());
    }
    for (name, listener) in &config.listeners {
        assert!(!listener.bind.is_empty() && !listener.credentials.is_empty(), "{name}");
        let known = |credential| config.credentials.contains_key(credential);
        let all_known = listener.credentials.iter().all(known);
        assert!(all_known, "{name} serves what there is not: {loaded:?}");
        let is_shut = listener.guard.access_token_file.is_some() && listener.tls.is_some();
        assert!(is_shut || !listener.allow_non_loopback, "{name} is open to other machines");
    }
}

#[track_caller]
fn check_finding(finding: &Finding, quotes_nothing: bool) {
    let line = finding.to_string();
    assert!(finding.key.is_some() || finding.origin != Origin::Default, "where? {line}");
    assert!(!finding.problem.is_empty() && !finding.remedy.is_empty(), "{line}");
    if quotes_nothing {
        check_sentence(&line);
    } else {
        check_sentence(&line.replace(SENTINEL, "key"));
    }
}

/// Tells whether a secret stands only where a value stands, so that no finding may show it: behind
/// one of these starts, and a key of letters, digits and `others`.
fn has_sentinel_as_value(data: &[u8], starts: &[&[u8]], others: &[u8]) -> bool {
    let mut places = memchr::memmem::find_iter(data, SENTINEL).peekable();
    let is_value = |at: usize| {
        let before = data.get(..at).unwrap_or_default();
        let line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let key = starts.iter().find_map(|start| line.strip_suffix(*start));
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || others.contains(byte);
        key.is_some_and(|key| !key.is_empty() && key.iter().all(is_plain))
    };
    places.peek().is_some() && places.all(is_value)
}
