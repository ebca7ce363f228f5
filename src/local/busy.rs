//! What the two sides of a connection know of each other: the stream, and those who answer on it.
//!
//! Both live in one task, so plain flags do; that they are atomic lets the task move.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Poll,
};

use super::framing::Framing;

/// What the stream of a connection and those who answer on it know of each other.
#[derive(Clone, Default)]
pub struct Busy(Arc<BusyState>);

#[derive(Default)]
struct BusyState {
    /// A request is being worked on; then it is not the client who is slow.
    working: AtomicBool,
    answered: AtomicBool,
    stuck: AtomicBool,
    /// Nothing is under way, and has not been for a while.
    rests: AtomicBool,
    /// The answer waits for something, for as long as the client does.
    waits: AtomicBool,
    /// The client has closed its side, or has sent something more, during that wait.
    left: AtomicBool,
    /// Requests that have been taken up.
    taken: AtomicU32,
    /// Requests of which a byte has been read.
    begun: AtomicU32,
    /// The first request of which it is not clear where it ends; none is 0.
    ambiguous: AtomicU32,
}

/// Ends the work on one request when it is dropped.
pub struct Work<'a>(&'a Busy);

impl Busy {
    /// Starts the work on one request.
    #[must_use]
    pub fn work(&self) -> Work<'_> {
        self.0.taken.fetch_add(1, Ordering::Relaxed);
        self.0.left.store(false, Ordering::Relaxed);
        self.0.working.store(true, Ordering::Relaxed);
        Work(self)
    }

    fn end(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
        self.0.working.store(false, Ordering::Relaxed);
    }

    /// Tells whether a request is being worked on.
    pub(super) fn is_working(&self) -> bool {
        self.0.working.load(Ordering::Relaxed)
    }

    /// Tells whether nothing is under way, and has not been for a while.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.0.rests.load(Ordering::Relaxed)
    }

    /// Tells whether something is written that the client has not taken yet.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.0.stuck.load(Ordering::Relaxed)
    }

    /// Tells whether two readers could see different ends of the request that is worked on.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        let taken = self.0.taken.load(Ordering::Relaxed);
        self.0.ambiguous.load(Ordering::Relaxed) == taken
    }

    /// Waits until the client has left: has closed its sending side, or has sent something more.
    ///
    /// To be awaited in the task of the connection only: the stream wakes that, and nobody else.
    pub async fn left(&self) {
        let _waits = Waits::new(self);
        poll_fn(|_| if self.has_left() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn has_left(&self) -> bool {
        let (begun, taken) = (&self.0.begun, &self.0.taken);
        self.0.left.load(Ordering::Relaxed)
            || begun.load(Ordering::Relaxed) > taken.load(Ordering::Relaxed)
    }

    /// Tells, once, that a request has been worked on since the last call.
    pub(super) fn has_answered(&self) -> bool {
        self.0.answered.swap(false, Ordering::Relaxed)
    }

    /// Tells whether every request of which a byte has come has been taken up.
    pub(super) fn has_all(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed) == self.0.taken.load(Ordering::Relaxed)
    }

    /// Tells whether an answer waits for as long as the client does.
    pub(super) fn waits(&self) -> bool {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// Notes what has been read.
    pub(super) fn note(&self, framing: &Framing) {
        self.0.begun.store(framing.begun(), Ordering::Relaxed);
        self.0.ambiguous.store(framing.ambiguous().unwrap_or(0), Ordering::Relaxed);
    }

    /// Notes whether something is written that the client has not taken yet.
    pub(super) fn note_stuck(&self, is_stuck: bool) {
        self.0.stuck.store(is_stuck, Ordering::Relaxed);
    }

    /// Notes whether nothing is under way, and has not been for a while.
    pub(super) fn note_rest(&self, rests: bool) {
        self.0.rests.store(rests, Ordering::Relaxed);
    }

    /// Notes that a client for which an answer waits has left.
    pub(super) fn note_left(&self) {
        self.0.left.store(true, Ordering::Relaxed);
    }
}

/// Lets the stream look after the client until it is dropped.
struct Waits<'a>(&'a AtomicBool);

impl<'a> Waits<'a> {
    fn new(busy: &'a Busy) -> Self {
        busy.0.waits.store(true, Ordering::Relaxed);
        Self(&busy.0.waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Work<'_> {
    /// Goes on with the work for as long as an answer streams.
    #[must_use]
    pub fn lasting(self) -> LastingWork {
        let busy = self.0.clone();
        // The work has not ended: it has only changed hands.
        std::mem::forget(self);
        LastingWork(busy)
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Ends the work on one request when it is dropped, wherever that is.
pub struct LastingWork(Busy);

impl Drop for LastingWork {
    fn drop(&mut self) {
        self.0.end();
    }
}
