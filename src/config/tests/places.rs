//! Paths, addresses, URLs, names.

use super::*;
use crate::config::model::KeySource;

// faults 50, 55
#[test]
fn issuers_are_https_or_loopback_and_only_an_origin() {
    let rows = [
        ("http://acme.pam.okta.com", "is http to an address that is not loopback"),
        ("http://localhost:80", "is http to an address that is not loopback"),
        ("http://127.0.0.1.example:80", "is http to an address that is not loopback"),
        ("http://0.0.0.0:80", "is http to an address that is not loopback"),
        ("https://robot:hunter2@acme", "holds a user or password"),
        ("https://@acme", "holds a user or password"),
        ("https://acme/v1", "holds more than scheme, host and port"),
        ("https://acme?", "holds more than scheme, host and port"),
        ("https://acme/#", "holds more than scheme, host and port"),
        ("https:\\\\acme", "holds a blank, a backslash or an escape"),
        ("https://A%DDcme", "holds a blank, a backslash or an escape"),
        ("https://\u{430}cme.pam.okta.com", "holds letters that are not ASCII"),
        ("ftp://acme", "is neither https nor http"),
        ("acme.pam.okta.com", "is not a URL with a scheme and a host"),
        ("https://ac\tme", "holds a line break or another control character"),
    ];
    for (url, expected) in rows {
        let said = said(&BASE.replace("\"https://acme.pam.okta.com\"", &format!("'{url}'")));
        assert_said(&said, expected, url);
        assert!(!said.concat().contains("hunter2"));
    }
    for url in ["http://127.0.0.1:8440", "http://[::1]:8440", "https://acme:8443/"] {
        assert_eq!(said(&BASE.replace("https://acme.pam.okta.com", url)), [""; 0], "{url}");
    }
    for key in ["insecure", "verify", "tls_verify", "danger_accept_invalid_certs"] {
        let text = BASE.replace("[okta]", &format!("[okta]\n{key} = true"));
        assert_said(&said(&text), &format!("`okta.{key}` is not a key"), key);
    }
}

// fault 57
#[test]
fn teams_are_one_harmless_segment() {
    for team in ["a/b", "..", ".", "a%2fb", "a?b", "a#b", "a b", "a\\\\b", "é"] {
        let keys = format!("team_name = \"{team}\"\nkey_file = \"/k\"");
        assert_said(&said_of_credential(&keys), "is not a team's name", team);
    }
    let keys = "team_name = \"a\\r\\nb\"\nkey_file = \"/k\"";
    assert_said(&said_of_credential(keys), "holds a line break", keys);
    assert_eq!(said_of_credential("team_name = \"Acme-1_x.y\"\nkey_file = \"/k\""), [""; 0]);
}

// faults 166, 167, 251, 252
#[test]
fn addresses_that_cannot_or_must_not_be_bound_are_refused() {
    let long = format!("unix:/{}", "x".repeat(107));
    let rows = [
        ("unix:@bearerd", "is an abstract socket, which no file mode guards"),
        ("unix:run/b.sock", "is not a whole path"),
        ("unix:", "is not a whole path"),
        ("unix:/run/", "names a directory"),
        ("unix:/a\\u0000b", "holds a NUL byte"),
        (&long, "is longer than the 107 bytes"),
        (
            "/run/b.sock",
            "is not an address of the right form; write \"unix:/run/bearerd/bearerd.sock\" or",
        ),
        ("tcp:8420", "is not an IP address with a port"),
        ("tcp:127.0.0.1", "is not an IP address with a port"),
        ("tcp:127.0.0.1:65536", "is not an IP address with a port"),
        ("tcp:127.0.0.1:-1", "is not an IP address with a port"),
        ("tcp:localhost:65536", "has no port from 0 to 65535"),
        ("tcp:localhost.example:80", "is not an IP address with a port"),
        ("tcp:0.0.0.0:80", "can be reached from other machines; listen on 127.0.0.1"),
        ("tcp:[::]:80", "can be reached from other machines"),
        ("tcp:10.0.0.1:80", "can be reached from other machines"),
        ("tcp:[::ffff:127.0.0.1]:80", "can be reached from other machines"),
        ("systemd:", "has no name"),
    ];
    for (bind, expected) in rows {
        assert_said(&said_of("listeners.a", &format!("bind = \"{bind}\"")), expected, bind);
    }
    let fits = format!("bind = \"unix:/{}\"", "x".repeat(106));
    assert_eq!(said_of("listeners.a", &fits), [""; 0]);
    assert_said(
        &said_of("control", "bind = \"tcp:127.0.0.1:1\""),
        "is not an address of the right form",
        "",
    );
    assert_said(
        &said_of("telemetry", "bind = \"unix:/t\""),
        "is not an address of the right form",
        "",
    );
    assert_said(&said_of("telemetry", "bind = \"tcp:localhost:1\""), "means two addresses", "");
}

