//! The simulated provider: Anthropic Messages over HTTP, and in [`others`] what else it speaks.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answer::{Served, serve};
use super::others::{self, Asked, Spoken, Tongue};
use super::prompt::{self, Cache};
use super::rates::{LIVE_MODELS, listed};
use super::script::{Fault, Reply, Script};
use super::seen::seen;
use super::steps::{Step, Steps};
use super::witness::{InFlight, WitnessHandle};
use super::{check, clouds, messages};

/// The longest request, in bytes: the API's own limit.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

type Answered = Result<Response<Steps>, io::Error>;

/// A provider that answers by a script and keeps account of it.
#[derive(Clone, Debug)]
pub struct Provider {
    script: Arc<Script>,
    witness: WitnessHandle,
    cache: Arc<Mutex<Cache>>,
}

impl Provider {
    /// A provider that has served nothing yet.
    #[must_use]
    pub fn new(script: Script) -> Self {
        Self { script: Arc::new(script), witness: WitnessHandle::default(), cache: Arc::default() }
    }

    /// Its account, which may be read at any time.
    #[must_use]
    pub fn witness(&self) -> WitnessHandle {
        self.witness.clone()
    }

    /// Serves on the listener until `shutdown` ends; open connections are then closed as they stand.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                accepted = listener.accept() => {
                    // A failed accept is the client's doing or a passing lack of descriptors.
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(self.clone().connection(stream));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        // Events are small, and are sent when they are there.
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| {
            let provider = self.clone();
            async move { provider.answer(request).await }
        });
        let connection = hyper::server::conn::http1::Builder::new();
        // A connection that a script or the client breaks ends with an error, which says nothing new.
        let _ = connection.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answered {
        self.witness.lock().keep_head(request.headers());
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let other = others::asked(path, parts.uri.query()).filter(|_| parts.method == Method::POST);
        let cloud = clouds::asked(&parts.method, path);
        let refusal = match (&parts.method, path) {
            _ if other.is_some() || cloud.is_some() => None,
            (&Method::HEAD, "/") => return plain(StatusCode::OK, Bytes::new()),
            (&Method::GET, "/v1/models") => return plain(StatusCode::OK, models()),
            (&Method::POST, "/v1/messages" | "/v1/messages/count_tokens") => headers(&parts).err(),
            _ => Some((404, format!("Not Found: {} {path}", parts.method))),
        };
        if let Some((status, message)) = refusal {
            return self.refuse(status, &message);
        }
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            return self.refuse(413, "Request exceeds the maximum size");
        };
        let body = body.to_bytes();
        let Ok(value) = serde_json::from_slice::<Value>(&body) else {
            return self.refuse(400, "The request body is not valid JSON");
        };
        if let Some(asked) = cloud {
            return self.cloud(&asked, &parts, &body, &value).await;
        }
        match other {
            Some(Asked::Count(tongue)) => {
                self.witness.lock().counts += 1;
                return plain(StatusCode::OK, others::counted(tongue, &value));
            }
            Some(Asked::Answer(tongue)) => {
                let in_flight = self.witness.enter();
                return self.speak(tongue, &parts, &body, &value, in_flight).await;
            }
            None => {}
        }
        if path.ends_with("count_tokens") {
            return self.count(&value);
        }
        let in_flight = self.witness.enter();
        self.generate(&parts, &body, &value, in_flight, None).await
    }

    /// Serves a request at a cloud's door.
    async fn cloud(&self, asked: &clouds::Asked, parts: &Parts, raw: &Bytes, body: &Value) -> Answered {
        let messages = asked.admits(parts, raw).and_then(|()| asked.as_messages(body));
        let messages = match messages {
            Ok(messages) => messages,
            Err((status, message)) => {
                self.witness.lock().violations.push(message.clone());
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
                return plain(status, asked.error(status.as_u16(), &message));
            }
        };
        if asked.count {
            self.witness.lock().counts += 1;
            return match check::token_count(&messages) {
                Err(message) => self.refuse(400, &message),
                Ok(()) => plain(StatusCode::OK, asked.counted(prompt::count(&messages))),
            };
        }
        let in_flight = self.witness.enter();
        self.generate(parts, raw, &messages, in_flight, Some(asked)).await
    }

    /// An error that the request deserves: noted, and said in the API's shape.
    fn refuse(&self, status: u16, message: &str) -> Answered {
        self.witness.lock().violations.push(message.to_owned());
        plain(
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            messages::error(status, message),
        )
    }

    fn count(&self, body: &Value) -> Answered {
        self.witness.lock().counts += 1;
        match check::token_count(body) {
            Err(message) => self.refuse(400, &message),
            Ok(()) => {
                let count = json!({ "input_tokens": prompt::count(body) });
                plain(StatusCode::OK, Bytes::from(count.to_string()))
            }
        }
    }

    /// Answers in another tongue than Messages.
    async fn speak(
        &self,
        tongue: Tongue,
        parts: &Parts,
        raw: &Bytes,
        body: &Value,
        in_flight: InFlight,
    ) -> Answered {
        let index = {
            let mut witness = self.witness.lock();
            witness.keep_body(raw);
            witness.generations - 1
        };
        let reply = self.script.reply(&seen(&parts.headers, body, index));
        if let Fault::Status { status, retry_after } = reply.fault {
            return failure(status, retry_after);
        }
        let spoken = others::speak(tongue, body, index, self.script.cold_caches, &reply);
        let Spoken { bill, content_type, stream, pieces } = match spoken {
            Ok(spoken) => spoken,
            Err(message) => return self.refuse(400, &message),
        };
        // Charged before anything is sent: a client that goes away has caused the work all the same.
        self.witness.lock().charge(bill);
        if let Some(wait) = &reply.before {
            wait.future().await;
        }
        match reply.fault {
            Fault::CloseBeforeHeaders => Err(io::ErrorKind::ConnectionAborted.into()),
            Fault::Stall => std::future::pending().await,
            _ => sent(content_type, stream, pieces, messages::error_event(), &reply, in_flight),
        }
    }

    async fn generate(
        &self,
        parts: &Parts,
        raw: &Bytes,
        body: &Value,
        in_flight: InFlight,
        cloud: Option<&clouds::Asked>,
    ) -> Answered {
        let index = {
            let mut witness = self.witness.lock();
            witness.keep_body(raw);
            witness.generations - 1
        };
        if let Err(message) = check::generation(body) {
            return self.refuse(400, &message);
        }
        let model = body["model"].as_str().unwrap_or_default();
        if listed(model).is_none() {
            return self.refuse(404, &format!("model: {model}"));
        }
        let reply = self.script.reply(&seen(&parts.headers, body, index));
        if let Fault::Status { status, retry_after } = reply.fault {
            return failure(status, retry_after);
        }
        let prompt = {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.take(body, self.script.cold_caches)
        };
        let mut served = match serve(body, index, prompt, &reply) {
            Ok(served) => served,
            Err(message) => return self.refuse(400, &message),
        };
        if let Some(cloud) = cloud {
            served.bill.usd = cloud.charge(served.bill.usd);
        }
        // Charged before anything is sent: a client that goes away has caused the work all the same.
        self.witness.lock().charge(served.bill.clone());
        if let Some(wait) = &reply.before {
            wait.future().await;
        }
        match reply.fault {
            Fault::CloseBeforeHeaders => Err(io::ErrorKind::ConnectionAborted.into()),
            Fault::Stall => std::future::pending().await,
            _ => success(&served, &reply, body["stream"] == true, in_flight, cloud),
        }
    }
}

