//! A daemon for one program: it comes before it and goes after it.

use std::{
    convert::Infallible,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    net::UnixDatagram,
    time::{Instant, sleep, timeout},
};

use super::job::Job;
use crate::{
    cli::{exit::Exit, settings::Settings, terminal, wait},
    outlet::child::{self, Child},
};

/// Rests before a daemon that has ended is started again: the first, and the longest.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Time that a daemon takes to stop, at most.
const GRACE: Duration = Duration::from_secs(5);
/// What a service manager tells us, and not it.
const MANAGER: [&str; 6] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Runs one daemon; it is ended when this is dropped.
pub(super) struct OwnDaemon {
    settings: Settings,
    /// Stands in for a directory for sockets.
    runtime_dir: PathBuf,
    /// Where the first one says that it listens.
    notified: Option<(UnixDatagram, PathBuf)>,
    running: Option<Child>,
}

impl OwnDaemon {
    /// Starts it with the job's configuration.
    pub(super) fn start(job: &Job) -> Result<Self, Exit> {
        let home = job.home().ok_or_else(|| Exit::failed("no private directory"))?.path();
        let notify = home.join("notify.sock");
        let socket = UnixDatagram::bind(&notify).map_err(|error| {
            Exit::failed(format!("{} cannot be made: {}", notify.display(), error.kind()))
        })?;
        let mut daemon = Self {
            settings: job.args.settings.clone(),
            runtime_dir: home.to_owned(),
            notified: Some((socket, notify)),
            running: None,
        };
        let started = daemon.start_again();
        started.map_err(|error| Exit::failed(format!("no daemon could be started: {error}")))?;
        Ok(daemon)
    }

    fn start_again(&mut self) -> io::Result<()> {
        self.running = Some(Child::start(self.command())?);
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = ourselves();
        command.arg("run").args(self.settings.arguments());
        // We cannot stop it when we are killed.
        command.args(["--exit-with", &std::process::id().to_string()]);
        // Once the program has ended there is nobody to linger for.
        command.args(["--set", "process.linger=0s"]);
        // Ctrl-C is the program's; its last calls still find the daemon.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        MANAGER.iter().for_each(|name| _ = command.env_remove(name));
        if let Some((_, notify)) = &self.notified {
            command.env("NOTIFY_SOCKET", notify);
        }
        let given = std::env::var_os("XDG_RUNTIME_DIR");
        if given.is_none_or(|given| Path::new(&given).is_relative()) {
            command.env("XDG_RUNTIME_DIR", &self.runtime_dir);
        }
        command
    }

    /// Waits until every required credential has a token.
    pub(super) async fn until_ready(&mut self, job: &Job) -> Result<(), Exit> {
        let (Some((notified, path)), Some(running)) = (self.notified.take(), &mut self.running)
        else {
            return Ok(());
        };
        let limit = job.args.timeout;
        let ready = async {
            // Before it says so somebody else may listen there.
            let listening = timeout(limit, until_listening(&notified)).await;
            if !matches!(listening, Ok(Ok(()))) {
                return Err(Exit::failed("the daemon does not come to listen: its log says why"));
            }
            wait::until_ready(&job.door, limit).await
        };
        let outcome = tokio::select! {
            ended = running.ended() => Err(ended_early(&ended)),
            ready = ready => ready,
        };
        // Nobody listens there any more; what is left goes with the directory.
        std::fs::remove_file(path).ok();
        outcome
    }

    /// Starts it again whenever it has ended.
    pub(super) async fn keep(&mut self) -> Infallible {
        let mut rest = REST.0;
        loop {
            if let Some(running) = &mut self.running {
                let began = Instant::now();
                let how = running
                    .ended()
                    .await
                    .map_or_else(|error| error.to_string(), |status| status.to_string());
                // One that has lived for long has not failed to start.
                rest = if began.elapsed() > REST.1 { REST.0 } else { rest };
                let seconds = rest.as_secs();
                terminal::complain(&format!(
                    "the daemon has ended ({how}): the next in {seconds} s"
                ));
            }
            sleep(rest).await;
            rest = (rest * 2).min(REST.1);
            if let Err(error) = self.start_again() {
                self.running = None;
                terminal::complain(&format!("the daemon cannot be started: {error}"));
            }
        }
    }

    /// Stops it, and ends it when it takes too long.
    pub(super) async fn stop(mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::TERM);
            if timeout(GRACE, running.ended()).await.is_err() {
                // It may have ended by now.
                running.kill().await.ok();
            }
        }
    }
}

/// Makes a command of this very program, by the name that it was called.
pub(super) fn ourselves() -> Command {
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command
}

async fn until_listening(notified: &UnixDatagram) -> io::Result<()> {
    let mut room = [0; 1024];
    loop {
        let length = notified.recv(&mut room).await?;
        let said = room.get(..length).unwrap_or_default();
        if said.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(());
        }
    }
}

/// Gives its code for ours: it has said itself what is wrong.
fn ended_early(ended: &io::Result<ExitStatus>) -> Exit {
    let code = ended.as_ref().map_or(0, |status| child::code(*status));
    let sentence = "the daemon has ended before there was a token: its log says why";
    if code == 0 { Exit::failed(sentence) } else { Exit::with_code(code, sentence) }
}
