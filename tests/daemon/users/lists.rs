//! Lists: pages, filters, readers that leave, and issuers that lead astray.

use std::{
    io::{BufRead, BufReader},
    process::Command,
};

use bearerd::emulator::{FaultPlan, LinkForm, Options};
use tokio::io::AsyncWriteExt;

use super::{Scene, assert_says, names, objects};
use crate::bench::{
    Daemon, Home, RawIssuer, Stand,
    daemon::run,
    home::any_key,
    issuer::{answer, granted},
    until,
};

// L1 to L7
#[tokio::test]
async fn all_pages_are_followed_and_no_more_than_are_wanted() {
    for scene in Scene::both().await {
        scene.add_users(9);
        let list = async |more: &[&str]| {
            let before = scene.calls("GET", "service_users");
            let out = scene.done(&[&["users", "list", "--json"], more].concat()).await;
            (names(&out), scene.calls("GET", "service_users") - before)
        };
        let (all, asked) = list(&[]).await;
        assert_eq!((all.len(), asked), (10, 1));
        assert_eq!(list(&["--count=1"]).await, (all.clone(), 10));
        assert_eq!(list(&["--count=3"]).await, (all.clone(), 4));
        assert_eq!(list(&["--count=5"]).await, (all.clone(), 2));
        assert_eq!(list(&["--count=1", "--limit=4"]).await, (all[..4].to_vec(), 4));
        assert_eq!(list(&["--count=4", "--limit=5"]).await, (all[..5].to_vec(), 2));
        let down: Vec<_> = all.iter().rev().cloned().collect();
        assert_eq!(list(&["--count=4", "--descending"]).await, (down, 3));
        let out = scene.done(&["users", "list", "--json"]).await;
        let offset = objects(&out)[6]["id"].as_str().unwrap().to_owned();
        let offset = format!("--offset={offset}");
        assert_eq!(list(&[&offset, "--count=2"]).await, (all[7..].to_vec(), 2));
        let back = [&all[4..6], &all[2..4], &all[..2]].concat();
        assert_eq!(list(&[&offset, "--prev", "--count=2"]).await, (back, 3));
    }
}

#[tokio::test]
async fn relative_links_are_followed_too() {
    let stand = Stand::with(|options| options.links = LinkForm::Relative).await;
    let scene = Scene { stand, daemon: None };
    scene.add_users(4);
    let out = scene.done(&["users", "list", "--json", "--count=1"]).await;
    assert_eq!(names(&out).len(), 5);
}

// L7
#[tokio::test]
async fn every_filter_is_asked_for() {
    for scene in Scene::both().await {
        scene.add_users(12);
        scene.done(&["users", "set-status", "user-007", "Disabled"]).await;
        let ids = objects(&scene.done(&["users", "list", "--json"]).await);
        let [one, two] = [3, 5].map(|place| format!("--id={}", ids[place]["id"].as_str().unwrap()));
        let rows: [(&[&str], usize); 7] = [
            (&["--contains=bot"], 1),
            (&["--starts-with=user-00", "--count=3"], 10),
            (&["--status=disabled"], 1),
            (&["--status=ACTIVE", "--include-service-users"], 12),
            (&["--status=deleted"], 0),
            (&[&one, &two], 2),
            (&["--contains=a&count=1"], 0),
        ];
        for (filter, count) in rows {
            let arguments = [&["users", "list", "--json"], filter].concat();
            assert_eq!(names(&scene.done(&arguments).await).len(), count, "{filter:?}");
        }
    }
}

#[tokio::test]
async fn keys_have_pages_too() {
    for scene in Scene::both().await {
        let mut keys: Vec<_> = (0..5).map(|_| scene.issuer().add_key("o ther").0).collect();
        keys.sort();
        let out = scene.done(&["keys", "list", "o ther", "--count=1", "--json"]).await;
        let found: Vec<_> = objects(&out).iter().map(|key| key["id"].clone()).collect();
        assert_eq!(found, keys);
        assert_eq!(scene.calls("GET", "service_users/o%20ther/keys"), 5);
    }
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let endless = issuer(|number| Some(page("x", &format!("{NEXT}={number}")))).await;
    let home = Home::new(&endless.base_url(), &any_key());
    let mut daemon = None;
    for with_daemon in [false, true] {
        if with_daemon {
            daemon = Some(home.start().await);
        }
        let (mut listing, lines) = head(home.command(&["users", "list"]), 1).await;
        assert!(lines.starts_with("ID"), "{lines}");
        assert_eq!(listing.exit().await.code(), Some(0), "{}", listing.log());
        assert_eq!(listing.log(), "");
    }
    drop(daemon);
}

