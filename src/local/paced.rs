//! A stream with deadlines: a client that is too slow is cut off, at whatever it is slow.
//!
//! HTTP/1 servers keep waiting for heads that drip, answers that nobody takes and connections that
//! fell silent (faults 181 to 184). Here every wait for the peer has an end, set only when there is
//! a wait, so that a quick request touches no timer.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::config::model::Limits;

/// What a client is told that does not finish its request.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\
    Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 0\r\n\r\n";

/// Says whether a request is being worked on; then it is not the client who is slow.
#[derive(Clone, Default)]
pub struct Busy(Arc<BusyState>);

#[derive(Default)]
struct BusyState {
    working: AtomicBool,
    answered: AtomicBool,
    stuck: AtomicBool,
}

/// Ends the work on one request when it is dropped.
pub struct Work<'a>(&'a Busy);

impl Busy {
    /// Starts the work on one request.
    #[must_use]
    pub fn work(&self) -> Work<'_> {
        self.0.working.store(true, Ordering::Relaxed);
        Work(self)
    }

    fn end(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
        self.0.working.store(false, Ordering::Relaxed);
    }

    fn is_working(&self) -> bool {
        self.0.working.load(Ordering::Relaxed)
    }

    /// Tells whether something is written that the client has not taken yet.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.0.stuck.load(Ordering::Relaxed)
    }

    /// Tells, once, that a request has been worked on since the last call.
    fn has_answered(&self) -> bool {
        self.0.answered.swap(false, Ordering::Relaxed)
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

/// What the client is to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// The first request, or the rest of one.
    Head,
    /// The next request, some time.
    Next,
}

/// Wraps a stream and ends its waits.
pub struct Paced<S> {
    stream: S,
    limits: Limits,
    busy: Busy,
    expect: Expect,
    read_by: Option<Instant>,
    write_by: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Paced<S> {
    /// Wraps a new stream, whose first request's head has to be there by `heard_by`.
    pub fn new(stream: S, limits: Limits, heard_by: Instant, busy: Busy) -> Self {
        let read_by = Some(heard_by);
        Self { stream, limits, busy, expect: Expect::Head, read_by, write_by: None, alarm: None }
    }

    /// Ends the wait for the client if it has lasted too long.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(by) = self.read_by.into_iter().chain(self.write_by).min() else {
            return Poll::Pending;
        };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(by)));
        loop {
            // A later deadline than the alarm's is found when the alarm goes off: no timer is
            // moved for each request.
            if alarm.deadline() > by {
                alarm.as_mut().reset(by);
            }
            ready!(alarm.as_mut().poll(cx));
            if alarm.deadline() >= by {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            alarm.as_mut().reset(by);
        }
    }

    fn wait_to_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.busy.has_answered() {
            (self.expect, self.read_by) = (Expect::Next, None);
        }
        if self.busy.is_working() {
            self.read_by = None;
            return Poll::Pending;
        }
        let wait = self.patience();
        self.read_by.get_or_insert_with(|| Instant::now() + wait);
        let late = ready!(self.poll_alarm(cx));
        if self.expect == Expect::Head {
            // Told if it fits: the client may not even listen.
            let _told = Pin::new(&mut self.stream).poll_write(cx, TOO_SLOW);
        }
        Poll::Ready(Err(late))
    }

    const fn patience(&self) -> Duration {
        match self.expect {
            Expect::Head => self.limits.header_timeout,
            Expect::Next => self.limits.idle_timeout,
        }
    }

    /// The first byte of a request starts the time of its head; further ones do not.
    fn note_read(&mut self) {
        if self.busy.has_answered() || self.expect == Expect::Next {
            (self.expect, self.read_by) = (Expect::Head, None);
        }
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.busy.0.stuck.store(poll.is_pending(), Ordering::Relaxed);
        if poll.is_ready() {
            self.write_by = None;
            return poll;
        }
        let wait = self.limits.write_timeout;
        self.write_by.get_or_insert_with(|| Instant::now() + wait);
        self.poll_alarm(cx).map(Err)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Pending => this.wait_to_read(cx),
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    this.note_read();
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.written(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.written(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_flush(cx);
        this.written(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.written(cx, poll)
    }
}
