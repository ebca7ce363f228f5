//! Wrong types, ranges, contradictions.

use super::*;

// fault 248
#[test]
fn wrong_types_and_missing_keys_name_key_and_line() {
    let rows = [
        (
            "listeners.a",
            "max_connections = \"5\"",
            "b.toml:9: `listeners.a.max_connections` is text where a whole number belongs",
        ),
        (
            "listeners.a",
            "require_header = \"true\"",
            "is text where true or false belongs; write it without quotes",
        ),
        ("listeners.a", "bind = 8420", "is a whole number where a list belongs"),
        ("listeners.a", "bind = []", "`listeners.a.bind` is an empty list; name at least one"),
        ("listeners.a", "mode = \"0660\"", "b.toml:8: `listeners.a.bind` is missing; set it, as"),
        ("listeners.a", "mode = 660", "is a whole number where a file mode belongs"),
        ("listeners.a", "mode = \"0o660\"", "is not a file mode; write four octal digits"),
        ("listeners.a", "mode = \"1777\"", "is not a file mode"),
        ("listeners.a", "mode = \"0680\"", "is not a file mode"),
        ("listeners.a", "allowed_hosts = \"localhost\"", "is text where a list belongs"),
        ("listeners.a", "allowed_hosts = []", "is an empty list"),
        ("listeners.a", "allowed_hosts = [\"a:80\"]", "is not a host name"),
        ("listeners.a", "allowed_hosts = [\"*.a\"]", "is not a host name"),
        ("listeners.a", "allow_uids = [\"no-such-user-here\"]", "names a user that is not here"),
        ("listeners.a", "group = \"no-such-group-here\"", "names a group that is not here"),
        ("listeners.a", "owner = -1", "is not the number of a user"),
        ("listeners.a", "owner = 4294967295", "is not the number of a user"),
        ("listeners.a", "owner = true", "is true or false where a user belongs"),
        (
            "listeners.a",
            "serve = [\"tokens\"]",
            "is none of the words it can be; write one of token, auth, proxy",
        ),
        ("listeners.a", "serve = []", "is an empty list"),
        (
            "listeners.a",
            "credentials = [\"prod\"]",
            "names a credential that is not configured; write one of default",
        ),
        ("listeners.a", "tls = { cert_file = \"/c\" }", "`listeners.a.tls.key_file` is missing"),
        ("listeners.a.proxy", "allow = [\"FETCH /x\"]", "begins with none of GET"),
        ("listeners.a.proxy", "replay_body_limit = 5", "is a whole number where a size belongs"),
        ("log", "level = \"\"", "`log.level` is empty"),
        ("log", "level = \"inof\"", "`log.level` is neither a level nor a filter"),
        ("log", "level = \"a=b=c\"", "`log.level` is neither a level nor a filter"),
        ("log", "format = \"xml\"", "write one of auto, text, json"),
        ("log", "level = 1979-05-27", "is a table where a level belongs"),
        (
            "process",
            "sandbox = true",
            "is true or false where text belongs; write one of best-effort",
        ),
        ("sinks.a", "format = \"raw\"", "`sinks.a.path` is missing"),
        (
            "sinks.a",
            "path = \"/x\"\ncredential = \"b\"",
            "names a credential that is not configured",
        ),
        ("sinks.a", "path = \"/x\"\non_change = []", "is an empty list"),
        ("sinks", "a = 1", "`sinks.a` is a whole number where a table belongs"),
    ];
    for (table, keys, expected) in rows {
        assert_said(&said_of(table, keys), expected, keys);
    }
    assert_said(&said("okta = \"x\""), "b.toml:1: `okta` is text where a table belongs", "okta");
    assert_said(&said("[[credentials]]\na = 1"), "`credentials` is a list where", "list");
    assert_said(
        &said_of_credential("key_file = \"/k\""),
        "b.toml:3: `credentials.default.team_name` is missing",
        "",
    );
    assert_said(
        &said_of_credential("team_name = \"a\""),
        "`credentials.default.key_file` is missing",
        "",
    );
    assert_said(&said("[credentials.a]\nteam_name = \"a\""), "`okta.base_url` is missing", "");
}

#[test]
fn nothing_configured_says_what_to_do_first() {
    assert_eq!(
        Given::nothing().said(),
        [
            "`credentials` names no credential; add [credentials.default] with `team_name` and \
          `key_file`, or name the configuration with --config",
            "`okta.base_url` is missing; set it, as \"https://TEAM.pam.okta.com\""
        ]
    );
}

