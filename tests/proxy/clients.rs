//! Five kinds of client, each as real ones are, live through expiries, a revocation and a new key.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use crate::bench::{
    App, Daemon, Place, Reply, Stand, Visitor,
    client::{mint, request},
    until,
};

/// Users of the team, more than two pages of a hundred.
const USERS: usize = 250;
/// Life of the tokens; they are refreshed at half of it.
const LIFE: Duration = Duration::from_secs(2);
/// Expiries that every client lives through.
const EXPIRIES: u64 = 5;
/// Pause of a client between two rounds.
const PAUSE: Duration = Duration::from_millis(30);

#[derive(Clone, Copy, Debug)]
enum Habit {
    /// Mints at its start and keeps that token for ever.
    MintsOnce,
    /// Mints before each call, as Okta's SDK does.
    MintsForEachCall,
    /// Follows `Link` to the letter, page by page.
    FollowsLinks,
    /// Makes its offsets up from the last object it got, and never says a count.
    MakesUpOffsets,
    /// Takes the first page for everything, and writes.
    IgnoresPages,
}

const HABITS: [Habit; 5] = [
    Habit::MintsOnce,
    Habit::MintsForEachCall,
    Habit::FollowsLinks,
    Habit::MakesUpOffsets,
    Habit::IgnoresPages,
];

// cases A3, A4, A7, L1, L3, L8
#[tokio::test]
async fn no_client_sees_an_expiry_a_revocation_or_a_new_key() {
    let mut stand = Stand::with(|options| options.lifetime = LIFE).await;
    (1..USERS).for_each(|n| drop(stand.issuer.add_user(&format!("user-{n:03}"))));
    stand.home.set("credentials.default.refresh.min_interval", "200ms");
    let daemon = stand.home.start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for (habit, place) in HABITS.into_iter().flat_map(|h| daemon.places().map(|p| (h, p))) {
        clients.spawn(live(habit, place, Arc::clone(&stop)));
    }
    let minted = |count| until_mints(&stand, count);
    minted(3).await;
    // A call with the token before it would meet two dead ones, and a second 401 goes to the client.
    sleep(LIFE / 8).await;
    assert!(stand.issuer.revoke_all_tokens() > 0);
    minted(5).await;
    replace_key(&stand, &daemon).await;
    minted(EXPIRIES * 2 + 4).await;
    stop.store(true, Ordering::SeqCst);
    while let Some(ended) = clients.join_next().await {
        let Ok((habit, rounds)) = ended else { panic!("{}", history(&stand, &daemon).await) };
        assert!(rounds > 10, "{habit:?} came round only {rounds} times");
    }
    let refused = stand.issuer.requests().iter().filter(|seen| seen.status == Some(401)).count();
    assert!(refused > 0, "the revocation was not felt at all");
}

/// Tells what led to a failure: mints and refused calls in their order, reports, and the log.
async fn history(stand: &Stand, daemon: &Daemon) -> String {
    let seen = stand.issuer.requests();
    let told = seen.iter().filter(|seen| seen.path.ends_with("token") || seen.status == Some(401));
    let metrics = Visitor::connect(&daemon.place("telemetry")).await.get("/metrics").await;
    let counts = metrics.text().lines().filter(|line| line.starts_with("bearerd_token_re"));
    let (told, counts) = (told.collect::<Vec<_>>(), counts.collect::<Vec<_>>());
    format!("{told:#?}\n{counts:#?}\n{}", daemon.log())
}

async fn until_mints(stand: &Stand, count: u64) {
    until("the token is refreshed", async || stand.issuer.mints() >= count).await;
}

/// Replaces the key file as a rotation by hand does; the old key goes once the new one has minted.
async fn replace_key(stand: &Stand, daemon: &Daemon) {
    let (old, _) = stand.issuer.key();
    stand.home.write_key(&stand.issuer.add_key("robot"));
    let adopted = [("trigger", "key_changed"), ("result", "success")];
    until("the new key has minted", async || {
        daemon.metric("bearerd_token_refreshes_total", &adopted).await > 0.0
    })
    .await;
    // Calls that are under way have the old key's token.
    sleep(LIFE).await;
    assert!(stand.issuer.delete_key(&old));
}

/// Goes round until told to stop; every call has to do what it is for.
async fn live(habit: Habit, place: Place, stop: Arc<AtomicBool>) -> (Habit, usize) {
    let app = App::new(&place).await;
    let rounds = AtomicUsize::new(0);
    while !stop.load(Ordering::SeqCst) {
        match habit {
            Habit::MintsOnce => asks_who_it_is(&app).await,
            Habit::MintsForEachCall => mints_and_asks(&place).await,
            Habit::FollowsLinks => follows_links(&app).await,
            Habit::MakesUpOffsets => makes_up_offsets(&app).await,
            Habit::IgnoresPages => reads_one_page_and_writes(&app).await,
        }
        rounds.fetch_add(1, Ordering::SeqCst);
        sleep(PAUSE).await;
    }
    (habit, rounds.into_inner())
}

async fn asks_who_it_is(app: &App) {
    let reply = app.get("/current_user").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["name"], "robot");
}

async fn mints_and_asks(place: &Place) {
    let grant = mint(place).await.json();
    let token = grant["bearer_token"].as_str().unwrap().to_owned();
    asks_who_it_is(&App { place: place.clone(), token }).await;
}

async fn follows_links(app: &App) {
    let mut seen = BTreeSet::new();
    let mut page = app.get("/service_users?count=90").await;
    loop {
        seen.extend(ids(&page));
        let Some(next) = next_link(&page) else { break };
        page = follow(app, &next).await;
    }
    assert_eq!(seen.len(), USERS);
}

/// Calls a whole URL on the host it names; a client of the unix socket has but one host.
async fn follow(app: &App, url: &str) -> Reply {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    assert_eq!(authority, "localhost", "what the client named");
    let bearer = app.bearer();
    let call = request("GET", &format!("/{path}"), &[("Authorization", &bearer)], b"");
    let mut visitor = Visitor::connect(&app.place).await;
    visitor.send(&call).await;
    visitor.reply().await
}

/// Reads the first link of the first line, and nothing else.
fn next_link(page: &Reply) -> Option<String> {
    let first = page.header("link")?.split(',').next()?;
    let (url, parameters) = first.trim().strip_prefix('<')?.split_once('>')?;
    (parameters == "; rel=\"next\"").then(|| url.to_owned())
}

async fn makes_up_offsets(app: &App) {
    let mut seen = BTreeSet::new();
    let mut page = app.get("/service_users").await;
    loop {
        let ids = ids(&page);
        let Some(last) = ids.last().cloned() else { break };
        seen.extend(ids);
        page = app.get(&format!("/service_users?offset={last}")).await;
    }
    assert_eq!(seen.len(), USERS);
}

async fn reads_one_page_and_writes(app: &App) {
    let page = app.get("/service_users").await;
    assert_eq!(ids(&page).len(), 100);
    let name = page.json()["list"][7]["name"].as_str().unwrap().to_owned();
    let written =
        app.call("PUT", &format!("/service_users/{name}"), br#"{"status":"ACTIVE"}"#).await;
    assert_eq!(written.status, 200, "{written:?}");
}

fn ids(page: &Reply) -> Vec<String> {
    assert_eq!(page.status, 200, "{page:?}");
    let list = page.json()["list"].as_array().unwrap().clone();
    list.iter().map(|user: &Value| user["id"].as_str().unwrap().to_owned()).collect()
}
