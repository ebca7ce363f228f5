//! What must not stand in a configuration, and files that are none.

use super::*;

// fault 247
#[test]
fn unknown_keys_name_the_nearest_one() {
    let rows = [
        (
            "[okta]\nbase_ulr = 1",
            "b.toml:2: `okta.base_ulr` is not a key; the nearest valid key is `okta.base_url`",
        ),
        ("[okta]\nteam_name = 1", "the nearest valid key is `credentials.default.team_name`"),
        (
            "[credential.default]\nteam_name = \"a\"",
            "`credential` is not a key; the nearest valid key is `credentials`",
        ),
        ("[log]\nxyzzy = 1", "`log.xyzzy` is not a key; valid here: format, level"),
        ("\"odd\\nkey\" = 1", "`odd\\nkey` is not a key"),
        ("[listeners.apps.limits]\na = 1", "`listeners.apps.limits` is not a key"),
    ];
    for (text, expected) in rows {
        let text = match text.starts_with("[okta]") || text.starts_with('"') {
            true => format!("{text}\n[credentials.default]\nteam_name = \"a\"\n"),
            false => text.to_owned(),
        };
        assert_said(&said(&text), expected, &text);
    }
}

// fault 247
#[test]
fn unknown_variables_name_the_nearest_one() {
    let rows = [
        (
            "BEARERD_OKTA__BASE_ULR",
            "environment variable BEARERD_OKTA__BASE_ULR: `okta.base_ulr` is not a key; the nearest \
             valid key is `BEARERD_OKTA__BASE_URL`",
        ),
        (
            "BEARERD_CREDENTIAL__DEFAULT__TEAM_NAME",
            "the nearest valid key is `BEARERD_CREDENTIALS`",
        ),
        (
            "BEARERD_CREDENTIALS__DEFAULT__KEYFILE",
            "the nearest valid key is `BEARERD_CREDENTIALS__DEFAULT__KEY_FILE`",
        ),
        ("BEARERD_LOG_LEVEL", "`log_level` is not a key"),
    ];
    for (name, expected) in rows {
        let given = Given::nothing().variables(&BASE_VARIABLES).variables(&[(name, "x")]);
        assert_said(&given.said(), expected, name);
    }
}

// faults 233, 255
#[test]
fn secrets_are_refused_and_never_repeated() {
    let rows = [
        format!("{BASE}key_secret = \"hunter2\""),
        format!("{BASE}[made.up]\nkey-secret = \"hunter2\""),
        format!("{BASE}[[list]]\nkey_secret = \"hunter2\""),
        format!("{BASE}[okta2]\nx = {{ API_KEY = \"hunter2\" }}"),
        format!("{BASE}bearer_token = \"hunter2\""),
    ];
    for text in rows {
        let said = said(&text);
        assert_said(&said, "is a secret, and secrets do not belong in the configuration", &text);
        assert!(!said.concat().contains("hunter2"));
    }
    for name in ["BEARERD_KEY_SECRET", "BEARERD_CREDENTIALS__DEFAULT__KEY_SECRET"] {
        let said =
            Given::nothing().variables(&BASE_VARIABLES).variables(&[(name, "hunter2")]).said();
        assert_said(&said, &format!("environment variable {name}: "), name);
        assert_said(&said, "is a secret", name);
        assert!(!said.concat().contains("hunter2"));
    }
}

#[test]
fn a_table_may_have_the_name_of_a_secret() {
    let text = BASE.replace("default", "top-secret");
    assert_eq!(said(&text), [""; 0]);
}

// fault 255
#[test]
fn no_finding_repeats_a_value() {
    let secret = "hunter2-HUNTER2/hunter2";
    let rows = entries().into_iter().filter(|key| key.split('.').count() > 1);
    for key in rows {
        let variable = environment::variable_of(&key);
        let given = Given::nothing().variables(&[(&variable, secret)]);
        assert!(!given.said().concat().contains("unter2"), "{key}: {:?}", given.said());
    }
    for broken in ["[okta]\nbase_url = hunter2", "hunter2", "a = \"hunter2", "a = 'x' hunter2"] {
        let said = said(broken);
        assert_eq!(said.len(), 1);
        assert!(!said.concat().contains("hunter2"), "{said:?}");
    }
    let json = Given::nothing().file("b.json", "{\"okta\": hunter2}").said().concat();
    assert!(!json.contains("hunter2"), "{json}");
}

