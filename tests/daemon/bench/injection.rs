//! A kernel that answers some calls wrongly, by strace; where there is none that is said aloud.

use std::{
    fs,
    ops::Deref,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::{Daemon, Home, PATIENCE, skip, until};

/// Lets a call of a running process fail until it is dropped.
pub(crate) struct Injection(Child);

impl Injection {
    /// Begins with all such calls of a daemon; `None` without strace.
    pub(crate) async fn start(daemon: &Daemon, call: &str, how: &str) -> Option<Self> {
        Self::begin(daemon, call, how, &[]).await
    }

    /// Begins with those on one file; `None` without strace.
    pub(crate) async fn start_on(
        daemon: &Daemon,
        file: &Path,
        call: &str,
        how: &str,
    ) -> Option<Self> {
        Self::begin(daemon, call, how, &["-P", file.to_str().unwrap()]).await
    }

    async fn begin(daemon: &Daemon, call: &str, how: &str, more: &[&str]) -> Option<Self> {
        let log = std::env::temp_dir().join(format!("bearerd-strace-{}", daemon.pid()));
        let file = fs::File::create(&log).unwrap();
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &daemon.pid().to_string(), "-e"]).arg(format!("trace={call}"));
        command.arg("-e").arg(format!("inject={call}:{how}")).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let Ok(child) = command.spawn() else {
            skip("strace is missing");
            fs::remove_file(&log).unwrap();
            return None;
        };
        let injection = Self(child);
        until("it is traced", async || fs::read_to_string(&log).unwrap().contains("attached"))
            .await;
        fs::remove_file(&log).unwrap();
        Some(injection)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        // Asked to, it lets go of the daemon; where that has ended during a delay it waits for ever.
        kill_process(pid.unwrap(), Signal::TERM).ok();
        let late = Instant::now() + PATIENCE / 10;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < late {
            thread::sleep(Duration::from_millis(5));
        }
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Makes the command of a daemon whose calls fail from the start; `None` without strace.
pub(crate) fn command_with(home: &Home, call: &str, how: &str) -> Option<Command> {
    let strace = || Command::new("strace");
    if strace().arg("-V").output().is_err() {
        skip("strace is missing");
        return None;
    }
    let mut command = strace();
    command.args(["--follow-forks", "--quiet=all", "--output=/dev/null"]);
    command.arg(format!("--inject={call}:{how}")).arg(format!("--trace={call}"));
    command.arg(env!("CARGO_BIN_EXE_bearerd")).args(["run", "--config"]).arg(home.write());
    command.env_clear().env("PATH", std::env::var("PATH").unwrap_or_default());
    command.current_dir(home.path(""));
    Some(command)
}

/// A daemon that such a command has started: strace runs, and the daemon is its child.
pub(crate) struct Traced(Daemon);

impl Traced {
    pub(crate) async fn start(command: Command) -> Self {
        Self(Daemon::start(command).await)
    }
}

impl Deref for Traced {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.0
    }
}

impl Drop for Traced {
    /// Kills the daemon: who only kills the tracer sets it free, and may take another signal along.
    fn drop(&mut self) {
        let list = format!("/proc/{pid}/task/{pid}/children", pid = self.pid());
        let traced = fs::read_to_string(list).ok().and_then(|list| list.trim().parse().ok());
        traced.and_then(Pid::from_raw).map(|traced| kill_process(traced, Signal::KILL).ok());
    }
}