// fault 249
#[test]
fn numbers_and_durations_out_of_range_are_refused() {
    let rows = [
        (
            "okta",
            "connect_timeout = 5",
            "is a whole number where a duration belongs; write a number with its unit",
        ),
        ("okta", "connect_timeout = \"5\"", "is not a duration with its unit"),
        ("okta", "connect_timeout = \"0\"", "is not a duration with its unit"),
        ("okta", "connect_timeout = \"0s\"", "is not a duration from 1ms to 1h"),
        ("okta", "connect_timeout = \"999us\"", "is not a duration from 1ms to 1h"),
        ("okta", "connect_timeout = \"-3s\"", "is not a duration with its unit"),
        ("okta", "connect_timeout = \"99999999999999999999y\"", "is not a duration with its unit"),
        ("okta", "connect_timeout = \"61m\"", "is not a duration from 1ms to 1h"),
        ("listeners.a", "max_connections = 0", "is not a whole number from 1 to 1000000"),
        ("listeners.a", "max_connections = -1", "is not a whole number from 1 to 1000000"),
        (
            "listeners.a",
            "max_connections = 1e400",
            "cannot be understood at column 19: a number out of range",
        ),
        ("listeners.a", "max_connections = 9223372036854775807", "is not a whole number from 1"),
        ("credentials.default.refresh", "at = 0.05", "is not a number from 0.1 to 0.9"),
        ("credentials.default.refresh", "at = nan", "is not a number from 0.1 to 0.9"),
        ("credentials.default.refresh", "at = -inf", "is not a number from 0.1 to 0.9"),
        (
            "credentials.default.refresh",
            "at = 9223372036854775807",
            "is not a number from 0.1 to 0.9",
        ),
        ("credentials.default.refresh", "jitter = 0.31", "is not a number from 0 to 0.3"),
        ("listeners.a.proxy", "replay_memory = \"2GiB\"", "is not a size from 1B to 1GiB"),
        ("listeners.a.proxy", "replay_memory = \"99999999999999999999GiB\"", "is not a size"),
        ("listeners.a.proxy", "replay_memory = \"MiB\"", "is not a size"),
        ("listeners.a.proxy", "replay_memory = \"+1MiB\"", "is not a size"),
    ];
    for (table, keys, expected) in rows {
        let said = match table {
            "okta" => said(&BASE.replace("[okta]", &format!("[okta]\n{keys}"))),
            _ => said_of(table, keys),
        };
        assert_said(&said, expected, keys);
    }
}

// fault 250
#[test]
fn contradictions_are_refused() {
    let refresh = "credentials.default.refresh";
    let rows = [
        (
            refresh,
            "at = 0.8\njitter = 0.2",
            "`credentials.default.refresh.at` plus `jitter` is more than 0.95",
        ),
        (
            refresh,
            "at = 0.2\njitter = 0.2",
            "`credentials.default.refresh.jitter` is not less than `at`",
        ),
        (
            refresh,
            "retry_min = \"2m\"",
            "`credentials.default.refresh.retry_min` is longer than `retry_max`",
        ),
        (
            refresh,
            "min_interval = \"1h\"\nmax_lifetime = \"1h\"",
            "max_lifetime` is not longer than `min_interval`",
        ),
        (refresh, "min_interval = \"10ms\"", "min_interval` is under 1s: hard on the issuer"),
        (refresh, "retry_min = \"10ms\"", "retry_min` is under 1s: hard on the issuer"),
        (
            "listeners.a",
            "bind = [\"unix:/a/b\", \"unix:/a/./b\"]",
            "`listeners.a.bind` has an address that `listeners.a.bind` takes too",
        ),
        ("listeners.a", "bind = [\"tcp:localhost:1\", \"tcp:[::1]:1\"]", "takes too"),
        (
            "listeners.a",
            "bind = \"tcp:127.0.0.1:9420\"",
            "`telemetry.bind` has an address that `listeners.a.bind` takes too",
        ),
        (
            "listeners.a",
            "bind = \"unix:/run/bearerd/control.sock\"",
            "`control.bind` has an address that `listeners.a.bind` takes too",
        ),
        (
            "listeners.a",
            "bind = \"tcp:127.0.0.1:80\"\n[telemetry]\nbind = \"tcp:0.0.0.0:80\"",
            "takes too",
        ),
        (
            "listeners.a",
            "bind = \"unix:/a\"\n[listeners.b]\nbind = \"unix:/a\"",
            "`listeners.b.bind` has an address that `listeners.a.bind` takes too",
        ),
        (
            "listeners.a",
            "bind = \"tcp:127.0.0.1:80\"\nmode = \"0600\"",
            "`listeners.a.mode` guards nothing",
        ),
        ("listeners.a", "bind = \"tcp:127.0.0.1:80\"", "every local user gets the token"),
        (
            "listeners.a",
            "bind = \"tcp:127.0.0.1:80\"\nallow_uids = []",
            "every local user gets the token",
        ),
        (
            "listeners.a",
            "bind = \"tcp:127.0.0.1:80\"\naccess_token_file = \"/t\"\nowner = 0",
            "`listeners.a.owner` guards nothing",
        ),
        (
            "listeners.a",
            "bind = \"unix:/a\"\naccess_token_file = \"key.json\"",
            "`listeners.a.access_token_file` is the API key of `credentials.default`",
        ),
        (
            "listeners.a",
            "bind = \"unix:/a\"\naccess_token_file = \"/d/key_secret\"\n[credentials.b]\n\
             team_name = \"b\"\nkey_dir = \"/d\"",
            "`listeners.a.access_token_file` is the API key of `credentials.b`",
        ),
        (
            "credentials.DEFAULT",
            "team_name = \"a\"\nkey_file = \"/k\"",
            "`credentials.default` differs from another name only in its case",
        ),
        (
            "credentials.\"a.b\"",
            "team_name = \"a\"\nkey_file = \"/k\"",
            "is not a name of 1 to 63 letters",
        ),
    ];
    for (table, keys, expected) in rows {
        assert_said(&said_of(table, keys), expected, keys);
    }
    let two = "team_name = \"a\"\nkey_file = \"/k\"\nkey_dir = \"/d\"";
    assert_said(
        &said_of_credential(two),
        "`credentials.default.key_dir` is set beside `key_file`",
        two,
    );
}

