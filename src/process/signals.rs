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

/// Receives signals; SIGPIPE is ignored by the language's own runtime.
pub struct Signals {
    stop: UnixStream,
    reload: UnixStream,
    refresh: UnixStream,
}

impl Signals {
    /// Takes over the signals of the process.
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

    /// Waits for the next one; those that came together count once.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            () = drain(&mut self.stop) => Signal::Stop,
            () = drain(&mut self.reload) => Signal::Reload,
            () = drain(&mut self.refresh) => Signal::Refresh,
        }
    }
}

fn pipe(signals: &[i32]) -> io::Result<UnixStream> {
    let (receiver, sender) = StdStream::pair()?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, sender.try_clone()?)?;
    }
    receiver.set_nonblocking(true)?;
    UnixStream::from_std(receiver)
}

async fn drain(stream: &mut UnixStream) {
    let mut bytes = [0; 16];
    if !matches!(stream.read(&mut bytes).await, Ok(1..)) {
        // The other end lives as long as the process.
        std::future::pending::<()>().await;
    }
}
