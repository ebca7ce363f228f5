//! A stream with deadlines: a client that is too slow is cut off, at whatever it is slow.
//!
//! HTTP/1 servers keep waiting for heads that drip, answers that nobody takes and connections that
//! fell silent (faults 181 to 184). Here every wait for the peer has an end, set only when there is
//! a wait, so that a quick request touches no timer.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{busy::Busy, framing::Framing, server};
use crate::config::model::Limits;

/// Times `write_timeout` in which all of an answer has to be taken: who takes a byte now and then
/// keeps a connection for a minute, not for a day (fault 183).
const WHOLE_ANSWER: u32 = 12;
/// Silence after which a connection rests: long beside a request, short beside a crowd's arrival.
const QUIET: Duration = Duration::from_millis(20);
/// Most bytes that are read before somebody asks for them: an ordinary request.
const AHEAD: usize = 1024;
/// What a client is told that does not finish its request.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\
    Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 0\r\n\r\n";

/// What the client is to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// The first request, or the rest of one.
    Head,
    /// The next request, some time.
    Next,
}

/// What came while nobody read.
#[derive(Default)]
struct Early {
    bytes: Vec<u8>,
    /// Behind the bytes is the end.
    is_end: bool,
}

/// Says what has come.
pub enum Woken<T> {
    /// Bytes that were taken at once; this was made of them.
    Taken(T),
    /// Bytes that are still to be read.
    Bytes,
    /// No more.
    End,
}

