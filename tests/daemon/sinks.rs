//! Token files: whole, with the mode that was asked for, told of, and tried again.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    time::Duration,
};

use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use toml::Value;

use crate::{
    bench::{Daemon, Stand, daemon::run, home::NOBODY, scale, skip, until},
    reload::reload,
};

/// Adds a sink that writes `name` into the home.
fn add_sink(stand: &mut Stand, sink: &str, name: &str, more: &[(&str, Value)]) {
    let path = stand.home.path(name).to_str().unwrap().to_owned();
    stand.home.set(&format!("sinks.{sink}.path"), path);
    for (key, value) in more {
        stand.home.set(&format!("sinks.{sink}.{key}"), value.clone());
    }
}

async fn until_holds(path: &Path, text: &str) {
    until("the file holds it", async || fs::read_to_string(path).is_ok_and(|it| it == text)).await;
}

fn left_overs(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| name.contains(".draft-")).collect()
}

#[tokio::test]
async fn every_format_is_what_the_api_answers() {
    let mut stand = Stand::new().await;
    for format in ["raw", "json", "header", "env", "oauth2"] {
        add_sink(&mut stand, format, &format!("token.{format}"), &[("format", format.into())]);
    }
    let daemon = stand.start().await;
    let token = daemon.token().await;
    until_holds(&stand.home.path("token.raw"), &token).await;
    let header = format!("Authorization: Bearer {token}\n");
    until_holds(&stand.home.path("token.header"), &header).await;
    until_holds(&stand.home.path("token.env"), &format!("OKTA_BEARER_TOKEN={token}\n")).await;
    for (format, field) in [("json", "bearer_token"), ("oauth2", "access_token")] {
        let path = stand.home.path(&format!("token.{format}"));
        until("it is written", async || path.exists()).await;
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(json[field], token.as_str());
        assert!(json["expires_in"].as_u64().unwrap() > 3500);
    }
    let mode = fs::metadata(stand.home.path("token.raw")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o640);
}

// faults 111 and 84: mode, owner and group, each on its own, whatever the umask
#[tokio::test]
async fn mode_owner_and_group_are_set_each_on_its_own() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can give files away");
    }
    let mut stand = Stand::new().await;
    let nobody = i64::from(NOBODY);
    add_sink(&mut stand, "mode", "mode", &[("mode", "0644".into())]);
    add_sink(&mut stand, "owner", "owner", &[("owner", nobody.into()), ("mode", "0400".into())]);
    add_sink(&mut stand, "group", "group", &[("group", nobody.into())]);
    let daemon = stand.start().await;
    let token = daemon.token().await;
    for (name, mode, owner, group) in
        [("mode", 0o644, 0, 0), ("owner", 0o400, NOBODY, 0), ("group", 0o640, 0, NOBODY)]
    {
        until_holds(&stand.home.path(name), &token).await;
        let stat = fs::metadata(stand.home.path(name)).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (mode, owner, group), "{name}");
    }
}

#[tokio::test]
async fn a_new_token_replaces_the_old_and_an_outage_leaves_it() {
    let mut stand = Stand::with(|options| options.lifetime = Duration::from_secs(3)).await;
    add_sink(&mut stand, "app", "token", &[]);
    let daemon = stand.start().await;
    let path = stand.home.path("token");
    until_holds(&path, &daemon.token().await).await;
    assert!(daemon.refresh("default").await["token_id"].is_string());
    let last = daemon.token().await;
    until_holds(&path, &last).await;
    stand.issuer.inject("503".parse::<bearerd::emulator::FaultPlan>().unwrap());
    let told = async || daemon.get("telemetry", "/readyz?verbose").await.text().to_owned();
    until("it runs out", async || told().await.contains("a token that has run out")).await;
    assert!(told().await.contains("[-] sink app: "), "{}", told().await);
    assert!(!fs::read_to_string(&path).unwrap().is_empty(), "the file stays");
    stand.issuer.clear_faults();
    until("it is back", async || told().await.contains("[+] sink app: ")).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), daemon.token().await);
}

/// 5 s of refreshing with a reader in a tight loop: the old token or the new one, nothing else.
#[tokio::test]
async fn no_reader_sees_a_torn_file() {
    let mut stand = Stand::with(|options| options.lifetime = Duration::from_secs(1)).await;
    stand.home.set("credentials.default.refresh.min_interval", "50ms");
    add_sink(&mut stand, "app", "token", &[("format", "json".into())]);
    let daemon = stand.start().await;
    let path = stand.home.path("token");
    until("it is written", async || path.exists()).await;
    let end = Instant::now() + Duration::from_secs(scale("BEARERD_TEST_SINK_SECONDS", 2) as u64);
    let (mut reads, mut tokens) = (0, std::collections::BTreeSet::new());
    while Instant::now() < end {
        let text = fs::read(&path).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&text).expect("a whole document");
        tokens.insert(json["token_id"].as_str().unwrap().to_owned());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        reads += 1;
        if reads % 64 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(reads > 100 && tokens.len() > 1, "{reads} reads, {} tokens", tokens.len());
    drop(daemon);
}

