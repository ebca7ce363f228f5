//! A server that runs: its process, its sockets, and what the kernel knows of it.

use std::{
    ffi::OsString,
    fmt::Display,
    fs::{self, File},
    io,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    client::{self, Question, Target},
    machine::Core,
    place::Place,
};

/// Longest wait for a first answer, or for the end of a process; valgrind takes its time.
const PATIENCE: Duration = Duration::from_secs(60);
/// What HTTP/1.1 does if nobody says anything else.
const KEPT: &str = "keep-alive";
/// Rest between two looks at a server that does not listen yet.
const GLANCE: Duration = Duration::from_micros(100);

/// Holds a server's process, which ends when this is dropped.
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    place: Place,
    /// What visitors ask it for.
    pub(crate) question: Question,
}

impl Server {
    /// Starts a server: the program and its arguments.
    pub(crate) fn start(
        name: &'static str,
        words: &[OsString],
        place: Place,
        core: Core,
    ) -> io::Result<Self> {
        let mut words = words.iter();
        let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        // What it has to say is read when it fails.
        let said = File::create(place.path("said"))?;
        command.args(words).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        command.current_dir(place.directory());
        let child = core.spawn(&mut command)?;
        Ok(Self { name, child, place, question: Question::default() })
    }

    /// Waits for the first good answer on the unix socket.
    pub(crate) fn first_answer(&mut self) -> io::Result<Vec<u8>> {
        let target = self.unix();
        let mut stream = self.connect(&target)?;
        let answer = client::exchange(&mut stream, &target.request(&self.question));
        let answer = answer.map_err(|error| self.failed(error))?;
        client::expect_good(&answer).map_err(|error| self.failed(error))?;
        Ok(answer)
    }

    /// Writes down what visitors send it, for the load.
    pub(crate) fn write_request(&self, target: &Target, connection: &str) -> io::Result<PathBuf> {
        let mut question = self.question.clone();
        if connection != KEPT {
            question.header.push_str(&format!("\r\nConnection: {connection}"));
        }
        self.place.write("request", &target.request(&question))
    }

    /// Connects as soon as it listens.
    pub(crate) fn connect(&mut self, target: &Target) -> io::Result<File> {
        let began = Instant::now();
        loop {
            match target.connect() {
                Ok(stream) => return Ok(stream),
                Err(_) if began.elapsed() < PATIENCE && self.child.try_wait()?.is_none() => {
                    thread::sleep(GLANCE);
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Makes an error of what went wrong and what the server had to say.
    pub(crate) fn failed(&self, problem: impl Display) -> io::Error {
        let said = fs::read_to_string(self.place.path("said")).unwrap_or_default();
        io::Error::other(format!("{}: {problem}\n{said}", self.name))
    }

    pub(crate) fn unix(&self) -> Target {
        self.place.unix()
    }

    pub(crate) fn tcp(&self) -> Target {
        self.place.tcp()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    /// Reads a file of the kernel's about the process.
    pub(crate) fn proc(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id()))
    }

    /// Tells the time that its threads have spent on a core.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let line = fs::read_to_string(thread?.path().join("schedstat"))?;
            let spent = line.split(' ').next().and_then(|first| first.parse::<u64>().ok());
            nanos += spent.ok_or_else(|| io::Error::other("schedstat is not what it was"))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Tells how often its threads have gone to sleep.
    pub(crate) fn switches(&self) -> io::Result<u64> {
        let mut switches = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            let line = status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"));
            let own = line.and_then(|line| line.trim().parse::<u64>().ok());
            switches += own.ok_or_else(|| io::Error::other("status is not what it was"))?;
        }
        Ok(switches)
    }

    /// Asks it to stop and waits for its end; its files stay until this is dropped.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let mut asked = 0;
        while self.child.try_wait()?.is_none() {
            let waited = began.elapsed();
            if waited > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // nginx below valgrind does not hear of it if it is just about to wait.
            if waited.as_secs() >= asked {
                kill_process(Pid::from_child(&self.child), Signal::TERM)?;
                asked += 1;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
