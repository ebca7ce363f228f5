//! The terminal that we were started from, and whose turn it is there.

use std::os::fd::OwnedFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    process::{Pid, getpgrp, test_kill_process_group},
    termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp},
};

/// Holds the terminal of our session, wherever the standard streams lead.
pub struct Terminal {
    device: OwnedFd,
    usual: Termios,
}

impl Terminal {
    /// Finds it, if there is one, and remembers how it was set.
    #[must_use]
    pub fn of_session() -> Option<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let device = open("/dev/tty", flags, Mode::empty()).ok()?;
        let usual = tcgetattr(&device).ok()?;
        Some(Self { device, usual })
    }

    /// Tells whether what is typed there goes to our process group.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        tcgetpgrp(&self.device).is_ok_and(|front| front == getpgrp())
    }

    /// Takes it back from a program that is gone, and sets it as it was.
    ///
    /// One that a living process group uses stays with that: a shell has put us into the background.
    pub fn take_back(&self) {
        let Ok(front) = tcgetpgrp(&self.device) else { return };
        if front == getpgrp() || is_gone(front) {
            without_being_stopped(|| {
                // A terminal that has hung up needs neither.
                tcsetpgrp(&self.device, getpgrp()).ok();
                tcsetattr(&self.device, OptionalActions::Now, &self.usual).ok();
            });
        }
    }
}

fn is_gone(group: Pid) -> bool {
    test_kill_process_group(group) == Err(Errno::SRCH)
}

/// Does what the kernel would stop a process for that is not in front.
fn without_being_stopped(act: impl FnOnce()) {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTTOU);
    let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    act();
    if let Ok(before) = before {
        before.thread_set_mask().ok();
    }
}
