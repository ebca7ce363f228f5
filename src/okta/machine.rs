//! HTTP's own machinery reads an answer: what is read here by hand is compared with that.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::timeout,
};
use tokio_util::task::TaskTracker;

/// Longest wait for an answer that is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an answer says of its end, which is not among the headers of one that is read by hand.
const OF_END: [HeaderName; 3] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// Reads the answer to a `GET`; gives it, without what it says of its end, and whether the connection
/// can carry another call.
pub(crate) async fn read(bytes: &[u8]) -> Option<(Response<Bytes>, bool)> {
    let (near, mut far) = duplex(1 << 16);
    let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.ok()?;
    let tasks = TaskTracker::new();
    let connection = tasks.spawn(connection);
    let answered = tasks.spawn(async move {
        let answer = sender.send_request(Request::new(Empty::<Bytes>::new())).await.ok()?;
        let (mut parts, body) = answer.into_parts();
        OF_END.iter().for_each(|name| drop(parts.headers.remove(name)));
        let body = body.collect().await.ok()?.to_bytes();
        let is_free = sender.ready().await.is_ok();
        Some((Response::from_parts(parts, body), is_free))
    });
    let _call = far.read(&mut [0; 1024]).await.ok()?;
    far.write_all(bytes).await.ok()?;
    let answer = timeout(PATIENCE, answered).await.ok().and_then(Result::ok).flatten();
    connection.abort();
    answer
}
