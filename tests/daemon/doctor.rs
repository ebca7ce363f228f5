//! `bearerd doctor` against everything that it should find.

use std::{fs, os::unix::fs::PermissionsExt};

use bearerd::emulator::{FaultPlan, Role};
use serde_json::Value;

use crate::bench::{
    Home, Stand,
    daemon::run,
    home::{NOBODY, any_key},
    tls::{self, Identity, authority, leaf},
    user::is_root,
};

/// What it found, and its exit code.
struct Visit {
    code: Option<i32>,
    findings: Vec<Value>,
}

async fn doctor(home: &Home, flags: &[&str]) -> Visit {
    let mut command = home.command(&[&["doctor", "--json"], flags].concat());
    command.env("HTTPS_PROXY", "http://user:canary@192.0.2.1:3128");
    let ended = run(command).await;
    assert!(!ended.out.contains("canary") && ended.err.is_empty(), "{ended:?}");
    let report: Value =
        serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    assert_eq!(report["exit_code"].as_i64(), ended.code.map(i64::from), "{report}");
    Visit { code: ended.code, findings: report["findings"].as_array().unwrap().clone() }
}

impl Visit {
    /// Looks for a finding whose words hold these; tells its remedy, or the rest of its words.
    #[track_caller]
    fn has(&self, mark: &str, what: &str) -> String {
        let fits = |finding: &&Value| {
            finding["mark"] == mark && finding["what"].as_str().unwrap().contains(what)
        };
        let found = self.findings.iter().find(fits);
        let found = found.unwrap_or_else(|| panic!("{mark}, {what}: {:#?}", self.findings));
        found["remedy"].as_str().or(found["what"].as_str()).unwrap().to_owned()
    }

    #[track_caller]
    fn has_no_failure(&self) {
        let failed = self.findings.iter().any(|finding| finding["mark"] == "fail");
        assert!(!failed && self.code == Some(0), "{:?}: {:#?}", self.code, self.findings);
    }
}

#[tokio::test]
async fn all_is_well_and_it_says_of_what() {
    let mut stand = Stand::new().await;
    let state = stand.home.path("state");
    fs::create_dir(&state).unwrap();
    stand.home.set("listeners.web.serve", vec!["token", "proxy"]);
    stand.home.unset("listeners.web.bind");
    stand.home.set("listeners.web.bind", format!("unix:{}", stand.home.path("web.sock").display()));
    let _daemon = stand.start().await;
    let visit = doctor(&stand.home, &[]).await;
    visit.has_no_failure();
    for what in [
        "can be used: 1 credential, 2 listeners",
        "name: 127.0.0.1",
        "connection: 127.0.0.1:",
        "Okta's API",
        "agrees with the issuer's",
        "proxy: none needed; HTTPS_PROXY is ignored",
        "holds key",
        "a token for 59m 59s in",
        "the service user robot's",
        "may list service users",
        "runs as process",
        "it is ready",
        "apps.sock answers; its mode is 0660",
        "web.sock answers",
        "descriptors are open",
        "state can be used",
    ] {
        visit.has("ok", what);
    }
    let text = run(stand.home.command(&["doctor"])).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.out.lines().all(|line| line.chars().count() <= 80), "{}", text.out);
    assert!(text.out.ends_with("all is well\n") && !text.out.contains('\u{1b}'), "{}", text.out);
}

#[tokio::test]
async fn without_a_daemon_it_says_that_none_runs() {
    let stand = Stand::new().await;
    let visit = doctor(&stand.home, &[]).await;
    assert_eq!(visit.code, Some(69));
    assert!(visit.has("fail", "no bearerd listens at").contains("bearerd run"));
    visit.has("skip", "apps.sock can be listened on");
    visit.has("ok", "mint: a token for");
}

#[tokio::test]
async fn a_wrong_key_is_told_from_a_wrong_file() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    stand.home.write_key(&any_key());
    let wrong_key = doctor(&stand.home, &[]).await;
    assert_eq!(wrong_key.code, Some(78));
    wrong_key.has("ok", "holds key");
    assert!(wrong_key.has("fail", "mint: the issuer does not accept").contains("replace the key"));
    stand.home.write_key(&stand.issuer.key());
    let key = stand.home.path("key.json");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let wrong_mode = doctor(&stand.home, &[]).await;
    assert_eq!(wrong_mode.code, Some(78));
    assert!(wrong_mode.has("fail", "has mode 0644").contains("chmod"));
    wrong_mode.has("skip", "mint: not tried");
    wrong_mode.has("ok", "Okta's API");
    fs::remove_file(&key).unwrap();
    assert!(
        doctor(&stand.home, &[]).await.has("fail", "key.json does not exist").contains("create")
    );
}

