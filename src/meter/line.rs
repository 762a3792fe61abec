//! Connections to the provider: kept, reused, and moved by whoever uses them.
//!
//! hyper gives a client connection in two halves, one that is asked and one that moves the bytes, and
//! means the second to be a task of its own. Each piece of an answer then costs a switch between tasks.
//! Here the request that uses a connection moves its bytes too, so that all that has arrived is at hand
//! in the same turn, and no piece waits for another.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use tower_service::Service;

/// How long an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Idle connections that are kept at most.
const IDLE_LINES_MAX: usize = 64;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Whatever makes connections: hyper-util's connectors, or a simulated network.
pub trait Dial:
    Service<Uri, Response: Read + Write + Unpin + Send + 'static, Error: Into<Cause>, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Dial for S where
    S: Service<Uri, Response: Read + Write + Unpin + Send + 'static, Error: Into<Cause>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// No connection came about; nothing was sent.
    #[error("no connection")]
    Connect(#[source] Cause),
    /// The connection ended before anything was sent.
    #[error("the connection was closed before the request was sent")]
    Unsent(#[source] hyper::Error),
    /// The connection failed when some of the request may have been sent.
    #[error("the connection failed")]
    Lost(#[source] hyper::Error),
}

/// The connections to one provider.
#[derive(Clone, Debug)]
pub(super) struct Lines<C> {
    connector: C,
    to: Uri,
    idle: Idle,
}

impl<C: Dial> Lines<C> {
    /// No connections yet; they will go to the scheme and authority of `to`.
    pub(super) fn new(connector: C, to: Uri) -> Self {
        Self { connector, to, idle: Idle::default() }
    }

    /// Sends a request and waits for the head of its answer. The request is in origin form.
    ///
    /// A kept connection that turns out to be closed before anything was sent is replaced.
    pub(super) async fn ask(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Arriving>, LineError> {
        loop {
            let (mut line, kept) = match self.idle.take() {
                Some(line) => (line, true),
                None => (self.open().await?, false),
            };
            let mut failed = match line.ask(request).await {
                Ok(response) => {
                    let idle = self.idle.clone();
                    return Ok(response.map(|body| Arriving { body, line: Some(line), idle }));
                }
                Err(failed) => failed,
            };
            match failed.take_message() {
                Some(unsent) if kept => request = unsent,
                Some(_) => return Err(LineError::Unsent(failed.into_error())),
                None => return Err(LineError::Lost(failed.into_error())),
            }
        }
    }

    async fn open(&self) -> Result<Line, LineError> {
        let mut connector = self.connector.clone();
        let refused = |error: C::Error| LineError::Connect(error.into());
        poll_fn(|cx| connector.poll_ready(cx)).await.map_err(refused)?;
        let io = connector.call(self.to.clone()).await.map_err(refused)?;
        let (sender, moving) =
            http1::handshake(io).await.map_err(|error| LineError::Connect(error.into()))?;
        Ok(Line { sender, moving: Some(Box::pin(moving)) })
    }
}

/// Connections that nobody uses, the last used last.
#[derive(Clone, Debug, Default)]
struct Idle(Arc<Mutex<Vec<(Line, Instant)>>>);

impl Idle {
    fn take(&self) -> Option<Line> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((mut line, since)) = kept.pop() {
            if since.elapsed() < IDLE_MAX && line.is_idle(&mut Context::from_waker(Waker::noop())) {
                return Some(line);
            }
        }
        None
    }

    fn keep(&self, line: Line) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.first().is_some_and(|(_, since)| since.elapsed() >= IDLE_MAX) {
            kept.retain(|(_, since)| since.elapsed() < IDLE_MAX);
        }
        if kept.len() < IDLE_LINES_MAX {
            kept.push((line, Instant::now()));
        }
    }
}

/// One connection.
struct Line {
    sender: SendRequest<Full<Bytes>>,
    /// What moves the bytes; `None` once the connection is closed.
    moving: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    /// Moves what can be moved.
    fn turn(&mut self, cx: &mut Context<'_>) {
        if let Some(moving) = &mut self.moving
            && moving.as_mut().poll(cx).is_ready()
        {
            // Why it ended is told to whoever waits for the answer.
            self.moving = None;
        }
    }

    /// Whether the connection stands and takes another request.
    fn is_idle(&mut self, cx: &mut Context<'_>) -> bool {
        self.turn(cx);
        self.moving.is_some() && self.sender.is_ready()
    }

    async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let moving = &mut self.moving;
        poll_fn(|cx| {
            if let Some(line) = moving.as_mut()
                && line.as_mut().poll(cx).is_ready()
            {
                *moving = None;
            }
            // Only the connection brings it, so that nobody else need wake this task.
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }
}

/// The body of an answer, with the connection that brings it.
#[derive(Debug)]
pub(super) struct Arriving {
    body: Incoming,
    /// `None` once the answer has ended.
    line: Option<Line>,
    idle: Idle,
}

impl Arriving {
    /// The answer has ended: its connection is free for another request.
    fn end(&mut self, cx: &mut Context<'_>) {
        if let Some(mut line) = self.line.take()
            && line.is_idle(cx)
        {
            self.idle.keep(line);
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        // Only the connection brings frames, so that nobody else need wake this task.
        let nobody = &mut Context::from_waker(Waker::noop());
        let mut frame = Pin::new(&mut this.body).poll_frame(nobody);
        if frame.is_pending()
            && let Some(line) = &mut this.line
        {
            line.turn(cx);
            frame = Pin::new(&mut this.body).poll_frame(nobody);
        }
        let frame = ready!(frame);
        if frame.is_none() || self.body.is_end_stream() {
            self.end(cx);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
