//! A process beside us whose end is ours, too.

use std::{io, os::fd::OwnedFd};

use super::descriptors;
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

/// Holds on to one process, whatever becomes of its number.
pub struct Companion(Option<OwnedFd>);

/// Tells why a process cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompanionError {
    /// The number is that of a thread.
    #[error("this is a thread: name the process that it belongs to")]
    Thread,
    /// The kernel knows no pidfd (before Linux 5.3, or a sandbox).
    #[error("this kernel cannot tell when a process ends (no pidfd_open)")]
    Unsupported,
    /// Anything else.
    #[error("the process cannot be watched: {0}")]
    System(io::ErrorKind),
}

impl Companion {
    /// Finds the process with this number; one that is gone already has ended.
    ///
    /// # Errors
    ///
    /// When the number is no process's, or the kernel does not watch processes.
    pub fn find(pid: i32) -> Result<Self, CompanionError> {
        let pid = Pid::from_raw(pid).ok_or(CompanionError::Thread)?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => Ok(Self(Some(descriptor))),
            Err(Errno::SRCH) => Ok(Self(None)),
            Err(Errno::NOENT | Errno::INVAL) => Err(CompanionError::Thread),
            Err(Errno::NOSYS | Errno::PERM) => Err(CompanionError::Unsupported),
            Err(errno) => Err(CompanionError::System(io::Error::from(errno).kind())),
        }
    }

    /// Waits for its end, without a wake-up before it. Needs a runtime.
    pub async fn ended(self) {
        if let Some(descriptor) = self.0 {
            // A descriptor that fails tells nothing more: better to stop than to stay for ever.
            if let Ok(descriptor) = descriptors::readable(descriptor) {
                descriptor.readable().await.map(drop).ok();
            }
        }
        tracing::info!("the process that we go with has ended");
    }
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use tokio::time::timeout;

    use super::*;

    fn pid(child: &std::process::Child) -> i32 {
        i32::try_from(child.id()).unwrap()
    }

    // fault 216
    #[tokio::test]
    async fn an_end_is_noticed_and_not_before_it_comes() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut ended = Box::pin(Companion::find(pid(&child)).ok().unwrap().ended());
        let early = timeout(Duration::from_millis(50), ended.as_mut()).await;
        child.kill().unwrap();
        assert!(early.is_err());
        timeout(Duration::from_secs(20), ended).await.unwrap();
        let number = pid(&child);
        child.wait().unwrap();
        timeout(Duration::from_secs(20), Companion::find(number).ok().unwrap().ended())
            .await
            .unwrap();
    }
}
