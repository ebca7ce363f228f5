//! The signals that we get and a child is to hear of.

use std::{io, os::unix::net::UnixStream as StdStream};

use rustix::process::Signal;
use tokio::{io::AsyncReadExt, net::UnixStream, sync::mpsc};
use tokio_util::task::TaskTracker;

use crate::process::terminal::Terminal;

/// What a child is told of that we are told: all that ask it to end, to look again or to go on.
pub(super) const FORWARDED: [Signal; 8] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::CONT,
];
/// What a terminal sends to everybody in the foreground by itself.
pub(super) const OF_TERMINALS: [Signal; 3] = [Signal::INT, Signal::QUIT, Signal::WINCH];
/// What ends a program that has no other plans.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// Receives what we are told.
pub struct Relay {
    signals: mpsc::UnboundedReceiver<Signal>,
    terminal: Option<Terminal>,
    _listeners: TaskTracker,
}

impl Relay {
    /// Takes over the signals of the process, but for those that it was told to ignore.
    ///
    /// # Errors
    ///
    /// Fails when there are no descriptors for it.
    pub fn new() -> io::Result<Self> {
        let (told, signals) = mpsc::unbounded_channel();
        let listeners = TaskTracker::new();
        for signal in heard().chain([Signal::CHILD]) {
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
        Ok(Self { signals, terminal: Terminal::of_session(), _listeners: listeners })
    }

    /// Waits for a signal: one to be passed on, or the word that something is new about a child.
    pub async fn next(&mut self) -> Signal {
        match self.signals.recv().await {
            Some(signal) => signal,
            // The listeners live as long as we.
            None => std::future::pending().await,
        }
    }

    /// Waits for a signal that would end a program that has not begun.
    pub async fn end(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if ENDING.contains(&signal) {
                return signal;
            }
        }
    }

    /// Tells whether a child in our process group has heard of a signal by itself.
    #[must_use]
    pub fn is_heard_by_all(&self, signal: Signal) -> bool {
        OF_TERMINALS.contains(&signal) && self.is_in_front()
    }

    /// Tells whether a signal is to end a program that runs: HUP is a reload where nobody can hang up.
    #[must_use]
    pub fn ends_program(&self, signal: Signal) -> bool {
        ENDING.contains(&signal) && (signal != Signal::HUP || self.terminal.is_some())
    }

    /// Tells whether a terminal speaks to our process group.
    #[must_use]
    pub fn is_in_front(&self) -> bool {
        self.terminal.as_ref().is_some_and(Terminal::is_ours)
    }

    /// Takes the terminal back, if there is one, from a child that has gone.
    pub fn take_terminal_back(&self) {
        self.terminal.iter().for_each(Terminal::take_back);
    }
}

/// Lists what is passed on: not what somebody had us ignore, as `nohup` does, for the child as well.
pub(super) fn heard() -> impl Iterator<Item = Signal> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored(&status);
    FORWARDED.into_iter().filter(move |signal| ignored & bit(*signal) == 0)
}

/// Reads the signals that a process ignores out of its `status` in `/proc`.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

const fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_found_in_the_mask() {
        let status =
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t00000000ffffffff\n";
        let ignored = ignored(status);
        for signal in FORWARDED {
            assert_eq!(ignored & bit(signal) != 0, signal == Signal::HUP, "{signal:?}");
        }
        assert_eq!(super::ignored("Name:\tcat\n"), 0);
    }
}
