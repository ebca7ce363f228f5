//! Other users, and other processes of our own: none gets a token, or a look at our memory.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::{net::UnixStream, process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use tokio::time::sleep;

use crate::bench::{
    Daemon, Place, Stand,
    client::request,
    daemon::run,
    home::NOBODY,
    injection::Injection,
    scale, skip, until,
    user::{User, is_root},
};

/// Asks once, and waits for all that comes.
fn ask(place: &Place, request: &[u8]) -> String {
    trait Stream: Read + Write {}
    impl<T: Read + Write> Stream for T {}
    let stream: std::io::Result<Box<dyn Stream>> = match place {
        Place::Unix(path) => UnixStream::connect(path).map(|stream| Box::new(stream) as Box<_>),
        Place::Tcp(address) => TcpStream::connect(address).map(|stream| Box::new(stream) as Box<_>),
    };
    let mut answer = Vec::new();
    // Whoever is not let in may be cut off at any moment.
    if let Ok(mut stream) = stream {
        stream.write_all(request).ok();
        stream.read_to_end(&mut answer).ok();
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks for the token so many times as nobody; tells how often there was a refusal, and how often
/// anything else.
fn intrude(place: &Place, tries: usize) -> (usize, Vec<String>) {
    let close = request("GET", "/v1/token", &[("Connection", "close")], b"");
    User::number(NOBODY).does(|| {
        let (mut refused, mut other) = (0, Vec::new());
        for _ in 0..tries {
            let answer = ask(place, &close);
            match answer.starts_with("HTTP/1.1 403 ") && !answer.contains("bearer_token") {
                true => refused += 1,
                false => other.push(answer),
            }
        }
        (refused, other)
    })
}

/// Two listeners to which everybody can connect, and only root may.
async fn roots_only() -> (Stand, Daemon) {
    let mut stand = Stand::new().await;
    stand.home.open_to_all();
    stand.home.set("listeners.apps.mode", "0666");
    for listener in ["apps", "web"] {
        stand.home.set(&format!("listeners.{listener}.allow_uids"), vec![0]);
    }
    let daemon = stand.start().await;
    (stand, daemon)
}

// fault 160
#[tokio::test(flavor = "multi_thread")]
async fn another_user_never_gets_a_token_however_often_it_tries() {
    if !is_root() {
        return;
    }
    let tries = scale("BEARERD_TEST_INTRUSIONS", 300);
    let (_stand, daemon) = roots_only().await;
    for place in daemon.places() {
        let (refused, other) = intrude(&place, tries / 2);
        assert!(other.is_empty(), "{refused} refusals, and {other:?}");
        assert_eq!(refused, tries / 2);
    }
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 200, "we may");
}

// fault 160: a kernel that does not say who it is names nobody, not even root
#[tokio::test(flavor = "multi_thread")]
async fn whom_the_kernel_does_not_name_gets_nothing() {
    if !is_root() {
        return;
    }
    let tries = scale("BEARERD_TEST_INTRUSIONS", 300) / 10;
    let (_stand, daemon) = roots_only().await;
    let Some(injection) = Injection::start(&daemon, "getsockopt", "error=EPERM").await else {
        return;
    };
    let place = daemon.place("apps");
    let (refused, other) = intrude(&place, tries);
    assert!(other.is_empty(), "{refused} refusals, and {other:?}");
    assert_eq!(refused, tries);
    assert_eq!(daemon.get("apps", "/v1/token").await.status, 403, "nor may we");
    drop(injection);
    until("the kernel answers again", async || daemon.get("apps", "/v1/token").await.status == 200)
        .await;
}

/// Does something as nobody, in a process of its own.
fn as_nobody(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

// faults 229, 230
#[tokio::test]
async fn processes_of_the_same_user_cannot_look_into_it() {
    if !is_root() {
        return;
    }
    let stand = Stand::new().await;
    let mut command = stand.home.command(&["run"]);
    stand.home.give_to(NOBODY);
    command.uid(NOBODY).gid(NOBODY);
    let daemon = Daemon::start(command).await;
    daemon.until_ready().await;
    let mut open = as_nobody("sleep", &["60"]).spawn().unwrap();
    sleep(Duration::from_millis(100)).await;
    for file in ["environ", "mem", "maps", "auxv", "fd"] {
        let read = |pid: u32| as_nobody("head", &["-c0", &format!("/proc/{pid}/{file}")]);
        let list = |pid: u32| as_nobody("ls", &[&format!("/proc/{pid}/{file}")]);
        let look = |pid| if file == "fd" { list(pid) } else { read(pid) };
        let (theirs, ours) = (run(look(open.id())).await, run(look(daemon.pid())).await);
        assert_eq!(theirs.code, Some(0), "{file} of another process: {theirs:?}");
        assert!(ours.code != Some(0) && ours.err.contains("Permission denied"), "{file}: {ours:?}");
    }
    open.kill().unwrap();
    open.wait().unwrap();
    dump(&daemon).await;
}

/// Tries to write a core file of it as the same user, and as root to see that the tool works.
async fn dump(daemon: &Daemon) {
    if Command::new("gcore").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        skip("gcore is missing");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let core = directory.path().join("core").to_str().unwrap().to_owned();
    let dump = as_nobody("gcore", &["-o", &core, &daemon.pid().to_string()]);
    let ended = run(dump).await;
    let file = PathBuf::from(format!("{core}.{}", daemon.pid()));
    assert!(ended.code != Some(0) && !file.exists(), "{ended:?}");
}