const TLS: &str = "tls = { cert_file = \"/c\", key_file = \"/k\" }";
const SECRET: &str = "access_token_file = \"/t\"";

/// What is said of who can reach a listener, without its last words.
fn said_of_reach(bind: &str, keys: &[&str]) -> Vec<String> {
    let keys = [&[&format!("bind = {bind}")[..]], keys].concat().join("\n");
    let about = ["a.bind` can", "a.allow_non_loopback` ", "a.allowed_hosts` ", "a.tls` "];
    let mut said = said_of("listeners.a", &keys);
    said.retain(|line| about.iter().any(|key| line.contains(key)));
    said
}

// fault 251
#[test]
fn other_machines_come_in_only_with_a_secret_and_tls() {
    let (outside, allow) = ("\"tcp:0.0.0.0:80\"", "allow_non_loopback = true");
    let (names, tls) = ("allowed_hosts = [\"b.example\"]", TLS);
    let no_secret = "`listeners.a.allow_non_loopback` lets other machines in, and \
                     `access_token_file` is not set; set `access_token_file` (name";
    let no_tls =
        "and `tls` is not set; set `tls` (name `cert_file` and `key_file` there), or leave";
    let rows: [(&str, &[&str], &[&str]); 9] = [
        (outside, &[SECRET, tls, names], &["a.bind` can be reached from other machines; listen"]),
        (outside, &[allow, names], &[no_secret, no_tls]),
        (outside, &[allow, names, tls], &[no_secret]),
        (outside, &[allow, names, SECRET], &[no_tls]),
        (outside, &[allow, names, SECRET, tls], &[]),
        ("\"tcp:127.0.0.1:80\"", &[allow, SECRET], &[no_tls]),
        ("[\"unix:/a\", \"tcp:[::1]:80\"]", &[tls], &[]),
        ("[\"unix:/a\", \"unix:/b\"]", &[tls], &["a.tls` is for TCP, and every address here"]),
        ("[]", &[tls], &[]),
    ];
    for (bind, keys, expected) in rows {
        let said = said_of_reach(bind, keys);
        assert_eq!(said.len(), expected.len(), "{bind} {keys:?}: {said:#?}");
        expected.iter().for_each(|line| assert_said(&said, line, bind));
    }
}

#[test]
fn reverse_proxies_are_served_where_something_tells_them_from_a_page() {
    let said_of_serve = |bind: &str, keys: &str| {
        let mut said = said_of("listeners.a", &format!("bind = {bind}\n{keys}"));
        said.retain(|line| line.contains("a.serve`"));
        said
    };
    let (auth, both) = ("serve = [\"auth\"]", "[\"unix:/a\", \"tcp:localhost:80\"]");
    let refused = "`listeners.a.serve` has `auth`, which on a TCP address needs \
                   `access_token_file`; set `access_token_file` and let the reverse proxy send";
    for bind in ["\"tcp:127.0.0.1:80\"", both] {
        let lists = format!("{auth}\nallow_uids = []");
        for keys in [auth, &lists, "serve = [\"token\", \"auth\"]\nrequire_header = true"] {
            assert_said(&said_of_serve(bind, keys), refused, bind);
        }
        assert_eq!(said_of_serve(bind, &format!("{auth}\n{SECRET}")), [""; 0]);
        assert_eq!(said_of_serve(bind, "serve = [\"token\", \"proxy\"]"), [""; 0]);
    }
    assert_eq!(said_of_serve("\"unix:/a\"", auth), [""; 0]);
    let text = format!("{BASE}[listeners.a]\nbind = \"unix:/a\"\n{auth}");
    let listener = &Given::nothing().file("b.toml", &text).loaded().config.listeners["a"];
    assert!(listener.serves_auth && !listener.serves_token);
}

