//! The commands beside the daemon: what they print and how they end.

use crate::bench::{
    Daemon, Home, Place, Stand,
    daemon::{Ended, dev, run},
    home::{any_key, program},
    terminal::Terminal,
    until,
};

/// Runs a command of the program with the home's configuration.
async fn command(home: &Home, arguments: &[&str]) -> Ended {
    run(home.command(arguments)).await
}

fn assert_one_line_of_error(ended: &Ended) {
    assert!(ended.err.starts_with("bearerd: "), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
}

#[tokio::test]
async fn token_prints_every_format() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let token = daemon.token().await;
    let expected = [
        ("raw", format!("{token}\n")),
        ("header", format!("Authorization: Bearer {token}\n")),
        ("env", format!("OKTA_BEARER_TOKEN={token}\n")),
    ];
    for (format, out) in expected {
        let ended = command(&stand.home, &["token", "--format", format]).await;
        assert_eq!((ended.code, ended.out, ended.err), (Some(0), out, String::new()));
    }
    let json = command(&stand.home, &["token", "--format", "json", "--min-ttl", "1m"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["bearer_token"], token);
    let Place::Tcp(web) = daemon.place("web") else { panic!("web is on TCP") };
    let ended = run(program(&["token", "--url", &format!("http://{web}")])).await;
    assert_eq!((ended.code, ended.out), (Some(0), format!("{token}\n")));
    let mut by_variable = program(&["token"]);
    by_variable.env("BEARERD_SOCKET", stand.home.path("apps.sock"));
    assert_eq!(run(by_variable).await.out, format!("{token}\n"));
}

#[tokio::test]
async fn status_and_refresh_tell_how_it_stands() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let status = command(&stand.home, &["status"]).await;
    assert_eq!(status.code, Some(0), "{status:?}");
    for word in ["default", "valid", "apps", "web", "ready"] {
        assert!(status.out.contains(word), "{word}: {status:?}");
    }
    assert!(!status.out.contains('\u{1b}'), "no colour but on a terminal");
    let refreshed = command(&stand.home, &["refresh", "--credential", "default"]).await;
    assert_eq!(refreshed.code, Some(0), "{refreshed:?}");
    assert!(refreshed.out.starts_with("default: new token "), "{refreshed:?}");
    let unknown = command(&stand.home, &["refresh", "--credential", "nobody"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert_one_line_of_error(&unknown);
    assert!(!status.out.contains(&daemon.token().await));
    assert_eq!(stand.issuer.mint_calls(), 2);
}

#[tokio::test]
async fn status_shows_sinks() {
    let mut stand = Stand::new().await;
    let file = stand.home.path("token");
    stand.home.set("sinks.app.path", file.to_str().unwrap());
    let daemon = stand.start().await;
    until("the sink is filled", async || daemon.status().await["sinks"][0]["good"] == true).await;
    let shown = command(&stand.home, &["status"]).await;
    let row = format!("app   fresh  {}", file.display());
    assert!(shown.out.contains(&row), "{shown:?}");
}

// fault 91: what is wrong with a new key says nothing of the one in use
#[tokio::test]
async fn status_tells_a_refused_new_key_from_the_one_in_use() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let (other, _) = any_key();
    stand.home.write_key(&any_key());
    let mut status = serde_json::Value::Null;
    until("the new key is refused", async || {
        status = daemon.status().await["credentials"][0].clone();
        status["candidate_error"].is_object()
    })
    .await;
    assert_eq!((&status["state"], &status["last_error"]), (&"valid".into(), &().into()));
    assert_eq!(status["candidate_key_id"], other);
    assert_eq!(status["candidate_error"]["reason"], "unauthorized");
    let shown = command(&stand.home, &["status"]).await;
    let words = shown.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let expected = format!("default: the newer key {other} is not in use: the issuer does not");
    assert!(words.contains(&expected) && words.contains("default valid"), "{shown:?}");
    let ready = daemon.get("telemetry", "/readyz?verbose").await;
    assert!(ready.text().contains(&format!("but: the newer key {other} is")), "{ready:?}");
    stand.home.write_key(&stand.issuer.key());
    until("it is taken back", async || {
        daemon.status().await["credentials"][0]["candidate_error"].is_null()
    })
    .await;
}

#[tokio::test]
async fn status_that_is_piped_says_what_changes_and_ends_with_its_reader() {
    let stand = Stand::new().await;
    let mut daemon = stand.start().await;
    let (reader, writer) = std::io::pipe().unwrap();
    let mut watch = stand.home.command(&["status", "--watch", "--json"]);
    watch.stdout(writer);
    let mut watching = Daemon::spawn_with_output(watch);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(reader));
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let before = next()["credentials"][0]["token_id"].clone();
    daemon.get("apps", "/v1/token").await;
    daemon.refresh("default").await;
    let after = next()["credentials"][0]["token_id"].clone();
    assert_ne!(before, after, "a request alone is no news");
    daemon.stop().await;
    until("the end is told", async || watching.log().contains("no bearerd listens")).await;
    assert!(watching.is_running(), "it may come back");
    watching.signal(rustix::process::Signal::INT);
    assert_eq!(watching.exit().await.code(), Some(0));
}

