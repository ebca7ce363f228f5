//! `bearerd init`: from nothing to a daemon that serves; and what it never does.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bearerd::emulator::{Emulator, Options};
use tempfile::TempDir;

use crate::bench::{
    Daemon,
    daemon::{Ended, run},
    home::program,
    terminal::Terminal,
    until,
};

const ID: &str = "6ac84721-a7ba-4034-9c39-41ef7b38819d";
const SECRET: &str = "SNTL-canary-secret-of-a-key";

struct Place {
    home: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("made/bearerd")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    fn init(&self, more: &[&str]) -> Command {
        let mut command = program(&["init", "--dir"]);
        command.arg(self.dir()).args(more);
        command
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// Runs a command that reads this from standard input.
fn run_with(mut command: Command, input: &str) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who refuses its flags reads nothing.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn flags(base_url: &str, id: &str) -> Vec<String> {
    let flags = ["--base-url", base_url, "--team", "acme", "--key-id", id, "--key-secret-stdin"];
    flags.map(str::to_owned).to_vec()
}

fn with_flags(place: &Place, more: &[&str]) -> Command {
    let flags = flags("https://acme.pam.okta.com", ID);
    place.init(&[&flags.iter().map(String::as_str).collect::<Vec<_>>()[..], more].concat())
}

#[tokio::test]
async fn from_flags_to_a_daemon_that_serves() {
    let issuer = Emulator::start(Options::default()).await.unwrap();
    let (id, secret) = issuer.key();
    let place = Place::new();
    let flags = flags(&issuer.base_url(), &id);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let made = run_with(place.init(&flags), &format!("{secret}\n"));
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""), "{made:?}");
    let config = place.path("bearerd.toml");
    assert_eq!(mode(&place.dir()), 0o700);
    assert_eq!((mode(&place.path("key.json")), mode(&config)), (0o600, 0o644));
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 2, "no draft is left");
    let config = config.to_str().unwrap();
    assert!(made.out.ends_with(&format!(
        "next:\n  bearerd check --quiet --online --config {config}\n  bearerd run --config {config}\n"
    )));
    assert!(!made.out.contains(&secret), "{made:?}");
    // As it says.
    let check = run(program(&["check", "--quiet", "--online", "--config", config])).await;
    assert_eq!((check.code, check.out.lines().count()), (Some(0), 1), "{check:?}");
    let mut daemon = Daemon::spawn(program(&[
        "run",
        "--config",
        config,
        "--set",
        "telemetry.bind=tcp:127.0.0.1:0",
    ]));
    let wait = run(program(&["wait", "--config", config])).await;
    assert_eq!(wait.code, Some(0), "{wait:?} {}", daemon.log());
    assert_eq!(run(program(&["token", "--config", config])).await.code, Some(0));
    assert_eq!(run(program(&["quit", "--config", config])).await.code, Some(0));
    assert_eq!(daemon.exit().await.code(), Some(0));
}

#[tokio::test]
async fn nothing_is_overwritten_silently() {
    let place = Place::new();
    assert_eq!(run_with(with_flags(&place, &[]), SECRET).code, Some(0));
    let key = fs::read(place.path("key.json")).unwrap();
    let again = run_with(with_flags(&place, &[]), "another");
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("is there already") && again.err.contains("--force"), "{again:?}");
    assert_eq!(fs::read(place.path("key.json")).unwrap(), key);
    let forced = run_with(with_flags(&place, &["--force"]), "another");
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert!(forced.out.contains("key.json.old"), "it says where the old one is: {forced:?}");
    assert_eq!(fs::read(place.path("key.json.old")).unwrap(), key);
    assert_eq!(mode(&place.path("key.json.old")), 0o600);
    let third = run_with(with_flags(&place, &["--force"]), "third");
    assert_eq!(third.code, Some(1), "an old key is not lost: {third:?}");
}

