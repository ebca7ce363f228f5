//! Bodies on their way: held for a second try within a budget, ended when nothing moves.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, timeout},
};

use crate::okta::forwarder::{Broken, Streamed};

/// Unit in which the memory for held bodies is given out, in bytes.
const UNIT: usize = 1024;

/// Lends memory to bodies that are held; one budget for all calls of a listener.
#[derive(Clone)]
pub(super) struct ReplayMemory {
    /// Largest body that is held, in bytes.
    each: usize,
    all: Arc<Semaphore>,
}

/// Holds a body as far as it has been read.
pub(super) enum Held {
    /// All of it: it can be sent again.
    Whole(Bytes, Vec<OwnedSemaphorePermit>),
    /// Its beginning, and the rest that is yet to come.
    Part(Bytes, Incoming),
}

/// Says why a client's body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It did not move for too long.
    Stalled,
    /// The client left, or broke its own framing.
    Broken,
}

impl ReplayMemory {
    pub(super) fn new(each: u64, all: u64) -> Self {
        let units = usize::try_from(all).unwrap_or(usize::MAX) / UNIT;
        let all = Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS)));
        Self { each: usize::try_from(each).unwrap_or(usize::MAX), all }
    }

    /// Reads a body for as long as it fits into what one call and all calls together may hold.
    pub(super) async fn hold(&self, mut body: Incoming, idle: Duration) -> Result<Held, BodyError> {
        let announced = body.size_hint().lower();
        if usize::try_from(announced).map_or(true, |size| size > self.each) {
            return Ok(Held::Part(Bytes::new(), body));
        }
        let (mut held, mut permits) = (BytesMut::new(), Vec::new());
        let mut lent = 0;
        loop {
            let frame = timeout(idle, body.frame()).await.map_err(|_| BodyError::Stalled)?;
            let Some(frame) = frame else {
                return Ok(Held::Whole(held.freeze(), permits));
            };
            let frame = frame.map_err(|_| BodyError::Broken)?;
            let Ok(data) = frame.into_data() else { continue };
            held.extend_from_slice(&data);
            let wanted = held.len().div_ceil(UNIT).saturating_sub(lent);
            match self.lend(wanted) {
                Some(permit) if held.len() <= self.each => permits.push(permit),
                _ => return Ok(Held::Part(held.freeze(), body)),
            }
            lent += wanted;
        }
    }

    fn lend(&self, units: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(units).ok()?;
        Arc::clone(&self.all).try_acquire_many_owned(units).ok()
    }
}

/// Makes the body of a call of which nothing is sent again.
pub(super) fn streamed(start: Bytes, rest: Incoming, idle: Duration) -> Streamed {
    let rest = rest.map_err(|_| Broken::Sender);
    if start.is_empty() {
        return Moving::new(rest, idle).boxed();
    }
    let start = Full::new(start).map_err(|never| match never {});
    Moving::new(Chained { start: Some(start), rest }, idle).boxed()
}

/// Makes the body of a call that is at hand.
pub(super) fn whole(body: Bytes) -> Streamed {
    Full::new(body).map_err(|never| match never {}).boxed()
}

/// Ends an answer's body when nothing moves.
pub(super) fn paced(body: Incoming, idle: Duration) -> Streamed {
    Moving::new(body.map_err(|_| Broken::Sender), idle).boxed()
}

/// One body after the other.
struct Chained<A, B> {
    start: Option<A>,
    rest: B,
}

impl<A, B> Body for Chained<A, B>
where
    A: Body<Data = Bytes, Error = Broken> + Unpin,
    B: Body<Data = Bytes, Error = Broken> + Unpin,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(start) = &mut self.start {
            match Pin::new(start).poll_frame(cx) {
                Poll::Ready(None) => self.start = None,
                other => return other,
            }
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    /// What was announced for the whole is what is announced again.
    fn size_hint(&self) -> SizeHint {
        let start = self.start.as_ref().and_then(|start| start.size_hint().exact()).unwrap_or(0);
        match self.rest.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest.saturating_add(start)),
            None => SizeHint::default(),
        }
    }
}

/// A body that fails when no byte has moved for too long.
struct Moving<B> {
    body: B,
    idle: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<B> Moving<B> {
    const fn new(body: B, idle: Duration) -> Self {
        Self { body, idle, alarm: None }
    }
}

impl<B> Body for Moving<B>
where
    B: Body<Data = Bytes, Error = Broken> + Unpin,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            if let Some(alarm) = &mut this.alarm {
                alarm.as_mut().reset(Instant::now() + this.idle);
            }
            return Poll::Ready(frame);
        }
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep(this.idle)));
        match alarm.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Broken::Stalled))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
