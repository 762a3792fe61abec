//! GitHub's double: a server on loopback that keeps state, so that what a client wrote is there when it
//! looks; that breaks as it is told to; and that holds every request against GitHub's own description.
//!
//! A request that GitHub does not document fails the test when the double is dropped, even where the
//! client made nothing of the answer.

mod answers;
mod contract;
mod faults;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

pub(crate) use faults::Fault;
pub(crate) use state::{LabelEvent, Pull, State};

/// The token that the double takes.
pub(crate) const TOKEN: &str = "ghs_theTokenOfTheDouble";
/// The repository that it holds.
pub(crate) const REPOSITORY: &str = "octo/gate";

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query, below the API's address.
    pub(crate) target: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
}

/// The double; it serves until it is dropped.
pub(crate) struct Double {
    /// What `GITHUB_API_URL` would be.
    pub(crate) url: String,
    shared: Arc<Mutex<Shared>>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The path before the API's own: `/api/v3` of a GHES.
    prefix: String,
    /// The address without the prefix.
    origin: String,
    state: State,
    faults: faults::Faults,
    seen: Vec<Seen>,
    violations: Vec<String>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Double {
    /// github.com's double.
    pub(crate) fn start() -> Self {
        Self::start_below("")
    }

    /// The double of a GitHub Enterprise Server.
    pub(crate) fn start_ghes() -> Self {
        Self::start_below("/api/v3")
    }

    fn start_below(prefix: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let url = format!("{origin}{prefix}");
        let shared = Shared { prefix: prefix.to_owned(), origin, ..Shared::default() };
        let shared = Arc::new(Mutex::new(shared));
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve(listener, serving, stopped));
        });
        Self { url, shared, stop: Some(stop), server: Some(server) }
    }

    /// Reads or changes what the repository holds.
    pub(crate) fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut lock(&self.shared).state)
    }

    /// The next `times` requests of this method whose path holds `path` meet this fault.
    pub(crate) fn fault(&self, method: &str, path: &str, times: u32, fault: Fault) {
        lock(&self.shared).faults.add(method, path, times, fault);
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.shared).seen.clone()
    }

    /// How many requests of this method came whose path holds `path`.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method && seen.target.contains(path)).count()
    }

    /// What came against GitHub's description so far, and forgets it.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared).violations)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ended = self.server.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            assert!(ended.is_some_and(|ended| ended.is_ok()), "GitHub's double has broken down");
            let violations = self.take_violations();
            assert!(violations.is_empty(), "requests that GitHub does not know:\n{}", violations.join("\n"));
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Mutex<Shared>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                tokio::spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A connection that a fault breaks ends with an error, which is what was wanted.
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }
    }
}

type Answered = Result<Response<Full<Bytes>>, std::io::Error>;

async fn answer(shared: Arc<Mutex<Shared>>, request: Request<Incoming>) -> Answered {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let fault = lock(&shared).faults.take(&parts.method, parts.uri.path());
    if let Some(Fault::Slow(wait)) = fault {
        tokio::time::sleep(wait).await;
    }
    let mut shared = lock(&shared);
    let answered = shared.answer(&parts, &body, fault.as_ref());
    let status = answered.as_ref().map_or(0, |answer| answer.status().as_u16());
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let target = target.strip_prefix(shared.prefix.as_str()).unwrap_or(&target).to_owned();
    shared.seen.push(Seen { method: parts.method, target, status, headers: parts.headers });
    answered
}

impl Shared {
    fn answer(&mut self, parts: &http::request::Parts, body: &Bytes, fault: Option<&Fault>) -> Answered {
        let graphql = if self.prefix.is_empty() { "/graphql" } else { "/api/graphql" };
        let path = parts.uri.path();
        let path = match path.strip_prefix(self.prefix.as_str()) {
            Some(_) if path == graphql => "/graphql".to_owned(),
            Some(path) => path.to_owned(),
            None if path == graphql => "/graphql".to_owned(),
            None => {
                self.violations.push(format!("{} {path}: outside the API's address", parts.method));
                return self.finish(answers::error(404, "Not Found"), parts);
            }
        };
        let path = self.state.real_path(&path);
        self.violations.extend(contract::violations(parts, &path, body));
        if let Some(early) = fault.and_then(|fault| fault.before(&self.state)) {
            return early.and_then(|early| self.finish(early, parts));
        }
        let token = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if token != Some(format!("Bearer {TOKEN}").as_str()) {
            self.violations.push(format!("{} {path}: without the token", parts.method));
            return self.finish(answers::error(401, "Bad credentials"), parts);
        }
        let stale = matches!(fault, Some(Fault::StaleLabels));
        let base = format!("{}{}", self.origin, self.prefix);
        let answer = answers::route(&mut self.state, &base, parts, &path, body, stale);
        match fault.and_then(|fault| fault.after()) {
            Some(late) => late.and_then(|late| self.finish(late, parts)),
            None => self.finish(answer, parts),
        }
    }

    /// Tag, limits and date, as on every answer of GitHub's.
    fn finish(&mut self, mut answer: Response<Full<Bytes>>, parts: &http::request::Parts) -> Answered {
        self.state.finish(&mut answer, parts);
        Ok(answer)
    }
}

/// How long a slow answer takes, which no client of the tests waits for.
pub(crate) const SLOW: Duration = Duration::from_secs(60);
