//! Paths and queries: the issuer gets what was understood, and only below the team.

use crate::bench::{App, Recorder, Visitor};

/// Asks for raw targets and tells the status of each, with the targets that the issuer got.
async fn ask(app: &App, issuer: &Recorder, target: &str) -> (u16, Vec<String>) {
    let mut visitor = app.send(&format!("GET {target} HTTP/1.1"), b"\r\n").await;
    let status = visitor.try_reply().await.map_or(0, |reply| reply.status);
    let arrived = issuer.take();
    let targets = arrived.iter().map(|call| {
        let line = call.line().strip_prefix("GET ").unwrap();
        line.strip_suffix(" HTTP/1.1").unwrap().to_owned()
    });
    (status, targets.collect())
}

// faults 57, 144, 285
#[tokio::test]
async fn clean_paths_arrive_written_anew() {
    let table = [
        ("/service_users", "/service_users"),
        ("/%73ervice%5Fusers/Robot", "/service_users/Robot"),
        ("/j%c3%bcrgen", "/j%C3%BCrgen"),
        ("/a;b=c", "/a%3Bb%3Dc"),
        ("/a:b@c!$&'()*+,", "/a%3Ab%40c%21%24%26%27%28%29%2A%2B%2C"),
        ("/a%20b%3fc%23d", "/a%20b%3Fc%23d"),
        ("/..;/x", "/..%3B/x"),
        ("/...", "/..."),
        ("/~x/.hidden", "/~x/.hidden"),
    ];
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        for (said, heard) in table {
            let asked = ask(&app, &issuer, &format!("/v1/teams/AcMe{said}")).await;
            assert_eq!(asked, (200, vec![format!("/v1/teams/acme{heard}")]), "{said}");
        }
    }
}

// faults 57, 144, 285
#[tokio::test]
async fn unclean_paths_never_leave() {
    let long = format!("/v1/teams/acme/{}", "a".repeat(64 * 1024));
    let table = [
        ("/v1/teams/acme/", 400),
        ("/v1/teams/acme//x", 400),
        ("/v1/teams/acme/x/", 400),
        ("/v1/teams/acme/./x", 400),
        ("/v1/teams/acme/../other/x", 400),
        ("/v1/teams/acme/%2e%2e/other/x", 400),
        ("/v1/teams/acme/.%2E/other/x", 400),
        ("/v1/teams/acme/%2e/x", 400),
        ("/v1/teams/acme/x%2f..%2f..%2fother", 400),
        ("/v1/teams/acme/x%5c..%5cother", 400),
        ("/v1/teams/acme/x\\..\\other", 400),
        ("/v1/teams/acme/%252e%252e/x", 400),
        ("/v1/teams/acme/x%0d%0aX-Evil:%201", 400),
        ("/v1/teams/acme/x%00", 400),
        ("/v1/teams/acme/%7f", 400),
        ("/v1/teams/acme/%c0%ae%c0%ae/x", 400),
        ("/v1/teams/acme/%ff", 400),
        ("/v1/teams/acme/%zz", 400),
        ("/v1/teams/acme/%2", 400),
        ("/v1/teams/%2e%2e/x", 400),
        ("/v1/teams/acme%2fother/x", 400),
        ("/v1/teams/other/x", 404),
        ("/v1/teams/acme", 404),
        ("/v1/teams/", 400),
        ("/V1/teams/acme/x", 404),
        ("//v1/teams/acme/x", 404),
        ("/v1//teams/acme/x", 404),
        ("/v1/./teams/acme/x", 404),
        ("/v1/%74eams/acme/x", 404),
        ("/v2/teams/acme/x", 404),
        ("/", 404),
        (&long, 431),
    ];
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    for (target, status) in table {
        assert_eq!(ask(&app, &issuer, target).await, (status, vec![]), "{target:.80}");
    }
    // Without the required header a path of ours is refused before it is looked at.
    let [_, web] = daemon.apps().await;
    for (target, status) in table {
        let status = if status == 404 && !target.starts_with("/v1/teams/") { 403 } else { status };
        assert_eq!(ask(&web, &issuer, target).await, (status, vec![]), "{target:.80}");
    }
}

// fault 285: section 5, the query goes through byte for byte
#[tokio::test]
async fn queries_arrive_byte_for_byte() {
    let queries = [
        "",
        "a",
        "&&=&",
        "count=3&offset=7&id=1&id=2",
        "contains=a+b%20c%2Bd&x=%zz%",
        "x=/../..//;y=?z?",
        "x=%0d%0aX-Evil:%201",
        "x={}[]|^`'!$()*,:@~",
        "x=%c3%bc%FF%00",
        "X=%41%2e%2E",
    ];
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    for app in daemon.apps().await {
        for query in queries {
            let target = format!("/v1/teams/acme/x?{query}");
            let asked = ask(&app, &issuer, &target).await;
            assert_eq!(asked, (200, vec![target.clone()]), "{query}");
        }
    }
    let long = format!("/v1/teams/acme/x?q={}", "b".repeat(12_000));
    assert_eq!(ask(&daemon.app().await, &issuer, &long).await, (200, vec![long.clone()]));
}

#[tokio::test]
async fn whole_urls_as_targets_go_to_the_one_origin() {
    let issuer = Recorder::start().await;
    let (_home, daemon) = issuer.daemon().await;
    let [unix, web] = daemon.apps().await;
    let expected = vec!["/v1/teams/acme/x?y".to_owned()];
    let ours = "http://localhost/v1/teams/acme/x?y";
    assert_eq!(ask(&web, &issuer, ours).await, (200, expected.clone()));
    let elsewhere = "http://evil.example/v1/teams/acme/x?y";
    assert_eq!(ask(&unix, &issuer, elsewhere).await, (200, expected), "where else");
    assert_eq!(ask(&web, &issuer, elsewhere).await, (421, vec![]));
    for target in ["*", "evil.example:443"] {
        let (status, arrived) = ask(&unix, &issuer, target).await;
        assert!((400..500).contains(&status) && arrived.is_empty(), "{target}: {status}");
    }
    let mut visitor = Visitor::connect(&unix.place).await;
    visitor.send(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n").await;
    assert_eq!((visitor.reply().await.status, issuer.take()), (400, vec![]));
}
