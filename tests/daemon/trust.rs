//! Group B, TLS: the key goes only to an issuer whose certificate is good.

use std::{io, time::Duration};

use rustix::process::Signal;
use tokio::{io::AsyncWriteExt, time::sleep};

use crate::bench::{
    Daemon, Home, RawIssuer,
    daemon::run,
    home::any_key as key,
    tls::{self, Authority, Identity, answer_as_tls11, authority, expired, intermediate, leaf},
    until,
};
use crate::descriptors::processor;

const HERE: &str = "127.0.0.1";

/// Makes a home that trusts an authority, with a credential for each issuer if there are any.
fn home(ca: &Authority, issuers: &[(&'static str, RawIssuer)]) -> Home {
    let mut home = Home::new("https://127.0.0.1:9", &key());
    let ca_file = home.replace("ca.pem", ca.pem().as_bytes(), 0o644);
    home.set("okta.ca_file", ca_file.to_str().unwrap())
        .set("okta.connect_timeout", "2s")
        .set("okta.request_timeout", "2s");
    for (name, issuer) in issuers {
        home.credential(name, Some(&tls::url(issuer)));
    }
    let names: Vec<_> = issuers.iter().map(|(name, _)| (*name).to_owned()).collect();
    if !names.is_empty() {
        home.serve(&names);
    }
    home
}

async fn first_reason(daemon: &Daemon, credential: &str) -> String {
    daemon.until_failed(credential).await.swap_remove(0).0
}

async fn raw_token(daemon: &Daemon, credential: &str) -> String {
    let path = format!("/v1/token?format=raw&credential={credential}");
    daemon.get("apps", &path).await.text().to_owned()
}

// faults 48, 59
#[tokio::test]
async fn a_bad_certificate_gets_no_byte_of_the_request() {
    let (ca, stranger) = (authority("test root"), authority("unknown root"));
    let between = intermediate("between", &ca);
    let good = leaf(HERE);
    let bad = [
        ("expired", Identity::signed(&expired(good.clone()), &ca)),
        ("notyet", Identity::signed(&tls::not_yet(good.clone()), &ca)),
        ("wrongname", Identity::signed(&leaf("issuer.example"), &ca)),
        ("wrongaddress", Identity::signed(&leaf("127.0.0.2"), &ca)),
        ("wildcard", Identity::signed(&leaf("*.0.0.1"), &ca)),
        ("selfsigned", Identity::self_signed(&good)),
        ("unknownca", Identity::signed(&good, &stranger)),
        ("missinglink", Identity::signed(&good, &between)),
    ];
    let mut issuers = Vec::new();
    for (name, identity) in bad {
        issuers.push((name, tls::issuer(identity, "stolen").await));
    }
    let home = home(&ca, &issuers);
    let daemon = home.start().await;
    for (name, issuer) in &issuers {
        assert_eq!(first_reason(&daemon, name).await, "tls", "{name}");
        assert!(issuer.connections() > 0 && issuer.bytes().is_empty(), "{name}");
        let flaw = match *name {
            "expired" => "has expired",
            "notyet" => "not valid yet",
            "wrongname" | "wrongaddress" | "wildcard" => "for another name",
            _ => "nobody we trust signed",
        };
        let said = daemon.get("telemetry", "/readyz?verbose").await.text().to_owned();
        let line = said.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.contains(flaw), "whoever reads it learns what to mend: {line}");
    }
}

// fault 48: and the good ones do, so the test above can fail
#[tokio::test]
async fn a_good_certificate_is_trusted_through_the_ca_file() {
    let ca = authority("test root");
    let between = intermediate("between", &ca);
    let issuers = [
        ("direct", tls::issuer(Identity::signed(&leaf(HERE), &ca), "direct").await),
        ("chained", {
            let identity = Identity::signed(&leaf(HERE), &between).with(&between);
            tls::issuer(identity, "chained").await
        }),
    ];
    let home = home(&ca, &issuers);
    let daemon = home.start().await;
    daemon.until_ready().await;
    for (name, _) in &issuers {
        assert_eq!(raw_token(&daemon, name).await, *name);
    }
}

// fault 58
#[tokio::test]
async fn chains_without_an_end_are_given_up_at_little_cost() {
    let ca = authority("test root");
    let between = intermediate("between", &ca);
    let megabyte = {
        let mut identity = Identity::signed(&leaf(HERE), &between);
        while identity.chain.iter().map(|der| der.len()).sum::<usize>() < 1_000_000 {
            identity = identity.with(&between);
        }
        identity
    };
    let tower = {
        let floors = std::iter::successors(Some(intermediate("floor 0", &ca)), |below| {
            Some(intermediate("floor", below))
        });
        let floors: Vec<_> = floors.take(100).collect();
        let identity = Identity::signed(&leaf(HERE), &floors[99]);
        floors.iter().rev().fold(identity, Identity::with)
    };
    let maze = {
        let (key, doors) = tls::maze(100);
        let mut identity = Identity::signed(&leaf(HERE), &key);
        identity.chain.extend(doors);
        identity
    };
    let issuers = [
        ("megabyte", tls::issuer(megabyte, "stolen").await),
        ("tower", tls::issuer(tower, "stolen").await),
        ("maze", tls::issuer(maze, "stolen").await),
    ];
    let home = home(&ca, &issuers);
    let daemon = home.start().await;
    for (name, issuer) in &issuers {
        assert_eq!(first_reason(&daemon, name).await, "tls", "{name}");
        let before = processor(&daemon);
        for _ in 0..5 {
            daemon.refresh(name).await;
        }
        let used = (processor(&daemon) - before) / 5.0;
        // Far less is enough for a release; without an end it would be minutes.
        assert!(used < 5.0, "{name}: {used} s");
        assert!(issuer.bytes().is_empty(), "{name}");
    }
}

// faults 45, 46, 49
#[tokio::test]
async fn handshakes_that_fail_are_told_apart_and_bounded() {
    let issuers = [
        (
            "tls11",
            RawIssuer::start(|mut stream, _, seen| async move {
                seen.read_some(&mut stream).await?;
                answer_as_tls11(&mut stream).await?;
                loop {
                    seen.read_some(&mut stream).await?;
                }
            })
            .await,
        ),
        (
            "plain",
            RawIssuer::start(|mut stream, _, seen| async move {
                seen.read_some(&mut stream).await?;
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
            })
            .await,
        ),
        ("silent", RawIssuer::sink().await),
        (
            "reset",
            RawIssuer::start(|mut stream, _, seen| async move {
                seen.read_some(&mut stream).await?;
                stream.set_zero_linger()
            })
            .await,
        ),
        ("closed", RawIssuer::start(|_, _, _| async { io::Result::Ok(()) }).await),
    ];
    let mut home = home(&authority("test root"), &issuers);
    home.set("okta.connect_timeout", "1s").set("okta.request_timeout", "500ms");
    let daemon = home.start().await;
    let reasons = ["tls", "tls", "timeout", "connect", "connect"];
    for ((name, issuer), reason) in issuers.iter().zip(reasons) {
        assert_eq!(first_reason(&daemon, name).await, reason, "{name}");
        // Records of application data are of type 23; the hello and an alert are not.
        assert!(!String::from_utf8_lossy(&issuer.bytes()).contains("service_token"), "{name}");
    }
}

// fault 52
#[tokio::test]
async fn roots_and_key_logs_of_the_environment_are_ignored() {
    let ca = authority("test root");
    let issuers = [("known", tls::issuer(Identity::signed(&leaf(HERE), &ca), "known").await)];
    let mut home = home(&ca, &issuers);
    let (ca_file, key_log) = (home.path("ca.pem"), home.path("keys.log"));
    let mut command = home.command(&["run"]);
    command.env("SSLKEYLOGFILE", &key_log);
    let mut daemon = Daemon::start(command).await;
    daemon.until_ready().await;
    assert!(!key_log.exists(), "a log of session keys was written");
    assert!(daemon.stop().await.0.success());

    home.unset("okta.ca_file");
    let mut command = home.command(&["run"]);
    let directory = home.path("");
    command.env("SSL_CERT_FILE", &ca_file).env("SSL_CERT_DIR", directory);
    command.env("SSLKEYLOGFILE", &key_log);
    let daemon = Daemon::start(command).await;
    assert_eq!(first_reason(&daemon, "known").await, "tls");
    assert!(!key_log.exists(), "a log of session keys was written");
}

// fault 50
#[tokio::test]
async fn no_setting_turns_verification_off() {
    let home = home(&authority("test root"), &[]);
    let names = ["INSECURE", "VERIFY", "TLS_VERIFY", "SKIP_VERIFY", "DANGER_ACCEPT_INVALID_CERTS"];
    for name in names {
        let mut command = home.command(&["check", "--quiet"]);
        command.env(format!("BEARERD_OKTA__{name}"), "true");
        let ended = run(command).await;
        assert_eq!(ended.code, Some(78), "{name}: {ended:?}");
        assert!(ended.err.contains(name), "{ended:?}");
    }
    for flag in ["--insecure", "-k", "--no-verify"] {
        let ended = run(home.command(&["run", flag])).await;
        assert_eq!(ended.code, Some(2), "{flag}: {ended:?}");
    }
}

// fault 51
#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_told_at_start() {
    let ca = authority("test root");
    let home = home(&ca, &[]);
    let rows: [(&str, &[u8]); 3] = [
        ("empty.pem", b""),
        ("garbage.pem", b"-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END"),
        ("key.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
    ];
    for (name, content) in rows {
        home.replace(name, content, 0o644);
    }
    for name in ["missing.pem", "empty.pem", "garbage.pem", "key.pem"] {
        let path = home.path(name);
        let set = format!("okta.ca_file={}", path.display());
        for command in ["run", "check"] {
            let ended = run(home.command(&[command, "--set", &set])).await;
            assert_eq!(ended.code, Some(78), "{command} {name}: {ended:?}");
            let said = [&ended.out[..], &ended.err].concat();
            assert!(said.contains(path.to_str().unwrap()), "{said}");
            assert!(said.contains("okta.ca_file"), "{said}");
        }
    }
}

// fault 51: while it runs, a broken file changes nothing
#[tokio::test]
async fn a_ca_file_that_breaks_later_leaves_the_old_roots_in_force() {
    let ca = authority("test root");
    let identity = Identity::signed(&leaf(HERE), &ca);
    let issuers = [("kept", tls::issuer(identity, "kept").await)];
    let mut home = home(&ca, &issuers);
    let daemon = home.start().await;
    daemon.until_ready().await;
    home.replace("broken.pem", b"nothing", 0o644);
    let broken = home.path("broken.pem");
    home.set("okta.ca_file", broken.to_str().unwrap()).write();
    daemon.signal(Signal::HUP);
    until("the reload was refused", async || daemon.has_said("the old configuration stays")).await;
    sleep(Duration::from_millis(10)).await;
    assert!(daemon.refresh("kept").await["token_id"].is_string());
    assert_eq!(raw_token(&daemon, "kept").await, "kept");
}
