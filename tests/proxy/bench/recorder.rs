//! An issuer that notes the bytes of every call, and answers as a test wants.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Daemon, Home, home::any_key};

/// What each mint grants, with its number behind it.
pub(crate) const TOKEN: &str = "eyJh.real-token-canary.";

/// Serves until it is dropped.
pub(crate) struct Recorder {
    address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    calls: Mutex<Vec<Arrived>>,
    mints: AtomicUsize,
}

/// A call as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// From the method to the blank line.
    pub(crate) head: String,
    /// Without its chunks.
    pub(crate) body: Vec<u8>,
}

/// One connection of the daemon.
pub(crate) struct Conversation {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    seen: Arc<Seen>,
}

impl Recorder {
    /// Starts one that says `{}` to everything.
    pub(crate) async fn start() -> Self {
        Self::answering(|_| answer("200 OK", "{}")).await
    }

    /// Starts one at an address that says `{}` to everything.
    pub(crate) async fn start_at(address: &str) -> Self {
        Self::conversing_at(address, |mut talk, head| async move {
            talk.note(Arrived::head(head));
            talk.send(&answer("200 OK", "{}")).await?;
            Ok(talk)
        })
        .await
    }

    /// Starts one that reads each call, answers with these bytes, and closes if they say so.
    pub(crate) async fn answering(
        answer: impl Fn(&Arrived) -> Vec<u8> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::conversing(move |mut talk, head| {
            let answer = answer.clone();
            async move {
                let body = talk.body(&head).await?;
                let arrived = Arrived { head, body };
                let answer = answer(&arrived);
                talk.note(arrived);
                talk.send(&answer).await?;
                let closes = answer.windows(17).any(|word| word == b"Connection: close");
                if closes { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(talk) }
            }
        })
        .await
    }

    /// Starts one that leaves all but the head of each call to a test, the noting as well.
    pub(crate) async fn conversing<F, C>(converse: C) -> Self
    where
        F: Future<Output = io::Result<Conversation>> + Send + 'static,
        C: Fn(Conversation, String) -> F + Clone + Send + Sync + 'static,
    {
        Self::conversing_at("127.0.0.1:0", converse).await
    }

    async fn conversing_at<F, C>(address: &str, converse: C) -> Self
    where
        F: Future<Output = io::Result<Conversation>> + Send + 'static,
        C: Fn(Conversation, String) -> F + Clone + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&seen), converse));
        Self { address, seen, _tasks: tasks }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Makes a home whose configuration points here.
    pub(crate) fn home(&self) -> Home {
        Home::new(&self.base_url(), &any_key())
    }

    /// Starts a daemon that has minted here.
    pub(crate) async fn daemon(&self) -> (Home, Daemon) {
        let home = self.home();
        let daemon = home.start().await;
        (home, daemon)
    }

    /// Gives the calls that have come in since the last time, but for the mints.
    pub(crate) fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.seen.calls.lock().unwrap())
    }

    /// Counts the calls that have come in since they were taken.
    pub(crate) fn count(&self) -> usize {
        self.seen.calls.lock().unwrap().len()
    }

    pub(crate) fn mints(&self) -> usize {
        self.seen.mints.load(Ordering::SeqCst)
    }
}

async fn accept<F, C>(listener: TcpListener, seen: Arc<Seen>, converse: C)
where
    F: Future<Output = io::Result<Conversation>> + Send + 'static,
    C: Fn(Conversation, String) -> F + Clone + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let talk = Conversation { stream, buffer: Vec::new(), seen: Arc::clone(&seen) };
        let converse = converse.clone();
        // How the daemon leaves is its own affair.
        connections.spawn(async move { drop(serve(talk, converse).await) });
    }
}

async fn serve<F, C>(mut talk: Conversation, converse: C) -> io::Result<()>
where
    F: Future<Output = io::Result<Conversation>>,
    C: Fn(Conversation, String) -> F,
{
    loop {
        let head = talk.head().await?;
        if let Some(team) = minting_team(&head) {
            talk.body(&head).await?;
            let number = talk.seen.mints.fetch_add(1, Ordering::SeqCst) + 1;
            talk.send(&granted(number, &team)).await?;
            continue;
        }
        talk = converse(talk, head).await?;
    }
}

impl Conversation {
    /// Waits until so many tokens were granted.
    pub(crate) async fn until_mints(&self, count: usize) {
        while self.seen.mints.load(Ordering::SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Counts the calls of all connections that were noted.
    pub(crate) fn count(&self) -> usize {
        self.seen.calls.lock().unwrap().len()
    }

    /// Notes a call, best before it is answered.
    pub(crate) fn note(&self, arrived: Arrived) {
        self.seen.calls.lock().unwrap().push(arrived);
    }

    /// Reads up to the blank line.
    async fn head(&mut self) -> io::Result<String> {
        let end = loop {
            match self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.read_more().await?,
            }
        };
        Ok(String::from_utf8_lossy(&self.taken(end)).into_owned())
    }

    /// Reads a body, by its length or by its chunks.
    pub(crate) async fn body(&mut self, head: &str) -> io::Result<Vec<u8>> {
        if header(head, "transfer-encoding").is_some() {
            return self.chunks().await;
        }
        let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            self.read_more().await?;
        }
        Ok(self.taken(length))
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = loop {
                match self.buffer.windows(2).position(|two| two == b"\r\n") {
                    Some(at) => break self.taken(at + 2),
                    None => self.read_more().await?,
                }
            };
            let size = std::str::from_utf8(&size).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            while self.buffer.len() < size + 2 {
                self.read_more().await?;
            }
            body.extend(self.taken(size));
            self.taken(2);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Reads what is there, or waits for it; tells how much it was.
    pub(crate) async fn some(&mut self) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.read_more().await?;
        }
        let length = self.buffer.len();
        self.buffer.clear();
        Ok(length)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    fn taken(&mut self, length: usize) -> Vec<u8> {
        self.buffer.drain(..length).collect()
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl Arrived {
    /// Makes a call that is noted by its head alone.
    pub(crate) const fn head(head: String) -> Self {
        Self { head, body: Vec::new() }
    }

    /// Gives the first line.
    pub(crate) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}

/// Tells for which team a call mints, if it does.
fn minting_team(head: &str) -> Option<String> {
    let path = head.strip_prefix("POST /v1/teams/")?;
    let (team, _) = path.split_once("/service_token HTTP/1.1\r\n")?;
    Some(team.to_owned())
}

fn granted(number: usize, team: &str) -> Vec<u8> {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let grant = format!(
        r#"{{"bearer_token":"{TOKEN}{number}","expires_at":"{end:.9}","team_name":"{team}"}}"#
    );
    answer("200 OK", &grant)
}

/// Writes an answer with a body; the head may hold more headers.
pub(crate) fn answer(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {head}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