#[tokio::test]
async fn status_in_a_terminal_gives_the_cursor_back() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    let mut terminal = Terminal::start(&stand.home.command(&["status", "--watch"]));
    terminal.until_shown("Ctrl-C ends").await;
    let first = terminal.shown();
    assert!(first.contains("\u{1b}[?25l") && first.contains("\u{1b}[32mvalid\u{1b}[0m"), "{first}");
    until("it is drawn over", async || terminal.shown().matches("as of").count() > 1).await;
    assert!(terminal.shown().contains("F\u{1b}") || terminal.shown().contains("Fbearerd"));
    assert!(!terminal.shown().contains("\u{1b}[?25h"));
    terminal.types("\u{3}");
    assert_eq!(terminal.exit().await.code(), Some(0));
    terminal.until_shown("\u{1b}[?25h").await;
}

#[tokio::test]
async fn without_a_daemon_commands_end_with_69_and_say_so() {
    let home = Home::new("http://127.0.0.1:9", &any_key());
    for arguments in [&["token"][..], &["status"], &["status", "--watch"], &["refresh"], &["quit"]]
    {
        let ended = command(&home, arguments).await;
        assert_eq!(ended.code, Some(69), "{arguments:?}: {ended:?}");
        assert_one_line_of_error(&ended);
    }
    let ended = run(program(&["health", "--url", "http://127.0.0.1:9"])).await;
    assert_eq!(ended.code, Some(69), "{ended:?}");
}

#[tokio::test]
async fn without_a_token_commands_say_why() {
    let stand = Stand::new().await;
    stand.issuer.inject("401".parse::<bearerd::emulator::FaultPlan>().unwrap());
    let daemon = stand.home.start().await;
    daemon.until_failed("default").await;
    let token = command(&stand.home, &["token"]).await;
    assert_eq!((token.code, token.out.as_str()), (Some(69), ""), "{token:?}");
    assert!(token.err.contains("does not accept this API key for this team"), "{token:?}");
    assert_one_line_of_error(&token);
    let status = command(&stand.home, &["status"]).await;
    assert_eq!(status.code, Some(1), "{status:?}");
    assert!(status.out.contains("no token") && status.out.contains("not ready"), "{status:?}");
    let refresh = command(&stand.home, &["refresh"]).await;
    assert_eq!(refresh.code, Some(1), "{refresh:?}");
}

#[tokio::test]
async fn health_tells_by_its_code_and_reads_no_configuration() {
    let stand = Stand::new().await;
    stand.issuer.inject("503".parse::<bearerd::emulator::FaultPlan>().unwrap());
    let mut home = stand.home;
    home.set("credentials.default.refresh.retry_max", "1s");
    let daemon = home.start().await;
    let Place::Tcp(telemetry) = daemon.place("telemetry") else { panic!("on TCP") };
    let health = async |flag: &str| {
        let mut by_variable = program(&["health", flag]);
        by_variable.env("BEARERD_TELEMETRY__BIND", format!("tcp:{telemetry}"));
        run(by_variable).await.code
    };
    daemon.until_failed("default").await;
    assert_eq!((health("--live").await, health("--ready").await), (Some(0), Some(1)));
    stand.issuer.clear_faults();
    daemon.until_ready().await;
    assert_eq!(health("--ready").await, Some(0));
}

// faults 233, 258
#[tokio::test]
async fn wrong_usage_ends_with_2() {
    let rows: [&[&str]; 7] = [
        &[],
        &["fly"],
        &["run", "--key-secret", "canary"],
        &["token", "--format", "xml"],
        &["token", "--min-ttl", "5"],
        &["token", "--socket", "/a", "--url", "http://b"],
        &["health", "--live", "--ready"],
    ];
    for arguments in rows {
        let ended = run(program(arguments)).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"], &["man"]] {
        let ended = run(program(arguments)).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        assert!(!ended.out.is_empty(), "{arguments:?}");
    }
}

