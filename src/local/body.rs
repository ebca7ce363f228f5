//! The body of every answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    busy::{LastingWork, Work},
    watch::Watch,
};
use crate::{okta::forwarder::Broken, proxy::Download};

/// Holds what is sent.
pub enum Body {
    /// Bytes of ours; empty once they are sent.
    Ready(Bytes),
    /// What streams from an issuer, and the work that lasts as long as it does.
    Streamed(Download, Option<LastingWork>),
    /// What a watch writes, once it has been taken away; no byte comes from here.
    Watched(Option<Box<Watch>>),
}

impl Body {
    /// Makes the work on a request last until its answer has been streamed.
    #[must_use]
    pub fn during(self, work: Work<'_>) -> Self {
        match self {
            Self::Streamed(body, _) => Self::Streamed(body, Some(work.lasting())),
            quick => quick,
        }
    }

    /// Takes the watch that is to write the rest, if there is one.
    pub fn take_watch(&mut self) -> Option<Box<Watch>> {
        match self {
            Self::Watched(watch) => watch.take(),
            Self::Ready(_) | Self::Streamed(..) => None,
        }
    }
}

impl From<Download> for Body {
    fn from(body: Download) -> Self {
        Self::Streamed(body, None)
    }
}

impl From<Watch> for Body {
    fn from(watch: Watch) -> Self {
        Self::Watched(Some(Box::new(watch)))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Ready(bytes)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Ready(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Ready(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Streamed(body, _) => Pin::new(body).poll_frame(cx),
            // The connection goes on elsewhere, which wakes it.
            Self::Watched(_) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ready(bytes) => bytes.is_empty(),
            Self::Streamed(body, _) => body.is_end_stream(),
            Self::Watched(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ready(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(body, _) => body.size_hint(),
            Self::Watched(_) => SizeHint::default(),
        }
    }
}
