//! What overrides what, and defaults.

use std::path::Path;

use super::*;
use crate::config::model::Bind;

#[test]
fn layers_override_each_other_and_tell_their_origin() {
    let given = Given::nothing()
        .file("a.toml", &format!("{BASE}[log]\nlevel = \"warn\"\nformat = \"text\"\n"))
        .file("b.json", "{\"log\": {\"level\": \"error\"}, \"process\": {\"linger\": \"2s\"}}")
        .variables(&[("BEARERD_PROCESS__LINGER", "3s"), ("BEARERD_SOCKET", "/x")])
        .flag("--log-level", "log.level", "debug");
    let loaded = given.loaded();
    assert_eq!(loaded.config.log.level, "debug");
    assert_eq!(loaded.config.process.linger.as_secs(), 3);
    let told = |key: &str| {
        let entry = loaded.effective.iter().find(|entry| entry.key == key).unwrap();
        let origin = entry.origin.to_string();
        let dir = format!("{}/", given.dir.path().display());
        (entry.value.clone().unwrap_or_default(), origin.replace(&dir, ""))
    };
    assert_eq!(told("log.level"), ("\"debug\"".into(), "flag --log-level".into()));
    assert_eq!(told("log.format"), ("\"text\"".into(), "a.toml:9".into()));
    assert_eq!(
        told("process.linger"),
        ("\"3s\"".into(), "environment variable BEARERD_PROCESS__LINGER".into())
    );
    assert_eq!(told("okta.connect_timeout"), ("\"3s\"".into(), "default".into()));
    assert_eq!(told("okta.base_url").0, "\"https://acme.pam.okta.com\"");
}

#[test]
fn the_environment_alone_configures_a_container() {
    let variables = [
        ("BEARERD_LISTENERS__APPS__BIND", "unix:/a,tcp:localhost:8420"),
        ("BEARERD_LISTENERS__APPS__ALLOWED_HOSTS", "[::1], Example.com"),
        ("BEARERD_LISTENERS__APPS__REQUIRE_HEADER", "false"),
        ("BEARERD_LISTENERS__APPS__MAX_CONNECTIONS", "7"),
        ("BEARERD_LISTENERS__APPS__CREDENTIALS", "[\"default\"]"),
        ("BEARERD_CREDENTIALS__DEFAULT__REFRESH__AT", "0.6"),
        ("BEARERD_CONTROL__ALLOW_UIDS", "[0, \"root\"]"),
    ];
    let config = Given::nothing().variables(&BASE_VARIABLES).variables(&variables).loaded().config;
    let listener = &config.listeners["apps"];
    assert_eq!(
        listener.bind,
        [
            Bind::Unix("/a".into()),
            Bind::Tcp("127.0.0.1:8420".parse().unwrap()),
            Bind::Tcp("[::1]:8420".parse().unwrap())
        ]
    );
    assert_eq!(listener.guard.allowed_hosts.as_deref().unwrap(), ["[::1]", "example.com"]);
    assert!(!listener.guard.require_header);
    assert_eq!(listener.limits.max_connections, 7);
    assert!((config.credentials["default"].refresh.at - 0.6).abs() < f64::EPSILON);
    assert_eq!(config.control.unwrap().allow_uids, [0, 0]);
    let wrong = [
        ("BEARERD_LISTENERS__A__REQUIRE_HEADER", "yes", "is neither true nor false"),
        ("BEARERD_LISTENERS__A__MAX_CONNECTIONS", "7x", "is not a whole number from 1"),
        ("BEARERD_LISTENERS__A__ALLOWED_HOSTS", " , ", "is an empty list"),
        ("BEARERD_OKTA", "x", "`okta` is text where a table belongs"),
        ("BEARERD_CREDENTIALS__DEFAULT__REFRESH__AT", "NaN", "is not a number from"),
    ];
    for (name, value, expected) in wrong {
        assert_said(&Given::nothing().variables(&[(name, value)]).said(), expected, name);
    }
}

#[test]
fn a_variable_means_the_name_in_the_file_whatever_its_case() {
    let text = BASE.replace("default", "Okta-Prod");
    let variable = ("BEARERD_CREDENTIALS__OKTA-PROD__TEAM_NAME", "other");
    let config = Given::nothing().file("b.toml", &text).variables(&[variable]).loaded().config;
    assert_eq!(config.credentials["Okta-Prod"].team_name, "other");
    assert_eq!(config.listeners["default"].credentials, ["Okta-Prod"]);
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = Given::nothing().file("b.toml", BASE).loaded().config;
    let listener = &config.listeners["default"];
    assert_eq!(listener.bind, [Bind::Unix("/run/bearerd/bearerd.sock".into())]);
    assert_eq!(listener.credentials, ["default"]);
    assert_eq!((listener.socket.mode, listener.guard.require_header), (0o660, true));
    assert_eq!(listener.first_token_wait.as_millis(), 900);
    assert_eq!(config.telemetry.bind, Bind::Tcp("127.0.0.1:9420".parse().unwrap()));
    assert!(config.telemetry.is_default && config.control.as_ref().unwrap().is_default);
    assert_eq!(config.control.unwrap().path, Path::new("/run/bearerd/control.sock"));
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/var/lib/bearerd")));
    assert_eq!(config.okta.request_timeout.as_secs(), 10);
    assert_eq!(
        config.credentials["default"].refresh,
        crate::token::timing::RefreshSettings::default()
    );
}

#[test]
fn a_named_file_must_exist_and_the_default_one_need_not() {
    let mut given = Given::nothing();
    given.sources.files.push("/nonexistent/b.toml".into());
    assert_eq!(
        given.said(),
        ["/nonexistent/b.toml does not exist; name another file with --config"]
    );
    let mut given = Given::nothing().file("b.toml", BASE);
    given.sources.fallback_file = given.sources.files.pop().unwrap();
    assert_eq!(given.loaded().config.credentials.len(), 1);
}
