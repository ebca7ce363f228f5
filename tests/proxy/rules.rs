//! `proxy.allow`: what passes by default, by the shipped example, and by rules that spell keys.

use std::{fs, path::Path};

use toml::{Table, Value};

use crate::bench::{Daemon, Recorder};

/// Calls each row; tells nothing if the issuer got exactly those that may pass.
async fn check(daemon: &Daemon, issuer: &Recorder, rows: &[(&str, &str, bool)]) {
    for app in daemon.apps().await {
        for (method, below, may) in rows {
            let reply = app.call(method, below, b"").await;
            let arrived = issuer.take();
            if *may {
                assert_eq!((reply.status, arrived.len()), (200, 1), "{method} {below}");
                let line = format!("{method} /v1/teams/acme{below} HTTP/1.1");
                assert_eq!(arrived[0].line(), line);
            } else {
                assert_eq!(arrived, [], "{method} {below}");
                assert_eq!(reply.error(), (403, "forbidden_error".into()), "{method} {below}");
            }
        }
    }
}

// fault 281: by default no neighbour can take the service user over
#[tokio::test]
async fn by_default_all_but_keys_and_the_mint() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    let rows = [
        ("GET", "/current_user", true),
        ("GET", "/service_users?count=3", true),
        ("POST", "/service_users", true),
        ("PUT", "/service_users/robot", true),
        ("PATCH", "/projects/x", true),
        ("DELETE", "/projects/x/servers/y/z", true),
        ("GET", "/service_users/robot/keys", false),
        ("POST", "/service_users/robot/keys", false),
        ("POST", "/service_users/robot/KEYS", false),
        ("POST", "/service_users/robot/%6b%65ys", false),
        ("DELETE", "/service_users/robot/keys/1", false),
        ("GET", "/x/service_token", false),
        ("POST", "/x/%73ervice_token", false),
    ];
    check(&daemon, &issuer, &rows).await;
}

/// Reads the rules of the shipped read-only example.
fn read_only() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/read-only-proxy.toml");
    let example: Table = fs::read_to_string(path).unwrap().parse().unwrap();
    example["listeners"]["okta"]["proxy"]["allow"].clone()
}

#[tokio::test]
async fn the_read_only_example_reads_only() {
    let issuer = Recorder::start().await;
    let mut home = issuer.home();
    home.set_both("proxy.allow", read_only());
    let daemon = home.start().await;
    let reads = [
        ("GET", "/current_user", true),
        ("GET", "/service_users?count=3&offset=x", true),
        ("GET", "/service_users/robot", true),
        ("GET", "/service_users/robot/keys", false),
    ];
    let writes = ["POST", "PUT", "PATCH", "DELETE"];
    let writes = writes.map(|method| (method, "/service_users/robot", false));
    check(&daemon, &issuer, &[&reads[..], &writes].concat()).await;
    let app = daemon.app().await;
    assert_eq!(app.call("HEAD", "/current_user", b"").await.status, 200);
}

#[tokio::test]
async fn keys_pass_where_a_rule_spells_them() {
    let issuer = Recorder::start().await;
    let mut home = issuer.home();
    let rules = ["GET /service_users/*/keys", "POST /service_users/robot/keys"];
    home.set_both("proxy.allow", rules.map(Value::from).to_vec());
    let daemon = home.start().await;
    let rows = [
        ("GET", "/service_users/robot/keys", true),
        ("GET", "/service_users/other/keys", true),
        ("POST", "/service_users/robot/keys", true),
        ("POST", "/service_users/other/keys", false),
        ("GET", "/service_users/robot/keys/1", false),
        ("GET", "/service_users/robot", false),
        ("GET", "/service_users/keys/keys", false),
    ];
    check(&daemon, &issuer, &rows).await;
}

#[tokio::test]
async fn a_wrong_rule_is_named_at_the_start() {
    let issuer = Recorder::start().await;
    let mut home = issuer.home();
    home.set("listeners.apps.proxy.allow", vec!["GET /**", "FETCH /x"]);
    let ended = home.command(&["check"]).output().unwrap();
    let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(
        said.contains("listeners.apps.proxy.allow") && said.contains("GET, HEAD, POST"),
        "{said}"
    );
}

// issue: several credentials on one listener, chosen by the team in the path
#[tokio::test]
async fn the_team_in_the_path_chooses_the_issuer() {
    let (acme, globex) = (Recorder::start().await, Recorder::start().await);
    let mut home = acme.home();
    let key = home.path("key.json");
    home.set("credentials.other.team_name", "Globex")
        .set("credentials.other.key_file", key.to_str().unwrap())
        .set("credentials.other.base_url", globex.base_url())
        .set_both("credentials", vec!["default", "other"]);
    let daemon = home.start().await;
    for app in daemon.apps().await {
        let bearer = app.bearer();
        for (team, status) in [("acme", 200), ("GLOBEX", 200), ("initech", 404)] {
            let path = format!("/v1/teams/{team}/x");
            let headers = [("Authorization", bearer.as_str())];
            let mut visitor = crate::bench::Visitor::connect(&app.place).await;
            assert_eq!(visitor.request("GET", &path, &headers, b"").await.status, status, "{team}");
        }
        assert_eq!(acme.take()[0].line(), "GET /v1/teams/acme/x HTTP/1.1");
        assert_eq!(globex.take()[0].line(), "GET /v1/teams/Globex/x HTTP/1.1");
    }
}