#[tokio::test]
async fn what_need_not_work_only_warns() {
    let mut stand = Stand::new().await;
    stand.home.credential("spare", Some("http://127.0.0.1:9"));
    stand.home.set("credentials.spare.required", false);
    let _daemon = stand.start().await;
    let visit = doctor(&stand.home, &[]).await;
    visit.has_no_failure();
    visit.has("warn", "127.0.0.1:9: connection refused");
}

#[tokio::test]
async fn a_wrong_configuration_is_all_that_is_told() {
    let mut stand = Stand::new().await;
    stand.home.set("listeners.apps.colour", "red");
    let visit = doctor(&stand.home, &[]).await;
    assert_eq!((visit.code, visit.findings.len() > 2), (Some(78), false));
    visit.has("fail", "listeners.apps.colour");
}

// fault 200
#[tokio::test]
async fn an_issuer_that_is_down_is_told_from_one_that_is_nowhere() {
    let mut home = Home::new("http://127.0.0.1:9", &any_key());
    let down = doctor(&home, &[]).await;
    assert_eq!(down.code, Some(69));
    assert!(down.has("fail", "127.0.0.1:9: connection refused").contains("nobody listens there"));
    assert!(down.has("warn", "HTTPS_PROXY is set").contains("set okta.proxy"));
    down.has("skip", "mint: not tried");
    home.set("okta.base_url", "https://no-such-host.invalid").set("okta.connect_timeout", "3s");
    let nowhere = doctor(&home, &[]).await;
    assert_eq!(nowhere.code, Some(69));
    assert!(nowhere.has("fail", "could not be looked up").contains("resolv.conf"));
}

#[tokio::test]
async fn an_authority_that_nobody_knows_is_named() {
    let ca = authority("Middlebox of Tests");
    let issuer = tls::issuer(Identity::signed(&leaf("127.0.0.1"), &ca), "token").await;
    let home = Home::new(&tls::url(&issuer), &any_key());
    let visit = doctor(&home, &[]).await;
    assert_eq!(visit.code, Some(69));
    let remedy = visit.has("fail", "nobody we trust signed the certificate");
    assert!(remedy.contains("«Middlebox of Tests»") && remedy.contains("okta.ca_file"), "{remedy}");
    visit.has("fail", "signed by «Middlebox of Tests»");
    let mut home = home;
    let ca_file = home.replace("ca.pem", ca.pem().as_bytes(), 0o644);
    home.set("okta.ca_file", ca_file.to_str().unwrap());
    doctor(&home, &[]).await.has("ok", "TLS: certificate of");
}

#[tokio::test]
async fn a_page_where_the_api_should_be_is_named() {
    let stand = Stand::new().await;
    stand.issuer.inject("html:10".parse::<FaultPlan>().unwrap());
    let visit = doctor(&stand.home, &[]).await;
    assert_eq!(visit.code, Some(69));
    assert!(visit.has("fail", "a page for people (200)").contains("sign-in page"));
}

#[tokio::test]
async fn clocks_that_differ_are_told_and_no_failure() {
    let stand = Stand::with(|options| options.clock_skew = 600).await;
    let _daemon = stand.start().await;
    let visit = doctor(&stand.home, &[]).await;
    visit.has_no_failure();
    assert!(visit.has("warn", "this machine's is ").contains("NTP"));
    visit.has("warn", "behind the issuer's");
}

#[tokio::test]
async fn a_token_without_a_role_is_as_good() {
    let stand = Stand::with(|options| options.role = Role::None).await;
    let _daemon = stand.start().await;
    let visit = doctor(&stand.home, &[]).await;
    visit.has_no_failure();
    visit.has("ok", "may not list service users, nor need it");
}

#[tokio::test]
async fn it_tells_what_a_user_may_do_at_each_listener() {
    if !is_root() {
        return;
    }
    let mut stand = Stand::new().await;
    stand.home.set("listeners.apps.mode", "0666");
    stand.home.set("listeners.web.allow_uids", vec![1]);
    let _daemon = stand.start().await;
    let home = stand.home.path("key.json");
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(home.parent().unwrap(), closed).unwrap();
    let nobody = NOBODY.to_string();
    let as_user = ["--as-user", &nobody];
    let closed = doctor(&stand.home, &as_user).await;
    assert_eq!(closed.code, Some(77));
    assert!(closed.has("fail", "may not enter").contains("chmod o+x"));
    assert!(closed.has("fail", "is neither in").contains("65534"));
    stand.home.open_to_all();
    let open = doctor(&stand.home, &as_user).await;
    open.has("ok", "may ask unix:");
    let root = doctor(&stand.home, &["--as-user", "root"]).await;
    root.has("ok", "may ask unix:");
    let unknown = run(stand.home.command(&["doctor", "--as-user", "no-such-user"])).await;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
}
