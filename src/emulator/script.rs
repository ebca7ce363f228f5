//! What is done to a connection when HTTP no longer binds us.

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

/// Takes a connection away from the HTTP server; what hyper is told as an error.
#[derive(Clone, Debug)]
pub(super) struct Takeover(pub(super) Script);

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is taken over by a fault")
    }
}

impl std::error::Error for Takeover {}

/// Lists what happens to the connection, in order; at the end it is closed.
pub(super) type Script = Vec<Act>;

/// Names one thing that is done to a connection.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Sends bytes.
    Send(Bytes),
    /// Sends the same bytes so many times.
    Repeat(Bytes, u64),
    /// Sends bytes one by one with a pause after each.
    Drip(Bytes, Duration),
    /// Waits until the other side goes.
    Hang,
    /// Lets the close be a reset.
    Reset,
}

/// Does what the script says, until the other side goes.
pub(super) async fn play(script: Script, mut stream: TcpStream) -> io::Result<()> {
    for act in script {
        match act {
            Act::Send(bytes) => stream.write_all(&bytes).await?,
            Act::Repeat(bytes, times) => {
                for _ in 0..times {
                    stream.write_all(&bytes).await?;
                }
            }
            Act::Drip(bytes, pause) => drip(&bytes, pause, &mut stream).await?,
            Act::Hang => while stream.read(&mut [0; 1024]).await? > 0 {},
            Act::Reset => stream.set_zero_linger()?,
        }
    }
    Ok(())
}

async fn drip(bytes: &[u8], pause: Duration, stream: &mut TcpStream) -> io::Result<()> {
    for byte in bytes {
        stream.write_u8(*byte).await?;
        time::sleep(pause).await;
    }
    Ok(())
}
