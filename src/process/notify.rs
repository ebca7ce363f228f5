//! What the service manager is told (`sd_notify`); silence where there is none.

use std::time::Duration;

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

fn tell(states: &[NotifyState<'_>]) {
    // Whoever does not listen does not care.
    sd_notify::notify(states).ok();
}
