//! A kernel that answers some calls wrongly, by strace; where there is none that is said aloud.

use std::{
    fs,
    path::{Path, PathBuf},
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
        let mut command = Command::new(find_strace()?);
        let log = std::env::temp_dir().join(format!("bearerd-strace-{}", daemon.pid()));
        let file = fs::File::create(&log).unwrap();
        command.args(["-f", "-p", &daemon.pid().to_string(), "-e"]).arg(format!("trace={call}"));
        command.arg("-e").arg(format!("inject={call}:{how}")).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let injection = Self(command.spawn().unwrap());
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
    Some(struck(&find_strace()?, call, how, &home.command(&["run"])))
}

/// Has such calls of a command answered otherwise, as strace says it: `error=EIO`, `signal=KILL:when=3`.
pub(crate) fn struck(strace: &Path, call: &str, how: &str, command: &Command) -> Command {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{how}"));
    // By -D the command is our own child, so that it is the one who is killed at the end.
    under(strace, &["-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject], command)
}

/// Puts a command under strace, with these flags.
pub(crate) fn under(strace: &Path, flags: &[&str], command: &Command) -> Command {
    let mut traced = Command::new(strace);
    traced.args(flags).arg(command.get_program()).args(command.get_args()).env_clear();
    if let Some(directory) = command.get_current_dir() {
        traced.current_dir(directory);
    }
    traced
}

/// Finds strace, and tries whether it may trace; says aloud if not.
pub(crate) fn find_strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let strace = std::env::split_paths(&path).map(|dir| dir.join("strace")).find(|it| it.is_file());
    let works = |strace: &PathBuf| {
        let tried = Command::new(strace).args(["-qq", "-o", "/dev/null", "true"]).status();
        tried.is_ok_and(|status| status.success())
    };
    let strace = strace.filter(works);
    if strace.is_none() {
        skip("strace is not here, or may not trace");
    }
    strace
}
