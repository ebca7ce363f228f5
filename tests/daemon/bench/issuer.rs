//! An issuer without manners: a TCP server that does whatever a test wants with each connection.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Serves until it is dropped.
pub(crate) struct RawIssuer {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// What came in.
#[derive(Default)]
pub(crate) struct Seen {
    connections: AtomicUsize,
    bytes: Mutex<Vec<u8>>,
}

impl RawIssuer {
    /// Starts; `serve` gets each connection with its number, from 0 on.
    pub(crate) async fn start<F, S>(serve: S) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
        S: Fn(TcpStream, usize, Arc<Seen>) -> F + Send + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), serve)
    }

    /// Starts where somebody listens already.
    pub(crate) fn on<F, S>(listener: TcpListener, serve: S) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
        S: Fn(TcpStream, usize, Arc<Seen>) -> F + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, serve, Arc::clone(&seen)));
        Self { address, seen, _tasks: tasks }
    }

    /// Starts one that takes every byte and says nothing.
    pub(crate) async fn sink() -> Self {
        Self::start(|mut stream, _, seen| async move {
            loop {
                seen.read_some(&mut stream).await?;
            }
        })
        .await
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Gives all bytes that came in and were noted.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.bytes.lock().unwrap().clone()
    }
}

async fn accept<F, S>(listener: TcpListener, serve: S, seen: Arc<Seen>)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
    S: Fn(TcpStream, usize, Arc<Seen>) -> F,
{
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = seen.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(stream, number, Arc::clone(&seen)));
    }
}

impl Seen {
    /// Reads what is there and notes it; an end is an error.
    pub(crate) async fn read_some(&self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).await?;
        self.bytes.lock().unwrap().extend(&buffer[..length]);
        if length == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Reads one request with its body and notes it.
    pub(crate) async fn read_request(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<String> {
        let mut request = Vec::new();
        while !is_whole(&request) {
            let before = request.len();
            stream.read_buf(&mut request).await?;
            if request.len() == before {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.bytes.lock().unwrap().extend(&request);
        Ok(String::from_utf8_lossy(&request).into_owned())
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}

/// Writes a grant that lives for an hour, as JSON.
pub(crate) fn grant(token: &str) -> String {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    format!(r#"{{"bearer_token":"{token}","expires_at":"{end:.9}","team_name":"acme"}}"#)
}

/// Writes an answer with a body.
pub(crate) fn answer(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {head}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Writes a whole answer that grants a token.
pub(crate) fn granted(token: &str) -> Vec<u8> {
    answer("200 OK", &grant(token))
}