fn plain(status: StatusCode, body: Bytes) -> Answered {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.body(Steps::whole(body)).map_err(io::Error::other)
}

fn failure(status: u16, retry_after: Option<u32>) -> Answered {
    let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    if let Some(seconds) = retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    let body = messages::error(status, "a fault of the script");
    response.body(Steps::whole(body)).map_err(io::Error::other)
}

fn success(
    served: &Served,
    reply: &Reply,
    stream: bool,
    in_flight: InFlight,
    cloud: Option<&clouds::Asked>,
) -> Answered {
    let error = messages::error_event();
    let (content_type, events, error) = match (stream, cloud) {
        (true, Some(cloud)) => cloud.streamed(messages::events(served), error),
        (true, None) => ("text/event-stream; charset=utf-8", messages::events(served), error),
        (false, _) => ("application/json", vec![messages::whole(served)], error),
    };
    sent(content_type, stream, events, error, reply, in_flight)
}

fn sent(
    content_type: &str,
    stream: bool,
    events: Vec<Bytes>,
    error: Bytes,
    reply: &Reply,
    in_flight: InFlight,
) -> Answered {
    let mut response =
        Response::builder().header(header::CONTENT_TYPE, content_type).header("request-id", "req_sim");
    if reply.fault == Fault::BadGzip {
        response = response.header(header::CONTENT_ENCODING, "gzip");
    }
    let lie = if reply.fault == Fault::WrongLength { 100 } else { 0 };
    if !stream || lie > 0 {
        let length: usize = events.iter().map(Bytes::len).sum();
        response = response.header(header::CONTENT_LENGTH, length + lie);
    }
    response.body(Steps::new(steps(events, error, reply), Some(in_flight))).map_err(io::Error::other)
}