// fault 233
#[tokio::test]
async fn a_secret_is_never_taken_from_an_argument() {
    for flag in [&["--key-secret", SECRET][..], &["--key-secret"], &["--key-secret=canary"]] {
        let place = Place::new();
        let refused = run_with(with_flags(&place, flag), SECRET);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains("--key-secret-stdin"), "it says what to do: {refused:?}");
        assert!(!refused.err.contains("canary") && !place.dir().exists(), "{refused:?}");
    }
    let help = run(program(&["init", "--help"])).await;
    assert!(!help.out.contains("--key-secret <"), "{help:?}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_nothing_is_written() {
    let table: [(&[&str], &str, i32, &str); 5] = [
        (&["--base-url", "https://a/b"], SECRET, 2, "--base-url"),
        (&["--key-id", "7"], SECRET, 2, "not a UUID"),
        (&["--base-url", "http://okta.example"], SECRET, 78, "base_url"),
        (&[], "", 1, "standard input has ended"),
        (&[], "a\u{1b}b\n", 2, "printable"),
    ];
    for (flags, input, code, words) in table {
        let place = Place::new();
        let mut command = place.init(flags);
        for (name, value) in
            [("--base-url", "https://acme.pam.okta.com"), ("--team", "acme"), ("--key-id", ID)]
        {
            if !flags.contains(&name) {
                command.args([name, value]);
            }
        }
        command.arg("--key-secret-stdin");
        let refused = run_with(command, input);
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.err.contains(words) && !refused.err.contains(SECRET), "{refused:?}");
        let left = fs::read_dir(place.dir()).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{refused:?}");
    }
    let place = Place::new();
    let nobody = run_with(place.init(&["--team", "acme"]), "");
    assert_eq!(nobody.code, Some(2), "{nobody:?}");
    assert!(nobody.err.contains("--base-url"), "{nobody:?}");
}

// faults 85, 158 and 167
#[tokio::test]
async fn a_place_that_no_daemon_would_take_is_refused() {
    let place = Place::new();
    fs::create_dir_all(place.dir()).unwrap();
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    let open = run_with(with_flags(&place, &[]), SECRET);
    assert_eq!(open.code, Some(78), "{open:?}");
    assert!(open.err.contains("chmod o-w"), "{open:?}");
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0);
    let long = place.path(&"d".repeat(100));
    let mut command = program(&["init", "--dir"]);
    command.arg(&long).args(flags("https://acme.pam.okta.com", ID));
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let long = run_with(command, SECRET);
    assert_eq!(long.code, Some(78), "{long:?}");
    assert!(long.err.contains("107 bytes"), "{long:?}");
}

#[tokio::test]
async fn a_person_is_asked_and_the_secret_is_not_shown() {
    let place = Place::new();
    let mut terminal = Terminal::start(&place.init(&[]));
    terminal.until_shown("Address of the issuer").await;
    terminal.types("no address\n");
    terminal.until_shown("this is no address").await;
    terminal.types("acme.pam.okta.com\n");
    terminal.until_shown("Team [acme]: ").await;
    terminal.types("\n");
    terminal.until_shown("Id of the API key").await;
    terminal.types("7\n");
    terminal.until_shown("not a UUID").await;
    terminal.types(&format!("{ID}\n"));
    terminal.until_shown("Secret of the API key").await;
    assert!(!terminal.echoes());
    terminal.types(&format!("{SECRET}\n"));
    terminal.until_shown("bearerd run").await;
    assert_eq!(terminal.exit().await.code(), Some(0));
    assert!(terminal.echoes() && !terminal.shown().contains(SECRET), "{}", terminal.shown());
    let key = fs::read_to_string(place.path("key.json")).unwrap();
    assert_eq!(key, format!("{{\"key_id\":\"{ID}\",\"key_secret\":\"{SECRET}\"}}\n"));
    let config = fs::read_to_string(place.path("bearerd.toml")).unwrap();
    assert!(config.contains("base_url = \"https://acme.pam.okta.com\""), "{config}");
    assert!(config.contains("team_name = \"acme\""), "{config}");
}

#[tokio::test]
async fn ctrl_c_leaves_the_terminal_as_it_was_and_no_file() {
    let place = Place::new();
    let base = ["--base-url", "https://acme.pam.okta.com", "--team", "acme", "--key-id", ID];
    let mut terminal = Terminal::start(&place.init(&base));
    terminal.until_shown("Secret of the API key").await;
    until("the terminal is silent", async || !terminal.echoes()).await;
    terminal.types("half a sec\u{3}");
    let status = terminal.exit().await;
    assert_eq!(status.code(), Some(130), "{}", terminal.shown());
    assert!(terminal.echoes() && terminal.shown().contains("nothing was written"));
    assert!(!terminal.shown().contains("half a sec") && !place.dir().exists());
}
