//! One client: a connection, a request made beforehand, an answer read to its end.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// Longest wait for any part of an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says what a server is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) path: &'static str,
    /// One header more than curl's own.
    pub(crate) header: String,
}

impl Default for Question {
    /// Asks for the token, with the header that the daemon requires.
    fn default() -> Self {
        Self { path: "/v1/token", header: "X-Bearerd: 1".to_owned() }
    }
}

/// Names a socket: `unix:PATH` or `tcp:ADDRESS`.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Target {
    /// Connects; reads and writes block, for a while at most.
    pub(crate) fn connect(&self) -> io::Result<File> {
        let socket: OwnedFd = match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.into()
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.into()
            }
        };
        Ok(socket.into())
    }

    /// Makes what every visitor sends: curl's own headers and the one of the question.
    pub(crate) fn request(&self, question: &Question) -> Vec<u8> {
        let host = match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp(address) => address.to_string(),
        };
        let Question { path, header } = question;
        let headers = format!("User-Agent: curl/8.5.0\r\nAccept: */*\r\n{header}");
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n\r\n").into_bytes()
    }

    /// Tells the kind of the socket, as the table has it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Unix(_) => "unix",
            Self::Tcp(_) => "tcp",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => address.parse().map(Self::Tcp).map_err(|e| format!("{e}")),
            _ => Err("unix:PATH or tcp:ADDRESS".to_owned()),
        }
    }
}

/// Sends a request and reads the answer, head and body.
pub(crate) fn exchange(stream: &mut File, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&answer)? {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend(buffer.iter().take(read));
    }
    Ok(answer)
}

/// Splits an answer where its body begins.
pub(crate) fn body_of(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    answer.split_at_checked(end + 4)
}

/// Tells whether an answer is a good one, so that no error page is ever measured.
pub(crate) fn expect_good(answer: &[u8]) -> io::Result<()> {
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(io::Error::other(format!("answered {}", String::from_utf8_lossy(line))))
}

fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let Some((head, body)) = body_of(answer) else {
        return Ok(false);
    };
    let length = content_length(head).ok_or_else(|| io::Error::other("no content-length"))?;
    Ok(body.len() >= length)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let fields = std::str::from_utf8(head).ok()?.lines().filter_map(|line| line.split_once(": "));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next()?.1.parse().ok()
}
