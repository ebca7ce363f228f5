//! `Link` and `Location`: the issuer's URLs become the listener's, as the client named it.

use bearerd::emulator::LinkForm;

use crate::bench::{App, Place, Recorder, Reply, Stand, Visitor, recorder::answer};

/// Calls a path of the team under this name of the listener.
async fn get_as(app: &App, host: &str, below: &str) -> Reply {
    let mut visitor = Visitor::connect(&app.place).await;
    let bearer = app.bearer();
    let head = format!(
        "GET /v1/teams/acme{below} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\n\r\n"
    );
    visitor.send(head.as_bytes()).await;
    visitor.reply().await
}

// case L8: with absolute links and with relative ones
#[tokio::test]
async fn pages_lead_through_the_proxy() {
    for form in [LinkForm::Absolute, LinkForm::Relative] {
        let stand = Stand::with(|options| options.links = form).await;
        (0..8).for_each(|n| drop(stand.issuer.add_user(&format!("user-{n}"))));
        let daemon = stand.home.start().await;
        let [_, web] = daemon.apps().await;
        let Place::Tcp(address) = web.place else { panic!("a TCP listener") };
        for host in [format!("localhost:{}", address.port()), address.to_string()] {
            let first = get_as(&web, &host, "/service_users?count=3").await;
            let next = links(&first);
            let start = format!("<http://{host}/v1/teams/acme/service_users?count=3&offset=");
            assert!(next[0].starts_with(&start) && next[0].ends_with("; rel=\"next\""), "{next:?}");
            assert_eq!(next.len(), 1);
            let (_, below) = next[0].split_once("/v1/teams/acme").unwrap();
            let second = get_as(&web, &host, below.split('>').next().unwrap()).await;
            let [next, prev] = &links(&second)[..] else { panic!("{second:?}") };
            assert!(next.ends_with("; rel=\"next\"") && prev.ends_with("; rel=\"prev\""));
            assert!(next.starts_with(&start) && prev.starts_with(&start), "{second:?}");
        }
    }
}

fn links(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.header("link").unwrap().split(", ").map(str::to_owned).collect()
}

// fault 287
#[tokio::test]
async fn links_become_one_line_with_next_first_and_strangers_stay() {
    let issuer = Recorder::answering(|call| {
        let host = call.head.split("host: ").nth(1).unwrap().split("\r\n").next().unwrap();
        answer(
            &format!(
                "201 Made\r\nLink: <http://{host}/v1/teams/acme/x?prev=1>; rel=\"prev\"\r\n\
                 Link: <https://elsewhere.example/y>; rel=\"help\"; title=\"a, b\"\r\n\
                 Link: <http://{host}/v1/teams/acme/x?offset=7,8>; rel=\"next\"\r\n\
                 Location: http://{host}/v1/teams/acme/x/7"
            ),
            "{}",
        )
    })
    .await;
    let (_home, daemon) = issuer.daemon().await;
    let app = daemon.app().await;
    let reply = get_as(&app, "okta.local", "/x").await;
    let own = "http://okta.local/v1/teams/acme/x";
    let expected = format!(
        "<{own}?offset=7,8>; rel=\"next\", <{own}?prev=1>; rel=\"prev\", \
         <https://elsewhere.example/y>; rel=\"help\"; title=\"a, b\""
    );
    assert_eq!(reply.header("link"), Some(expected.as_str()));
    assert_eq!(reply.header("location"), Some(format!("{own}/7").as_str()));
}
