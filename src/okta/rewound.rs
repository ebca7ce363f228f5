//! A connection on which a call has been begun, handed to HTTP's machinery as if it had not.
//!
//! The machinery writes the call's head: what is on its way already is compared and swallowed. It reads
//! the answer: what has come already is given to it first.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};

/// A stream of which a beginning is repeated.
pub(super) struct Rewound<S> {
    stream: S,
    /// What is yet to be written, and will not be sent again.
    sent: Bytes,
    /// What is yet to be read.
    came: Bytes,
    /// Whoever wants to read before all of that is written.
    reader: Option<Waker>,
    /// Something was to be written that the stream did not take yet.
    is_stuck: bool,
}

impl<S> Rewound<S> {
    pub(super) const fn new(stream: S, sent: Bytes, came: Bytes) -> Self {
        Self { stream, sent, came, reader: None, is_stuck: false }
    }

    /// Gives the stream back; `None` if not all of its beginning has been repeated, or not all is
    /// written.
    pub(super) fn into_inner(self) -> Option<S> {
        let is_whole = self.sent.is_empty() && self.came.is_empty() && !self.is_stuck;
        is_whole.then_some(self.stream)
    }

    /// Notes whether the stream takes what it is given.
    fn written<T>(&mut self, poll: Poll<T>) -> Poll<T> {
        self.is_stuck = poll.is_pending();
        poll
    }

    /// Swallows what was sent, as far as it is that; what differs would be another call.
    fn swallow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.sent.len());
        if bytes.get(..length) != self.sent.get(..length) {
            return Err(io::Error::other("this is not what was sent"));
        }
        self.sent.advance(length);
        if self.sent.is_empty() {
            self.reader.take().into_iter().for_each(Waker::wake);
        }
        Ok(length)
    }
}

impl<S: Read + Unpin> Read for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.sent.is_empty() {
            // An answer before its call is none.
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.came.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.came.len().min(buf.remaining());
        buf.put_slice(&self.came.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> Write for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.sent.is_empty() {
            let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
            return self.written(poll);
        }
        Poll::Ready(self.swallow(buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.sent.is_empty() && self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.sent.is_empty() {
            let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
            return self.written(poll);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        Poll::Ready(self.swallow(first.map_or(&[], |buf| buf)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper_util::rt::TokioIo;
    use tokio::{
        io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, DuplexStream, duplex},
        time::timeout,
    };
    use tokio_util::task::TaskTracker;

    use super::*;

    /// A stream on which a call has been begun, and its other end.
    fn begun(sent: &'static str, came: &'static str) -> (Stream, DuplexStream) {
        let (near, far) = duplex(1 << 10);
        (TokioIo::new(Rewound::new(TokioIo::new(near), sent.into(), came.into())), far)
    }

    const PATIENCE: Duration = Duration::from_secs(5);

    type Stream = TokioIo<Rewound<TokioIo<DuplexStream>>>;

    async fn some(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
        let mut bytes = [0; 100];
        let length = stream.read(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[tokio::test]
    async fn what_was_sent_is_not_sent_again_and_what_follows_is() {
        for piece in [1, 3, 5, 8, 100] {
            let (mut stream, mut far) = begun("hello", "");
            for bytes in b"hello, world".chunks(piece) {
                stream.write_all(bytes).await.unwrap();
            }
            stream.flush().await.unwrap();
            assert_eq!(some(&mut far).await, ", world", "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn pieces_that_are_written_together_are_swallowed_together() {
        let (mut stream, mut far) = begun("hello", "");
        let all = [b"hel", b"lo,", b" wo"];
        let mut left: Vec<_> = all.iter().map(|piece| io::IoSlice::new(&piece[..])).collect();
        let mut left = &mut left[..];
        while !left.is_empty() {
            let written = stream.write_vectored(left).await.unwrap();
            io::IoSlice::advance_slices(&mut left, written);
        }
        assert_eq!(some(&mut far).await, ", wo");
    }

    #[tokio::test]
    async fn what_follows_goes_out_when_it_should_and_ends_when_it_should() {
        let (near, mut far) = duplex(1 << 10);
        let near = TokioIo::new(BufWriter::new(near));
        let mut stream = TokioIo::new(Rewound::new(near, "hel".into(), Bytes::new()));
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        let heard = timeout(PATIENCE, some(&mut far)).await;
        assert_eq!(heard.expect("it was flushed"), "lo");
        stream.shutdown().await.unwrap();
        let end = timeout(PATIENCE, some(&mut far)).await;
        assert_eq!(end.expect("it has ended"), "");
    }

    #[test]
    fn pieces_go_out_together_once_nothing_is_repeated() {
        assert!(!begun("hello", "").0.is_write_vectored());
        assert!(begun("", "world").0.is_write_vectored());
    }

    // Two calls must never become one.
    #[tokio::test]
    async fn another_call_than_the_one_that_was_sent_fails() {
        for other in ["hallo", "hellO", "x"] {
            let (mut stream, mut far) = begun("hello", "");
            assert!(stream.write_all(other.as_bytes()).await.is_err(), "{other}");
            drop(stream);
            assert_eq!(some(&mut far).await, "");
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_from_its_beginning_once_its_call_is_written() {
        let (mut stream, mut far) = begun("hello", "wor");
        far.write_all(b"ld").await.unwrap();
        let early = tokio::select! {
            biased;
            early = some(&mut stream) => Some(early),
            () = std::future::ready(()) => None,
        };
        assert_eq!(early, None, "an answer before its call is none");
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(some(&mut stream).await + &some(&mut stream).await, "world");
    }

    #[tokio::test]
    async fn whoever_reads_too_early_is_woken() {
        let (stream, _far) = begun("hello", "world");
        let (mut reader, mut writer) = tokio::io::split(stream);
        let read = TaskTracker::new().spawn(async move { some(&mut reader).await });
        tokio::task::yield_now().await;
        writer.write_all(b"hello").await.unwrap();
        assert_eq!(read.await.unwrap(), "world");
    }

    #[tokio::test]
    async fn only_what_has_been_repeated_is_given_back() {
        let repeated = |sent, came| begun(sent, came).0.into_inner().into_inner().is_some();
        assert!(repeated("", ""));
        assert!(!repeated("a", "") && !repeated("", "a"));
        let (mut stream, _far) = begun("", "");
        let all = stream.write_all(&[0; 1 << 11]);
        assert!(timeout(Duration::from_millis(20), all).await.is_err(), "there is no room");
        assert!(stream.into_inner().into_inner().is_none(), "something is yet to be written");
    }
}
