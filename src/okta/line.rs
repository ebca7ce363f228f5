//! Connections to the issuer: each carries one call at a time and rests in between.
//!
//! A connection has no task of its own. Whoever waits for its answer moves it, so nobody else has to
//! be woken for a call, and a call that is given up takes its connection with it. One that rests is a
//! socket and little else: HTTP's machinery comes with a call that needs it and goes with its answer.

use std::{
    future::{Future, poll_fn},
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{Builder, Connection, SendRequest},
    },
};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::unconstrained,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    brief::{self, Came},
    forwarder::Streamed,
    rewound::Rewound,
};

/// Rest after which a connection is closed, within as long again: shorter than any server's own
/// patience (fault 47).
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Most bytes of one connection that wait here in one direction; no head of an answer is larger.
const BUFFER: usize = 64 * 1024;

/// Largest piece of an answer that is read at once, in bytes.
const PIECE: usize = 8 * 1024;
/// Pieces in which an answer may come that is brief: head and body, and one more.
const MOST_PIECES: usize = 3;
/// Time in which all of the rest has to follow its head: what takes longer is passed on as it comes.
const MOMENT: Duration = Duration::from_millis(20);

/// Longest time in which the issuer is told that a connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a connection runs over.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection to the issuer on which nothing is under way.
pub(super) struct Line {
    /// Apart: TLS takes a kilobyte, which would have room in whatever a line passes through.
    stream: TokioIo<Box<Stream>>,
}

/// A call that has been sent, and whose answer is not brief.
pub struct Begun {
    line: Line,
    sent: Bytes,
    came: Bytes,
}

/// Tells how far a call has come.
#[derive(Default)]
struct Progress {
    /// Bytes of it that were taken.
    sent: usize,
    came: Bytes,
}

/// Says how a call ended that a connection was to carry.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    /// The call, if not a byte of it was taken.
    pub(super) unsent: Option<Request<Streamed>>,
}

impl Line {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream: TokioIo::new(Box::new(stream)) }
    }

    /// Sends a call and waits for the head of its answer; the connection rests after its end.
    pub(super) async fn call(
        self,
        call: Request<Streamed>,
        resting: &Arc<Resting>,
    ) -> Result<Response<Answer>, Failed> {
        let nothing = Bytes::new();
        Begun { line: self, sent: nothing.clone(), came: nothing }.finish(call, resting).await
    }

    /// Sends a call that is all head, and gives its answer if that is brief and there in time; the
    /// connection rests then.
    pub(super) async fn ask(
        mut self,
        call: &Bytes,
        by: Instant,
        resting: &Arc<Resting>,
    ) -> Result<Response<Bytes>, Begun> {
        let mut progress = Progress::default();
        match timeout_at(by, self.exchange(call, &mut progress)).await {
            Ok(Some(answer)) => {
                resting.put(self);
                Ok(answer)
            }
            Ok(None) | Err(_) => {
                let Progress { sent, came } = progress;
                Err(Begun { line: self, sent: call.slice(..sent), came })
            }
        }
    }

    /// Gives the answer to a call, or notes how far it has come.
    async fn exchange(&mut self, call: &[u8], progress: &mut Progress) -> Option<Response<Bytes>> {
        while let left @ [_, ..] = call.get(progress.sent..)? {
            progress.sent += self.stream.write(left).await.ok().filter(|length| *length > 0)?;
        }
        self.stream.flush().await.ok()?;
        let mut rest_by = None;
        for _ in 0..MOST_PIECES {
            let piece = poll_fn(|cx| self.poll_piece(cx, &progress.came));
            progress.came = match rest_by {
                None => piece.await?,
                Some(moment) => timeout_at(moment, piece).await.ok()??,
            };
            match brief::read(&progress.came) {
                Came::Whole(answer) => return Some(answer),
                Came::Start => {}
                Came::Head => rest_by = rest_by.or_else(|| Some(Instant::now() + MOMENT)),
                Came::Other => return None,
            }
        }
        None
    }

    /// Reads a piece, and gives all that has come by then; `None` if that was the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>, before: &Bytes) -> Poll<Option<Bytes>> {
        let mut bytes = [MaybeUninit::uninit(); PIECE];
        let mut buf = ReadBuf::uninit(&mut bytes);
        // What fails brings nothing, and is an end as well.
        let _read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
        let piece = buf.filled();
        let came = match before.is_empty() {
            true => Bytes::copy_from_slice(piece),
            false => [before, piece].concat().into(),
        };
        let is_more = !piece.is_empty();
        // What an answer holds is nobody else's; the heap is wiped by its allocator.
        buf.filled_mut().fill(0);
        std::hint::black_box(buf.filled());
        Poll::Ready(is_more.then_some(came))
    }

    /// Tells whether nothing has come since the last answer, which would be the end, or no answer.
    async fn is_open(&mut self) -> bool {
        let mut bytes = [MaybeUninit::uninit(); 1];
        let mut buf = ReadBuf::uninit(&mut bytes);
        let read = poll_fn(|cx| {
            Poll::Ready(Pin::new(&mut self.stream).poll_read(cx, &mut buf).is_pending())
        });
        // To whoever has had his turn, everything would look as if there was nothing yet.
        unconstrained(read).await
    }

    /// Closes it as TLS would have it.
    async fn close(mut self) {
        let _told = timeout(GOODBYE, self.stream.shutdown()).await;
    }
}

impl Begun {
    /// Tells whether the head of an answer has come, or what can be none.
    #[must_use]
    pub fn has_head(&self) -> bool {
        !matches!(brief::read(&self.came), Came::Start)
    }

