//! Calls: one request and its answer, asked again only where that cannot do a thing twice.
//!
//! Requests go through octocrab, which sets the headers and keeps the token to one authority. Its own
//! retries, redirects and caching are left out: it would send a POST again that had been carried out, and
//! they know no deadline. Underneath is reqwest, for its proxies.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use jiff::{SignedDuration, Timestamp};
use octocrab::service::middleware::auth_header::AuthHeaderLayer;
use octocrab::service::middleware::extra_headers::ExtraHeadersLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};

use super::cache::{Cache, Kept};
use super::clock::Clock;
use super::error::{ConfigError, Error, Limit};
use super::{Secret, limits, path};

/// The most of an answer that is read, unless the call says otherwise.
pub(super) const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most of GitHub's own words that are shown.
const SAID_CHARS_MAX: usize = 300;
/// The most redirects on the same host.
const REDIRECTS_MAX: u32 = 3;
/// The most attempts, besides waits for a limit.
const ATTEMPTS_MAX: u32 = 6;

pub(super) const JSON: &str = "application/vnd.github+json";
pub(super) const RAW: &str = "application/vnd.github.raw+json";

/// What may be done about a call whose answer got lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Doing it twice is doing it once.
    Freely,
    /// It would be there twice.
    Never,
}

/// A request in the making.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Path and query below the API's address; or the whole address of a page.
    pub(super) target: String,
    pub(super) accept: &'static str,
    pub(super) body: Option<Bytes>,
    pub(super) again: Again,
    pub(super) bytes_max: usize,
    /// What a token needs for it, by GitHub's documentation.
    pub(super) permission: &'static str,
}

impl Call {
    pub(super) fn get(target: impl Into<String>, permission: &'static str) -> Self {
        Self {
            method: Method::GET,
            target: target.into(),
            accept: JSON,
            body: None,
            again: Again::Freely,
            bytes_max: ANSWER_BYTES_MAX,
            permission,
        }
    }

    pub(super) fn write(
        method: Method,
        target: impl Into<String>,
        permission: &'static str,
        again: Again,
    ) -> Self {
        Self { method, again, ..Self::get(target, permission) }
    }

    pub(super) fn json(self, body: &serde_json::Value) -> Self {
        Self { body: Some(Bytes::from(body.to_string())), ..self }
    }

    /// How it is named in messages.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(super) fn not_found(&self) -> Error {
        Error::NotFound { call: self.name(), permission: self.permission.to_owned() }
    }
}

/// An answer of status 2xx.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) content_type: String,
    /// The next page, on the same host.
    pub(super) next: Option<String>,
}

/// The end of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(pub(super) Timestamp);

/// The way to the API.
pub(super) struct Transport {
    octocrab: Octocrab,
    /// The API's address, without a slash at its end.
    base: String,
    origin: Uri,
    token: Secret,
    pub(super) clock: Clock,
    timeout: Duration,
    attempt_timeout: Duration,
    cache: Mutex<Cache>,
    /// Until when GitHub wants no requests.
    blocked: Mutex<Option<(Limit, Timestamp)>>,
    limited_in_a_row: AtomicU32,
}

/// What came of one request.
enum Outcome {
    Answered(StatusCode, HeaderMap, Bytes),
    /// Nothing was sent.
    NotSent(String),
    /// It was sent, and no answer came.
    Lost(String),
    TooLarge,
}

