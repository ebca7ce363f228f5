//! One connection from its first byte to its last.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Mutex, OnceLock, PoisonError},
    task::Poll,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    task::yield_now,
    time::sleep,
};
use tokio_util::task::TaskTracker;

use super::{
    App, FAREWELL, Server, Superseded,
    brief::{Step, Taken, TakenUp},
};
use crate::local::{
    busy::{Busy, LastingWork},
    guard::Denial,
    paced::{Paced, Woken},
    visit::Visit,
    watch::Watch,
};

/// Largest head of a request, in bytes.
const LARGEST_HEAD: usize = 16 * 1024;
/// Most headers of a request.
pub(super) const MOST_HEADERS: usize = 64;

impl<A: App> Server<A> {
    /// Serves a connection to its end; what becomes a watch goes on in a task of that size.
    pub(super) async fn attend<S>(&self, stream: S, visit: Visit, tasks: &TaskTracker)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(Watched { mut stream, mut watch, work }) = self.converse(stream, &visit).await
        else {
            return;
        };
        // Lent and not moved on: what is moved takes its room twice.
        tasks.spawn(async move {
            // As wholes: a place is held, and a connection counted, by what is named nowhere.
            let (visit, _work) = (&visit, &work);
            tokio::select! {
                biased;
                () = visit.rules.superseded.cancelled() => {}
                () = watch.run(&mut stream, &visit.stop) => {}
            }
        });
    }

    /// Answers for as long as the client asks; gives what is left when that has become a watch.
    ///
    /// HTTP's own machinery is there only while something is under way that needs it: whoever is
    /// silent costs a socket and little else (fault 189).
    async fn converse<S>(&self, stream: S, visit: &Visit) -> Option<Watched<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (busy, watch) = (Busy::default(), OnceLock::new());
        let limits = visit.rules.limits.clone();
        let mut stream = Paced::new(stream, limits, visit.heard_by, busy.clone());
        let mut is_first = true;
        let mut superseded = pin!(visit.rules.superseded.cancelled());
        let mut farewell = pin!(farewell(visit));
        loop {
            let woken = tokio::select! {
                biased;
                woken = stream.wake(|came| self.take(came, visit)) => woken,
                () = &mut superseded => return None,
                // Who is new has a request under way; who has asked before may have, too.
                () = &mut farewell, if !is_first => Ok(Woken::End),
            };
            let mut taken_up = None;
            match woken {
                Ok(Woken::Taken(taken)) => {
                    is_first = false;
                    let step = match taken {
                        Taken::Answer(answer) => Step::Answer { answer, is_last: false },
                        Taken::Call(call) => {
                            let told = tokio::select! {
                                biased;
                                () = &mut superseded => return None,
                                told = call.brief.tell() => told,
                                () = stream.left() => return None,
                            };
                            // As calls do: whoever is ready is read first.
                            yield_now().await;
                            self.step(*call, told, visit)
                        }
                    };
                    match step {
                        Step::Answer { answer, is_last } => {
                            tokio::select! {
                                biased;
                                sent = stream.send(&answer) => sent.ok()?,
                                () = &mut superseded => return None,
                            }
                            if !is_last {
                                continue;
                            }
                            stream.shutdown().await.ok();
                            return None;
                        }
                        Step::Over => return None,
                        Step::Rest(came, rest) => {
                            stream.unread(&came, rest.under_way.is_some());
                            taken_up = Some(rest);
                        }
                    }
                }
                Ok(Woken::Bytes) if visit.rules.superseded.is_cancelled() => return None,
                Ok(Woken::Bytes) => {}
                Ok(Woken::End) | Err(_) => {
                    stream.shutdown().await.ok();
                    return None;
                }
            }
            is_first = false;
            let exchange = self.exchange(stream, taken_up, visit, &busy, &watch);
            let (end, rest) = Box::pin(exchange).await?;
            match end {
                End::Rests => stream = rest,
                End::Malformed => {
                    self.note(Denial::Malformed.label(), &visit.peer);
                    return None;
                }
                End::Left | End::Handed => {
                    let work = busy.work().lasting();
                    return watch.into_inner().map(|watch| Watched { stream: rest, watch, work });
                }
            }
        }
    }

    /// Answers until nothing is under way, or a watch is all that is left; the first request may have
    /// been taken up.
    async fn exchange<S>(
        &self,
        stream: Paced<S>,
        taken_up: Option<TakenUp<A::Endpoint>>,
        visit: &Visit,
        busy: &Busy,
        watch: &OnceLock<Box<Watch>>,
    ) -> Option<(End, Paced<S>)>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let taken_up = Mutex::new(taken_up);
        let service = service_fn(|request| {
            let work = busy.work();
            let taken_up = taken_up.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move {
                let mut response = self.handle(request, taken_up, visit, busy).await?;
                // No request follows on this connection, so there is one at most.
                if let Some(begun) = response.body_mut().take_watch() {
                    watch.set(begun).ok();
                }
                Ok::<_, Superseded>(response.map(|body| body.during(work)))
            }
        });
        let mut connection = self.http().serve_connection(TokioIo::new(stream), service);
        // When all that was written is out: answers, or the head of a watch.
        let ready = || match busy.is_stuck() {
            true => None,
            false if watch.get().is_some() => Some(End::Handed),
            false => busy.rests().then_some(End::Rests),
        };
        let end = tokio::select! {
            biased;
            () = visit.rules.superseded.cancelled() => return None,
            // A stop needs no word here: the next answer is the last, and silence is a rest.
            end = until(&mut connection, ready) => end,
        };
        (end != End::Left).then(|| (end, connection.into_parts().io.into_inner()))
    }

    fn http(&self) -> http1::Builder {
        let mut http = http1::Builder::new();
        http.keep_alive(self.app.keeps_alive())
            .half_close(self.app.answers_half_closed())
            .max_buf_size(LARGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .header_read_timeout(None);
        http
    }
}

/// Waits for a stop, and then for who is just sending his next request: closed on him it would be
/// lost, answered it is the last (fault 213).
pub(super) async fn farewell(visit: &Visit) {
    visit.stop.cancelled().await;
    // Apart: nobody who rests needs room for this.
    Box::pin(sleep(FAREWELL)).await;
}

/// A connection on which nothing but a watch goes on.
struct Watched<S> {
    stream: Paced<S>,
    watch: Box<Watch>,
    work: LastingWork,
}

/// Says why HTTP's part in a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is closed: how a client leaves is its own affair.
    Left,
    /// The client has sent what is no HTTP, and has been told so.
    Malformed,
    /// Nothing is under way.
    Rests,
    /// The rest is written without it.
    Handed,
}

/// Goes on with a connection until it is closed, or rests when it can be handed on.
async fn until<C>(connection: &mut C, ready: impl Fn() -> Option<End>) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(Err(error)) if error.is_parse() => Poll::Ready(End::Malformed),
        Poll::Ready(_how) => Poll::Ready(End::Left),
        Poll::Pending => ready().map_or(Poll::Pending, Poll::Ready),
    })
    .await
}
