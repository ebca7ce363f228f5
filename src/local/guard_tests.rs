//! The table of what is let in.

use super::*;
use crate::process::peer::Peer;

const TCP: Peer = Peer::Tcp { port: 8420, uid: None };
const UNIX: Peer = Peer::Unix { uid: 1000, gid: 100, groups: Vec::new(), pid: Some(7) };

fn guard() -> Guard {
    Guard {
        allowed_hosts: Some(["localhost", "127.0.0.1", "[::1]"].map(String::from).to_vec()),
        require_header: true,
        ..Guard::default()
    }
}

/// Checks `GET target` with these headers.
fn verdict(guard: &Guard, peer: &Peer, target: &str, headers: &[(&str, &str)]) -> Option<Denial> {
    let mut request = http::Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).expect("valid").into_parts();
    check(guard, peer, &Proof::Header, &parts).err()
}

/// Checks a request over TCP that carries what it must, and these headers.
fn tcp(headers: &[(&str, &str)]) -> Option<Denial> {
    let usual = [("host", "localhost:8420"), ("x-bearerd", "1")];
    verdict(&guard(), &TCP, "/v1/token", &[&usual, headers].concat())
}

fn host(host: &str) -> Option<Denial> {
    verdict(&guard(), &TCP, "/v1/token", &[("host", host), ("x-bearerd", "1")])
}

// faults 126, 127, 129
#[test]
fn hosts_are_exact() {
    let good =
        ["localhost", "LocalHost:8420", "127.0.0.1", "127.0.0.1:8420", "[::1]", "[::1]:8420"];
    for name in good {
        assert_eq!(host(name), None, "{name}");
    }
    let bad = [
        "evil.example",
        "evil.example:8420",
        "localhost.",
        "localhost:",
        "localhost:80",
        "localhost:08420",
        "localhost:+8420",
        "localhost:84200",
        "localhost:8420x",
        "localhost::8420",
        "localhost:8420 ",
        "localhost :8420",
        "localhost@evil",
        "evil@localhost",
        "localhost.evil",
        "127.0.0.1.nip.io",
        "0.0.0.0",
        "0.0.0.0:8420",
        "[::]",
        "::1",
        "127.1",
        "2130706433",
        "127.0.0.2",
        "localhost,localhost",
        "localhos",
        "",
    ];
    for name in bad {
        assert_eq!(host(name), Some(Denial::Host), "{name}");
    }
}

// faults 126, 133, 136: whoever leaves these out decides likewise
#[test]
fn what_is_unread_decides_nothing() {
    let refused = [("host", "evil"), ("x-bearerd", "2"), ("via", "1.1 a"), ("origin", "null")];
    for name in UNREAD.into_iter().chain(["Accept", "USER-AGENT"]) {
        assert!(is_unread(name));
        for value in ["", "*/*", "1", "localhost", "Mozilla/5.0", "Bearer s3cret"] {
            let unread = [(name, value), (name, value)];
            assert_eq!(tcp(&unread), None, "{name}: {value}");
            for header in refused {
                let with = tcp(&[&unread[..], &[header]].concat());
                assert_eq!(with, tcp(&[header]), "{name}: {value}, {header:?}");
                assert!(with.is_some());
            }
        }
    }
    let read = ["host", "x-bearerd", "authorization", "if-none-match", "accept-", "x-accept", ""];
    assert!(!read.into_iter().any(is_unread));
}

// fault 127
#[test]
fn there_is_one_host() {
    let only = |headers: &[(&str, &str)]| verdict(&guard(), &TCP, "/v1/token", headers);
    assert_eq!(only(&[("x-bearerd", "1")]), Some(Denial::HostMissing));
    let twice = [("host", "localhost"), ("host", "localhost"), ("x-bearerd", "1")];
    assert_eq!(only(&twice), Some(Denial::HostMissing));
    assert_eq!(verdict(&guard(), &UNIX, "/v1/token", &[]), Some(Denial::HostMissing));
}

#[test]
fn http_1_0_may_leave_the_host_out_where_none_is_asked_for() {
    let old = |peer| {
        let request = http::Request::get("/").version(Version::HTTP_10).header("x-bearerd", "1");
        let (parts, ()) = request.body(()).expect("valid").into_parts();
        check(&guard(), &peer, &Proof::Header, &parts)
    };
    assert_eq!(old(UNIX), Ok(()));
    assert_eq!(old(TCP), Err(Denial::Host));
}

