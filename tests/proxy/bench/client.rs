//! Clients: one that can send any bytes, and one that speaks Okta's API.

use std::{fmt, net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::PATIENCE;

/// The path that mints.
pub(crate) const MINT: &str = "/v1/teams/acme/service_token";

/// Names a socket.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Place {
    pub(crate) const fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection.
pub(crate) struct Visitor {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Names a header of a request.
pub(crate) type Header<'a> = (&'a str, &'a str);

impl Visitor {
    pub(crate) async fn connect(place: &Place) -> Self {
        let stream: Box<dyn Stream> = match place {
            Place::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
            Place::Tcp(address) => Box::new(TcpStream::connect(address).await.unwrap()),
        };
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.unwrap().unwrap();
    }

    /// Sends bytes, whether the other side still takes them or not.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        matches!(timeout(PATIENCE, self.stream.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Sends an ordinary request and gives the answer.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> Reply {
        self.send(&request(method, path, headers, body)).await;
        if method == "HEAD" { self.head().await } else { self.reply().await }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.request("GET", path, &[], b"").await
    }

    /// Reads one whole answer.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.try_reply().await.unwrap_or_else(|| panic!("closed after {:?}", self.buffer))
    }

    /// Reads one whole answer; `None` if the connection ends before its end.
    pub(crate) async fn try_reply(&mut self) -> Option<Reply> {
        let mut reply = self.try_head().await?;
        reply.body = if reply.header("transfer-encoding").is_some() {
            self.chunks().await?
        } else if [204, 304].contains(&reply.status) {
            Vec::new()
        } else {
            let length = reply.header("content-length").unwrap_or("0").parse().unwrap();
            self.take(length).await?
        };
        Some(reply)
    }

    /// Reads an answer without a body, or the head of one.
    pub(crate) async fn head(&mut self) -> Reply {
        self.try_head().await.unwrap_or_else(|| panic!("closed after {:?}", self.buffer))
    }

    pub(crate) async fn try_head(&mut self) -> Option<Reply> {
        let end = loop {
            match self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at,
                None => self.read_more().await?,
            };
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Some(Reply { status, headers: headers.collect(), body: Vec::new() })
    }

    /// Tells what comes until the other side closes, which it must do.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.read_more().await.is_some() {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads so many bytes and forgets them; tells how many came before the end.
    pub(crate) async fn swallow(&mut self, length: u64) -> u64 {
        let mut came = 0;
        while came < length {
            came += self.buffer.len() as u64;
            self.buffer.clear();
            if came < length && self.read_more().await.is_none() {
                break;
            }
        }
        came
    }

    /// Reads exactly so many bytes.
    pub(crate) async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.read_more().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line().await?;
            let size = usize::from_str_radix(&size, 16).unwrap();
            body.extend(self.take(size).await?);
            assert_eq!(self.line().await?, "");
            if size == 0 {
                return Some(body);
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Some(String::from_utf8(line[..at].to_vec()).unwrap());
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Option<usize> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        read.expect("an answer or the end comes in time").ok().filter(|length| *length > 0)
    }
}

/// Writes a request that the guard lets in; its headers need not name a length.
pub(crate) fn request(method: &str, path: &str, headers: &[Header<'_>], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// A client of Okta's API that was pointed at a listener and has minted.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) place: Place,
    pub(crate) token: String,
}

impl App {
    pub(crate) async fn new(place: &Place) -> Self {
        let reply = mint(place).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let token = reply.json()["bearer_token"].as_str().unwrap().to_owned();
        Self { place: place.clone(), token }
    }

    /// Writes the header that shows the local token.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Calls a path below the team on a connection of its own.
    pub(crate) async fn call(&self, method: &str, below: &str, body: &[u8]) -> Reply {
        self.call_with(method, below, &[], body).await
    }

    pub(crate) async fn call_with(
        &self,
        method: &str,
        below: &str,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> Reply {
        let bearer = self.bearer();
        let own = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let headers = [&own, headers].concat();
        let path = format!("/v1/teams/acme{below}");
        Visitor::connect(&self.place).await.request(method, &path, &headers, body).await
    }

    pub(crate) async fn get(&self, below: &str) -> Reply {
        self.call("GET", below, b"").await
    }

    /// Sends what follows the request line and the own headers, as it is, on a new connection.
    pub(crate) async fn send(&self, line: &str, rest: &[u8]) -> Visitor {
        let mut visitor = Visitor::connect(&self.place).await;
        let head = format!("{line}\r\nHost: localhost\r\nAuthorization: {}\r\n", self.bearer());
        visitor.send(&[head.as_bytes(), rest].concat()).await;
        visitor
    }
}

/// Asks a listener for its local token, as clients do that hold a placeholder.
pub(crate) async fn mint(place: &Place) -> Reply {
    let pair = json!({ "key_id": KEY_ID, "key_secret": "placeholder" }).to_string();
    let json = [("Content-Type", "application/json")];
    Visitor::connect(place).await.request("POST", MINT, &json, pair.as_bytes()).await
}

/// The id of a key that no issuer knows.
pub(crate) const KEY_ID: &str = "6ac84721-a7ba-4034-9c39-41ef7b38819d";

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(header, _)| header == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Tells status and type of an error of ours, after a look at its whole shape.
    pub(crate) fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
        let error = self.json();
        assert_eq!(error["code"], self.status, "{self:?}");
        assert!(error["message"].is_string(), "{self:?}");
        (self.status, error["type"].as_str().unwrap().to_owned())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:?} {body:.2000}", self.status, self.headers)
    }
}
