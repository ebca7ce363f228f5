//! Bodies on their way: held for a second try within a budget, else streamed.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::pace::Pace;
use crate::okta::forwarder::{Broken, Streamed};

/// Unit in which the memory for held bodies is given out, in bytes.
const UNIT: usize = 1024;
/// Largest piece in which bytes at hand are sent.
const PIECE: usize = 64 * 1024;

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
pub(super) fn streamed(start: Bytes, rest: Incoming, pace: &Pace) -> Streamed {
    let rest = rest.map_err(|_| Broken::Sender);
    pace.watch(Chained { start: Pieces(start), rest }).boxed()
}

/// Makes the body of a call that is at hand.
pub(super) fn whole(body: Bytes, pace: &Pace) -> Streamed {
    pace.watch(Pieces(body)).boxed()
}

/// Makes the body of an answer, which ends when nothing moves.
pub(super) fn paced(body: Incoming, idle: Duration) -> Streamed {
    Pace::new(idle).watch(body.map_err(|_| Broken::Sender)).boxed()
}

/// Bytes at hand, given out bit by bit: so it can be seen that they move.
struct Pieces(Bytes);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let length = self.0.len().min(PIECE);
        let piece = self.0.split_to(length);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// What has been read of a body, and then the rest.
struct Chained<B> {
    start: Pieces,
    rest: B,
}

impl<B> Body for Chained<B>
where
    B: Body<Data = Bytes, Error = Broken> + Unpin,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.start.is_end_stream() {
            return Pin::new(&mut self.rest).poll_frame(cx);
        }
        Pin::new(&mut self.start).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_end_stream() && self.rest.is_end_stream()
    }

    /// What was announced for the whole is what is announced again.
    fn size_hint(&self) -> SizeHint {
        let start = self.start.0.len() as u64;
        match self.rest.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest.saturating_add(start)),
            None => SizeHint::default(),
        }
    }
}
