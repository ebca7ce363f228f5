//! The daemon as a child process: its log, its addresses, its numbers, its end.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{App, Place, Visitor, until};

/// Runs until it is dropped at the latest.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    /// Starts and waits until the daemon says that it listens.
    pub(super) async fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = gather(child.stderr.take().unwrap());
        let daemon = Self { child, log };
        until("the daemon listens", async || !daemon.events("ready").is_empty()).await;
        daemon
    }

    pub(crate) async fn until_ready(&self) {
        let place = self.place("telemetry");
        until("the daemon has a token", async || {
            Visitor::connect(&place).await.get("/readyz").await.status == 200
        })
        .await;
    }

    /// Has it read its configuration again, and waits until that is in force.
    pub(crate) async fn reload(&self) {
        let told = || self.events("the configuration was read again").len();
        let before = told();
        self.signal(Signal::HUP);
        until("the configuration is read", async || told() > before).await;
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it with TERM and waits until it has gone.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        until("the daemon ends", async || self.child.try_wait().unwrap().is_some()).await;
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

    /// Finds a listener by its name, as the log tells it.
    pub(crate) fn place(&self, listener: &str) -> Place {
        let events = self.events("listening");
        let event = events.iter().find(|event| event["listener"] == listener);
        let event = event.unwrap_or_else(|| panic!("{}", self.log()));
        match event["address"].as_str().unwrap().split_once(':').unwrap() {
            ("unix", path) => Place::Unix(path.into()),
            (_, address) => Place::Tcp(address.parse().unwrap()),
        }
    }

    /// Names both kinds of listener.
    pub(crate) fn places(&self) -> [Place; 2] {
        [self.place("apps"), self.place("web")]
    }

    /// Makes a client of the unix socket that has minted its local token.
    pub(crate) async fn app(&self) -> App {
        App::new(&self.place("apps")).await
    }

    /// Makes a client for each kind of listener.
    pub(crate) async fn apps(&self) -> [App; 2] {
        [App::new(&self.place("apps")).await, App::new(&self.place("web")).await]
    }

    /// Adds up the series of a metric that carry all these labels.
    pub(crate) async fn metric(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let reply = Visitor::connect(&self.place("telemetry")).await.get("/metrics").await;
        let wanted: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let values = reply.text().lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let is_wanted = name == family && wanted.iter().all(|pair| labels.contains(pair));
            is_wanted.then(|| value.parse::<f64>().unwrap())
        });
        values.sum()
    }

    /// Tells the resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
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
