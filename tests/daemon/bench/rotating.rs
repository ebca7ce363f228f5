//! A stand whose key can be rotated.

use std::fs;

use bearerd::emulator::Role;
use serde_json::{Value, json};

use super::{Stand, wall};

/// Lets the key of `default` be rotated, by a credential that no listener serves.
pub(crate) async fn stand() -> Stand {
    let mut stand = Stand::with(|options| options.role = Role::None).await;
    let rotator = stand.issuer.add_key("rotator");
    stand.issuer.set_role("rotator", Role::ResourceAdmin);
    let text = format!(r#"{{"key_id":"{}","key_secret":"{}"}}"#, rotator.0, rotator.1);
    let path = stand.home.replace("rotator.json", text.as_bytes(), 0o600);
    stand
        .home
        .set("credentials.rotator.team_name", "acme")
        .set("credentials.rotator.key_file", path.to_str().unwrap())
        .set("credentials.default.rotation.user", "robot")
        .set("credentials.default.rotation.with", "rotator");
    stand
}

/// The same, and due once: an earlier process has seen the key long ago.
pub(crate) async fn due() -> Stand {
    seen_at(1_600_000_000.0).await
}

/// The same, and due in a month: an earlier process has seen the key just now.
pub(crate) async fn fresh() -> Stand {
    seen_at(wall()).await
}

async fn seen_at(seconds: f64) -> Stand {
    let mut stand = stand().await;
    stand.home.set("credentials.default.rotation.every", "30d");
    let since = std::time::Duration::from_secs_f64(seconds).as_secs();
    let journal = json!({
        "version": 1, "key_id": stand.issuer.key().0, "since": since,
        "asked": null, "lost": null, "asks": [], "rest_until": null, "retired": [],
    });
    stand.home.replace(".key.json.rotation", journal.to_string().as_bytes(), 0o600);
    stand
}

/// Reads the key file.
pub(crate) fn key_in(stand: &Stand) -> Value {
    serde_json::from_slice(&fs::read(stand.home.path("key.json")).unwrap()).unwrap()
}

/// Lists the calls for a new key that the issuer has seen.
pub(crate) fn rotations(stand: &Stand) -> Vec<String> {
    let calls = stand.issuer.requests().into_iter();
    let posts = calls.filter(|call| call.method == "POST" && call.path.ends_with("/keys"));
    posts.map(|call| call.path).collect()
}