#[test]
fn an_absolute_target_names_a_host_of_ours_too() {
    let to = |target: &str| {
        verdict(&guard(), &TCP, target, &[("host", "localhost"), ("x-bearerd", "1")])
    };
    assert_eq!(to("http://localhost:8420/v1/token"), None);
    assert_eq!(to("http://evil.example/v1/token"), Some(Denial::Host));
}

// faults 130, 133, 136
#[test]
fn browsers_and_forwarders_are_refused_on_every_transport() {
    let browser = [
        ("origin", "null"),
        ("referer", "http://localhost:8420/"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-user", "?1"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-mode", ""),
        ("sec-fetch-mode", "CORS"),
    ];
    let forwarded = [
        ("forwarded", "for=1.2.3.4"),
        ("via", "1.1 proxy"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-anything", "x"),
        ("x-forwarded", "x"),
        ("x-real-ip", "1.2.3.4"),
        ("true-client-ip", "1.2.3.4"),
        ("cf-connecting-ip", "1.2.3.4"),
        ("x-original-url", "/"),
    ];
    let table = browser.map(|h| (h, Denial::Browser)).into_iter();
    for (header, denial) in table.chain(forwarded.map(|h| (h, Denial::Forwarded))) {
        assert_eq!(tcp(&[header]), Some(denial), "{header:?}");
        let unix = verdict(&guard(), &UNIX, "/", &[("host", "x"), header]);
        assert_eq!(unix, Some(denial), "{header:?}");
    }
}

#[test]
fn of_several_reasons_the_most_telling_is_given() {
    let (page, proxy, tunnel) = (("origin", "null"), ("via", "1.1 proxy"), ("upgrade", "h2c"));
    assert_eq!(tcp(&[tunnel, proxy, page]), Some(Denial::Browser));
    assert_eq!(tcp(&[tunnel, proxy]), Some(Denial::Forwarded));
    let without_required = [("host", "localhost"), tunnel];
    assert_eq!(verdict(&guard(), &TCP, "/", &without_required), Some(Denial::Upgrade));
}

// fault 133
#[test]
fn the_usual_clients_pass_untouched() {
    let clients: [&[(&str, &str)]; 4] = [
        &[("user-agent", "curl/8"), ("accept", "*/*")],
        &[
            ("user-agent", "python-requests/2"),
            ("accept-encoding", "gzip"),
            ("connection", "keep-alive"),
        ],
        &[("user-agent", "Go-http-client/1.1"), ("accept-encoding", "gzip")],
        &[("user-agent", "node"), ("sec-fetch-mode", "cors"), ("accept-language", "*")],
    ];
    for headers in clients {
        assert_eq!(tcp(headers), None, "{headers:?}");
    }
}

// fault 134
#[test]
fn the_required_header_is_one_and_exact_on_tcp_only() {
    let with = |headers: &[(&str, &str)]| {
        verdict(&guard(), &TCP, "/v1/token", &[&[("host", "localhost")], headers].concat())
    };
    assert_eq!(with(&[("x-bearerd", "1")]), None);
    for headers in [&[][..], &[("x-bearerd", "0")], &[("x-bearerd", "")]] {
        assert_eq!(with(headers), Some(Denial::Header), "{headers:?}");
    }
    assert_eq!(with(&[("x-bearerd", "1"), ("x-bearerd", "1")]), Some(Denial::Header));
    assert_eq!(verdict(&guard(), &UNIX, "/", &[("host", "x")]), None);
    let open = Guard { require_header: false, ..guard() };
    assert_eq!(verdict(&open, &TCP, "/", &[("host", "localhost")]), None);
}

#[test]
fn the_local_token_stands_in_for_the_header_and_for_nothing_else() {
    let (parts, ()) = http::Request::get("/v1/teams/acme/x")
        .header("host", "localhost")
        .body(())
        .unwrap()
        .into_parts();
    assert_eq!(check(&guard(), &TCP, &Proof::LocalToken, &parts), Ok(()));
    let (parts, ()) = http::Request::get("/v1/teams/acme/x")
        .header("host", "evil")
        .body(())
        .unwrap()
        .into_parts();
    assert_eq!(check(&guard(), &TCP, &Proof::LocalToken, &parts), Err(Denial::Host));
}

/// Checks a request to a listener with an access token.
fn with_access_token(peer: &Peer, headers: &[(&str, &str)]) -> Result<(), Denial> {
    let guard = Guard { access_token_file: Some("/t".into()), ..guard() };
    let proof = Proof::AccessToken(Arc::new(Secret::copy_of(b"s3cret")));
    let mut request = http::Request::get("/v1/token").header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).expect("valid").into_parts();
    check(&guard, peer, &proof, &parts)
}

