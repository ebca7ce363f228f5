//! The audit trail: who connected, who was refused; at most so many lines a second.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::io::Errno;

use crate::{
    process::{clock::Clock, peer::Peer},
    token::timing::Tick,
};

/// Lines of one kind that may come at once.
const BURST: u32 = 10;
/// Time after which one more line may come.
const INTERVAL: Duration = Duration::from_secs(1);

/// What could have been had at a listener: its default credential, and the token of that.
pub struct Subject {
    /// The credential's name.
    pub credential: String,
    /// The fingerprint of its token, if there is a valid one.
    pub token_id: Option<String>,
}

/// Writes the audit events of one listener (target `bearerd::audit`).
#[derive(Clone)]
pub struct Audit {
    listener: Arc<str>,
    connected: Arc<Limiter>,
    denied: Arc<Limiters>,
    not_forwarded: Arc<Limiters>,
    exhausted: Arc<Limiter>,
    clock: Arc<dyn Clock>,
}

impl Audit {
    /// Opens the trail of a listener.
    #[must_use]
    pub fn new(listener: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            listener: listener.into(),
            connected: Arc::default(),
            denied: Arc::default(),
            not_forwarded: Arc::default(),
            exhausted: Arc::default(),
            clock,
        }
    }

    /// Notes a new connection; what could be had is looked up only for a line that is written.
    pub fn connected(&self, peer: &Peer, subject: impl FnOnce() -> Option<Subject>) {
        if let Some(left_out) = self.connected.admit(self.clock.tick()) {
            let (Who { uid, gid, pid }, subject) = (Who::from(peer), subject());
            let (credential, token_id) = fields(subject.as_ref());
            tracing::info!(target: "bearerd::audit", listener = &*self.listener, uid, gid, pid,
                credential, token_id, left_out, "connected");
        }
    }

    /// Notes a refusal and its reason.
    pub fn denied(
        &self,
        peer: &Peer,
        reason: &'static str,
        subject: impl FnOnce() -> Option<Subject>,
    ) {
        if let Some(left_out) = self.denied.admit(reason, self.clock.tick()) {
            let (Who { uid, gid, pid }, subject) = (Who::from(peer), subject());
            let (credential, token_id) = fields(subject.as_ref());
            tracing::warn!(target: "bearerd::audit", listener = &*self.listener, uid, gid, pid,
                reason, credential, token_id, left_out, "refused");
        }
    }

    /// Notes a call that the issuer did not answer.
    pub fn not_forwarded(&self, reason: &'static str) {
        if let Some(left_out) = self.not_forwarded.admit(reason, self.clock.tick()) {
            tracing::warn!(
                listener = &*self.listener,
                reason,
                left_out,
                "a call could not be forwarded"
            );
        }
    }

    /// Notes that no connection could be accepted for want of something.
    pub fn exhausted(&self, error: &io::Error) {
        if let Some(left_out) = self.exhausted.admit(self.clock.tick()) {
            tracing::error!(
                listener = &*self.listener,
                problem = want(error),
                left_out,
                "a connection could not be accepted"
            );
        }
    }
}

/// Names what ran out, by its errno, and what to do about it.
fn want(error: &io::Error) -> String {
    let known = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => "EMFILE: this process has no descriptors left: raise LimitNOFILE=",
        Some(Errno::NFILE) => "ENFILE: the machine has no descriptors left: raise fs.file-max",
        Some(Errno::NOBUFS) => "ENOBUFS: the kernel has no memory for sockets left",
        Some(Errno::NOMEM) => "ENOMEM: the kernel has no memory left",
        Some(other) => return format!("errno {}: {}", other.raw_os_error(), error.kind()),
        None => return error.kind().to_string(),
    };
    known.to_owned()
}

fn fields(subject: Option<&Subject>) -> (Option<&str>, Option<&str>) {
    let credential = subject.map(|subject| subject.credential.as_str());
    (credential, subject.and_then(|subject| subject.token_id.as_deref()))
}

struct Who {
    uid: Option<u32>,
    gid: Option<u32>,
    pid: Option<i32>,
}

impl From<&Peer> for Who {
    fn from(peer: &Peer) -> Self {
        let (gid, pid) = match peer {
            Peer::Unix { gid, pid, .. } => (Some(*gid), *pid),
            Peer::Tcp { .. } | Peer::Unknown => (None, None),
        };
        Self { uid: peer.uid(), gid, pid }
    }
}

/// One limiter for each reason, so that none hides another; reasons come from fixed sets.
#[derive(Default)]
struct Limiters(Mutex<BTreeMap<&'static str, Limiter>>);

impl Limiters {
    fn admit(&self, reason: &'static str, now: Tick) -> Option<Option<u64>> {
        let mut limiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        limiters.entry(reason).or_default().admit(now)
    }
}

/// Lets through a burst, then one line an interval, and counts the rest (fault 191).
#[derive(Default)]
struct Limiter {
    /// Lines that may still come, and since when; `None` before the first.
    state: Mutex<Option<(u32, Tick)>>,
    left_out: AtomicU64,
}

impl Limiter {
    /// Tells whether a line may come, and how many were left out before it, if any.
    fn admit(&self, now: Tick) -> Option<Option<u64>> {
        if self.take(now) {
            let left_out = self.left_out.swap(0, Ordering::Relaxed);
            return Some((left_out > 0).then_some(left_out));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn take(&self, now: Tick) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = state.get_or_insert((BURST, now));
        let intervals = now.since(*since).as_secs() / INTERVAL.as_secs();
        if intervals > 0 {
            *left = left.saturating_add(u32::try_from(intervals).unwrap_or(BURST)).min(BURST);
            *since = now;
        }
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // fault 191
    #[test]
    fn a_flood_costs_a_line_a_second_and_is_counted() {
        let limiter = Limiter::default();
        let at = |millis: u64| Tick::from_boot(Duration::from_millis(millis));
        let lines = (0..60_000).filter_map(|millis| limiter.admit(at(millis))).collect::<Vec<_>>();
        assert_eq!(lines.len(), 10 + 59);
        assert_eq!(lines.iter().flatten().sum::<u64>() + 69 + 999, 60_000);
    }

    // fault 191: a flood of one kind is no cover for another
    #[test]
    fn each_reason_has_its_own_lines() {
        let limiters = Limiters::default();
        let now = Tick::from_boot(Duration::ZERO);
        let lines = |reason| (0..1000).filter(|_| limiters.admit(reason, now).is_some()).count();
        assert_eq!([lines("host"), lines("peer"), lines("host")], [10, 10, 0]);
    }

    // fault 187
    #[test]
    fn what_ran_out_is_named() {
        let named = |errno: Errno| want(&errno.into());
        assert!(named(Errno::MFILE).starts_with("EMFILE: this process"));
        assert!(named(Errno::NFILE).starts_with("ENFILE: the machine"));
        assert_eq!(named(Errno::ACCESS), "errno 13: permission denied");
        assert_eq!(want(&io::ErrorKind::Other.into()), "other error");
    }

    #[test]
    fn a_rest_allows_a_burst_again_and_no_more() {
        let limiter = Limiter::default();
        let burst = |second: u64| {
            let now = Tick::from_boot(Duration::from_secs(second));
            (0..100).filter(|_| limiter.admit(now).is_some()).count()
        };
        assert_eq!([burst(0), burst(0), burst(3), burst(10_000)], [10, 0, 3, 10]);
    }
}
