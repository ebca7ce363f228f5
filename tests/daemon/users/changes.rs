//! What changes something: asked once, never on oneself, and honest when the answer is lost.

use bearerd::emulator::{Emulator, FaultPlan};

use super::{Scene, objects};
use crate::bench::Stand;

// U1, U2, U4, U5, U7, K1, K4
#[tokio::test]
async fn users_and_keys_come_and_go() {
    for scene in Scene::both().await {
        let created = scene.done(&["users", "create", "café bot", "--json"]).await;
        let id = objects(&created)[0]["id"].as_str().unwrap().to_owned();
        for user in ["café bot", &id] {
            assert_eq!(scene.done(&["users", "get", user, "--json"]).await, created);
        }
        let table = scene.done(&["users", "get", "café bot"]).await;
        assert_eq!(table, format!("{:36}  STATUS  NAME\n{id}  ACTIVE  café bot\n", "ID"));
        scene.fails(&["users", "create", "café bot"], 1, &["409", "in use"]).await;
        scene.fails(&["users", "get", "nobody"], 1, &["404", "team acme", "users list"]).await;
        let deleted = scene.done(&["users", "set-status", "café bot", "deleted"]).await;
        assert!(deleted.contains("DELETED 0s ago") || deleted.contains("DELETED 1s ago"));

        let (key, _) = scene.issuer().add_key("other");
        let keys = scene.done(&["keys", "list", "other", "--json"]).await;
        assert_eq!(objects(&keys)[0]["id"], key);
        let table = scene.done(&["keys", "list", "other"]).await;
        assert!(table.contains(&key) && table.contains("never"), "{table}");
        let own = scene.done(&["keys", "list", "robot", "--json"]).await;
        assert!(!own.contains(&scene.issuer().key().1), "never a secret");
        assert_eq!(
            scene.done(&["keys", "delete", "other", &key]).await,
            format!("deleted {key}\n")
        );
        scene.fails(&["keys", "delete", "other", &key], 1, &["404"]).await;
        assert_eq!(scene.done(&["keys", "list", "other", "--json"]).await, "");
    }
}

// U6
#[tokio::test]
async fn nobody_cuts_off_his_own_branch() {
    for scene in Scene::both().await {
        let own = objects(&scene.done(&["users", "get", "robot", "--json"]).await)[0].clone();
        for user in ["robot", own["id"].as_str().unwrap()] {
            for status in ["disabled", "deleted", "active"] {
                let words = ["credential default itself"];
                scene.fails(&["users", "set-status", user, status], 77, &words).await;
            }
        }
        let (key, _) = scene.issuer().key();
        let words = ["the key of credential default itself"];
        scene.fails(&["keys", "delete", "robot", &key.to_uppercase()], 77, &words).await;
        assert_eq!(scene.calls("PUT", "service_users/robot"), 0);
        assert_eq!(scene.calls("DELETE", &format!("service_users/robot/keys/{key}")), 0);
    }
}

// fault 286
#[tokio::test]
async fn what_may_have_been_done_is_asked_once_and_said_to_be_unknown() {
    for scene in Scene::both().await {
        let (key, _) = scene.issuer().add_key("bot");
        for fault in ["lost", "cut-off", "500", "504", "body=<html>"] {
            for change in Change::all(&key) {
                let before = scene.calls(change.method, &change.below);
                change.fail(scene.issuer(), fault);
                let arguments: Vec<_> = change.arguments.iter().map(String::as_str).collect();
                // What has no answer to read cannot have a wrong one, nor be cut off.
                if change.method != "DELETE" || !["cut-off", "body=<html>"].contains(&fault) {
                    scene.fails(&arguments, 1, &["not known", change.look]).await;
                    let asked = scene.calls(change.method, &change.below) - before;
                    // The daemon's own road may repeat what is idempotent, as for any client.
                    let repeats = change.method == "PUT" && fault == "lost";
                    let most = 1 + usize::from(repeats && scene.daemon.is_some());
                    assert_eq!(asked, most, "{fault} {arguments:?}");
                }
                scene.issuer().clear_faults();
            }
        }
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let scene = Scene { stand: Stand::new().await, daemon: None };
    let long = "x".repeat(256);
    let rows: [&[&str]; 14] = [
        &["users"],
        &["users", "list", "--count=0"],
        &["users", "list", "--count=1001"],
        &["users", "list", "--limit=0"],
        &["users", "list", "--status=gone"],
        &["users", "get", ""],
        &["users", "get", "a/b"],
        &["users", "get", ".."],
        &["users", "create", &long],
        &["users", "create", "a\nb"],
        &["users", "set-status", "bot", "gone"],
        &["keys", "delete", "bot", "7"],
        &["keys", "delete", "bot"],
        &["keys", "rotate", "--user", "bot"],
    ];
    for arguments in rows {
        let ended = scene.ask(arguments).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
    }
    assert_eq!(scene.issuer().calls(), 0);
}

/// A call that changes something, where it goes, and how to see whether it was carried out.
struct Change {
    arguments: Vec<String>,
    method: &'static str,
    below: String,
    look: &'static str,
}

impl Change {
    fn all(key: &str) -> [Self; 3] {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        [
            Self {
                arguments: owned(&["users", "create", "new"]),
                method: "POST",
                below: "service_users".into(),
                look: "users list --contains new",
            },
            Self {
                arguments: owned(&["users", "set-status", "bot", "disabled"]),
                method: "PUT",
                below: "service_users/bot".into(),
                look: "users get bot",
            },
            Self {
                arguments: owned(&["keys", "delete", "bot", key]),
                method: "DELETE",
                below: format!("service_users/bot/keys/{key}"),
                look: "keys list bot",
            },
        ]
    }

    /// Lets this change fail, and not the question that comes before it.
    fn fail(&self, issuer: &Emulator, fault: &str) {
        if self.method == "PUT" {
            let own = r#"api@body:1={\"id\":\"1\",\"name\":\"robot\",\"team_name\":\"acme\"}"#;
            issuer.inject(own.parse::<FaultPlan>().unwrap());
        }
        issuer.inject(format!("api@{fault}").parse::<FaultPlan>().unwrap());
    }
}
