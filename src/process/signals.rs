//! Signals, as words that the daemon waits for.

use std::{io, os::unix::net::UnixStream as StdStream};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use tokio::{io::AsyncReadExt, net::UnixStream};

/// Says what somebody outside wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    Refresh,
}

/// Keeps signals until somebody waits for them; SIGPIPE is ignored by the language's own runtime.
pub struct Caught {
    stop: StdStream,
    reload: StdStream,
    refresh: StdStream,
}

impl Caught {
    /// Takes over the signals of the process; from now on none is lost, and none ends it.
    ///
    /// # Errors
    ///
    /// Fails when there are no descriptors for it.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            stop: pipe(&[SIGTERM, SIGINT])?,
            reload: pipe(&[SIGHUP])?,
            refresh: pipe(&[SIGUSR1])?,
        })
    }
}

/// Waits for signals.
pub struct Signals {
    stop: UnixStream,
    reload: UnixStream,
    refresh: UnixStream,
}

impl Signals {
    /// Begins to wait, for those that have come already, too. Needs a runtime.
    ///
    /// # Errors
    ///
    /// Fails when the kernel does not watch more descriptors.
    pub fn new(caught: Caught) -> io::Result<Self> {
        Ok(Self {
            stop: UnixStream::from_std(caught.stop)?,
            reload: UnixStream::from_std(caught.reload)?,
            refresh: UnixStream::from_std(caught.refresh)?,
        })
    }

    /// Waits for the next one; those that came together count once.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            () = drain(&mut self.stop) => Signal::Stop,
            () = drain(&mut self.reload) => Signal::Reload,
            () = drain(&mut self.refresh) => Signal::Refresh,
        }
    }

    /// Waits for the next stop; what else comes is kept for [`Signals::next`].
    pub async fn stop(&mut self) {
        drain(&mut self.stop).await;
    }
}

fn pipe(signals: &[i32]) -> io::Result<StdStream> {
    let (receiver, sender) = StdStream::pair()?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, sender.try_clone()?)?;
    }
    receiver.set_nonblocking(true)?;
    Ok(receiver)
}

async fn drain(stream: &mut UnixStream) {
    let mut bytes = [0; 16];
    if !matches!(stream.read(&mut bytes).await, Ok(1..)) {
        // The other end lives as long as the process.
        std::future::pending::<()>().await;
    }
}