impl Transport {
    pub(super) fn new(config: &super::Config) -> Result<Self, ConfigError> {
        let (base, origin) = address(&config.api_url)?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", config.token.text()))
            .map_err(|_| ConfigError::NotToken)?;
        if config.token.text().trim().is_empty() {
            return Err(ConfigError::NotToken);
        }
        bearer.set_sensitive(true);
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(config.attempt_timeout)
            .build()
            .map_err(|error| ConfigError::NoClient(reason(&error)))?;
        let headers = vec![
            (header::USER_AGENT, HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION")))),
            (HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28")),
        ];
        let built = OctocrabBuilder::new_empty()
            .with_service(Leaf(client))
            .with_layer(&ExtraHeadersLayer::new(Arc::new(headers)))
            .with_layer(&AuthHeaderLayer::new(Some(bearer), origin.clone(), origin.clone()))
            .with_auth(AuthState::None)
            .build();
        let octocrab = match built {
            Ok(octocrab) => octocrab,
            Err(never) => match never {},
        };
        Ok(Self {
            octocrab,
            base,
            origin,
            token: config.token.clone(),
            clock: config.clock.clone(),
            timeout: config.timeout,
            attempt_timeout: config.attempt_timeout,
            cache: Mutex::default(),
            blocked: Mutex::default(),
            limited_in_a_row: AtomicU32::new(0),
        })
    }

    /// Where GraphQL is: beside a GHES's `/api/v3`, below github.com's root.
    pub(super) fn graphql(&self) -> String {
        match self.base.strip_suffix("/v3") {
            Some(api) => format!("{api}/graphql"),
            None => format!("{}/graphql", self.base),
        }
    }

    /// An operation that starts now ends then.
    pub(super) fn deadline(&self) -> Deadline {
        let timeout = SignedDuration::try_from(self.timeout).unwrap_or(SignedDuration::MAX);
        Deadline(self.clock.now().checked_add(timeout).unwrap_or(Timestamp::MAX))
    }

    /// Calls, waits and calls again, as far as the call and the deadline allow.
    pub(super) async fn call(&self, call: &Call, deadline: Deadline) -> Result<Answer, Error> {
        let mut uri = self.uri(call)?;
        let (mut failed, mut redirects) = (0, 0);
        loop {
            self.wait_for_limit(call, deadline).await?;
            let kept = self.kept(call, &uri);
            let outcome = self.once(call, &uri, kept.as_ref(), deadline).await?;
            let trouble = match outcome {
                Outcome::Answered(status, headers, body) => {
                    let seen = limits::limited(status, &headers, &body, self.clock.now(), self.limited());
                    if let Some((limit, wait)) = seen {
                        self.block(limit, wait);
                        continue;
                    }
                    self.limited_in_a_row.store(0, Ordering::Relaxed);
                    if let (StatusCode::NOT_MODIFIED, Some(kept)) = (status, kept) {
                        return Ok(Answer {
                            body: kept.body,
                            content_type: kept.content_type,
                            next: kept.next,
                        });
                    }
                    if status.is_success() {
                        return self.answer(call, &uri, &headers, body);
                    }
                    if status.is_redirection() {
                        uri = self.redirect(call, &uri, status, &headers, redirects)?;
                        redirects += 1;
                        continue;
                    }
                    if !status.is_server_error() && status != StatusCode::REQUEST_TIMEOUT {
                        return Err(self.refusal(call, status, &headers, &body));
                    }
                    let why = format!("it answers {}", status.as_u16());
                    Trouble { sent: true, why }
                }
                Outcome::NotSent(why) => Trouble { sent: false, why },
                Outcome::Lost(why) => Trouble { sent: true, why },
                Outcome::TooLarge => {
                    return Err(Error::TooLarge { call: call.name(), bytes_max: call.bytes_max });
                }
            };
            let wait = limits::backoff(failed);
            failed += 1;
            let in_time = wait < self.clock.until(deadline.0) && failed < ATTEMPTS_MAX;
            if (trouble.sent && call.again == Again::Never) || !in_time {
                return Err(trouble.error(call));
            }
            self.clock.sleep(wait).await;
        }
    }

    /// One request and the whole of its answer.
    async fn once(
        &self,
        call: &Call,
        uri: &Uri,
        kept: Option<&Kept>,
        deadline: Deadline,
    ) -> Result<Outcome, Error> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(uri.clone())
            .header(header::ACCEPT, call.accept);
        if let Some(kept) = kept {
            request = request.header(header::IF_NONE_MATCH, kept.etag.clone());
        }
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = OctoBody::from(call.body.clone().unwrap_or_default());
        let request = request.body(body).map_err(|error| self.garbled(call, &error.to_string()))?;
        let wait = self.attempt_timeout.min(self.clock.until(deadline.0));
        let exchange = async {
            let response = match self.octocrab.send(request).await {
                Ok(response) => response,
                Err(error) => return failure(&error),
            };
            let (parts, body) = response.into_parts();
            match Limited::new(body, call.bytes_max).collect().await {
                Ok(body) => Outcome::Answered(parts.status, parts.headers, body.to_bytes()),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => Outcome::TooLarge,
                Err(error) => Outcome::Lost(reason(&*error)),
            }
        };
        let timed_out = || Outcome::Lost(format!("no answer within {} s", wait.as_secs_f32().ceil()));
        Ok(tokio::time::timeout(wait, exchange).await.unwrap_or_else(|_| timed_out()))
    }

    /// Waits until GitHub takes requests again, or says that this would take too long.
    async fn wait_for_limit(&self, call: &Call, deadline: Deadline) -> Result<(), Error> {
        let blocked = *self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((limit, until)) = blocked else { return Ok(()) };
        let (wait, left) = (self.clock.until(until), self.clock.until(deadline.0));
        if wait.is_zero() {
            return Ok(());
        }
        if wait >= left {
            return Err(Error::RateLimited { call: call.name(), limit, wait, left });
        }
        self.clock.sleep(wait).await;
        Ok(())
    }

    fn limited(&self) -> u32 {
        self.limited_in_a_row.load(Ordering::Relaxed)
    }

    fn block(&self, limit: Limit, wait: Duration) {
        self.limited_in_a_row.fetch_add(1, Ordering::Relaxed);
        // A limit that is over at once would make a loop without a pause.
        let wait = SignedDuration::try_from(wait.max(Duration::from_secs(1))).unwrap_or(SignedDuration::MAX);
        let until = self.clock.now().checked_add(wait).unwrap_or(Timestamp::MAX);
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = Some((limit, until));
    }

    fn uri(&self, call: &Call) -> Result<Uri, Error> {
        let whole = if call.target.starts_with('/') {
            format!("{}{}", self.base, call.target)
        } else {
            call.target.clone()
        };
        whole.parse().map_err(|_| self.garbled(call, "its address is none"))
    }

    fn kept(&self, call: &Call, uri: &Uri) -> Option<Kept> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        (call.method == Method::GET).then(|| cache.get(&cache_key(call, uri))).flatten()
    }

