//! The side that the agent speaks to: plain HTTP/1.1 on a listener that somebody else bound.
//!
//! Everything that is not a request to a listed path of the API, with the run's token, to this very
//! address, ends here.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::forward::{Gate, Reply, own};
use super::key::Secret;
use super::line::Dial;
use crate::provider::{Answer, Api, Endpoint, Problem, Vendor};

/// The largest body that is taken, in bytes: what the Messages API itself takes.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The largest head of a request that is taken, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long the head of a request may take to arrive.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long a body may take to arrive.
const BODY_MAX: Duration = Duration::from_secs(2 * 60);
/// Connections at the same time.
const CONNECTIONS_MAX: usize = 512;
/// Bodies in memory at the same time, in KiB: eight of the largest. Further ones wait to be read.
const BODIES_KIB_MAX: usize = 8 * BODY_BYTES_MAX / 1024;

/// Where the clients of each API put its key, besides `authorization`.
static KEYS: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("api-key"),
];

/// What the server compares requests with.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) token: Secret,
    pub(super) address: SocketAddr,
    /// Whose APIs are served.
    vendors: Vec<Vendor>,
    bodies_kib: Semaphore,
}

/// Takes connections until it is dropped.
pub(super) async fn serve<C>(listener: TcpListener, door: Arc<Door>, gate: Arc<Gate<C>>)
where
    C: Dial,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of file descriptors, or the connection was gone already: neither ends the run.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let (door, gate) = (door.clone(), gate.clone());
        tokio::spawn(async move {
            connection(stream, door, gate).await;
            drop(permit);
        });
    }
}

