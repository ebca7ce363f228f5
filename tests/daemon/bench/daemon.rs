//! The daemon as a child process: its log, its addresses, its end.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Metrics, PATIENCE, Place, Reply, Visitor, home::program, until, until_ok};

/// Runs until it is dropped at the latest.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Starts `bearerd dev` with these flags and reads its introduction to the end.
pub(crate) fn dev(flags: &[&str]) -> (Daemon, String) {
    let mut command = program(&[&["dev"], flags].concat());
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer);
    let daemon = Daemon::spawn_with_output(command);
    let (mut reader, mut introduction) = (BufReader::new(reader), String::new());
    while !introduction.contains("Ctrl-C") {
        assert!(reader.read_line(&mut introduction).unwrap() > 0, "{introduction}");
    }
    (daemon, introduction)
}

/// Runs a command to its end; the end is bounded.
pub(crate) async fn run(mut command: Command) -> Ended {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (out, err) = (gather(child.stdout.take().unwrap()), gather(child.stderr.take().unwrap()));
    let mut daemon = Daemon { child, log: err };
    let code = daemon.exit().await.code();
    // Whoever reads a pipe holds what it has read until the pipe's end.
    let late = Instant::now() + PATIENCE;
    while Arc::strong_count(&out) + Arc::strong_count(&daemon.log) > 2 {
        assert!(Instant::now() < late, "somebody else holds its output");
        sleep(Duration::from_millis(5)).await;
    }
    let out = out.lock().unwrap().clone();
    Ended { code, out, err: daemon.log() }
}

impl Daemon {
    /// Starts and waits until the daemon says that it is ready.
    pub(crate) async fn start(command: Command) -> Self {
        let daemon = Self::spawn(command);
        until("the daemon listens", async || daemon.has_said("ready")).await;
        daemon
    }

    /// Starts without waiting; nobody reads standard output.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::null());
        Self::spawn_with_output(command)
    }

    /// Starts without waiting; standard output goes where the command says.
    pub(crate) fn spawn_with_output(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = gather(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Starts without waiting; what is logged goes where nobody here looks.
    pub(crate) fn spawn_with_log(mut command: Command, log: impl Into<Stdio>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap(), log: Arc::default() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end, which must come within [`PATIENCE`].
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let late = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The last lines may still be in the pipe.
                sleep(Duration::from_millis(50)).await;
                return status;
            }
            assert!(Instant::now() < late, "it does not end: {}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it with TERM and tells how it went, and in what time.
    pub(crate) async fn stop(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        self.signal(Signal::TERM);
        let status = self.exit().await;
        (status, Instant::now() - began)
    }

    /// Gives all that was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Gives the lines of the log that say this, as JSON.
    pub(crate) fn events(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["message"] == message).collect()
    }

    pub(crate) fn has_said(&self, message: &str) -> bool {
        !self.events(message).is_empty()
    }

    /// Finds a listener by its name, as the log tells it.
    pub(crate) fn place(&self, listener: &str) -> Place {
        let events = self.events("listening");
        let of = |event: &&Value| event["listener"] == listener;
        let event = events.iter().rfind(of).unwrap_or_else(|| panic!("{}", self.log()));
        let (kind, address) = event["address"].as_str().unwrap().split_once(':').unwrap();
        match kind {
            "unix" => Place::Unix(address.into()),
            _ => Place::Tcp(address.parse().unwrap()),
        }
    }

    /// Names both kinds of listener.
    pub(crate) fn places(&self) -> [Place; 2] {
        [self.place("apps"), self.place("web")]
    }

    /// Asks one of its sockets; the listener is named as in the configuration.
    pub(crate) async fn get(&self, listener: &str, path: &str) -> Reply {
        Visitor::connect(&self.place(listener)).await.get(path).await
    }

    /// Asks the control socket for a mint, and gives its answer for the credential.
    pub(crate) async fn refresh(&self, credential: &str) -> Value {
        let mut visitor = Visitor::connect(&self.place("control")).await;
        let path = format!("/v1/refresh?credential={credential}");
        visitor.request("POST", &path, &[], b"").await.json()[0].clone()
    }

    pub(crate) async fn status(&self) -> Value {
        self.get("control", "/v1/status").await.json()
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics::parse(&self.get("telemetry", "/metrics").await)
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.get("telemetry", "/readyz").await.status == 200
    }

    pub(crate) async fn until_ready(&self) {
        until("the daemon is ready", async || self.is_ready().await).await;
    }

    /// Waits until a mint of the credential has failed; tells the reasons with their counts.
    pub(crate) async fn until_failed(&self, credential: &str) -> Vec<(String, f64)> {
        until_ok(async || {
            let failures = self.metrics().await.failures(credential);
            if failures.is_empty() { Err(format!("{credential} is fine")) } else { Ok(failures) }
        })
        .await
    }

    /// Gives the token that the unix socket serves now.
    pub(crate) async fn token(&self) -> String {
        let reply = self.get("apps", "/v1/token").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["bearer_token"].as_str().unwrap().to_owned()
    }

    /// Tells the resident memory in KiB.
    pub(crate) fn resident(&self) -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn gather(pipe: impl std::io::Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let gathered = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(pipe.read_until(b'\n', &mut line), Ok(1..)) {
            gathered.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    text
}
