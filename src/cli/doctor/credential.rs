//! One credential, judged: its key, one mint with it, and what its token may do.

use super::finding::Finding;
use crate::{
    cli::{api::rights::Rights, exit::Class, span::span},
    config::model::KeySource,
    key::{KeyReading, file::KeyError},
    okta::{classify::Grant, issuer::Outcome},
};

/// What the kinds of trouble with a file that somebody else may open are called.
const DENIED: &str = "denied";

/// Judges the key as it was read.
pub(super) fn key(
    topic: &str,
    source: &KeySource,
    reading: &Result<KeyReading, KeyError>,
) -> Vec<Finding> {
    let path = source.path().display();
    match reading {
        Ok(reading) => {
            let id = reading.key.id();
            let good = format!("key: {path} holds key {id}; owner, mode and directories are sound");
            let odd = |warning: &_| Finding::warn_with(topic, &format!("key: {warning}"));
            let warnings = reading.warnings.iter().map(odd);
            std::iter::once(Finding::ok(topic, good)).chain(warnings).collect()
        }
        Err(error) => {
            let class = if error.label() == DENIED { Class::Denied } else { Class::Configuration };
            vec![Finding::fail_with(topic, class, &error.to_string())]
        }
    }
}

/// Judges one mint.
pub(super) fn mint(topic: &str, outcome: &Outcome) -> Finding {
    let took = outcome.took.as_millis();
    match &outcome.result {
        Ok(Grant { lifetime, .. }) => {
            let life = span(lifetime.as_secs());
            Finding::ok(topic, format!("mint: a token for {life} in {took} ms"))
        }
        Err(error) => Finding::fail_with(topic, Class::of(error.reason), &format!("mint: {error}")),
    }
}

/// Judges what the token may do; to be handed out it needs no role at all.
pub(super) fn role(topic: &str, rights: &Rights) -> Vec<Finding> {
    let user = match &rights.user {
        Ok(name) => Finding::ok(topic, format!("role: the key is the service user {name}'s")),
        Err(instead) => Finding::warn(
            topic,
            format!("role: asked who the token's user is, the issuer gave {instead}"),
            "look at the service user in Okta's console: is it active?",
        ),
    };
    let may = match rights.may_list {
        Some(true) => Finding::ok(
            topic,
            "role: it may list service users; to rotate its key it would need resource_admin, \
             which only a try can tell",
        ),
        Some(false) => Finding::ok(
            topic,
            "role: it may not list service users, nor need it; 'bearerd users' needs pam_admin, \
             security_admin, delegated_resource_admin or resource_admin, rotation the last one",
        ),
        None => Finding::skip(topic, "role: what it may do could not be told"),
    };
    vec![user, may]
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::{super::finding::Mark, *};
    use crate::{
        okta::classify::{MintError, Reason},
        process::path_error::PathError,
    };

    #[test]
    fn a_key_that_may_not_be_read_is_denied_and_all_else_is_configuration() {
        let path = || PathBuf::from("/etc/bearerd/key.json");
        let table = [
            (PathError::Denied { path: path(), uid: 7 }, Class::Denied, "grant access"),
            (PathError::Missing { path: path() }, Class::Configuration, "create it"),
            (
                PathError::SharedDirectory { path: path(), mode: 0o777 },
                Class::Configuration,
                "chmod o-w",
            ),
        ];
        for (error, class, remedy) in table {
            let found = key("key", &KeySource::File(path()), &Err(error.into()));
            let [finding] = found.as_slice() else { panic!("one finding: {found:?}") };
            let expected = Finding::fail_with("key", class, &finding.what);
            assert_eq!(*finding, expected);
            assert!(finding.what.contains(remedy), "{finding:?}");
        }
    }

    #[test]
    fn a_mint_that_fails_has_the_class_of_its_reason() {
        let table = [
            (Reason::Unauthorized, Class::Configuration),
            (Reason::Forbidden, Class::Denied),
            (Reason::ServerError, Class::Unreachable),
        ];
        for (reason, class) in table {
            let took = Duration::from_millis(5);
            let outcome = Outcome { result: Err(MintError::from(reason)), observed: None, took };
            let found = mint("key", &outcome);
            assert_eq!(found, Finding::fail_with("key", class, &found.what));
        }
    }

    #[test]
    fn no_role_is_no_failure() {
        let rights = |may_list| Rights { user: Ok("robot".into()), may_list };
        for (may_list, words) in [(Some(true), "may list"), (Some(false), "nor need it")] {
            let found = role("key", &rights(may_list));
            assert!(found.iter().all(|finding| finding.mark == Mark::Ok), "{found:?}");
            assert!(found[1].what.contains(words) && found[1].what.contains("resource_admin"));
        }
        let strange = Rights { user: Err("the status 404".into()), may_list: None };
        let marks: Vec<_> = role("key", &strange).iter().map(|finding| finding.mark).collect();
        assert_eq!(marks, [Mark::Warn, Mark::Skip]);
    }
}
