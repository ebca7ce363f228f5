//! Whether a call goes on: it may take as long as it likes while bytes move (section 3).

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::okta::forwarder::Broken;

/// Watches one call on its way to the issuer.
#[derive(Clone)]
pub(super) struct Pace {
    idle: Duration,
    upload: Arc<Upload>,
}

/// What is known of a call's own body.
struct Upload {
    moved: Mutex<Instant>,
    waits: AtomicBool,
}

/// Says who let a call stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stalled {
    /// The client sent no more of its body.
    Client,
    /// The issuer took no more of it, or did not answer.
    Issuer,
}

impl Pace {
    /// Begins to watch; a call ends when nothing has moved for `idle`.
    pub(super) fn new(idle: Duration) -> Self {
        let upload = Upload { moved: Mutex::new(Instant::now()), waits: AtomicBool::new(false) };
        Self { idle, upload: Arc::new(upload) }
    }

    /// Waits for an answer as long as the call's body moves, and then once more as long as that; it
    /// is sent `since` then.
    pub(super) async fn keep<T>(
        &self,
        since: Instant,
        answer: impl Future<Output = T>,
    ) -> Result<T, Stalled> {
        self.upload.note_at(since);
        let mut answer = std::pin::pin!(answer);
        loop {
            let due = self.upload.moved() + self.idle;
            if let Ok(answer) = timeout_at(due, answer.as_mut()).await {
                return Ok(answer);
            }
            if self.upload.moved() + self.idle <= due {
                let waits = self.upload.waits.load(Ordering::Relaxed);
                return Err(if waits { Stalled::Client } else { Stalled::Issuer });
            }
        }
    }

    /// Watches a body as well: it fails when no byte of it comes.
    pub(super) fn watch<B>(&self, body: B) -> Moving<B> {
        Moving { body, pace: self.clone(), alarm: None, waits: false }
    }
}

impl Upload {
    fn moved(&self) -> Instant {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, waits: bool) {
        if waits {
            self.waits.store(true, Ordering::Relaxed);
        } else {
            self.note_at(Instant::now());
        }
    }

    /// Notes when it has moved.
    fn note_at(&self, moved: Instant) {
        self.waits.store(false, Ordering::Relaxed);
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = moved;
    }
}

/// A body that fails when its sender stands still; a slow receiver is not its fault.
pub(super) struct Moving<B> {
    body: B,
    pace: Pace,
    alarm: Option<Pin<Box<Sleep>>>,
    /// The alarm was set for the wait that is going on.
    waits: bool,
}

impl<B> Moving<B> {
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.pace.idle;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(idle)));
        if !std::mem::replace(&mut self.waits, true) {
            alarm.as_mut().reset(Instant::now() + idle);
        }
        alarm.as_mut().poll(cx)
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
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        this.pace.upload.note(frame.is_pending());
        if frame.is_ready() {
            this.waits = false;
            return frame;
        }
        this.poll_alarm(cx).map(|()| Some(Err(Broken::Stalled)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http_body_util::BodyExt;
    use tokio::{
        sync::mpsc::{Receiver, Sender, channel},
        time::advance,
    };

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);
    const LESS: Duration = Duration::from_secs(50);

    /// A body that a test sends piece by piece.
    struct Sent(Receiver<Bytes>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = Broken;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
            self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn call() -> (Sender<Bytes>, Pace, Moving<Sent>) {
        let (sender, pieces) = channel(9);
        let pace = Pace::new(IDLE);
        let body = pace.watch(Sent(pieces));
        (sender, pace, body)
    }

    async fn comes(body: &mut Moving<Sent>) -> Result<Bytes, Broken> {
        body.frame().await.expect("more").map(|frame| frame.into_data().expect("data"))
    }

    /// Polls once, and is not waited for.
    async fn waits(body: &mut Moving<Sent>) {
        tokio::select! {
            biased;
            _ = body.frame() => panic!("nothing was sent"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_piece_has_its_own_time() {
        let (sender, _pace, mut body) = call();
        for _ in 0..5 {
            waits(&mut body).await;
            advance(LESS).await;
            sender.send(Bytes::from_static(b"x")).await.expect("taken");
            assert_eq!(comes(&mut body).await.as_deref(), Ok(&b"x"[..]));
        }
        assert_eq!(comes(&mut body).await, Err(Broken::Stalled));
    }

    // A receiver that takes nothing for a while leaves the sender all of its time.
    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_slow_receiver_is_not_the_senders() {
        let (sender, _pace, mut body) = call();
        waits(&mut body).await;
        sender.send(Bytes::from_static(b"x")).await.expect("taken");
        assert_eq!(comes(&mut body).await.as_deref(), Ok(&b"x"[..]));
        advance(IDLE * 2).await;
        waits(&mut body).await;
        advance(LESS).await;
        waits(&mut body).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_as_long_as_the_body_moves_and_once_more() {
        let (sender, pace, mut body) = call();
        let upload = async {
            for _ in 0..5 {
                sleep(LESS).await;
                sender.send(Bytes::from_static(b"x")).await.expect("taken");
                comes(&mut body).await.expect("a piece");
            }
            sleep(LESS).await;
            "answered"
        };
        assert_eq!(pace.keep(Instant::now(), upload).await, Ok("answered"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_sent_before_has_the_rest_of_its_time() {
        let (_sender, pace, _body) = call();
        let sent = Instant::now();
        advance(LESS).await;
        assert_eq!(pace.keep(sent, pending::<()>()).await, Err(Stalled::Issuer));
        assert_eq!(sent.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_still_is_named() {
        let (_sender, pace, mut body) = call();
        assert_eq!(pace.keep(Instant::now(), pending::<()>()).await, Err(Stalled::Issuer));
        let unanswered = async {
            waits(&mut body).await;
            pending::<()>().await;
        };
        assert_eq!(pace.keep(Instant::now(), unanswered).await, Err(Stalled::Client));
    }
}
