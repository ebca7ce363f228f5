//! Group J: with every log line there is, no secret comes out but where a token is asked for.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::FileExt, process::ExitStatusExt},
    process::Command,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bearerd::emulator::FaultPlan;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::bench::{Daemon, Place, Reply, Stand, Visitor, daemon::run, skip, until, until_ok};

/// What must not come out: key secrets, tokens, and what gives them away.
#[derive(Default)]
struct Canaries(Vec<String>);

impl Canaries {
    /// Notes a secret in every shape in which it could leak.
    fn note(&mut self, secret: &str) {
        let bytes = secret.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let escaped = secret.replace('/', "\\/");
        self.0.extend([secret.to_owned(), STANDARD.encode(secret), hex, list, escaped]);
    }

    fn assert_none_in(&self, what: &str, text: &str) {
        for canary in &self.0 {
            assert!(!text.contains(canary), "{what} holds a secret");
            // A part of it is a secret too.
            let part = &canary[..canary.len().min(24)];
            assert!(!text.contains(part), "{what} holds the beginning of a secret");
        }
    }
}

/// All that anybody was told who did not ask for a token.
#[derive(Default)]
struct Heard(Vec<(String, String)>);

impl Heard {
    fn note(&mut self, what: impl Into<String>, reply: &Reply) {
        let headers = format!("{:?}", reply.headers);
        let body = String::from_utf8_lossy(&reply.body);
        self.0.push((what.into(), format!("{headers}\n{body}")));
    }

    /// Looks at everything that operators and probes can see.
    async fn look_around(&mut self, daemon: &Daemon) {
        let places = [
            ("telemetry", "/metrics"),
            ("telemetry", "/readyz?verbose"),
            ("telemetry", "/livez?verbose"),
            ("control", "/v1/status"),
            ("apps", "/v1/ready"),
            ("web", "/nothing"),
            ("control", "/nothing"),
        ];
        for (listener, path) in places {
            self.note(path, &daemon.get(listener, path).await);
        }
    }
}

/// The ways in which an issuer can throw our own secrets back at us, or fail near them.
const FAULTS: [&str; 12] = [
    "echo",
    "echo=400",
    "echo=500",
    "401",
    "503",
    "429",
    "html",
    "cut-off",
    "duplicate-token",
    "bad-token",
    "team=other",
    "307=http://127.0.0.1:9/",
];

// faults 32, 225, 227, 240, 241
#[tokio::test]
async fn at_trace_level_no_secret_is_anywhere_but_in_answers_that_carry_the_token() {
    let mut stand = Stand::new().await;
    stand.home.set("log.level", "trace");
    stand.home.set("credentials.default.refresh.retry_max", "1s");
    let mut daemon = stand.start().await;
    let (mut canaries, mut heard) = (Canaries::default(), Heard::default());
    canaries.note(&stand.issuer.key().1);
    canaries.note(&daemon.token().await);
    heard.look_around(&daemon).await;

    for fault in FAULTS {
        stand.issuer.inject(fault.parse::<FaultPlan>().unwrap());
        refresh_once_more(&daemon).await;
        heard.look_around(&daemon).await;
        stand.issuer.clear_faults();
    }
    report_in_odd_ways(&daemon, &mut heard).await;
    break_the_key_file(&stand, &daemon, &mut canaries, &mut heard).await;
    heard.look_around(&daemon).await;
    canaries.note(&daemon.token().await);
    stand.home.set("log.level", "nonsense=[");
    stand.home.write();
    daemon.signal(Signal::HUP);
    until("the reload is refused", async || daemon.has_said("the old configuration stays")).await;

    for arguments in [&["status"][..], &["status", "--json"], &["refresh"], &["check"]] {
        let ended = run(stand.home.command(arguments)).await;
        heard.0.push((arguments.join(" "), [ended.out, ended.err].concat()));
    }
    assert!(daemon.stop().await.0.success());
    let log = daemon.log();
    assert!(log.contains("\"TRACE\"") && log.contains("hyper"), "the log is at trace level");
    canaries.assert_none_in("the log", &log);
    for (what, text) in &heard.0 {
        canaries.assert_none_in(what, text);
    }
}

/// Asks for a mint until one has been tried; an operator is heard once a second.
async fn refresh_once_more(daemon: &Daemon) {
    until_ok(async || {
        let answer = daemon.refresh("default").await;
        let throttled =
            answer["problem"].as_str().is_some_and(|text| text.contains("a second ago"));
        if throttled { Err(answer) } else { Ok(()) }
    })
    .await;
}

