//! Rotation: what it needs, and what must not go with it.

use super::*;

const ROTATOR: &str = r#"
[credentials.rotator]
team_name = "ACME"
key_file = "/r"
"#;
const LISTENER: &str = r#"
[listeners.apps]
bind = "unix:/a"
credentials = ["default"]
"#;

fn said_with(rotation: &str, more: &str) -> Vec<String> {
    said(&format!("{BASE}[credentials.default.rotation]\n{rotation}\n{LISTENER}{more}"))
}

#[test]
fn a_rotation_by_a_credential_of_its_own_is_read_without_a_word() {
    let keys = "every = \"30d\"\nuser = \"robot\"\nwith = \"rotator\"\ndelete_old = true";
    let text = format!("{BASE}[credentials.default.rotation]\n{keys}\n{LISTENER}{ROTATOR}");
    let given = Given::nothing().file("b.toml", &text);
    assert_eq!(given.said(), [""; 0]);
    let config = given.loaded().config;
    let expected = model::Rotation {
        on_rotated: None,
        every: Some(std::time::Duration::from_secs(30 * 86_400)),
        user: "robot".into(),
        with: Some("rotator".into()),
        delete_old: true,
    };
    assert_eq!(config.credentials["default"].rotation, Some(expected));
    assert_eq!(config.credentials["rotator"].rotation, None);
    let files: Vec<_> = config.rotated_files().collect();
    assert_eq!(files, [given.dir.path().join("key.json")]);
}

// faults 97, 250 and 281
#[test]
fn what_does_not_go_with_it_is_said() {
    let shared = ROTATOR.replace("rotator", "other")
        + "[listeners.b]\nbind = \"unix:/b\"\ncredentials = [\"other\"]\n";
    let elsewhere = ROTATOR.replace("ACME", "globex");
    let abroad = format!("{ROTATOR}base_url = \"https://b.example\"\n");
    let rows = [
        ("every = \"30d\"", "", "`credentials.default.rotation.user` is missing; name the service"),
        ("with = \"rotator\"", ROTATOR, "`credentials.default.rotation.user` is missing"),
        ("delete_old = true", "", "`credentials.default.rotation.user` is missing"),
        ("user = \"a/b\"", "", "is no name that a path can carry"),
        ("user = \"..\"", "", "is no name that a path can carry"),
        ("user = \"a%2fb\"", "", "is no name that a path can carry"),
        ("user = \"\"", "", "`credentials.default.rotation.user` is empty"),
        ("user = \"u\"\nevery = \"30\"", "", "is not a duration with its unit"),
        ("user = \"u\"\nevery = \"8h\"", "", "`credentials.default.rotation.every` is under 1d"),
        ("user = \"u\"\nwith = \"nobody\"", "", "names a credential that is not configured"),
        ("user = \"u\"\nwith = \"rotator\"", &elsewhere, "is a credential of another team"),
        ("user = \"u\"\nwith = \"rotator\"", &abroad, "is a credential of another team or issuer"),
        (
            "user = \"u\"\nwith = \"other\"",
            &shared,
            "`credentials.default.rotation.with` is given out by `listeners.b`",
        ),
        (
            "user = \"u\"",
            "",
            "`credentials.default.rotation.with` is not set, so the token that `listeners.apps` \
             gives out has resource_admin",
        ),
        ("user = \"u\"\nwith = \"default\"", "", "is not set, so the token that `listeners.apps`"),
        (
            "user = \"u\"\nwith = \"rotator\"",
            &format!("{ROTATOR}[sinks.s]\npath = \"/s\"\ncredential = \"rotator\"\n"),
            "is given out by `sinks.s`",
        ),
    ];
    for (rotation, more, expected) in rows {
        assert_said(&said_with(rotation, more), expected, rotation);
    }
    for key in ["key_dir = \"/d\"", "key_credential = \"c\""] {
        let keys =
            format!("team_name = \"acme\"\n{key}\n[credentials.default.rotation]\nuser = \"u\"");
        assert_said(&said_of_credential(&keys), "and a key from `key_", key);
    }
}
