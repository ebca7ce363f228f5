//! Listeners with an access token: it is the secret of the mint, and the local token.

use std::fs;

use serde_json::json;

use crate::bench::{
    App, Daemon, Home, Place, Recorder, Reply, Visitor,
    client::{KEY_ID, MINT, request},
    recorder::TOKEN,
    until,
};

/// Another token than any that was made.
const OTHER: &str = "0123456789-abcdefghijklmnopqrstuvwxyz";

/// Starts a daemon whose listeners ask for one access token; gives that, too.
async fn daemon(issuer: &Recorder) -> (Home, Daemon, String) {
    let mut home = issuer.home();
    let file = home.path("access-token");
    home.set_both("access_token_file", file.to_str().unwrap());
    let daemon = home.start().await;
    let token = fs::read_to_string(file).unwrap();
    (home, daemon, token)
}

async fn mint(place: &Place, secret: &str) -> Reply {
    let pair = json!({ "key_id": KEY_ID, "key_secret": secret }).to_string();
    let json = [("Content-Type", "application/json")];
    Visitor::connect(place).await.request("POST", MINT, &json, pair.as_bytes()).await
}

async fn denied(daemon: &Daemon, listener: &str) -> f64 {
    let labels = [("listener", listener), ("reason", "credential")];
    daemon.metric("bearerd_requests_denied_total", &labels).await
}

// fault 283
#[tokio::test]
async fn the_mint_takes_the_access_token_as_its_secret_and_gives_it_as_the_local_token() {
    let issuer = Recorder::start().await;
    let (home, daemon, token) = daemon(&issuer).await;
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let near = [
            "placeholder",
            &token[1..],
            &format!("{token}0"),
            &format!("{token}\n"),
            &format!("Bearer {token}"),
            &token.to_uppercase(),
        ];
        for secret in near {
            let reply = mint(&place, secret).await;
            assert_eq!(reply.error(), (401, "authentication_error".into()), "{secret:?}");
            assert!(!reply.text().contains(&token), "{reply:?}");
        }
        assert_eq!(denied(&daemon, listener).await, near.len() as f64);
        let reply = mint(&place, &token).await;
        assert_eq!((reply.status, &reply.json()["bearer_token"]), (200, &json!(token)));
        assert_eq!(mint(&place, "").await.error().0, 400, "not well formed, whatever is asked");
        assert_eq!(denied(&daemon, listener).await, near.len() as f64);
    }
    assert_eq!((issuer.take(), issuer.mints()), (vec![], 1), "the issuer hears nothing of it");
    assert!(!daemon.log().contains(&token));
    let kept = fs::read_dir(home.path("state")).unwrap().count();
    assert_eq!(kept, 0, "no random local token beside it");
}

#[tokio::test]
async fn calls_carry_it_with_or_without_a_mint() {
    let issuer = Recorder::start().await;
    let (_home, daemon, token) = daemon(&issuer).await;
    for (listener, place) in ["apps", "web"].into_iter().zip(daemon.places()) {
        let app = App { place, token: token.clone() };
        assert_eq!(app.get("/service_users").await.status, 200, "nobody has minted");
        let [arrived] = issuer.take().try_into().unwrap();
        assert!(arrived.head.contains(TOKEN) && !arrived.head.contains(&token), "{arrived:?}");
        let stranger = App { token: OTHER.to_owned(), ..app.clone() };
        for below in ["/service_users", "/../globex/x", "/x?y"] {
            let error = stranger.get(below).await.error();
            let expected = if below.contains("..") { 400 } else { 401 };
            assert_eq!(error.0, expected, "{below}");
        }
        let elsewhere = request("GET", "/v1/teams/globex/x", &[], b"");
        let mut visitor = Visitor::connect(&app.place).await;
        visitor.send(&elsewhere).await;
        assert_eq!(visitor.reply().await.error().0, 401, "who is not let in learns of no team");
        assert_eq!(denied(&daemon, listener).await, 3.0);
    }
    assert_eq!(issuer.take(), []);
}

#[tokio::test]
async fn a_changed_access_token_is_the_local_token_from_then_on() {
    let issuer = Recorder::start().await;
    let (home, daemon, token) = daemon(&issuer).await;
    let [place, _] = daemon.places();
    let old = App { place: place.clone(), token };
    assert_eq!(old.get("/x").await.status, 200);
    fs::write(home.path("access-token"), OTHER).unwrap();
    let new = App { place, token: OTHER.to_owned() };
    until("the new one is good", async || new.get("/x").await.status == 200).await;
    assert_eq!(old.get("/x").await.error(), (401, "authentication_error".into()));
    assert_eq!(mint(&old.place, &old.token).await.error().0, 401);
    assert_eq!(mint(&new.place, OTHER).await.json()["bearer_token"], OTHER);
}

// a random local token that is missing or wrong counts alike
#[tokio::test]
async fn strangers_are_counted_where_there_is_no_access_token_too() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for (listener, app) in ["apps", "web"].into_iter().zip(daemon.apps().await) {
        let stranger = App { token: OTHER.to_owned(), ..app.clone() };
        assert_eq!(stranger.get("/x").await.error(), (401, "authentication_error".into()));
        assert_eq!(app.get("/x").await.status, 200);
        assert_eq!(denied(&daemon, listener).await, 1.0);
    }
}

// the issuer's own 401 is no stranger's
#[tokio::test]
async fn a_401_of_the_issuer_is_not_counted_as_a_refusal_of_ours() {
    let role = r#"{"code":401,"message":"no","type":"authorization_error"}"#;
    let issuer =
        Recorder::answering(|_| crate::bench::recorder::answer("401 Unauthorized", role)).await;
    let (_home, daemon) = issuer.daemon().await;
    assert_eq!(daemon.app().await.get("/x").await.status, 401);
    assert_eq!(denied(&daemon, "apps").await, 0.0);
}