async fn report_in_odd_ways(daemon: &Daemon, heard: &mut Heard) {
    let token = daemon.token().await;
    let json = ("Content-Type", "application/json");
    let reports = [
        json!({ "bearer_token": token, "more": 1 }).to_string(),
        format!("{{\"bearer_token\":\"{token}"),
        format!("{token}{token}"),
    ];
    for report in &reports {
        let mut visitor = Visitor::connect(&daemon.place("apps")).await;
        let path = "/v1/token/rejected";
        let reply = visitor.request("POST", path, &[json], report.as_bytes()).await;
        assert_eq!(reply.status, 400);
        heard.note("a report that is none", &reply);
    }
    let bearer = format!("Bearer {token}");
    let secret = [("Authorization", bearer.as_str()), ("Origin", token.as_str())];
    for path in [format!("/{token}"), format!("/v1/token?credential={token}")] {
        let mut visitor = Visitor::connect(&daemon.place("web")).await;
        heard.note("a path", &visitor.request("GET", &path, &secret[..1], b"").await);
        heard.note("a refusal", &visitor.request("GET", &path, &secret, b"").await);
    }
}

/// Lets the key file hold secrets that no parser takes, and a key that the issuer refuses.
async fn break_the_key_file(
    stand: &Stand,
    daemon: &Daemon,
    canaries: &mut Canaries,
    heard: &mut Heard,
) {
    let (id, secret) = stand.issuer.key();
    let broken = [
        secret.clone(),
        format!("{{\"key_id\":\"{id}\",\"key_secret\":\"{secret}\",}}"),
        format!("{{\"key_secret\":{{\"{secret}\":1}}}}"),
        format!("{{\"key_id\":\"{secret}\",\"key_secret\":\"{secret}\"}}"),
    ];
    for content in broken {
        let before = daemon.events("the API key cannot be read").len();
        stand.home.replace("key.json", content.as_bytes(), 0o600);
        // The same trouble is told once.
        let told = || daemon.events("the API key cannot be read").len() > before;
        for _ in 0..50 {
            if told() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        heard.look_around(daemon).await;
        let check = run(stand.home.command(&["check", "--quiet"])).await;
        assert_eq!(check.code, Some(78));
        heard.0.push(("check".into(), [check.out, check.err].concat()));
    }
    let wrong = "d3Jvbmcga2V5IHNlY3JldCBjYW5hcnksIGxvbmcgZW5vdWdo";
    canaries.note(wrong);
    let mints = stand.issuer.mint_calls();
    stand.home.write_key(&(id, wrong.into()));
    until("the wrong key was tried", async || stand.issuer.mint_calls() > mints).await;
    heard.look_around(daemon).await;
}

// faults 232, 233
#[tokio::test]
async fn neither_arguments_nor_environment_of_the_daemon_hold_a_secret() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let mut canaries = Canaries::default();
    canaries.note(&stand.issuer.key().1);
    canaries.note(&daemon.token().await);
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{}/{file}", daemon.pid())).unwrap();
        canaries.assert_none_in(file, &String::from_utf8_lossy(&text));
    }
}

// fault 238: nothing that the daemon writes holds a secret
#[tokio::test]
async fn no_file_but_the_key_file_holds_a_secret() {
    let stand = Stand::new().await;
    let mut daemon = stand.start().await;
    let mut canaries = Canaries::default();
    canaries.note(&stand.issuer.key().1);
    canaries.note(&daemon.token().await);
    assert!(daemon.refresh("default").await["token_id"].is_string());
    assert!(daemon.stop().await.0.success());
    let files = fs::read_dir(stand.home.path("")).unwrap().map(|file| file.unwrap().path());
    for path in files.filter(|path| path.is_file() && !path.ends_with("key.json")) {
        let text = fs::read(&path).unwrap();
        canaries.assert_none_in(path.to_str().unwrap(), &String::from_utf8_lossy(&text));
    }
}

// fault 239: what a child would inherit
#[tokio::test]
async fn no_descriptor_survives_an_exec() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    // Whatever started this test may have left us some that it meant to be inherited.
    let (ours, theirs) = (inheritable(std::process::id()), inheritable(daemon.pid()));
    let made: Vec<_> = theirs.difference(&ours).filter(|descriptor| **descriptor > 2).collect();
    assert!(made.is_empty(), "{made:?}");
}

/// Lists the descriptors of a process that survive an exec.
fn inheritable(pid: u32) -> BTreeSet<u32> {
    const CLOEXEC: u32 = 0o2_000_000;
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten();
    let descriptors = entries.filter_map(|entry| {
        // One may be closed while we look.
        let info = fs::read_to_string(entry.path()).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        let number = entry.file_name().to_str()?.parse().ok()?;
        (flags & CLOEXEC == 0).then_some(number)
    });
    descriptors.collect()
}

