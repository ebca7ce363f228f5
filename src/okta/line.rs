//! Connections to the issuer: each carries one call at a time and rests in between.
//!
//! A connection has no task of its own. Whoever waits for its answer moves it, so nobody else has to
//! be woken for a call, and a call that is given up takes its connection with it.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
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
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::forwarder::Streamed;

/// Rest after which a connection is closed, within as long again: shorter than any server's own
/// patience (fault 47), and what keeps the token of its last call in memory (fault 237).
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Most bytes of one connection that wait here in one direction; no head of an answer is larger.
const BUFFER: usize = 64 * 1024;

/// Longest time in which the issuer is told that a connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a connection runs over.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection to the issuer.
pub(super) struct Line {
    sender: SendRequest<Streamed>,
    /// None: it is over.
    connection: Option<Pin<Box<Connection<Stream, Streamed>>>>,
}

impl Line {
    pub(super) async fn open(stream: Stream) -> hyper::Result<Self> {
        let (sender, connection) = Builder::new().max_buf_size(BUFFER).handshake(stream).await?;
        Ok(Self { sender, connection: Some(Box::pin(connection)) })
    }

    /// Sends a call and waits for the head of its answer; the connection rests after its end.
    pub(super) async fn call(
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
            .is_some_and(|connection| connection.as_mut().poll(cx).is_ready());
        if is_over {
            // Whoever still waits for something of it hears so.
            self.connection = None;
        }
    }

    /// Tells whether it can carry another call.
    fn is_free(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Closes it as TLS and HTTP would have it.
    async fn close(self) {
        drop(self.sender);
        if let Some(connection) = self.connection {
            let _told = timeout(GOODBYE, connection).await;
        }
    }
}

/// The body of an answer, which moves the connection that it comes by.
pub struct Answer {
    body: Incoming,
    used: Option<(Line, Arc<Resting>)>,
    /// What it ends with when all before it is on its way to the client.
    broken: Option<hyper::Error>,
}

impl Answer {
    /// Gives what has come, or moves the connection so that more comes.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match (frame, &mut self.used) {
            (Poll::Pending, Some((line, _))) => {
                line.advance(cx);
                Pin::new(&mut self.body).poll_frame(cx)
            }
            (frame, _) => frame,
        }
    }

    /// Lets the connection rest, if it can carry another call; else it ends.
    fn free(&mut self, cx: &mut Context<'_>) {
        let Some((mut line, resting)) = self.used.take() else { return };
        line.advance(cx);
        if line.is_free() {
            resting.put(line);
        }
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
            poll_fn(|cx| {
                line.advance(cx);
                Poll::Ready(())
            })
            .await;
            if line.is_free() {
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
mod tests {
    use http_body_util::{BodyExt, Empty};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";

    /// Opens a line; the issuer's end of it goes with it.
    async fn line() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let line = Line::open(MaybeHttpsStream::Http(TokioIo::new(ours))).await.unwrap();
        (line, listener.accept().await.unwrap().0)
    }

    fn call() -> Request<Streamed> {
        Request::new(Empty::new().map_err(|never| match never {}).boxed())
    }

    /// Sends a call by a line, and answers it with these bytes.
    async fn answered(
        line: Line,
        issuer: &mut TcpStream,
        bytes: &[u8],
        resting: &Arc<Resting>,
    ) -> Answer {
        issuer.write_all(bytes).await.unwrap();
        line.call(call(), resting).await.unwrap().into_body()
    }

    fn count(resting: &Resting) -> usize {
        resting.lines().lines.len()
    }

    #[tokio::test]
    async fn a_line_rests_once_its_answer_is_whole() {
        let resting = Arc::new(Resting::new(3));
        let (line, mut issuer) = line().await;
        let mut answer = answered(line, &mut issuer, HEAD, &resting).await;
        assert_eq!(count(&resting), 0, "its body is yet to come");
        issuer.write_all(b"hello").await.unwrap();
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "hello");
        assert_eq!(count(&resting), 1);
        let line = resting.take().await.expect("the same one, for the next call");
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        let answer = answered(line, &mut issuer, empty, &resting).await;
        assert!(answer.is_end_stream());
        assert_eq!(count(&resting), 1, "nobody reads a body that is none");
    }

    #[tokio::test]
    async fn a_line_whose_answer_is_given_up_ends() {
        let resting = Arc::new(Resting::new(3));
        let (line, mut issuer) = line().await;
        drop(answered(line, &mut issuer, HEAD, &resting).await);
        assert_eq!(count(&resting), 0);
        let mut heard = Vec::new();
        issuer.read_to_end(&mut heard).await.unwrap();
        assert!(heard.starts_with(b"GET / HTTP/1.1\r\n"));
    }

    // fault 47
    #[tokio::test]
    async fn a_line_that_was_closed_meanwhile_is_not_taken() {
        let resting = Arc::new(Resting::new(3));
        for bytes in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\n\r\n"] {
            let (line, mut issuer) = line().await;
            resting.put(line);
            issuer.write_all(bytes).await.unwrap();
            drop(issuer);
            // Nothing tells when the kernel has passed it on.
            sleep(Duration::from_millis(50)).await;
            assert!(resting.take().await.is_none());
        }
    }

    // fault 93
    #[tokio::test]
    async fn only_so_many_rest() {
        let resting = Arc::new(Resting::new(3));
        for _ in 0..5 {
            resting.put(line().await.0);
        }
        assert_eq!(count(&resting), 3);
    }

    // faults 47 and 237
    #[tokio::test]
    async fn a_line_is_closed_when_it_has_rested() {
        let resting = Arc::new(Resting::new(3));
        for _ in 0..2 {
            let (line, mut issuer) = line().await;
            resting.put(line);
            rest().await;
            let mut heard = [0; 1];
            let end = timeout(Duration::from_secs(5), issuer.read(&mut heard)).await;
            assert_eq!(end.expect("closed in time").unwrap(), 0);
            assert_eq!(count(&resting), 0);
            // The watch ends with the last of them, and begins anew with the next.
            let mut rests = 0;
            while resting.lines().are_watched && rests < 10 {
                rest().await;
                rests += 1;
            }
            assert!(!resting.lines().are_watched);
        }
    }

    /// Lets the longest rest pass, before and after which whoever waits for it has its turn.
    async fn rest() {
        tokio::time::pause();
        tokio::task::yield_now().await;
        tokio::time::advance(LONGEST_REST).await;
        tokio::time::resume();
        tokio::task::yield_now().await;
    }

    #[tokio::test]
    async fn what_came_before_a_break_is_given_out_first() {
        let resting = Arc::new(Resting::new(3));
        let (line, mut issuer) = line().await;
        let part = [HEAD, b"hell"].concat();
        let mut answer = answered(line, &mut issuer, &part, &resting).await;
        drop(issuer);
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "hell");
        let end = poll_fn(|cx| match Pin::new(&mut answer).poll_frame(cx) {
            Poll::Pending if answer.broken.is_some() => {
                Poll::Ready("a moment for what came before")
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready("at once"),
        });
        assert_eq!(end.await, "a moment for what came before");
        assert!(answer.frame().await.unwrap().is_err());
        assert_eq!(count(&resting), 0);
    }
}