    /// Sends what is yet to be sent of a call, and waits for the head of its answer.
    pub(super) async fn finish(
        self,
        call: Request<Streamed>,
        resting: &Arc<Resting>,
    ) -> Result<Response<Answer>, Failed> {
        let Self { line, sent, came } = self;
        let stream = Rewound::new(line.stream.into_inner(), sent, came);
        let open = Builder::new().max_buf_size(BUFFER).handshake(stream);
        let (sender, connection) = match Box::pin(open).await {
            Ok(both) => both,
            Err(error) => return Err(Failed { error, unsent: Some(call) }),
        };
        let exchange = Exchange { sender, connection: Some(Box::new(connection)) };
        exchange.call(call, resting).await.map_err(|mut failed| {
            let unsent = failed.take_message();
            Failed { error: failed.into_error(), unsent }
        })
    }
}

/// A call that HTTP's machinery carries.
struct Exchange {
    sender: SendRequest<Streamed>,
    /// None: it is over.
    connection: Option<Box<Connection<Rewound<Box<Stream>>, Streamed>>>,
}

impl Exchange {
    async fn call(
        mut self,
        call: Request<Streamed>,
        resting: &Arc<Resting>,
    ) -> Result<Response<Answer>, TrySendError<Request<Streamed>>> {
        let mut head = pin!(self.sender.try_send_request(call));
        let answer = poll_fn(|cx| {
            self.advance(cx);
            head.as_mut().poll(cx)
        });
        let answer = answer.await?;
        let used = Some((self, Arc::clone(resting)));
        let mut answer = answer.map(|body| Answer { body, used, broken: None });
        if answer.body().is_end_stream() {
            poll_fn(|cx| {
                answer.body_mut().free(cx);
                Poll::Ready(())
            })
            .await;
        }
        Ok(answer)
    }

    /// Moves what can be moved both ways.
    fn advance(&mut self, cx: &mut Context<'_>) {
        let is_over = self
            .connection
            .as_mut()
            .is_some_and(|connection| Pin::new(&mut **connection).poll(cx).is_ready());
        if is_over {
            // Whoever still waits for something of it hears so.
            self.connection = None;
        }
    }

    /// Gives the connection back if it can carry another call.
    fn into_line(self) -> Option<Line> {
        let connection = self.connection.filter(|_| self.sender.is_ready())?;
        let parts = connection.into_parts();
        let stream = parts.io.into_inner().filter(|_| parts.read_buf.is_empty())?;
        Some(Line { stream: TokioIo::new(stream) })
    }
}

/// The body of an answer, which moves the connection that it comes by.
pub struct Answer {
    body: Incoming,
    used: Option<(Exchange, Arc<Resting>)>,
    /// What it ends with when all before it is on its way to the client.
    broken: Option<hyper::Error>,
}

impl Answer {
    /// Gives what has come, or moves the connection so that more comes.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match (frame, &mut self.used) {
            (Poll::Pending, Some((exchange, _))) => {
                exchange.advance(cx);
                Pin::new(&mut self.body).poll_frame(cx)
            }
            (frame, _) => frame,
        }
    }

    /// Lets the connection rest, if it can carry another call; else it ends.
    fn free(&mut self, cx: &mut Context<'_>) {
        let Some((mut exchange, resting)) = self.used.take() else { return };
        exchange.advance(cx);
        exchange.into_line().into_iter().for_each(|line| resting.put(line));
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = self.poll_next(cx);
        match frame {
            Poll::Ready(Some(Err(error))) => {
                // A server drops what it has not sent yet together with what breaks: it sends that
                // when nothing follows for a moment.
                self.used = None;
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.free(cx),
            Poll::Ready(None) => self.free(cx),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Holds the connections that rest, those that have rested longest first.
pub(super) struct Resting {
    lines: Mutex<Lines>,
    /// Most that rest; they are not counted as those in use are (fault 93).
    most: usize,
}

#[derive(Default)]
struct Lines {
    lines: Vec<(Instant, Line)>,
    /// Somebody will come and close those that have rested for too long.
    are_watched: bool,
}

impl Resting {
    pub(super) fn new(most: usize) -> Self {
        Self { lines: Mutex::default(), most }
    }

    /// Takes the one that came last and is still open.
    pub(super) async fn take(&self) -> Option<Line> {
        loop {
            let (_, mut line) = self.lines().lines.pop()?;
            // The issuer may have closed it meanwhile: nobody has looked.
            if line.is_open().await {
                return Some(line);
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "nothing is lost if a stop does not wait for it")]
    fn put(self: &Arc<Self>, line: Line) {
        let mut lines = self.lines();
        if lines.lines.len() >= self.most {
            return;
        }
        lines.lines.push((Instant::now(), line));
        if !std::mem::replace(&mut lines.are_watched, true) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Gives those that have rested for too long; `None` once no others are left to watch.
    fn rested(&self) -> Option<Vec<(Instant, Line)>> {
        let mut lines = self.lines();
        if lines.lines.is_empty() {
            lines.are_watched = false;
            return None;
        }
        let rested = lines.lines.partition_point(|(since, _)| since.elapsed() >= LONGEST_REST);
        Some(lines.lines.drain(..rested).collect())
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that have rested for too long, until none rests.
async fn watch(resting: Weak<Resting>) {
    loop {
        sleep(LONGEST_REST).await;
        let Some(rested) = resting.upgrade().and_then(|resting| resting.rested()) else { return };
        for (_, line) in rested {
            line.close().await;
        }
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
