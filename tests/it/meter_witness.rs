//! A provider for the meter's tests that keeps its own count, in its own arithmetic, of what it served.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Pico-dollars a token: claude-sonnet-5-5 in November 2026.
const INPUT: i128 = 2_000_000;
const OUTPUT: i128 = 10_000_000;
const READ: i128 = 100_000;
const WRITE_5M: i128 = 2_500_000;
const WRITE_1H: i128 = 4_000_000;
const SEARCH: i128 = 10_000_000_000;

/// What goes wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The connection is closed before the answer begins; the provider bills what it generated.
    BeforeHeaders,
    /// It is closed in the middle of the text.
    MidStream,
    /// It is closed after the usage came and before the end.
    AfterDelta,
    /// The provider is overloaded, and bills nothing.
    Overloaded,
}

/// How the provider answers.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Input tokens of a body of so many bytes.
    pub(crate) tokens: fn(u64) -> u64,
    /// Whether the context is in its cache from the second request on.
    pub(crate) cached: bool,
    /// Tokens of an answer, unless the output cap cuts it.
    pub(crate) output: u64,
    /// Searches it makes for a request that offers a search tool; each reads the context once more.
    pub(crate) searches: u64,
    /// What goes wrong with the n-th request.
    pub(crate) fault: fn(u64) -> Fault,
}

impl Default for Plan {
    fn default() -> Self {
        Self { tokens: |bytes| bytes / 4, cached: false, output: 200, searches: 0, fault: |_| Fault::None }
    }
}

/// A provider that is running.
pub(crate) struct Provider {
    pub(crate) url: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    counted: AtomicU64,
    spent: Mutex<i128>,
    bodies: Mutex<Vec<String>>,
    heads: Mutex<Vec<String>>,
}

impl Provider {
    pub(crate) async fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a socket option");
                tokio::spawn(connection(stream, plan, shared.clone()));
            }
        });
        Self { url, seen }
    }

    /// What it would bill, in pico-dollars.
    pub(crate) fn spent(&self) -> i128 {
        *self.seen.spent.lock().expect("no test panicked here")
    }

    pub(crate) fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn counted(&self) -> u64 {
        self.seen.counted.load(Ordering::SeqCst)
    }

    /// Bodies of generations, as they came.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.seen.bodies.lock().expect("no test panicked here").clone()
    }

    /// Heads of everything, as they came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().expect("no test panicked here").clone()
    }
}

async fn connection(stream: TcpStream, plan: Plan, seen: Arc<Seen>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        seen.heads.lock().expect("no test panicked here").push(head.clone());
        let goes_on = if head.starts_with("POST /v1/messages/count_tokens") {
            seen.counted.fetch_add(1, Ordering::SeqCst);
            let answer = json!({ "input_tokens": (plan.tokens)(length as u64) }).to_string();
            write_json(stream.get_mut(), &answer).await
        } else if head.starts_with("GET /v1/models") {
            write_json(stream.get_mut(), r#"{"data":[]}"#).await
        } else {
            generate(stream.get_mut(), plan, &seen, &body).await
        };
        if !goes_on {
            return;
        }
    }
}

async fn write_json(stream: &mut TcpStream, body: &str) -> bool {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await.is_ok()
}

/// What one answer used, by kind of token.
struct Served {
    input: u64,
    read: u64,
    w5: u64,
    w1: u64,
    output: u64,
    searches: u64,
}

impl Served {
    /// What a request is served with: its context where the marks and the cache put it.
    fn of(text: &str, plan: Plan, number: u64) -> Self {
        let prompt = (plan.tokens)(text.len() as u64);
        let searches = if text.contains("web_search") { plan.searches } else { 0 };
        let mut served =
            Served { input: searches * prompt, read: 0, w5: 0, w1: 0, output: plan.output, searches };
        match (text.contains("cache_control"), plan.cached && number > 0, text.contains("\"ttl\":\"1h\"")) {
            (false, ..) => served.input += prompt,
            (true, true, _) => served.read = prompt,
            (true, false, true) => served.w1 = prompt,
            (true, false, false) => served.w5 = prompt,
        }
        served
    }

    fn cost(&self) -> i128 {
        i128::from(self.input) * INPUT
            + i128::from(self.read) * READ
            + i128::from(self.w5) * WRITE_5M
            + i128::from(self.w1) * WRITE_1H
            + i128::from(self.output) * OUTPUT
            + i128::from(self.searches) * SEARCH
    }

