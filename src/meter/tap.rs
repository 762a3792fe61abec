//! The body of a provider's answer on its way to the agent: passed on as it comes, read on the way.
//!
//! However it ends, the request is closed exactly once: at the body's end, on an error, or when the
//! agent has gone, after the rest was read in its absence, since closing the connection to the provider
//! would lose the usage and not the cost.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use tokio::runtime::Handle;

use super::line::Arriving;
use super::settle::Charge;

/// What is gathered at most before it is written, in bytes.
const GATHER_BYTES_MAX: usize = 64 * 1024;
/// For how long an answer is read whose agent has gone.
const DRAIN_MAX: Duration = Duration::from_secs(15 * 60);

/// The body of an answer that the meter gives.
pub(super) enum ReplyBody {
    /// Its own words.
    Own(Full<Bytes>),
    /// A free answer of the provider.
    Free(Arriving),
    /// An answer that costs money.
    Tapped(Box<Tap>),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            ReplyBody::Own(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            ReplyBody::Free(body) => Pin::new(body).poll_frame(cx),
            ReplyBody::Tapped(tap) => tap.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Own(body) => body.is_end_stream(),
            ReplyBody::Free(body) => body.is_end_stream(),
            ReplyBody::Tapped(tap) => tap.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Own(body) => body.size_hint(),
            ReplyBody::Free(body) => body.size_hint(),
            ReplyBody::Tapped(_) => SizeHint::default(),
        }
    }
}

/// An answer that is read as it passes.
pub(super) struct Tap {
    /// `None` once it has ended.
    body: Option<Arriving>,
    charge: Option<Charge>,
    gathered: Gathered,
    /// What ended the body, told after what was gathered is written.
    error: Option<hyper::Error>,
}

impl Tap {
    pub(super) fn new(body: Arriving, charge: Charge) -> Self {
        let mut tap = Self { body: Some(body), charge: Some(charge), gathered: Gathered::None, error: None };
        if tap.body.as_ref().is_some_and(Body::is_end_stream) {
            tap.end();
        }
        tap
    }

    fn is_over(&self) -> bool {
        self.body.is_none() && matches!(self.gathered, Gathered::None) && self.error.is_none()
    }

    /// The body has ended, well or not; the reader knows which.
    fn end(&mut self) {
        self.body = None;
        if let Some(charge) = self.charge.take() {
            charge.settle();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            let Some(body) = &mut self.body else {
                if let Some(bytes) = self.gathered.take() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                return Poll::Ready(self.error.take().map(Err));
            };
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers carry nothing an API of ours uses, and belong to one hop.
                    let Ok(bytes) = frame.into_data() else { continue };
                    let over = body.is_end_stream();
                    if let Some(charge) = &mut self.charge {
                        charge.feed(&bytes);
                    }
                    self.gathered.push(bytes);
                    if over {
                        self.end();
                    } else if self.gathered.len() >= GATHER_BYTES_MAX {
                        return Poll::Ready(self.gathered.take().map(|bytes| Ok(Frame::data(bytes))));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.error = Some(error);
                    self.end();
                }
                Poll::Ready(None) => self.end(),
                Poll::Pending => {
                    // Each event is a frame; all that have arrived are written at once.
                    return match self.gathered.take() {
                        Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                        None => Poll::Pending,
                    };
                }
            }
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let (Some(body), Some(charge)) = (self.body.take(), self.charge.take()) else { return };
        // Without a runtime there is nobody to read the rest; the charge then closes itself at its bound.
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(drain(body, charge)));
        }
    }
}

/// Reads the rest of an answer whose agent has gone.
async fn drain(mut body: Arriving, mut charge: Charge) {
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(bytes) = frame.data_ref() {
                charge.feed(bytes);
            }
        }
    };
    // Out of time, what the reader has seen by then counts, with the bound of the rest.
    drop(tokio::time::timeout(DRAIN_MAX, rest).await);
    charge.settle();
}

/// Bytes that have come and are not yet written. One piece stays as it is; several are put together.
enum Gathered {
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Gathered {
    fn len(&self) -> usize {
        match self {
            Gathered::None => 0,
            Gathered::One(bytes) => bytes.len(),
            Gathered::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, more: Bytes) {
        if more.is_empty() {
            return;
        }
        *self = match std::mem::replace(self, Gathered::None) {
            Gathered::None => Gathered::One(more),
            Gathered::One(first) => {
                let mut many = BytesMut::with_capacity((first.len() + more.len()).max(4 * 1024));
                many.extend_from_slice(&first);
                many.extend_from_slice(&more);
                Gathered::Many(many)
            }
            Gathered::Many(mut many) => {
                many.extend_from_slice(&more);
                Gathered::Many(many)
            }
        };
    }

    fn take(&mut self) -> Option<Bytes> {
        match std::mem::replace(self, Gathered::None) {
            Gathered::None => None,
            Gathered::One(bytes) => Some(bytes),
            Gathered::Many(bytes) => Some(bytes.freeze()),
        }
    }
}