// faults 247 to 251, 255
#[tokio::test]
async fn a_wrong_configuration_ends_with_78_for_every_command() {
    let rows = [
        ("listeners.apps.bnid", "unix:/a", "bind"),
        ("listeners.apps.header_timeout", "5", "header_timeout"),
        ("listeners.web.bind", "tcp:0.0.0.0:8420", "listeners.web.bind"),
        ("credentials.default.key_secret", "canary", "key_secret"),
        ("okta.base_url", "http://issuer.example", "base_url"),
    ];
    for (key, value, named) in rows {
        let mut home = Home::new("http://127.0.0.1:9", &any_key());
        home.set(key, value);
        for arguments in [&["run"][..], &["check"], &["status"], &["token"]] {
            let ended = command(&home, arguments).await;
            assert_eq!(ended.code, Some(78), "{key} {arguments:?}: {ended:?}");
            let said = [&ended.out[..], &ended.err].concat();
            assert!(said.contains(named) && said.contains("bearerd.toml"), "{key}: {said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }
}

#[tokio::test]
async fn check_prints_origins_and_mints_only_when_asked() {
    let stand = Stand::new().await;
    let mut checked = stand.home.command(&["check"]);
    checked.env("BEARERD_OKTA__REQUEST_TIMEOUT", "7s");
    let ended = run(checked).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for words in ["BEARERD_OKTA__REQUEST_TIMEOUT", "bearerd.toml", "default", "\"7s\""] {
        assert!(ended.out.contains(words), "{words}: {}", ended.out);
    }
    assert_eq!(stand.issuer.mint_calls(), 0);
    let online = command(&stand.home, &["check", "--online"]).await;
    assert_eq!((online.code, stand.issuer.mints()), (Some(0), 1), "{online:?}");
    let (_, secret) = stand.issuer.key();
    assert!(!online.out.contains(&secret) && !ended.out.contains(&secret));
    stand.issuer.inject("503".parse::<bearerd::emulator::FaultPlan>().unwrap());
    let failed = command(&stand.home, &["check", "--online"]).await;
    assert_eq!(failed.code, Some(69), "{failed:?}");
}

#[tokio::test]
async fn dev_serves_a_token_that_the_printed_lines_fetch() {
    let (mut daemon, introduction) = dev(&[]);
    let line = introduction.lines().find(|line| line.contains("--unix-socket")).unwrap();
    let socket = line.split_whitespace().nth(2).unwrap().to_owned();
    let token = async || run(program(&["token", "--socket", &socket])).await;
    until("the token is served", async || token().await.code == Some(0)).await;
    let web = introduction.lines().find(|line| line.contains("X-Bearerd: 1")).unwrap();
    let url = web.split_whitespace().last().unwrap().trim_end_matches("/v1/token").to_owned();
    let by_url = run(program(&["token", "--url", &url])).await;
    assert_eq!(by_url.out, token().await.out);
    let (status, _) = daemon.stop().await;
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(!std::path::Path::new(&socket).parent().unwrap().exists(), "its files are gone");
}

// What the start would refuse is found before it, and nothing is made by looking.
#[tokio::test]
async fn check_looks_where_sockets_are_to_be() {
    let mut stand = Stand::new().await;
    let (open, file) = (stand.home.path("open"), stand.home.path("file"));
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::write(&file, "").unwrap();
    let quiet = command(&stand.home, &["check", "--quiet"]).await;
    assert_eq!(quiet.code, Some(0), "{quiet:?}");
    assert_eq!(quiet.out.lines().filter(|line| line.starts_with("ok: ")).count(), 1, "{quiet:?}");
    let missing = stand.home.path("missing").join("deep").join("a.sock");
    let rows = [
        (open.join("a.sock"), "has mode 0777", 78),
        (file, "regular file", 78),
        (missing.clone(), "the configuration can be used", 0),
    ];
    for (path, words, code) in rows {
        for key in ["listeners.apps.bind", "control.bind"] {
            stand.home.set(key, format!("unix:{}", path.display()));
            let ended = command(&stand.home, &["check", "--quiet"]).await;
            assert_eq!(ended.code, Some(code), "{ended:?}");
            assert!(ended.out.contains(words), "{words}: {ended:?}");
            stand.home.set(key, format!("unix:{}", stand.home.path("other.sock").display()));
        }
    }
    assert!(!missing.parent().unwrap().exists());
}