    /// The usage as a stream first tells it.
    fn usage(&self) -> Value {
        json!({
            "input_tokens": self.input, "cache_read_input_tokens": self.read,
            "cache_creation_input_tokens": self.w5 + self.w1,
            "cache_creation": { "ephemeral_5m_input_tokens": self.w5, "ephemeral_1h_input_tokens": self.w1 },
            "output_tokens": 1, "service_tier": "standard",
        })
    }

    /// The usage as it ends.
    fn last_usage(&self) -> Value {
        let mut last = json!({ "output_tokens": self.output });
        if self.searches > 0 {
            last["server_tool_use"] = json!({ "web_search_requests": self.searches });
        }
        last
    }
}

/// Answers a generation; `false` when the connection is to be closed.
async fn generate(stream: &mut TcpStream, plan: Plan, seen: &Seen, body: &[u8]) -> bool {
    let number = seen.requests.fetch_add(1, Ordering::SeqCst);
    let text = String::from_utf8(body.to_vec()).expect("UTF-8");
    seen.bodies.lock().expect("no test panicked here").push(text.clone());
    let request: Value = serde_json::from_slice(body).expect("JSON");
    let fault = (plan.fault)(number);
    if fault == Fault::Overloaded {
        let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        let head = format!(
            "HTTP/1.1 529 \r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            error.len()
        );
        return stream.write_all((head + error).as_bytes()).await.is_ok();
    }
    let mut served = Served::of(&text, plan, number);
    let cap = request["max_tokens"].as_u64().expect("max_tokens");
    served.output = served.output.min(cap);
    if matches!(fault, Fault::MidStream | Fault::BeforeHeaders) {
        served.output /= 2;
    }
    *seen.spent.lock().expect("no test panicked here") += served.cost();
    if fault == Fault::BeforeHeaders {
        return false;
    }
    let stop = if served.output == cap { "max_tokens" } else { "end_turn" };
    let mut message = json!({
        "id": format!("msg_{number}"), "type": "message", "role": "assistant",
        "model": request["model"], "content": [], "stop_reason": null, "usage": served.usage(),
    });
    let last = served.last_usage();
    if request["stream"] != json!(true) {
        message["content"] = json!([{ "type": "text", "text": "An answer." }]);
        message["stop_reason"] = json!(stop);
        for (name, value) in last.as_object().expect("an object") {
            message["usage"][name] = value.clone();
        }
        return write_json(stream, &message.to_string()).await;
    }
    let events = events(&message, stop, &last, fault);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    if stream.write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    for event in &events {
        let name = event["type"].as_str().expect("a type");
        let data = format!("event: {name}\ndata: {event}\n\n");
        if stream.write_all(format!("{:x}\r\n{data}\r\n", data.len()).as_bytes()).await.is_err() {
            return false;
        }
    }
    fault == Fault::None && stream.write_all(b"0\r\n\r\n").await.is_ok()
}

/// The events of an answer, up to where the fault ends it.
fn events(message: &Value, stop: &str, last: &Value, fault: Fault) -> Vec<Value> {
    let mut events = vec![
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
    ];
    for word in ["Half ", "of ", "an ", "answer."] {
        events.push(json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": word } }));
    }
    if fault != Fault::MidStream {
        events.push(json!({ "type": "content_block_stop", "index": 0 }));
        events.push(json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": last }));
        if fault != Fault::AfterDelta {
            events.push(json!({ "type": "message_stop" }));
        }
    }
    events
}

/// What came back on a connection that was then closed.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn stopped(&self) -> bool {
        self.head.contains("x-tollgate: stopped")
    }
}

/// Sends bytes to an address and reads what comes back until it is closed.
pub(crate) async fn raw(url: &str, bytes: &[u8]) -> Got {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.expect("a connection");
    // The other side may close before it has read everything.
    drop(stream.write_all(bytes).await);
    let mut all = Vec::new();
    drop(stream.read_to_end(&mut all).await);
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Got { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// A request as a well-behaved client writes it, on a connection of its own.
pub(crate) fn written(url: &str, token: &str, line: &str, more: &str, body: &str) -> Vec<u8> {
    let host = url.trim_start_matches("http://");
    format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nx-api-key: {token}\r\ncontent-type: application/json\r\n\
         anthropic-version: 2023-06-01\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n{body}",
        body.len()
    )
    .into_bytes()
}