    fn answer(&self, call: &Call, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Result<Answer, Error> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let next = text(header::LINK).and_then(path::next_page).map(str::to_owned);
        if let Some(next) = &next {
            let there: Option<Uri> = next.parse().ok();
            if !there.is_some_and(|there| path::same_origin(&there, &self.origin)) {
                return Err(Error::Redirected { call: call.name(), to: self.clean(next) });
            }
        }
        let content_type = text(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        if let (&Method::GET, Some(etag)) = (&call.method, headers.get(header::ETAG)) {
            let kept = Kept {
                etag: etag.clone(),
                body: body.clone(),
                content_type: content_type.clone(),
                next: next.clone(),
            };
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.put(cache_key(call, uri), kept);
        }
        Ok(Answer { body, content_type, next })
    }

    /// Where a redirect leads: for reads, and where the method stays, to the same host only.
    fn redirect(
        &self,
        call: &Call,
        from: &Uri,
        status: StatusCode,
        headers: &HeaderMap,
        redirects: u32,
    ) -> Result<Uri, Error> {
        let to = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let error = || Error::Redirected { call: call.name(), to: self.clean(to) };
        let whole = if to.starts_with('/') && !to.starts_with("//") {
            format!("{}{to}", self.origin.to_string().trim_end_matches('/'))
        } else {
            to.to_owned()
        };
        let there: Uri = whole.parse().map_err(|_| error())?;
        let stays = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        let may = (call.method == Method::GET || stays) && redirects < REDIRECTS_MAX && there != *from;
        if may && path::same_origin(&there, &self.origin) { Ok(there) } else { Err(error()) }
    }

    /// An answer of status 4xx, in words.
    fn refusal(&self, call: &Call, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        let name = call.name();
        let said = self.said(body);
        let accepted = headers.get("x-accepted-github-permissions").and_then(|value| value.to_str().ok());
        let accepted = accepted.filter(|text| !text.trim().is_empty()).map(permissions);
        let permission = accepted.map_or_else(|| call.permission.to_owned(), |text| self.clean(&text));
        match status {
            StatusCode::UNAUTHORIZED => Error::Unauthorized { call: name, said },
            StatusCode::FORBIDDEN => Error::Forbidden { call: name, said, permission },
            StatusCode::NOT_FOUND => Error::NotFound { call: name, permission },
            _ => Error::Rejected { call: name, status: status.as_u16(), said },
        }
    }

    /// GitHub's own message, with the reasons it gives.
    fn said(&self, body: &[u8]) -> String {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
            return "it gives no reason".to_owned();
        };
        let mut said = value["message"].as_str().unwrap_or("it gives no reason").to_owned();
        let errors = value["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        for error in errors.iter().take(3) {
            if let Some(text) = error.as_str().or(error["message"].as_str()) {
                said = format!("{said}: {text}");
            }
        }
        self.clean(&said)
    }

