//! A response body that is played step by step, so that it can break wherever a script wants.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::script::Wait;
use super::witness::InFlight;

/// One step of a body.
#[derive(Debug)]
pub(super) enum Step {
    /// These bytes come.
    Data(Bytes),
    /// Something is waited for.
    Wait(Wait),
    /// Nothing comes any more, and the connection stays open.
    Hang,
    /// The connection closes.
    Close,
}

/// A body of steps. It keeps its generation counted as in flight until it is played or dropped.
pub(super) struct Steps {
    steps: VecDeque<Step>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The step before has to leave the machine before the connection closes.
    flushed: bool,
    in_flight: Option<InFlight>,
}

impl Steps {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>, in_flight: Option<InFlight>) -> Self {
        Self { steps: steps.into_iter().collect(), waiting: None, flushed: false, in_flight }
    }

    pub(super) fn whole(body: Bytes) -> Self {
        Self::new([Step::Data(body)], None)
    }
}

impl Body for Steps {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                match waiting.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => self.waiting = None,
                }
            }
            // A pause makes hyper write out what it has; it would drop it with the connection.
            if matches!(self.steps.front(), Some(Step::Close)) && !self.flushed {
                self.flushed = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.steps.pop_front() {
                Some(Step::Data(bytes)) => {
                    if self.steps.is_empty() {
                        self.in_flight = None;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Wait(wait)) => self.waiting = Some(wait.future()),
                Some(Step::Hang) => self.waiting = Some(Box::pin(std::future::pending())),
                Some(Step::Close) => return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
                None => {
                    self.in_flight = None;
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none()
    }
}