// faults 135, 145
#[test]
fn the_access_token_is_asked_for_on_every_transport() {
    let (own, token) = (("x-bearerd", "1"), ("authorization", "Bearer s3cret"));
    for peer in [TCP, UNIX] {
        assert_eq!(with_access_token(&peer, &[own, token]), Ok(()));
        assert_eq!(with_access_token(&peer, &[own, ("authorization", "bEaReR s3cret")]), Ok(()));
        let bad: [&[(&str, &str)]; 8] = [
            &[],
            &[("authorization", "")],
            &[("authorization", "Bearer wrong")],
            &[("authorization", "Bearer s3cret ")],
            &[("authorization", "Basic s3cret")],
            &[("proxy-authorization", "Bearer s3cret")],
            &[token, token],
            &[token, ("authorization", "Bearer wrong")],
        ];
        for headers in bad {
            let denial = with_access_token(&peer, &[&[own], headers].concat());
            assert_eq!(denial, Err(Denial::Credential), "{headers:?}");
        }
    }
}

#[test]
fn the_access_token_stands_in_for_nothing_else() {
    let token = ("authorization", "Bearer s3cret");
    assert_eq!(with_access_token(&TCP, &[token]), Err(Denial::Header));
    assert_eq!(with_access_token(&UNIX, &[token]), Ok(()));
    let from_a_page = [("x-bearerd", "1"), token, ("origin", "null")];
    assert_eq!(with_access_token(&TCP, &from_a_page), Err(Denial::Browser));
}

#[test]
fn a_listener_that_asks_for_a_token_it_does_not_have_lets_nobody_in() {
    let guard = Guard { access_token_file: Some("/t".into()), ..guard() };
    let headers = [("host", "localhost"), ("x-bearerd", "1"), ("authorization", "Bearer ")];
    assert_eq!(verdict(&guard, &UNIX, "/", &headers), Some(Denial::Credential));
}