#[test]
fn a_window_that_just_fits_is_taken() {
    let keys = "at = 0.9\njitter = 0.05";
    assert_eq!(said_of("credentials.default.refresh", keys), [""; 0]);
}

#[test]
fn an_access_token_is_a_guard_on_tcp_and_its_file_has_a_group() {
    let keys = "bind = \"tcp:127.0.0.1:80\"\naccess_token_file = \"t\"\ngroup = 0";
    assert_eq!(said_of("listeners.a", keys), [""; 0]);
    let given = Given::nothing().file("b.toml", &format!("{BASE}[listeners.a]\n{keys}\n"));
    let guard = given.loaded().config.listeners["a"].guard.clone();
    assert_eq!(guard.access_token_file, Some(given.dir.path().join("t")));
}

#[test]
fn port_0_is_never_taken_twice() {
    let keys = "bind = [\"tcp:127.0.0.1:0\", \"tcp:127.0.0.1:0\"]";
    assert_eq!(said_of("listeners.a", keys).len(), 1, "only the warning about TCP");
}

#[test]
fn several_credentials_need_a_listener_that_names_them() {
    let more = "[credentials.b]\nteam_name = \"b\"\nkey_file = \"/b\"\n";
    let text = format!("{}{more}", BASE.replace("default", "a"));
    assert_said(&said(&text), "`listeners.default.credentials` is missing; name some of a, b", "");
    let with_default = format!("{BASE}{more}");
    let config = Given::nothing().file("b.toml", &with_default).loaded().config;
    assert_eq!(config.listeners["default"].credentials, ["default"]);
}

// faults 93, 185
#[test]
fn more_connections_than_descriptors_are_said() {
    let said = |room: Option<usize>, keys: &str| {
        let text = format!("{BASE}\n[listeners.a]\nbind = \"unix:/a\"\n{keys}");
        let mut given = Given::nothing().file("b.toml", &text);
        given.sources.surroundings.descriptors = room;
        given.said()
    };
    assert_eq!(said(None, "max_connections = 1000000"), [""; 0]);
    assert_eq!(said(Some(1024), ""), [""; 0]);
    let warned = said(Some(1023), "");
    assert_said(&warned, "`listeners` may take 1024 descriptors for connections, two where", "");
    assert_said(&said(Some(1024), "serve = [\"proxy\"]"), "may take 2048 descriptors", "");
    assert_eq!(said(Some(1024), "serve = [\"proxy\"]\nmax_connections = 512"), [""; 0]);
}

#[test]
fn each_address_has_room_for_a_client() {
    let rows = [
        ("bind = \"unix:/a\"\nmax_connections = 1", ""),
        ("bind = [\"unix:/a\", \"unix:/b\"]\nmax_connections = 2", ""),
        ("bind = [\"unix:/a\", \"unix:/b\"]\nmax_connections = 1", "the listener's 2 addresses"),
        ("bind = \"tcp:localhost:1\"\nallow_uids = [0]\nmax_connections = 1", "2 addresses"),
    ];
    for (keys, expected) in rows {
        let said = said_of("listeners.a", keys);
        assert_eq!(said.len(), usize::from(!expected.is_empty()), "{keys}: {said:?}");
        said.iter().for_each(|line| assert!(line.contains(expected), "{keys}: {line}"));
    }
}

// fault 248
#[test]
fn a_listener_names_configured_credentials_only_also_where_none_is_the_default() {
    let two = BASE.replace("credentials.default", "credentials.b")
        + "[credentials.c]\nteam_name = \"acme\"\nkey_file = \"c.json\"\n";
    let with = |credentials: &str| {
        said(&format!(
            "{two}[listeners.a]\nbind = \"unix:/run/a/s\"\ncredentials = {credentials}\n"
        ))
    };
    assert_said(&with("[\"b\", \"x\"]"), "is not configured; write one of b, c", "x");
    assert_eq!(with("[\"c\", \"b\"]"), [""; 0]);
}