// faults 207, 229
#[tokio::test]
async fn a_daemon_that_is_killed_by_a_signal_leaves_no_core() {
    let stand = Stand::new().await;
    for signal in [Signal::QUIT, Signal::ABORT, Signal::SEGV, Signal::BUS] {
        // Whatever limit it is started with.
        let inner = stand.home.command(&["run"]);
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg("ulimit -c unlimited && exec \"$0\" \"$@\"");
        command.arg(inner.get_program()).args(inner.get_args()).env_clear();
        let mut daemon = Daemon::start(command).await;
        daemon.signal(signal);
        // The language's runtime takes a first SEGV for a fault, and lets it come again.
        sleep(Duration::from_millis(100)).await;
        daemon.signal(signal);
        let status = daemon.exit().await;
        assert!(!status.core_dumped() && status.signal().is_some(), "{status:?}");
    }
}

/// Counts the copies of a secret in the writable memory of a process; only root may look.
pub(crate) fn copies(pid: u32, secret: &str) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let searcher = memchr::memmem::Finder::new(secret.as_bytes());
    let in_map = |map: &str| {
        let (start, end) = map.split_once(' ')?.0.split_once('-')?;
        let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        memory.read_exact_at(&mut bytes, start).ok()?;
        Some(searcher.find_iter(&bytes).count())
    };
    maps.lines().filter(|map| map.contains(" rw-p ")).filter_map(in_map).sum()
}

/// Lets a token go out in every shape, over connections that end.
async fn ask_everywhere(daemon: &Daemon) {
    for place in daemon.places() {
        for format in ["raw", "json", "header", "env", "oauth2"] {
            let path = format!("/v1/token?format={format}");
            assert_eq!(Visitor::connect(&place).await.get(&path).await.status, 200);
        }
    }
    assert_eq!(daemon.get("apps", "/v1/auth").await.status, 200);
}

/// Lets calls be forwarded, which puts the token into a connection that then rests: one with HTTP's
/// machinery, and a brief one.
async fn forward(place: &Place) {
    let json = [("Content-Type", "application/json")];
    let key = br#"{"key_id":"6ac84721-a7ba-4034-9c39-41ef7b38819d","key_secret":"any"}"#;
    let path = "/v1/teams/acme/service_token";
    let minted = Visitor::connect(place).await.request("POST", path, &json, key).await.json();
    let bearer = format!("Bearer {}", minted["bearer_token"].as_str().unwrap());
    let (path, headers) = ("/v1/teams/acme/current_user", [("Authorization", bearer.as_str())]);
    for _ in 0..2 {
        let reply = Visitor::connect(place).await.request("GET", path, &headers, b"").await;
        assert_eq!(reply.status, 200);
    }
}

/// Waits until no copy of a secret is left.
async fn assert_gone(pid: u32, secret: &str, within: Duration) {
    let late = Instant::now() + within;
    loop {
        match copies(pid, secret) {
            0 => return,
            left => assert!(Instant::now() < late, "copies after {within:?}: {left}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Time in which retired secrets are gone, and what a slow machine adds.
const GONE: Duration = Duration::from_secs(5);

// faults 234, 236, 237
#[tokio::test]
async fn a_key_and_a_token_that_are_retired_are_gone_from_memory() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can look into the daemon's memory");
    }
    let mut stand = Stand::new().await;
    for (listener, services) in
        [("apps", &["token", "proxy", "auth"][..]), ("web", &["token", "proxy"])]
    {
        stand
            .home
            .set(&format!("listeners.{listener}.serve"), toml::Value::from(services.to_vec()));
    }
    let daemon = stand.start().await;
    let (_, secret) = stand.issuer.key();
    let token = daemon.token().await;
    ask_everywhere(&daemon).await;
    let mut kept = Visitor::connect(&daemon.place("apps")).await;
    assert_eq!(kept.get("/v1/token").await.status, 200);
    let pid = daemon.pid();
    assert!(copies(pid, &secret) > 0 && copies(pid, &token) > 0, "the search works");

    stand.home.write_key(&stand.issuer.add_key("robot"));
    until("the new key is in use", async || daemon.has_said("the new key is in use")).await;
    assert_gone(pid, &secret, GONE).await;
    // Not even a connection that is still open holds it.
    assert_gone(pid, &token, GONE).await;
    let second = kept.get("/v1/token").await.json()["bearer_token"].as_str().unwrap().to_owned();
    for place in daemon.places() {
        forward(&place).await;
    }
    assert!(daemon.refresh("default").await["token_id"].is_string());
    // Nor one to the issuer that rests.
    assert_gone(pid, &second, GONE).await;
}
