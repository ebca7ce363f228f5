//! A child that runs beside a token: told of a new one, followed to its end.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
    str::FromStr,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// What a program can be told of a new token by.
const NAMED: [(&str, Signal); 7] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("TERM", Signal::TERM),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("WINCH", Signal::WINCH),
];

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
    NAMED.into_iter().find_map(|(known, signal)| (known == name).then_some(signal))
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
        if let Some(pid) = self.pid() {
            // It may end at any moment.
            kill_process(pid, signal).ok();
        }
    }

    /// Tells how it has ended, if it has.
    ///
    /// # Errors
    ///
    /// Fails when somebody else has waited for it.
    pub fn has_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Tells whether it is stopped, as by Ctrl-Z, and neither ended nor continued since.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let stopped = |pid| waitid(WaitId::Pid(pid), look).is_ok_and(|status| status.is_some());
        self.pid().is_some_and(stopped)
    }

    /// Ends it, whatever it is doing.
    ///
    /// # Errors
    ///
    /// Fails when somebody else has waited for it.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.0.kill().await
    }

    fn pid(&self) -> Option<Pid> {
        self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }
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
