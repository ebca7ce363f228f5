//! The body of every answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::paced::{LastingWork, Work};
use crate::{okta::forwarder::Broken, proxy::Download};

/// Holds what is sent.
pub enum Body {
    /// Bytes of ours; empty once they are sent.
    Ready(Bytes),
    /// What streams from an issuer, and the work that lasts as long as it does.
    Streamed(Download, Option<LastingWork>),
}

impl Body {
    /// Makes the work on a request last until its answer has been streamed.
    #[must_use]
    pub fn during(self, work: Work<'_>) -> Self {
        match self {
            Self::Ready(bytes) => Self::Ready(bytes),
            Self::Streamed(body, _) => Self::Streamed(body, Some(work.lasting())),
        }
    }
}

impl From<Download> for Body {
    fn from(body: Download) -> Self {
        Self::Streamed(body, None)
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ready(bytes) => bytes.is_empty(),
            Self::Streamed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ready(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(body, _) => body.size_hint(),
        }
    }
}