// fault 253
#[test]
fn broken_files_name_line_column_and_kind() {
    let rows = [
        ("[okta]\nbase_url = ", "b.toml:2 cannot be understood at column 12: not TOML"),
        ("[okta]\nbase_url = \"x\nca_file = 1", "b.toml:2 cannot be understood at column"),
        ("[okta\n", "b.toml:1 cannot be understood at column 6: not a table header"),
        ("a = 1\na = 2", "b.toml:2 cannot be understood at column 1: a key that is already there"),
        ("a = [1,", "b.toml:1 cannot be understood at column"),
        ("just words", "b.toml:1 cannot be understood at column 6: a key without `=`"),
    ];
    for (text, expected) in rows {
        assert_said(&said(text), expected, text);
    }
    let json_rows = [
        (
            "{\"a\": 1,\n \"a\": 2}",
            "b.json:2 cannot be understood at column 8: a key that is already",
        ),
        ("{\"a\": {\"b\": 1, \"\\u0062\": 2}}", "a key that is already there"),
        ("[1]", "b.json:1 cannot be understood at column 1: not an object in braces"),
        ("{", "it ends too early"),
        ("{\"a\": 1e400}", "not JSON"),
        ("", "it ends too early"),
    ];
    for (text, expected) in json_rows {
        assert_said(&Given::nothing().file("b.json", text).said(), expected, text);
    }
}

// fault 253
#[test]
fn deep_and_crowded_files_are_refused_in_passing() {
    let deep = "[".repeat(30_000);
    for text in [&format!("a = {deep}"), &format!("{}b = 1", "a.".repeat(30_000)), &deep] {
        assert!(Given::nothing().file("b.toml", text).load().is_err());
        assert!(Given::nothing().file("b.json", text).load().is_err());
    }
    let crowded: String = (0..6_000).map(|key| format!("k{key}=1\n")).collect();
    assert!(said(&crowded).len() > 6_000);
}

#[test]
fn peers_can_be_named_where_the_kernel_tells_of_them() {
    let rows = [
        ("bind = \"unix:/a\"\nallow_uids = [0, \"root\"]\nallow_gids = [0]", None),
        ("bind = \"tcp:127.0.0.1:1\"\nallow_uids = [0]", None),
        ("bind = [\"unix:/a\", \"tcp:localhost:1\"]\nallow_uids = [0]", None),
        (
            "bind = [\"unix:/a\", \"tcp:[::1]:1\"]\nallow_uids = [0]\nallow_gids = [0]",
            Some("`listeners.a.allow_gids` is for unix sockets: of a TCP connection the kernel"),
        ),
    ];
    for (keys, expected) in rows {
        let said = said_of("listeners.a", keys);
        assert_eq!(said.len(), usize::from(expected.is_some()), "{keys}: {said:?}");
        expected.into_iter().for_each(|expected| assert_said(&said, expected, keys));
    }
    let keys =
        ["allow_uids = [0]", "max_connections_per_uid = 1", "max_requests_per_second_per_uid = 1"];
    for key in keys {
        assert_eq!(said_of("listeners.a", &format!("bind = \"unix:/a\"\n{key}")), [""; 0]);
        let said = said_of("listeners.a", &format!("{key}\n{STRANGERS}"));
        assert_eq!(said.len(), 1, "{key}: {said:?}");
        assert_said(&said, "is about users of this machine, and the listener can be reached", key);
    }
}

/// Lets strangers in, as far as that can be.
const STRANGERS: &str = r#"
bind = ["unix:/a", "tcp:192.0.2.1:1"]
allow_non_loopback = true
allowed_hosts = ["a"]
access_token_file = "/t"
tls = { cert_file = "/c", key_file = "/k" }
"#;