// fault 208: no stray file, no wider mode, after any number of kills
#[tokio::test]
async fn kills_at_random_leave_nothing_behind() {
    let mut stand = Stand::with(|options| options.lifetime = Duration::from_secs(1)).await;
    stand.home.set("credentials.default.refresh.min_interval", "5ms");
    add_sink(&mut stand, "app", "sub/token", &[]);
    let path = stand.home.path("sub/token");
    for round in 0..scale("BEARERD_TEST_SINK_KILLS", 10) {
        let mut daemon = stand.home.start().await;
        sleep(Duration::from_millis(3 + (round as u64 * 7) % 40)).await;
        daemon.signal(Signal::KILL);
        daemon.exit().await;
        for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().mode() & 0o7777;
            assert!(mode & !0o640 == 0, "{mode:o}");
        }
    }
    let mut daemon = stand.start().await;
    until("it is written", async || path.exists()).await;
    assert!(daemon.stop().await.0.success());
    assert_eq!(left_overs(path.parent().unwrap()), Vec::<String>::new());
}

// faults 156, 158: what cannot be written is refused at the start, with what to do
#[tokio::test]
async fn what_cannot_be_written_is_refused_at_the_start() {
    let shared = |stand: &Stand| {
        fs::create_dir(stand.home.path("shared")).unwrap();
        let all = fs::Permissions::from_mode(0o777);
        fs::set_permissions(stand.home.path("shared"), all).unwrap();
    };
    for (name, said) in [
        ("dir", "no regular file"),
        ("link", "no regular file"),
        ("key.json/token", "is not a directory"),
    ] {
        let mut stand = Stand::new().await;
        add_sink(&mut stand, "app", name, &[]);
        match name {
            "dir" => fs::create_dir(stand.home.path(name)).unwrap(),
            "link" => symlink("/etc/x", stand.home.path(name)).unwrap(),
            _ => {}
        }
        let ended = run(stand.home.command(&["run"])).await;
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.err.contains("sink: ") && ended.err.contains(said), "{ended:?}");
    }
    let mut stand = Stand::new().await;
    add_sink(&mut stand, "app", "shared/token", &[]);
    shared(&stand);
    let ended = run(stand.home.command(&["run"])).await;
    assert!(ended.code == Some(78) && ended.err.contains("0777"), "{ended:?}");
    stand.home.set("sinks.app.allow_shared_directory", true);
    let daemon = stand.start().await;
    until_holds(&stand.home.path("shared/token"), &daemon.token().await).await;
}

