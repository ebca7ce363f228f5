//! A child that runs beside a token: told of a new one, followed to its end.

use std::{
    io,
    os::unix::{net::UnixStream as StdStream, process::ExitStatusExt},
    process::{Command, ExitStatus},
    str::FromStr,
    time::Duration,
};

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use tokio::{io::AsyncReadExt, net::UnixStream, sync::mpsc, time::timeout};
use tokio_util::task::TaskTracker;

/// What a child is told of that we are told: all that ask it to end or to look again.
const FORWARDED: [Signal; 7] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];
/// What a terminal sends to everybody in the foreground by itself.
const OF_TERMINALS: [Signal; 3] = [Signal::INT, Signal::QUIT, Signal::WINCH];

/// Says what happens to a child when there is a new token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefresh {
    /// Nothing: its own environment stays as it was.
    #[default]
    None,
    /// It ends and is started anew.
    Restart,
    /// It gets a signal.
    Signal(Signal),
}

/// Refuses a word that names no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use none, restart, or signal:NAME with HUP, INT, QUIT, TERM, USR1, USR2 or WINCH")]
pub struct UnknownOnRefresh;

impl FromStr for OnRefresh {
    type Err = UnknownOnRefresh;

    fn from_str(text: &str) -> Result<Self, UnknownOnRefresh> {
        match text {
            "none" => Ok(Self::None),
            "restart" => Ok(Self::Restart),
            other => {
                let name = other.strip_prefix("signal:").ok_or(UnknownOnRefresh)?;
                named(name).map(Self::Signal).ok_or(UnknownOnRefresh)
            }
        }
    }
}

/// Finds a signal by its name, with or without `SIG`.
fn named(name: &str) -> Option<Signal> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    let names = ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH"];
    let mut pairs = names.into_iter().zip(FORWARDED);
    pairs.find_map(|(known, signal)| (known == name).then_some(signal))
}

/// Tells the exit code that says how a child ended: its own, or 128 and the signal.
#[must_use]
pub fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Runs one child; it is ended when this is dropped.
pub struct Child(tokio::process::Child);

impl Child {
    /// Starts it in our own terminal and process group.
    ///
    /// # Errors
    ///
    /// Fails when the program is not there or may not be run.
    pub fn start(command: Command) -> io::Result<Self> {
        tokio::process::Command::from(command).kill_on_drop(true).spawn().map(Self)
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// Fails when somebody else has waited for it.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&self, signal: Signal) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may end at any moment.
            kill_process(pid, signal).ok();
        }
    }

    /// Asks it to end, and ends it when it does not within the grace.
    ///
    /// # Errors
    ///
    /// Fails when somebody else has waited for it.
    pub async fn stop(mut self, grace: Duration) -> io::Result<()> {
        self.signal(Signal::TERM);
        if timeout(grace, self.0.wait()).await.is_err() {
            self.0.kill().await?;
        }
        Ok(())
    }
}

/// Receives what we are told and a child is to be told.
pub struct Forwarded {
    signals: mpsc::UnboundedReceiver<Signal>,
    _listeners: TaskTracker,
}

impl Forwarded {
    /// Takes over the signals of the process.
    ///
    /// # Errors
    ///
    /// Fails when there are no descriptors for it.
    pub fn new() -> io::Result<Self> {
        let (told, signals) = mpsc::unbounded_channel();
        let listeners = TaskTracker::new();
        for signal in FORWARDED {
            let (receiver, sender) = StdStream::pair()?;
            signal_hook::low_level::pipe::register(signal.as_raw(), sender)?;
            receiver.set_nonblocking(true)?;
            let (mut stream, told) = (UnixStream::from_std(receiver)?, told.clone());
            listeners.spawn(async move {
                while matches!(stream.read(&mut [0; 16]).await, Ok(1..))
                    && told.send(signal).is_ok()
                {}
            });
        }
        Ok(Self { signals, _listeners: listeners })
    }

    /// Waits for a signal that the child has not heard of by itself.
    pub async fn next(&mut self) -> Signal {
        loop {
            let Some(signal) = self.signals.recv().await else {
                return std::future::pending().await;
            };
            if !OF_TERMINALS.contains(&signal) || !is_in_foreground() {
                return signal;
            }
        }
    }
}

/// Tells whether a terminal speaks to our whole process group.
fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(rustix::stdio::stdin()).is_ok_and(|group| group == getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_new_token() {
        let table = [
            ("none", Ok(OnRefresh::None)),
            ("restart", Ok(OnRefresh::Restart)),
            ("signal:HUP", Ok(OnRefresh::Signal(Signal::HUP))),
            ("signal:SIGUSR1", Ok(OnRefresh::Signal(Signal::USR1))),
            ("signal:KILL", Err(UnknownOnRefresh)),
            ("signal:", Err(UnknownOnRefresh)),
            ("hup", Err(UnknownOnRefresh)),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn a_child_gives_its_own_code_or_its_signal() {
        for (wait_status, expected) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (15, 143), (9, 137)] {
            assert_eq!(code(ExitStatus::from_raw(wait_status)), expected);
        }
    }
}
