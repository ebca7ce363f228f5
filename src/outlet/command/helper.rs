//! The helper's end: a process that runs commands and does nothing else.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Child, Command as Program, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{
        Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process_group, pidfd_open,
        setrlimit,
    },
    time::Timespec,
};
use serde::de::DeserializeOwned;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use super::{Command, Order, Outcome, Report, frame};

/// Longest time that a command may run.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// Where programs are looked for that are named without a path.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Limit of open files that programs are used to.
const USUAL_FILES: u64 = 1024;

/// Runs what is ordered on standard input, which is a socket, until that is closed.
///
/// # Errors
///
/// When standard input is no such socket, or breaks off in the middle of an order.
pub fn run() -> io::Result<()> {
    let line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    ignore_signals()?;
    lower_limits();
    serve(line)
}

/// The daemon says when to end; what ends it, a terminal or a service manager, tells us too.
fn ignore_signals() -> io::Result<()> {
    let ignored = Arc::<AtomicBool>::default();
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] {
        signal_hook::flag::register(signal, Arc::clone(&ignored))?;
    }
    Ok(())
}

/// The daemon has raised its own, which some programs cannot bear.
fn lower_limits() {
    let limit = getrlimit(Resource::Nofile);
    let usual = Some(limit.maximum.unwrap_or(USUAL_FILES).min(USUAL_FILES));
    setrlimit(Resource::Nofile, Rlimit { current: usual, maximum: limit.maximum }).ok();
}

fn serve(mut line: UnixStream) -> io::Result<()> {
    let Some(commands) = read::<Vec<Command>>(&mut line)? else {
        return Ok(());
    };
    let running = Arc::<Running>::default();
    let answers = Arc::new(Mutex::new(line.try_clone()?));
    while let Some(order) = read::<Order>(&mut line)? {
        let words = commands.get(order.command).map(|command| command.words.clone());
        let (running, answers) = (Arc::clone(&running), Arc::clone(&answers));
        thread::spawn(move || {
            let number = order.number;
            let outcome =
                words.map_or(Outcome::NotStarted(0), |words| carry_out(&words, order, &running));
            answer(&answers, Report { number, outcome });
        });
    }
    running.end();
    Ok(())
}

/// Reads a message; `None` at the end.
fn read<T: DeserializeOwned>(line: &mut UnixStream) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    if let Err(error) = line.read_exact(&mut length) {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let mut bytes = frame::room(length)?;
    line.read_exact(&mut bytes)?;
    frame::unpack(&bytes).map(Some)
}

fn answer(answers: &Mutex<UnixStream>, report: Report) {
    if let Ok(bytes) = frame::pack(&report) {
        // A daemon that has gone needs no answer.
        answers.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes).ok();
    }
}

fn carry_out(words: &[String], order: Order, running: &Running) -> Outcome {
    let mut child = match start(words, &order) {
        Ok(child) => child,
        Err(error) => return Outcome::NotStarted(error.raw_os_error().unwrap_or(0)),
    };
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    running.add(group);
    feed(&mut child, order.input);
    let outcome = follow(&mut child, group);
    running.remove(group);
    outcome
}

/// In a process group of its own, so that all it starts can be ended with it.
fn start(words: &[String], order: &Order) -> io::Result<Child> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let told = order.environment.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
    Program::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(told)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        // What it says may quote what it was told: a token, or a key.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Hands the input over beside, as a program need not read it.
fn feed(child: &mut Child, input: String) {
    if let Some(mut stdin) = child.stdin.take() {
        thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
    }
}

fn follow(child: &mut Child, group: Option<Pid>) -> Outcome {
    let in_time = group.is_some_and(|pid| ends_within(pid, DEADLINE));
    if !in_time {
        group.into_iter().for_each(end);
    }
    match child.wait() {
        Ok(_) if !in_time => Outcome::Late,
        Ok(status) => outcome_of(status),
        Err(error) => Outcome::NotStarted(error.raw_os_error().unwrap_or(0)),
    }
}

fn ends_within(pid: Pid, time: Duration) -> bool {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
    loop {
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        match poll(&mut ended, Some(&time)) {
            Err(rustix::io::Errno::INTR) => {}
            polled => return polled.is_ok_and(|count| count > 0),
        }
    }
}

fn end(group: Pid) {
    // It may have ended by now.
    kill_process_group(group, Signal::KILL).ok();
}

fn outcome_of(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Success,
        (Some(code), _) => Outcome::Code(code),
        (None, signal) => Outcome::Signal(signal.unwrap_or(0)),
    }
}

/// The process groups of all commands that run.
#[derive(Default)]
struct Running(Mutex<Vec<Pid>>);

impl Running {
    fn add(&self, group: Option<Pid>) {
        self.groups().extend(group);
    }

    fn remove(&self, group: Option<Pid>) {
        self.groups().retain(|known| Some(*known) != group);
    }

    /// Ends them: nobody waits for them any more.
    fn end(&self) {
        self.groups().drain(..).for_each(end);
    }

    fn groups(&self) -> std::sync::MutexGuard<'_, Vec<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
