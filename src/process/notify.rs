//! What the service manager is told (`sd_notify`); silence where there is none.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState;

/// Tells that every listener is bound; a token may still be on its way (fault 222).
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells that the configuration is being read again.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Tells that the end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells how things stand.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Tells that the event loop turns.
pub fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// Tells how often the service manager wants to hear that, if it does.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
}

/// Tells whether the service manager listens at an abstract socket.
#[must_use]
pub fn is_abstract() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|manager| manager.as_bytes().starts_with(b"@"))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Some(manager) = std::env::var_os("NOTIFY_SOCKET") {
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        // Whoever does not listen does not care.
        send(&manager, message.as_bytes()).ok();
    }
}

/// The crate knows paths only; managers in containers often have an abstract name (fault 222).
fn send(manager: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match manager.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(manager)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
}