/// Checks a question of a reverse proxy on a listener with an access token, or without one.
fn of_visitor(peer: &Peer, token: Option<&[u8]>, headers: &[(&str, &str)]) -> Result<(), Denial> {
    let guard = Guard { access_token_file: token.map(|_| "/t".into()), ..guard() };
    let proof = Proof::Visitor(token.map(|token| Arc::new(Secret::copy_of(token))));
    let mut request = http::Request::get("/v1/auth/x").header("host", "visited.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).expect("valid").into_parts();
    check(&guard, peer, &proof, &parts)
}

// faults 126, 130, 132, 133, 136
#[test]
fn what_a_visitor_sends_tells_nothing_of_the_reverse_proxy() {
    let told = ["origin", "referer", "sec-fetch-site", "via", "x-forwarded-for", "upgrade"];
    let (own, token) = (("x-bearerd", "1"), ("authorization", "Bearer s3cret"));
    for name in told {
        assert_eq!(of_visitor(&UNIX, None, &[(name, "x")]), Ok(()), "{name}");
        assert_eq!(of_visitor(&UNIX, None, &[(name, "x"), token]), Ok(()), "{name}");
        assert_eq!(of_visitor(&TCP, Some(b"s3cret"), &[own, token, (name, "x")]), Ok(()), "{name}");
    }
}

// faults 134, 145
#[test]
fn a_reverse_proxy_shows_header_and_token_where_others_do() {
    let (own, token) = (("x-bearerd", "1"), ("authorization", "Bearer s3cret"));
    assert_eq!(of_visitor(&TCP, Some(b"s3cret"), &[token]), Err(Denial::Header));
    for peer in [&UNIX, &TCP] {
        for headers in [&[own][..], &[own, token, token], &[own, ("authorization", "Bearer x")]] {
            let told = of_visitor(peer, Some(b"s3cret"), headers);
            assert_eq!(told, Err(Denial::Credential), "{headers:?}");
        }
    }
    let told = of_visitor(&TCP, None, &[own, token]);
    assert_eq!(told, Err(Denial::Credential), "no configuration comes here");
    let guard = Guard { allow_uids: vec![5], ..guard() };
    let (parts, ()) = http::Request::get("/v1/auth").body(()).unwrap().into_parts();
    assert_eq!(check(&guard, &UNIX, &Proof::Visitor(None), &parts), Err(Denial::Peer));
}

// fault 132
#[test]
fn no_upgrade() {
    assert_eq!(tcp(&[("upgrade", "h2c"), ("connection", "upgrade")]), Some(Denial::Upgrade));
    assert_eq!(tcp(&[("upgrade", "websocket")]), Some(Denial::Upgrade));
}

// faults 160, 162
#[test]
fn peers_are_taken_from_the_list_and_fail_closed() {
    let allowed = |uids: &[u32], gids: &[u32], peer: Peer| {
        let guard = Guard { allow_uids: uids.into(), allow_gids: gids.into(), ..guard() };
        verdict(&guard, &peer, "/", &[("host", "localhost"), ("x-bearerd", "1")]).is_none()
    };
    assert!(allowed(&[], &[], UNIX));
    assert!(allowed(&[5, 1000], &[], UNIX));
    assert!(allowed(&[5], &[100], UNIX));
    assert!(!allowed(&[100], &[], UNIX), "a group is no user");
    assert!(!allowed(&[], &[1000], UNIX), "a user is no group");
    let member = |groups: &[u32]| Peer::Unix { uid: 7, gid: 8, groups: groups.into(), pid: None };
    assert!(allowed(&[], &[100], member(&[5, 100])), "one of its other groups");
    assert!(!allowed(&[], &[100], member(&[5, 1000])));
    assert!(!allowed(&[100], &[], member(&[100])), "a group is no user");
    let process = |uid, pid| Peer::Unix { uid, gid: 8, groups: Vec::new(), pid };
    for pid in [None, Some(1), Some(1000)] {
        assert!(allowed(&[1000], &[], process(1000, pid)), "whichever process it is");
        assert!(!allowed(&[1000], &[], process(7, pid)), "a process is no user");
    }
    assert!(!allowed(&[0], &[], Peer::Unknown));
    assert!(!allowed(&[0, 1000], &[], TCP), "the kernel has not told");
    let tcp = |uid| Peer::Tcp { port: 8420, uid: Some(uid) };
    assert!(allowed(&[5, 1000], &[], tcp(1000)));
    assert!(!allowed(&[5, 1000], &[], tcp(0)));
    assert!(!allowed(&[], &[1000], tcp(1000)), "a user is no group");
}

// section 3: who takes too much is told when to come back
#[test]
fn whoever_takes_too_much_may_come_back_within_a_second() {
    for denial in Denial::ALL {
        let takes_too_much = matches!(denial, Denial::Connections | Denial::Requests);
        let wait = takes_too_much.then_some(Duration::from_secs(1));
        assert_eq!(denial.problem().retry_after, wait, "{}", denial.label());
    }
}

#[test]
fn labels_are_unique() {
    let labels: std::collections::HashSet<_> = Denial::ALL.iter().map(|d| d.label()).collect();
    assert_eq!(labels.len(), Denial::ALL.len());
}

// fault 160
#[test]
fn where_the_owner_is_wanted_nobody_else_will_do() {
    let request = http::Request::get("/v1/teams/acme/x").header("host", "localhost");
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let unix = |uid| Peer::Unix { uid, gid: 7, groups: Vec::new(), pid: None };
    let told = |peer| check(&Guard::default(), &peer, &Proof::Owner(7), &parts);
    assert_eq!([told(unix(7)), told(unix(0))], [Ok(()), Ok(())]);
    for peer in [unix(8), Peer::Unknown, TCP] {
        assert_eq!(told(peer), Err(Denial::Peer));
    }
}

// faults 130, 133
#[test]
fn a_reader_may_type_an_address_and_no_page_can_send_one() {
    let visit = [
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-user", "?1"),
        ("sec-fetch-dest", "document"),
    ];
    let read = |headers: &[(&str, &str)]| {
        let guard = Guard { require_header: false, ..guard() };
        let mut request = http::Request::get("/").header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap().into_parts().0;
        check(&guard, &TCP, &Proof::Reader, &request)
    };
    assert_eq!(read(&[]), Ok(()));
    assert_eq!(read(&visit), Ok(()));
    let others = [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-mode", "websocket"),
        ("sec-fetch-dest", "iframe"),
        ("sec-fetch-dest", "script"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-user", "?0"),
    ];
    for other in others {
        let headers = visit.map(|known| if known.0 == other.0 { other } else { known });
        assert_eq!(read(&headers), Err(Denial::Browser), "{other:?}");
        assert_eq!(read(&[&visit[..], &[other]].concat()), Err(Denial::Browser), "{other:?} twice");
    }
    for other in [("origin", "null"), ("referer", "http://localhost/")] {
        assert_eq!(read(&[&visit[..], &[other]].concat()), Err(Denial::Browser), "{other:?}");
    }
    let forwarded = ("x-forwarded-for", "192.0.2.1");
    assert_eq!(read(&[&visit[..], &[forwarded]].concat()), Err(Denial::Forwarded));
}
