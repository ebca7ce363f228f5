//! A Secret as the home of a key: where it may be named, and what goes with it.

use super::*;

#[cfg(not(feature = "kubernetes"))]
#[test]
fn a_build_that_cannot_read_a_secret_says_how_to_make_one() {
    let keys = "team_name = \"acme\"\nkey_kubernetes = { name = \"okta\" }";
    let expected = "`credentials.default.key_kubernetes` is not part of this build of bearerd; build \
                    it with `cargo build --release --features kubernetes`";
    assert_said(&said_of_credential(keys), expected, keys);
}

#[cfg(feature = "kubernetes")]
#[test]
fn a_secret_is_named_with_or_without_its_namespace() {
    for (table, shown) in [
        ("{ namespace = \"apps\", name = \"okta-key\" }", "the Secret apps/okta-key"),
        ("{ name = \"okta.key\" }", "the Secret okta.key of the pod's own namespace"),
    ] {
        let key = format!("key_kubernetes = {table}");
        let given = Given::nothing().file("b.toml", &BASE.replace("key_file = \"key.json\"", &key));
        let config = given.loaded().config;
        let model::KeySource::Secret(secret) = &config.credentials["default"].key else {
            panic!("{:?}", config.credentials["default"].key)
        };
        assert_eq!(secret.to_string(), shown);
        assert_eq!(config.rotated_files().count(), 0);
    }
}

#[cfg(feature = "kubernetes")]
#[test]
fn what_is_no_name_and_what_does_not_go_with_it_is_said() {
    let rotation = "\n[credentials.default.rotation]\nuser = \"u\"\ndelete_old = true\n\
                    on_rotated = [\"x\"]";
    let rows = [
        ("key_kubernetes = {}", "`credentials.default.key_kubernetes.name` is missing"),
        ("key_kubernetes = { name = \"a/b\" }", "is not a name that Kubernetes knows"),
        ("key_kubernetes = { name = \"Okta\" }", "is not a name that Kubernetes knows"),
        ("key_kubernetes = { name = \"..\" }", "is not a name that Kubernetes knows"),
        ("key_kubernetes = { name = \"a-\" }", "is not a name that Kubernetes knows"),
        ("key_kubernetes = { name = \"\" }", "`credentials.default.key_kubernetes.name` is empty"),
        ("key_kubernetes = { name = \"a\", namespace = \"?\" }", "is not a name that Kubernetes"),
        ("key_kubernetes = { name = \"a\", nmespace = \"b\" }", "the nearest valid key is"),
        ("key_kubernetes = \"a\"", "is text where a table belongs"),
        ("key_file = \"/k\"\nkey_kubernetes = { name = \"a\" }", "is set beside `key_file`"),
    ];
    for (key, expected) in rows {
        let keys = format!("team_name = \"acme\"\n{key}");
        assert_said(&said_of_credential(&keys), expected, key);
    }
    let keys = format!("team_name = \"acme\"\nkey_kubernetes = {{ name = \"a\" }}{rotation}");
    let expected = "`credentials.default.rotation.delete_old` is for a key that one daemon uses";
    assert_said(&said_of_credential(&keys), expected, &keys);
    let expected = "`credentials.default.rotation.on_rotated` is for a key file";
    assert_said(&said_of_credential(&keys), expected, &keys);
}
