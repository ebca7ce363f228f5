//! The yardstick: hyper alone, in the daemon's runtime, with the daemon's own bytes.

use std::{
    convert::Infallible, error::Error, fs, io, net::Ipv4Addr, path::Path,
    thread::available_parallelism,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::Body;
use http_body_util::Full;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    runtime::{Builder, Runtime},
};
use tokio_util::task::TaskTracker;

use crate::{
    client,
    options::{Listening, Yardstick},
};

/// Most threads that answer, as many as the daemon has.
const MOST_WORKERS: usize = 2;

/// Serves until it is killed.
pub(crate) fn play(yardstick: &Yardstick) -> io::Result<()> {
    let answer = Answer::read(&yardstick.answer)?;
    let grant = yardstick.grant.as_deref().map(Answer::read).transpose()?;
    let answers = Answers { grant: grant.unwrap_or_else(|| answer.clone()), answer };
    serve(
        &yardstick.place,
        &service_fn(move |request: Request<Incoming>| {
            let is_mint = request.method() == Method::POST;
            let response = if is_mint { &answers.grant } else { &answers.answer }.respond();
            async { Ok::<_, Infallible>(response) }
        }),
    )
}

/// What is answered to a POST, and to everything else.
#[derive(Clone)]
struct Answers {
    grant: Answer,
    answer: Answer,
}

#[derive(Clone)]
struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn read(file: &Path) -> io::Result<Self> {
        Self::parse(&fs::read(file)?).ok_or_else(|| io::Error::other("no answer to copy"))
    }

    /// Copies an answer but for what hyper itself adds to each.
    fn parse(answer: &[u8]) -> Option<Self> {
        let (head, body) = client::body_of(answer)?;
        let mut headers = HeaderMap::new();
        for line in std::str::from_utf8(head).ok()?.lines().skip(1).filter(|line| !line.is_empty())
        {
            let (name, value) = line.split_once(": ")?;
            let name: HeaderName = name.parse().ok()?;
            if name != header::DATE && name != header::CONTENT_LENGTH {
                headers.append(name, HeaderValue::from_str(value).ok()?);
            }
        }
        Some(Self { headers, body: Bytes::copy_from_slice(body) })
    }

    fn respond(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

/// Serves in a runtime like the daemon's.
pub(crate) fn serve<S, B>(place: &Listening, service: &S) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    runtime()?.block_on(async {
        let unix = UnixListener::bind(&place.unix)?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, place.port)).await?;
        let tasks = TaskTracker::new();
        loop {
            tokio::select! {
                accepted = unix.accept() => {
                    tasks.spawn(converse(accepted?.0, service.clone()));
                }
                accepted = tcp.accept() => {
                    let stream = accepted?.0;
                    stream.set_nodelay(true)?;
                    tasks.spawn(converse(stream, service.clone()));
                }
            }
        }
    })
}

/// Makes a runtime by the daemon's own rule: a thread for each core, and no others where there is one.
///
/// Not by its own code: the daemon's library brings its allocator along.
fn runtime() -> io::Result<Runtime> {
    let mut builder = match available_parallelism()?.get().min(MOST_WORKERS) {
        1 => Builder::new_current_thread(),
        workers => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
    };
    builder.enable_all().build()
}

async fn converse<S, B>(stream: impl AsyncRead + AsyncWrite + Unpin, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // How a visitor leaves is its own affair.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}