/// Wraps a stream and ends its waits.
pub struct Paced<S> {
    stream: S,
    limits: Limits,
    busy: Busy,
    framing: Framing,
    expect: Expect,
    early: Early,
    /// Requests that look brief are not, until there is a rest: nobody else is to try them.
    stays: bool,
    /// Somebody wanted to read during the work, and has not been told how long he may.
    unheard: bool,
    read_by: Option<Instant>,
    /// Who has said nothing by then rests.
    rest_by: Option<Instant>,
    /// Some byte has to be taken by then.
    write_by: Option<Instant>,
    /// All that is written has to be taken by then.
    taken_by: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Paced<S> {
    /// Wraps a new stream, whose first request's head has to be there by `heard_by`.
    pub fn new(stream: S, limits: Limits, heard_by: Instant, busy: Busy) -> Self {
        Self {
            stream,
            limits,
            busy,
            framing: Framing::default(),
            expect: Expect::Head,
            early: Early::default(),
            stays: false,
            unheard: false,
            read_by: Some(heard_by),
            rest_by: None,
            write_by: None,
            taken_by: None,
            alarm: None,
        }
    }

    /// Waits for the next bytes, which `take` may take at once if they are all that came; others are
    /// read when somebody asks for them.
    ///
    /// # Errors
    ///
    /// Fails when none came in time; the client has been told.
    pub async fn wake<T>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<Woken<T>> {
        poll_fn(|cx| self.poll_wake(cx, &mut take)).await
    }

    fn poll_wake<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Poll<io::Result<Woken<T>>> {
        self.busy.note_rest(true);
        self.stays = false;
        let taken = match self.has_early() {
            true => self.take_early(take),
            false => match self.poll_early(cx, take) {
                Poll::Pending => return self.wait_to_read(cx).map_ok(|()| Woken::End),
                Poll::Ready(taken) => taken,
            },
        };
        if let Some(taken) = taken {
            (self.expect, self.read_by) = (Expect::Next, None);
            return Poll::Ready(Ok(Woken::Taken(taken)));
        }
        self.busy.note_rest(false);
        self.stays = server::is_likely_brief(&self.early.bytes);
        let is_end = self.early.bytes.is_empty();
        Poll::Ready(Ok(if is_end { Woken::End } else { Woken::Bytes }))
    }

    /// Writes all of an answer.
    ///
    /// # Errors
    ///
    /// Fails when the client does not take it in time, or has left.
    pub async fn send(&mut self, answer: &[u8]) -> io::Result<()> {
        self.write_all(answer).await?;
        self.flush().await
    }

    /// Waits until the client has closed its side; what else it sends meanwhile is kept.
    pub async fn left(&mut self) {
        let nobody = |_: &[u8]| None::<()>;
        poll_fn(|cx| {
            if !self.has_early() {
                ready!(self.poll_early(cx, nobody));
            }
            if self.early.is_end { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Puts a request back that was taken: it is read before all that came after it. Those that follow
    /// soon go the same way if it only looked brief.
    pub fn unread(&mut self, came: &[u8], only_looked_brief: bool) {
        self.stays = only_looked_brief;
        self.early.bytes.splice(..0, came.iter().copied());
        self.busy.note_rest(false);
    }

    const fn has_early(&self) -> bool {
        self.early.is_end || !self.early.bytes.is_empty()
    }

    /// Has all that came early taken.
    fn take_early<T>(&mut self, take: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let taken = take(&self.early.bytes);
        if taken.is_some() {
            self.early.bytes = Vec::new();
        }
        taken
    }

    /// Reads what nobody has asked for yet, and keeps what is not taken.
    fn poll_early<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Poll<Option<T>> {
        let mut bytes = [MaybeUninit::uninit(); AHEAD];
        let mut buf = ReadBuf::uninit(&mut bytes);
        // An error is an end, too.
        let is_broken = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)).is_err();
        if let taken @ Some(_) = take(buf.filled()) {
            return Poll::Ready(taken);
        }
        self.early.bytes.extend_from_slice(buf.filled());
        self.early.is_end = is_broken || buf.filled().is_empty();
        Poll::Ready(None)
    }

    /// Ends a wait for the client that has lasted too long.
    ///
    /// One alarm does for reading and writing: it goes off at the earlier end, and finds the later.
    fn poll_alarm(&mut self, cx: &mut Context<'_>, by: Instant) -> Poll<io::Error> {
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
        self.unheard = self.busy.is_working();
        if self.unheard {
            self.read_by = None;
            return Poll::Pending;
        }
        let (now, wait) = (Instant::now(), self.patience());
        let by = *self.read_by.get_or_insert(now + wait);
        if self.may_rest() {
            let rest = *self.rest_by.get_or_insert(now + QUIET);
            if rest < by {
                if self.poll_alarm(cx, rest).is_pending() {
                    return Poll::Pending;
                }
                self.busy.note_rest(true);
            }
        }
        let late = ready!(self.poll_alarm(cx, by));
        if self.expect == Expect::Head {
            // Told if it fits: the client may not even listen.
            let _told = Pin::new(&mut self.stream).poll_write(cx, TOO_SLOW);
        }
        Poll::Ready(Err(late))
    }

    /// Tells whether nothing is under way, and nobody has noticed that yet.
    fn may_rest(&self) -> bool {
        self.framing.is_between_requests()
            && self.busy.has_all()
            && !self.busy.is_stuck()
            && !self.busy.rests()
    }

    /// Tells whether the next request may be read by somebody else.
    fn may_leave(&self) -> bool {
        !self.stays && self.may_rest() && !self.busy.is_working()
    }

    const fn patience(&self) -> Duration {
        match self.expect {
            Expect::Head => self.limits.header_timeout,
            Expect::Next => self.limits.idle_timeout,
        }
    }

    /// The first byte of a request starts the time of its head; further ones do not.
    fn note_read(&mut self) {
        self.rest_by = None;
        self.busy.note_rest(false);
        if self.busy.has_answered() || self.expect == Expect::Next {
            (self.expect, self.read_by) = (Expect::Head, None);
        }
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.busy.note_stuck(poll.is_pending());
        if poll.is_ready() {
            self.write_by = None;
            return poll;
        }
        let (now, wait) = (Instant::now(), self.limits.write_timeout);
        let mut by = *self.write_by.get_or_insert(now + wait);
        if self.busy.is_working() {
            // What streams has no end that could be set.
            self.taken_by = None;
        } else {
            by = by.min(*self.taken_by.get_or_insert(now + wait * WHOLE_ANSWER));
        }
        self.poll_alarm(cx, by).map(Err)
    }

    /// Looks whether a client for which an answer waits is still there.
    ///
    /// HTTP's own machinery does not read meanwhile, but it comes by each time it is woken.
    fn look(&mut self, cx: &mut Context<'_>) {
        let nobody = |_: &[u8]| None::<()>;
        if !self.has_early() && self.poll_early(cx, nobody).is_ready() {
            self.busy.note_left();
            cx.waker().wake_by_ref();
        }
    }

    /// Reads what came early, else what comes.
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.has_early() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.early.bytes.len().min(buf.remaining());
        // In a place of its own: none, if nothing is left.
        let rest = self.early.bytes.split_off(length);
        buf.put_slice(&std::mem::replace(&mut self.early.bytes, rest));
        Poll::Ready(Ok(()))
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
        let is_first_look = !this.has_early();
        match this.read(cx, buf) {
            Poll::Pending => this.wait_to_read(cx),
            Poll::Ready(result) => {
                if let Some(new @ [_, ..]) = buf.filled().get(before..) {
                    if is_first_look && this.may_leave() && server::is_likely_brief(new) {
                        this.early.bytes.extend_from_slice(new);
                        buf.set_filled(before);
                        this.busy.note_rest(true);
                        // Whoever polls looks after that at once.
                        return Poll::Pending;
                    }
                    this.note_read();
                    this.framing.read(new);
                    this.busy.note(&this.framing);
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
        if this.busy.waits() {
            this.look(cx);
        }
        let poll = Pin::new(&mut this.stream).poll_flush(cx);
        if poll.is_ready() {
            // Nothing is left that the client would have to take.
            this.taken_by = None;
        }
        // Who could not read during the work does not ask again before something comes.
        if this.unheard && !this.busy.is_working() && this.wait_to_read(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        this.written(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.written(cx, poll)
    }
}

#[cfg(test)]
#[path = "paced_tests.rs"]
mod tests;