fn words(words: &[&str]) -> Value {
    Value::from(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_command_is_told_of_each_change_without_a_shell() {
    let mut stand = Stand::new().await;
    let out = stand.home.path("out").to_str().unwrap().to_owned();
    let script = format!("env >> {out}; echo \"$0 $1\" >> {out}; cat >> {out}; id -u >> {out}");
    let command = words(&["sh", "-c", &script, "a b", "$HOME `id` ;"]);
    add_sink(&mut stand, "app", "token", &[("on_change", command)]);
    let daemon = stand.start().await;
    let told = || fs::read_to_string(&out).unwrap_or_default();
    until("it is told", async || told().ends_with("\n0\n") || told().lines().count() > 7).await;
    let token = daemon.token().await;
    let text = told();
    let line = |wanted: &str| text.lines().any(|line| line.starts_with(wanted));
    for wanted in [
        "BEARERD_SINK=app",
        "BEARERD_CREDENTIAL=default",
        &format!("BEARERD_FILE={}", stand.home.path("token").display()),
        "BEARERD_EXPIRES_AT=20",
        "PATH=",
        "a b $HOME `id` ;",
    ] {
        assert!(line(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains(&token), "a command is not told the token");
    let names = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let ours = ["BEARERD_SINK", "BEARERD_CREDENTIAL", "BEARERD_FILE", "BEARERD_EXPIRES_AT"];
    let usual = ["PATH", "PWD", "_", "SHLVL", "OLDPWD"];
    assert!(names.clone().all(|name| ours.contains(&name) || usual.contains(&name)), "{text}");
    let before = told().len();
    assert!(daemon.refresh("default").await["token_id"].is_string());
    until("it is told again", async || told().len() >= 2 * before).await;
    let labels = [("command", "sinks.app.on_change"), ("result", "success")];
    until("it is counted", async || {
        daemon.metrics().await.get("bearerd_command_runs_total", &labels) == 2.0
    })
    .await;
}

#[tokio::test]
async fn a_command_that_fails_is_told_and_tried_again() {
    let mut stand = Stand::new().await;
    let mark = stand.home.path("mark").to_str().unwrap().to_owned();
    let command = words(&["sh", "-c", &format!("test -e {mark} || exit 3")]);
    add_sink(&mut stand, "app", "token", &[("on_change", command)]);
    add_sink(&mut stand, "none", "none", &[("on_change", words(&["/no/such/program"]))]);
    let daemon = stand.start().await;
    let told = async || daemon.get("telemetry", "/readyz?verbose").await.text().to_owned();
    until("it is told", async || {
        let text = told().await;
        text.contains("sinks.app.on_change did not succeed: it ended with code 3")
            && text.contains("sinks.none.on_change did not succeed: it cannot be started (errno 2)")
    })
    .await;
    assert!(daemon.is_ready().await, "clients are served all the same");
    fs::write(&mark, "").unwrap();
    until("it is in order", async || told().await.contains("[+] sink app: ")).await;
    until("it is said", async || daemon.has_said("the sink is in order again")).await;
    let count = |result| [("command", "sinks.app.on_change"), ("result", result)];
    let metrics = daemon.metrics().await;
    assert!(metrics.get("bearerd_command_runs_total", &count("failure")) >= 1.0);
    assert!(
        metrics.get("bearerd_sink_writes_total", &[("sink", "app"), ("result", "success")]) == 1.0
    );
}

// fault 239: the daemon itself can run nothing, and its helper nothing but what is configured
#[tokio::test]
async fn without_commands_there_is_no_helper_and_it_ends_with_the_daemon() {
    let mut stand = Stand::new().await;
    let daemon = stand.start().await;
    assert_eq!(children(&daemon), Vec::<u32>::new());
    drop(daemon);
    add_sink(&mut stand, "app", "token", &[("on_change", words(&["sleep", "60"]))]);
    let mut daemon = stand.start().await;
    let helper = children(&daemon);
    assert_eq!(helper.len(), 1);
    until("the command runs", async || !children_of(helper[0]).is_empty()).await;
    let command = children_of(helper[0])[0];
    // Another command needs another helper.
    stand.home.set("sinks.app.on_change", words(&["sleep", "61"]));
    assert!(!reload(&stand, &daemon).await);
    let said = daemon.events("the old configuration stays")[0]["problem"].to_string();
    assert!(said.contains("needs a restart: sinks.app.on_change"), "{said}");
    assert!(daemon.stop().await.0.success());
    until("helper and command are gone", async || {
        [helper[0], command].iter().all(|pid| is_gone(*pid))
    })
    .await;
}

fn is_gone(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn children(daemon: &Daemon) -> Vec<u32> {
    children_of(daemon.pid())
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

#[tokio::test]
async fn sinks_come_and_go_with_a_reload() {
    let mut stand = Stand::new().await;
    add_sink(&mut stand, "one", "one", &[]);
    let daemon = stand.start().await;
    let first = daemon.token().await;
    until_holds(&stand.home.path("one"), &first).await;
    let with_one = stand.home.saved();
    add_sink(&mut stand, "two", "two", &[("format", "header".into())]);
    assert!(reload(&stand, &daemon).await);
    until_holds(&stand.home.path("two"), &format!("Authorization: Bearer {first}\n")).await;
    stand.home.restore(&with_one);
    assert!(reload(&stand, &daemon).await);
    assert!(daemon.refresh("default").await["token_id"].is_string());
    until_holds(&stand.home.path("one"), &daemon.token().await).await;
    let two = fs::read_to_string(stand.home.path("two")).unwrap();
    assert!(two.contains(&first), "what is no longer configured stays as it was");
}

// fault 104: a full disk costs the file, nothing else
#[tokio::test]
async fn a_disk_that_is_full_for_a_while_is_tried_again() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can mount a small file system");
    }
    let mut stand = Stand::new().await;
    let small = stand.home.path("small");
    fs::create_dir(&small).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k,mode=755", "none"])
        .arg(&small)
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        return skip("no file system can be mounted here");
    }
    add_sink(&mut stand, "app", "small/token", &[]);
    let daemon = stand.start().await;
    until_holds(&small.join("token"), &daemon.token().await).await;
    let before = fs::read_to_string(small.join("token")).unwrap();
    fs::write(small.join("filler"), vec![0; 8 << 10]).unwrap();
    fs::write(small.join("more"), vec![0; 8 << 10]).ok();
    assert!(daemon.refresh("default").await["token_id"].is_string());
    let told = async || daemon.get("telemetry", "/readyz?verbose").await.text().to_owned();
    until("it is told", async || told().await.contains("cannot be written")).await;
    assert_eq!(fs::read_to_string(small.join("token")).unwrap(), before, "never half a file");
    fs::remove_file(small.join("filler")).unwrap();
    fs::remove_file(small.join("more")).ok();
    until_holds(&small.join("token"), &daemon.token().await).await;
    assert_eq!(left_overs(&small), Vec::<String>::new());
    drop(daemon);
    std::process::Command::new("umount").arg(&small).status().unwrap();
}