#[test]
fn names_that_no_other_machine_can_use_are_pointed_out() {
    let rows = [
        ("", true),
        ("allowed_hosts = [\"localhost\", \"127.1.2.3\", \"[::1]\"]", true),
        ("allowed_hosts = [\"localhost\", \"10.0.0.1\"]", false),
        ("allowed_hosts = [\"bearerd.example\"]", false),
    ];
    let outside = "\"tcp:10.0.0.1:80\"";
    for (hosts, is_odd) in rows {
        let said = said_of_reach(outside, &["allow_non_loopback = true", SECRET, TLS, hosts]);
        assert_eq!(said.len(), usize::from(is_odd), "{hosts}: {said:?}");
        assert!(
            said.iter().all(|line| line.contains("has only names of this machine")),
            "{said:?}"
        );
        assert_eq!(said_of_reach("\"tcp:127.0.0.1:80\"", &[hosts]), [""; 0]);
    }
}

// fault 257
#[test]
fn relative_paths_count_from_their_file_and_nowhere_else() {
    let given = Given::nothing().file("b.toml", BASE);
    let config = given.loaded().config;
    let expected = given.dir.path().join("key.json");
    assert_eq!(config.credentials["default"].key, KeySource::File(expected));
    let rows = [
        ("key.json", "is a relative path"),
        ("~/key.json", "begins with `~`"),
        ("", "is empty"),
        ("{\"key_id\": \"x\", \"key_secret\": \"hunter2\"}", "holds content where the path"),
    ];
    for (path, expected) in rows {
        let said = Given::nothing()
            .variables(&BASE_VARIABLES[..2])
            .variables(&[("BEARERD_CREDENTIALS__DEFAULT__KEY_FILE", path)])
            .said();
        assert_said(&said, expected, path);
        assert!(!said.concat().contains("hunter2"));
    }
}

#[test]
fn a_process_without_any_place_says_so_for_listeners_only() {
    let mut given = Given::nothing().file("b.toml", BASE);
    given.sources.surroundings.uid = 7;
    assert_said(&given.said(), "`listeners` has no listener, and neither $RUNTIME_DIRECTORY", "");
    let text = format!("{BASE}[listeners.a]\nbind = \"unix:/a\"\n");
    let mut given = Given::nothing().file("b.toml", &text);
    given.sources.surroundings.uid = 7;
    let config = given.loaded().config;
    assert_eq!((config.control, config.state_dir), (None, None));
}

#[test]
fn systemd_credentials_lie_where_systemd_says() {
    let text = BASE.replace("key_file = \"key.json\"", "key_credential = \"okta-key\"");
    let mut given = Given::nothing().file("b.toml", &text);
    let outside = "is looked for in /run/credentials/bearerd.service, as $CREDENTIALS_DIRECTORY is";
    assert_said(&given.said(), outside, "");
    given.sources.surroundings.credentials_directory = Some("/run/c".into());
    let key = given.loaded().config.credentials["default"].key.clone();
    assert_eq!(key, KeySource::SystemdCredential("/run/c/okta-key".into()));
    for name in ["../x", "a/b", "..", "/x"] {
        let said = said(&text.replace("okta-key", name));
        assert_said(&said, "is not a plain file name", name);
    }
}

#[test]
fn telemetry_off_loopback_takes_any_host_unless_some_are_named() {
    let hosts = |keys: &str| {
        let text = format!("{BASE}[telemetry]\nbind = \"tcp:0.0.0.0:9420\"\n{keys}\n");
        Given::nothing().file("b.toml", &text).loaded().config.telemetry.allowed_hosts
    };
    assert_eq!(hosts(""), None);
    assert_eq!(hosts("allowed_hosts = [\"a\"]"), Some(vec!["a".into()]));
}