async fn connection<C>(stream: TcpStream, door: Arc<Door>, gate: Arc<Gate<C>>)
where
    C: Dial,
{
    // Small pieces of a stream must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (door, gate) = (door.clone(), gate.clone());
        async move { Ok::<_, Infallible>(answer(&door, &gate, request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(HEAD_BYTES_MAX);
    // A client that breaks the rules or goes away is none of the run's business.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer<C>(door: &Door, gate: &Arc<Gate<C>>, request: Request<Incoming>) -> Reply
where
    C: Dial,
{
    let (api, endpoint) = match door.check(&request) {
        Ok(Some(found)) => found,
        Ok(None) => return own(alive()),
        Err(problem) => return refuse(door.speech(&request), &problem),
    };
    let (parts, body) = request.into_parts();
    // Held until the provider's answer begins: by then the body has been sent.
    let _room = door.room_for(&body).await;
    let body = match read(&parts.headers, body).await {
        Ok(body) => body,
        Err(problem) => return refuse(api, &problem),
    };
    let root = PathAndQuery::from_static("/");
    let path = parts.uri.path_and_query().unwrap_or(&root);
    match endpoint {
        Endpoint::Generate => gate.generate(api, path, &parts.headers, body).await,
        Endpoint::Count | Endpoint::Models => gate.free(api, parts.method, path, &parts.headers, body).await,
    }
}

/// A problem, said on a connection that is closed after it, since the rest of the request may be unread.
fn refuse(api: Api, problem: &Problem) -> Reply {
    let mut reply = own(api.say(problem));
    reply.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    if matches!(problem, Problem::UpgradeRequired) {
        reply.headers_mut().insert(header::UPGRADE, http::HeaderValue::from_static("HTTP/1.1"));
    }
    reply
}

/// The answer to whoever only asks whether somebody is there.
fn alive() -> Answer {
    Answer {
        status: StatusCode::OK.as_u16(),
        content_type: "text/plain; charset=utf-8",
        body: Bytes::from_static(b"tollgate meter\n"),
        final_word: false,
    }
}

/// Reads a body to its end, within its limits.
async fn read(headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
    let too_large = || Problem::TooLarge { bytes_max: BODY_BYTES_MAX };
    let hint = body.size_hint();
    let announced = usize::try_from(hint.lower()).unwrap_or(usize::MAX);
    if announced > BODY_BYTES_MAX {
        return Err(too_large());
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return Err(Problem::Invalid("the body is compressed; send it as it is".to_owned()));
    }
    let mut body = Limited::new(body, BODY_BYTES_MAX);
    let collect = async {
        // What is announced is not yet here: no more than a little is set aside for it.
        let mut bytes = BytesMut::with_capacity(announced.min(256 * 1024));
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(too_large()),
                Err(_) => return Err(Problem::Invalid("the body broke off".to_owned())),
            }
        }
        Ok(bytes.freeze())
    };
    match tokio::time::timeout(BODY_MAX, collect).await {
        Ok(body) => body,
        Err(_) => Err(Problem::Invalid("the body took too long to arrive".to_owned())),
    }
}

impl Door {
    pub(super) fn new(token: Secret, address: SocketAddr, vendors: Vec<Vendor>) -> Self {
        Self { token, address, vendors, bodies_kib: Semaphore::new(BODIES_KIB_MAX) }
    }

    /// The API that a request is meant for, as far as its path and headers tell: whatever comes is answered
    /// in a shape that its client understands.
    fn speech<B>(&self, request: &Request<B>) -> Api {
        let (headers, path) = (request.headers(), request.uri().path());
        let by_path = Vendor::ALL.into_iter().filter_map(|vendor| vendor.endpoint("POST", path)).next();
        if let Some((api, _)) = by_path {
            return api;
        }
        let vendor = if headers.contains_key("anthropic-version") || path.starts_with("/v1/messages") {
            Vendor::Anthropic
        } else if headers.contains_key("x-goog-api-key") || path.starts_with("/v1beta/") {
            Vendor::Gemini
        } else if self.vendors.contains(&Vendor::OpenAi) && headers.contains_key(header::AUTHORIZATION) {
            Vendor::OpenAi
        } else {
            self.vendors.first().copied().unwrap_or(Vendor::Anthropic)
        };
        vendor.api()
    }

    /// What a request line is for. Lists of models have the same path with two vendors: the headers tell.
    fn endpoint<B>(&self, request: &Request<B>, path: &str) -> Option<(Api, Endpoint)> {
        let method = request.method().as_str();
        let mut served = self.vendors.iter().filter_map(|vendor| vendor.endpoint(method, path));
        let (first, second) = (served.next()?, served.next());
        match second {
            Some(second) if second.0.vendor() == self.speech(request).vendor() => Some(second),
            _ => Some(first),
        }
    }

    /// Waits until there is memory for a body: for what it announces, or for the largest there may be.
    async fn room_for(&self, body: &Incoming) -> Option<SemaphorePermit<'_>> {
        let most = body.size_hint().exact().unwrap_or(u64::MAX).min(BODY_BYTES_MAX as u64);
        let kib = u32::try_from(most.div_ceil(1024)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.bodies_kib.acquire_many(kib).await.ok()
    }

    /// What a request is for; `None` for one that only asks whether somebody is there.
    fn check<B>(&self, request: &Request<B>) -> Result<Option<(Api, Endpoint)>, Problem> {
        let (headers, uri) = (request.headers(), request.uri());
        if uri.scheme().is_some() || uri.authority().is_some() {
            return Err(Problem::NotFound(
                "a request for another address: this is not a general proxy".to_owned(),
            ));
        }
        // hyper stops reading a head somewhat later than it was told to.
        let head_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if head_bytes > HEAD_BYTES_MAX {
            return Err(Problem::TooLarge { bytes_max: HEAD_BYTES_MAX });
        }
        if !self.is_for_us(headers, request.version()) {
            return Err(Problem::NotFound("a request whose `host` is not this meter's address".to_owned()));
        }
        if headers.contains_key(header::ORIGIN) {
            return Err(Problem::Denied("requests from web pages are not taken".to_owned()));
        }
        if uri.path() == "/" && (request.method() == Method::GET || request.method() == Method::HEAD) {
            return Ok(None);
        }
        if !self.knows(headers, uri.query()) {
            return Err(Problem::Unauthorized);
        }
        let upgrades = headers.get_all(header::UPGRADE).into_iter();
        if upgrades
            .filter_map(|value| value.to_str().ok())
            .any(|to| to.to_ascii_lowercase().contains("websocket"))
        {
            return Err(Problem::UpgradeRequired);
        }
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        if let Some(found) = self.endpoint(request, path) {
            return Ok(Some(found));
        }
        let what = format!("{} {}", request.method(), uri.path());
        let elsewhere =
            Vendor::ALL.iter().find(|vendor| vendor.endpoint(request.method().as_str(), path).is_some());
        Err(Problem::NotFound(match elsewhere {
            Some(vendor) => format!("{what}, since the meter was given no key for {},", vendor.as_str()),
            None => what,
        }))
    }

    /// Whether the request names this address as its host. Where the listener is open to other machines
    /// it may have names that it does not know itself; the token guards it.
    fn is_for_us(&self, headers: &HeaderMap, version: Version) -> bool {
        if headers.get_all(header::HOST).iter().count() > 1 {
            return false;
        }
        let Some(host) = headers.get(header::HOST) else { return version < Version::HTTP_11 };
        let Ok(host) = host.to_str() else { return false };
        if !self.address.ip().is_loopback() {
            return true;
        }
        let Some((name, port)) = host.rsplit_once(':') else { return false };
        port.parse() == Ok(self.address.port())
            && (name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]")
    }

    /// Whether the request carries the run's token, where the clients of any API put their key.
    fn knows(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        let named = |name: &HeaderName| headers.get(name).map(http::HeaderValue::as_bytes);
        let keys = KEYS.iter().filter_map(named);
        let in_query = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("key=")));
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.as_bytes().split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        let others = [bearer, in_query.map(str::as_bytes)];
        keys.chain(others.into_iter().flatten()).any(|sent| is_same(sent, self.token.bytes()))
    }
}

/// Compares in a time that does not depend on where the two differ.
fn is_same(sent: &[u8], token: &[u8]) -> bool {
    if sent.len() != token.len() {
        return false;
    }
    let differs = sent.iter().zip(token).fold(0_u8, |differs, (a, b)| differs | (a ^ b));
    std::hint::black_box(differs) == 0
}
