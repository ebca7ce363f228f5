//! The first process of a container: it starts one program, passes signals on, and reaps whoever is
//! left behind by others.
//!
//! The kernel gives every orphan to process 1, and keeps from it every signal that it does not ask
//! for. A program that is not made for that leaves dead processes and cannot be stopped.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, kill_process, wait},
};
use signal_hook::iterator::Signals;

use super::{
    child,
    relay::{self, OF_TERMINALS},
};
use crate::process::terminal::Terminal;

/// Tells whether we are the first process.
#[must_use]
pub fn is_our_place() -> bool {
    std::process::id() == 1
}

/// Runs a program to its end; tells the exit code that says how it ended.
///
/// # Errors
///
/// Fails when it cannot be started.
pub fn run(mut command: Command) -> io::Result<u8> {
    let heard = relay::heard().chain([Signal::CHILD]).map(Signal::as_raw);
    // Before there is a child: its end must not be missed.
    let mut signals = Signals::new(heard)?;
    let terminal = Terminal::of_session();
    let child = i32::try_from(command.spawn()?.id()).ok().and_then(Pid::from_raw);
    let child = child.ok_or(io::ErrorKind::InvalidData)?;
    loop {
        for signal in signals.wait().filter_map(Signal::from_named_raw) {
            let is_in_front = || terminal.as_ref().is_some_and(Terminal::is_ours);
            if signal == Signal::CHILD {
                if let Some(code) = reap(child) {
                    return Ok(code);
                }
            } else if !(OF_TERMINALS.contains(&signal) && is_in_front()) {
                // It may end at any moment.
                kill_process(child, signal).ok();
            }
        }
    }
}

/// Reaps all that have ended; gives the exit code of the child if it is among them.
fn reap(child: Pid) -> Option<u8> {
    let mut code = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => {
                code = Some(child::code(ExitStatus::from_raw(status.as_raw())));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return code,
        }
    }
}