#[tokio::test]
async fn rows_appear_as_the_pages_come() {
    let issuer = issuer(|number| {
        // The first connection was the mint's; the last page never comes.
        let link = format!("{NEXT}={number}");
        (number < 3).then(|| page(&format!("user-{number}"), &link))
    })
    .await;
    let home = Home::new(&issuer.base_url(), &any_key());
    let (listing, lines) = head(home.command(&["users", "list", "--json"]), 2).await;
    assert_eq!(names(&lines), ["user-1", "user-2"]);
    until("the next page is asked for", async || issuer.connections() == 4).await;
    drop(listing);
}

#[tokio::test]
async fn a_list_that_goes_in_a_circle_ends() {
    let issuer = issuer(|number| Some(page("x", &format!("{NEXT}={}", number % 3)))).await;
    let home = Home::new(&issuer.base_url(), &any_key());
    let ended = run(home.command(&["users", "list", "--json"])).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_says(&ended, &["in a circle"]);
    assert!((3..15).contains(&names(&ended.out).len()));
}

// fault 60
#[tokio::test]
async fn no_other_address_is_ever_asked() {
    let stranger = RawIssuer::sink().await;
    let public = |options: &mut Options| {
        options.public_url = Some(stranger.base_url().parse().unwrap());
    };
    let (with, without) = (Stand::with(public).await, Stand::with(public).await);
    let daemon = Some(with.start().await);
    for scene in [Scene { stand: with, daemon }, Scene { stand: without, daemon: None }] {
        scene.add_users(3);
        let ended = scene.ask(&["users", "list", "--count=2", "--json"]).await;
        assert_eq!((ended.code, names(&ended.out).len()), (Some(1), 2), "{ended:?}");
        assert_says(&ended, &["not its own, which is not followed"]);
    }
    assert_eq!((stranger.connections(), stranger.bytes().len()), (0, 0));
}

// fault 148
#[tokio::test]
async fn hostile_names_are_written_out() {
    let name = "evil\u{1b}[2J\r\u{9b}31m\u{202e}";
    for scene in Scene::both().await {
        scene.issuer().add_user(name);
        scene.issuer().add_user("a\n6ac84721-a7ba-4034-9c39-41ef7b38819d  ACTIVE   forged");
        let table = scene.done(&["users", "list"]).await;
        assert_eq!(table.lines().count(), 4, "{table}");
        assert!(table.contains(r"evil\u{1b}[2J\u{d}\u{9b}31m\u{202e}"), "{table}");
        let json = scene.done(&["users", "list", "--json", "--starts-with", "evil"]).await;
        assert_eq!(names(&json), [name]);
        for text in [&table, &json] {
            assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\r']), "{text:?}");
        }
        let plan = r#"api@body={\"type\":\"x\",\"message\":\"\x5cu001b[2J\x5cn\"}"#;
        scene.issuer().inject(plan.parse::<FaultPlan>().unwrap());
        let refused = scene.ask(&["users", "list"]).await;
        assert!(!refused.err.contains('\u{1b}'), "{refused:?}");
        scene.issuer().clear_faults();
    }
}

/// One page with one user, and a link to the next.
fn page(name: &str, link: &str) -> Vec<u8> {
    let user = format!(r#"{{"id":"{name}","name":"{name}","status":"ACTIVE"}}"#);
    let head = format!("200 OK\r\nLink: <{link}>; rel=\"next\"\r\nConnection: close");
    answer(&head, &format!("{{\"list\":[{user}]}}"))
}

/// An issuer that grants, and answers each page with what `pages` makes of its number.
async fn issuer(pages: fn(usize) -> Option<Vec<u8>>) -> RawIssuer {
    RawIssuer::start(move |mut stream, number, seen| async move {
        let request = seen.read_request(&mut stream).await?;
        if request.starts_with("POST ") {
            return stream.write_all(&granted("canary-token")).await;
        }
        match pages(number) {
            Some(page) => stream.write_all(&page).await,
            None => std::future::pending().await,
        }
    })
    .await
}

const NEXT: &str = "/v1/teams/acme/service_users?offset";

/// Starts a command, takes its first lines and then reads no more.
async fn head(mut command: Command, lines: usize) -> (Daemon, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer);
    let running = Daemon::spawn_with_output(command);
    let lines = tokio::task::spawn_blocking(move || {
        BufReader::new(reader).lines().take(lines).map(Result::unwrap).collect::<Vec<_>>()
    });
    (running, lines.await.unwrap().join("\n"))
}