    /// Foreign text for a message: one line, cut, and the token taken out.
    pub(super) fn clean(&self, text: &str) -> String {
        let text = text.replace(self.token.text(), "***");
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect()
    }

    pub(super) fn garbled(&self, call: &Call, why: &str) -> Error {
        Error::Garbled { call: call.name(), why: self.clean(why) }
    }
}

struct Trouble {
    sent: bool,
    why: String,
}

impl Trouble {
    fn error(self, call: &Call) -> Error {
        let (call, again, why) = (call.name(), call.again, self.why);
        match (self.sent, again) {
            (false, _) => Error::Unreachable { call, why },
            (true, Again::Freely) => Error::Unavailable { call, why },
            (true, Again::Never) => Error::Unsure { call, why },
        }
    }
}

/// `pull_requests=write,contents=read; issues=write` as a workflow spells it.
fn permissions(header: &str) -> String {
    let all_of = |set: &str| -> String {
        let spelt = set.split(',').map(|one| one.trim().replace('_', "-").replace('=', ": "));
        spelt.collect::<Vec<_>>().join("` and `")
    };
    header.split(';').map(all_of).collect::<Vec<_>>().join("` or `")
}

fn cache_key(call: &Call, uri: &Uri) -> String {
    format!("{} {uri}", call.accept)
}

/// The API's address without a slash at its end, and as an address.
fn address(text: &str) -> Result<(String, Uri), ConfigError> {
    let not_url = || ConfigError::NotUrl(text.to_owned());
    let uri: Uri = text.parse().map_err(|_| not_url())?;
    let authority = uri.authority().ok_or_else(not_url)?;
    // A user name or a query may hold a secret: such a text is not repeated.
    if uri.query().is_some() || text.contains('#') || authority.as_str().contains('@') {
        return Err(ConfigError::NotUrl("an address with a user name, a query or a fragment".to_owned()));
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if path::is_loopback(authority.host()) => {}
        Some("http") => return Err(ConfigError::PlainHttp(text.to_owned())),
        _ => return Err(not_url()),
    }
    let origin = format!("{}://{authority}/", uri.scheme_str().unwrap_or_default());
    Ok((text.trim_end_matches('/').to_owned(), origin.parse().map_err(|_| not_url())?))
}

/// A request that failed: whether any of it can have arrived.
fn failure(error: &octocrab::Error) -> Outcome {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<reqwest::Error>() {
            let why = reason(error);
            return if error.is_connect() || error.is_builder() {
                Outcome::NotSent(why)
            } else {
                Outcome::Lost(why)
            };
        }
        source = inner.source();
    }
    Outcome::Lost(reason(error))
}

/// The innermost reason of an error, which is the one that says something.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// reqwest as the service below octocrab's layers.
#[derive(Clone)]
struct Leaf(reqwest::Client);

impl tower_service::Service<Request<OctoBody>> for Leaf {
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<OctoBody>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let request = reqwest::Request::try_from(request.map(reqwest::Body::wrap))?;
            Ok(client.execute(request).await?.into())
        })
    }
}
