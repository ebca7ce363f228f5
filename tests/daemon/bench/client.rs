//! A client that can send any bytes, and reads what comes back.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::PATIENCE;

/// Names a socket.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection.
pub(crate) struct Visitor {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Names a header of a request.
pub(crate) type Header<'a> = (&'a str, &'a str);

impl Visitor {
    pub(crate) async fn connect(place: &Place) -> Self {
        Self::try_connect(place).await.unwrap_or_else(|error| panic!("{place:?}: {error}"))
    }

    pub(crate) async fn try_connect(place: &Place) -> std::io::Result<Self> {
        let stream: Box<dyn Stream> = match place {
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Place::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        };
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Takes over a connection that has been made otherwise.
    pub(crate) fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends bytes, whether the other side still takes them or not.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }

    /// Sends the same bytes again and again until the other side takes no more for a while.
    ///
    /// Tells how many times they were sent whole.
    pub(crate) async fn flood(&mut self, bytes: &[u8]) -> usize {
        let stalled = Duration::from_millis(300);
        for times in 0..1_000_000 {
            if !matches!(timeout(stalled, self.stream.write_all(bytes)).await, Ok(Ok(()))) {
                return times;
            }
        }
        panic!("the other side takes everything");
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Says so to somebody who may have hung up.
    pub(crate) async fn try_finish(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// Waits until something comes, though not for long.
    pub(crate) async fn wait_a_little(&mut self) {
        timeout(Duration::from_millis(500), self.stream.read_buf(&mut self.buffer)).await.ok();
    }

    /// Tells whether the other side is known to have closed.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let read = timeout(Duration::ZERO, self.stream.read_buf(&mut self.buffer)).await;
        read.is_ok_and(|read| !matches!(read, Ok(1..)))
    }

    /// Sends an ordinary request with more headers and a body; gives the answer.
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

    /// Reports a token as refused, with this JSON.
    pub(crate) async fn report(&mut self, report: &Value) -> Reply {
        let json = ("Content-Type", "application/json");
        let body = report.to_string();
        self.request("POST", "/v1/token/rejected", &[json], body.as_bytes()).await
    }

    /// Reads one whole answer.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.try_reply().await.unwrap_or_else(|| panic!("closed after {:?}", self.buffer))
    }

    /// Reads one answer that has no body whatever its length says.
    pub(crate) async fn head(&mut self) -> Reply {
        let end = self.until_blank_line().await.unwrap();
        self.take_head(end)
    }

    /// Reads one whole answer; `None` if the connection ends before its end.
    pub(crate) async fn try_reply(&mut self) -> Option<Reply> {
        let end = self.until_blank_line().await?;
        let mut reply = self.take_head(end);
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        let length = if reply.status == 304 { 0 } else { length };
        while self.buffer.len() < length {
            self.read_more().await?;
        }
        reply.body = self.buffer.drain(..length).collect();
        Some(reply)
    }

    /// Tells what comes until the other side closes, which it must do.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.read_more().await.is_some() {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads the next chunk of an answer whose length nobody knows; `None` at its proper end.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let size = self.through(b"\r\n").await;
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        while self.buffer.len() < size + 2 {
            self.read_more().await.unwrap();
        }
        let chunk: Vec<u8> = self.buffer.drain(..size + 2).collect();
        let text = String::from_utf8(chunk).unwrap();
        (size > 0).then(|| text.strip_suffix("\r\n").unwrap().to_owned())
    }

    /// Reads up to a mark, which comes with it.
    pub(crate) async fn through(&mut self, mark: &[u8]) -> String {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|part| part == mark) {
                let found: Vec<u8> = self.buffer.drain(..at + mark.len()).collect();
                return String::from_utf8(found).unwrap();
            }
            self.read_more().await.unwrap();
        }
    }

    async fn until_blank_line(&mut self) -> Option<usize> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Some(at);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Option<usize> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        read.expect("an answer or the end comes in time").ok().filter(|length| *length > 0)
    }

    fn take_head(&mut self, end: usize) -> Reply {
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Reply { status, headers: headers.collect(), body: Vec::new() }
    }
}

/// Writes a request that the guard lets in.
pub(crate) fn request(method: &str, path: &str, headers: &[Header<'_>], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Bearerd: 1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

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

    /// Tells the last word of a problem's type, after a look at the whole document.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        self.assert_common_headers();
        let document = self.json();
        assert_eq!(document["status"], self.status, "{self:?}");
        assert!(document["title"].is_string() && document["detail"].is_string(), "{self:?}");
        document["type"].as_str().unwrap().strip_prefix("urn:bearerd:problem:").unwrap().to_owned()
    }

    /// Checks what every answer carries, and what none does.
    pub(crate) fn assert_common_headers(&self) {
        // fault 146
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
        let is_cors = |(name, _): &(String, String)| name.starts_with("access-control-");
        assert!(!self.headers.iter().any(is_cors), "{self:?}");
        assert!(self.header("set-cookie").is_none(), "{self:?}");
    }

    pub(crate) fn is_last(&self) -> bool {
        self.header("connection") == Some("close")
    }
}
