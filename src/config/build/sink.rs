//! Builds `[sinks.NAME]`.

use std::collections::BTreeMap;

use super::credential::check_known;
use crate::config::{
    kind::{Choice, FileMode, GROUP, ListOf, Name, PathTo, Switch, USER, Word},
    model::Sink,
    reader::Section,
};

/// Builds all sinks; `None` only where something was reported.
pub(super) fn all(root: &Section<'_>, credentials: &[String]) -> Option<BTreeMap<String, Sink>> {
    let built: Vec<_> = root
        .children("sinks")
        .iter()
        .map(|(name, section)| Some((name.clone(), sink(section, credentials)?)))
        .collect();
    built.into_iter().collect()
}

fn sink(section: &Section<'_>, known: &[String]) -> Option<Sink> {
    const FORMATS: Choice = Choice(&["raw", "json", "header", "env", "oauth2"]);
    let path = section.need("path", &PathTo, "name the file to write");
    let format = section.get("format", &FORMATS, "raw");
    let sink = Sink {
        path: path.clone().unwrap_or_default(),
        format: format.parse().unwrap_or_default(),
        mode: section.get("mode", &FileMode, 0o640),
        owner: section.find("owner", &USER),
        group: section.find("group", &GROUP),
        credential: section.get("credential", &Name, default_credential(known)),
        on_change: section.find("on_change", &ListOf::some(Word)),
        allow_shared_directory: section.get("allow_shared_directory", &Switch, false),
    };
    check_known(section, "credential", &sink.credential, known);
    check_mode(section, sink.mode);
    path.map(|_| sink)
}

/// The same as a listener's: `default`, or the only one.
fn default_credential(known: &[String]) -> String {
    match known {
        [only] => only.clone(),
        _ => "default".to_owned(),
    }
}

/// Everybody on the machine could read the token, or replace it.
fn check_mode(section: &Section<'_>, mode: u32) {
    if mode & 0o007 != 0 {
        let problem = "lets every user of this machine at the token";
        section.warn("mode", problem, "take the last digit away, and set `group`");
    }
}