/// The events with what is waited for between them, up to where the fault strikes.
fn steps(events: Vec<Bytes>, error: Bytes, reply: &Reply) -> Vec<Step> {
    let (kept, end) = match reply.fault {
        Fault::CloseAfterEvents(count) => (count, Some(Step::Close)),
        Fault::ErrorEvent(count) => (count, Some(Step::Data(error))),
        Fault::StallAfterEvents(count) => (count, Some(Step::Hang)),
        _ => (events.len(), None),
    };
    let mut steps = Vec::new();
    let mut bytes_left = match reply.fault {
        Fault::CloseAfterBytes(count) => count,
        _ => usize::MAX,
    };
    for event in events.into_iter().take(kept) {
        if bytes_left < event.len() {
            steps.push(Step::Data(event.slice(..bytes_left)));
            steps.push(Step::Close);
            return steps;
        }
        bytes_left -= event.len();
        if let (Some(wait), false) = (&reply.between, steps.is_empty()) {
            steps.push(Step::Wait(wait.clone()));
        }
        steps.push(Step::Data(event));
    }
    steps.extend(end);
    steps
}

fn headers(parts: &Parts) -> Result<(), (u16, String)> {
    let has = |name: &str| parts.headers.get(name).is_some_and(|value| !value.is_empty());
    if !has("x-api-key") && !has("authorization") {
        return Err((401, "x-api-key header is required".to_owned()));
    }
    let betas = parts.headers.get_all("anthropic-beta").iter();
    let oauth = betas.filter_map(|value| value.to_str().ok()).any(|list| list.contains("oauth-2025-04-20"));
    // Anthropic's library for Python sends a key like this as well; a token of a subscription needs the beta.
    let token = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    let of_subscription = token.is_some_and(|token| token.contains("sk-ant-oat"));
    if !has("x-api-key") && of_subscription && !oauth {
        return Err((401, "OAuth authentication is currently not supported.".to_owned()));
    }
    if !has("anthropic-version") {
        return Err((400, "anthropic-version: header is required".to_owned()));
    }
    Ok(())
}

fn models() -> Bytes {
    let entry = |id: &str| json!({ "type": "model", "id": id, "display_name": id });
    let data: Vec<Value> = LIVE_MODELS.into_iter().map(entry).collect();
    let (first, last) = (LIVE_MODELS[0], LIVE_MODELS[LIVE_MODELS.len() - 1]);
    let list = json!({ "data": data, "has_more": false, "first_id": first, "last_id": last });
    Bytes::from(list.to_string())
}
