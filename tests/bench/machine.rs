//! The cores: one for whoever serves, one for whoever asks, so that neither slows the other.

use std::{
    io,
    process::{Child, Command},
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Names the core that a process runs on, if not the kernel is to choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Core(Option<usize>);

impl Core {
    /// Chooses a core for the server and one for the load, or none where there are no two.
    pub(crate) fn pair(spread: bool) -> io::Result<[Self; 2]> {
        let ours = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| ours.is_set(*core));
        match (cores.next(), cores.next()) {
            (Some(server), Some(load)) if !spread => Ok([Self(Some(server)), Self(Some(load))]),
            _ => Ok([Self(None); 2]),
        }
    }

    /// Starts a process there: a child inherits the cores of the thread that made it.
    pub(crate) fn spawn(self, command: &mut Command) -> io::Result<Child> {
        let Some(core) = self.0 else {
            return command.spawn();
        };
        let before = sched_getaffinity(None)?;
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only)?;
        let child = command.spawn();
        sched_setaffinity(None, &before)?;
        child
    }
}
