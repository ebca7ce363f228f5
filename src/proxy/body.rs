//! Bodies on their way: held for a second try within a budget, else streamed.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::pace::Pace;
use crate::okta::forwarder::{Answer, Broken, Streamed};

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
    Whole(Bytes),
    /// Its beginning, in two parts, and the rest that is yet to come.
    Part([Bytes; 2], Incoming),
}

/// Bytes of a body with the memory that was lent for them, given back with the last of them.
#[derive(Default)]
struct Loan {
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
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
        let Some(most) = self.most(&body.size_hint()) else {
            return Ok(Held::Part([Bytes::new(), Bytes::new()], body));
        };
        let mut loan = Loan::default();
        loop {
            let frame = timeout(idle, body.frame()).await.map_err(|_| BodyError::Stalled)?;
            let Some(frame) = frame else {
                return Ok(Held::Whole(Bytes::from_owner(loan)));
            };
            let frame = frame.map_err(|_| BodyError::Broken)?;
            let Ok(data) = frame.into_data() else { continue };
            if !self.extend(&mut loan, &data, most) {
                return Ok(Held::Part([Bytes::from_owner(loan), data], body));
            }
        }
    }

    /// Tells how much is held of a body of this size; `None` if it is known to be too large.
    fn most(&self, size: &SizeHint) -> Option<usize> {
        let least = usize::try_from(size.lower()).ok()?;
        let most = size.upper().and_then(|upper| usize::try_from(upper).ok());
        (least <= self.each).then(|| most.unwrap_or(self.each).min(self.each))
    }

    /// Adds data if the memory for it can be lent; what is allocated counts, not what is used.
    fn extend(&self, loan: &mut Loan, data: &[u8], most: usize) -> bool {
        let (length, capacity) = (loan.bytes.len(), loan.bytes.capacity());
        let needed = length.saturating_add(data.len());
        if needed > most {
            return false;
        }
        if needed > capacity {
            let grown = capacity.saturating_mul(2).clamp(needed, most);
            if !self.lend(loan, grown.div_ceil(UNIT)) {
                return false;
            }
            loan.bytes.reserve_exact(grown - length);
        }
        loan.bytes.extend_from_slice(data);
        true
    }

    fn lend(&self, loan: &mut Loan, units: usize) -> bool {
        let lent = loan.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Ok(more) = u32::try_from(units.saturating_sub(lent)) else { return false };
        let Ok(permit) = Arc::clone(&self.all).try_acquire_many_owned(more) else { return false };
        match &mut loan.permit {
            Some(lent) => lent.merge(permit),
            none => *none = Some(permit),
        }
        true
    }
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Makes the body of a call of which nothing is sent again.
pub(super) fn streamed(start: [Bytes; 2], rest: Incoming, pace: &Pace) -> Streamed {
    let [first, second] = start.map(Pieces);
    let rest = rest.map_err(|_| Broken::Sender);
    pace.watch(Chained { start: first, rest: Chained { start: second, rest } }).boxed()
}

/// Makes the body of a call that is at hand.
pub(super) fn whole(body: Bytes, pace: &Pace) -> Streamed {
    pace.watch(Pieces(body)).boxed()
}

/// Makes the body of an answer, which ends when nothing moves.
pub(super) fn paced(
    body: Answer,
    idle: Duration,
) -> impl Body<Data = Bytes, Error = Broken> + Send + Sync + Unpin + 'static {
    Pace::new(idle).watch(body.map_err(|_| Broken::Sender))
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

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn free(memory: &ReplayMemory) -> usize {
        memory.all.available_permits()
    }

    #[test]
    fn what_is_allocated_is_lent_and_given_back_with_the_last_byte() {
        let memory = ReplayMemory::new(1 << 20, 1 << 20);
        let mut loan = Loan::default();
        for _ in 0..300 {
            assert!(memory.extend(&mut loan, &[7; 1000], 1 << 20));
            assert!(loan.bytes.capacity() <= (KIB - free(&memory)) * UNIT);
        }
        let body = Bytes::from_owner(loan);
        let last = body.slice(299_999..);
        drop(body);
        assert!(free(&memory) < KIB - 292);
        drop(last);
        assert_eq!(free(&memory), KIB);
    }

    #[test]
    fn neither_one_body_nor_all_together_get_more_than_they_may() {
        let memory = ReplayMemory::new(100 * KIB as u64, 150 * KIB as u64);
        let (mut one, mut other) = (Loan::default(), Loan::default());
        assert!(memory.extend(&mut one, &[0; 100 * KIB], 100 * KIB));
        assert!(!memory.extend(&mut one, &[0; 1], 100 * KIB), "no more for one");
        assert!(memory.extend(&mut other, &[0; 50 * KIB], 100 * KIB));
        assert!(!memory.extend(&mut other, &[0; 1], 100 * KIB), "no more for all");
        assert_eq!(other.bytes.len(), 50 * KIB, "what did not fit is not in it");
        drop(one);
        assert!(memory.extend(&mut other, &[0; 1], 100 * KIB));
    }

    #[test]
    fn a_body_that_is_known_to_be_too_large_is_not_begun() {
        let memory = ReplayMemory::new(10, 100);
        let hint = |lower, upper: Option<u64>| {
            let mut hint = SizeHint::new();
            upper.into_iter().for_each(|upper| hint.set_upper(upper));
            hint.set_lower(lower);
            hint
        };
        assert_eq!(memory.most(&hint(11, Some(11))), None);
        assert_eq!(memory.most(&hint(10, Some(10))), Some(10));
        assert_eq!(memory.most(&hint(3, Some(3))), Some(3));
        assert_eq!(memory.most(&hint(0, None)), Some(10));
    }
}
