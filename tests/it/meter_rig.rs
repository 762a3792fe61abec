//! What the meter's tests are made of: a simulated provider, a meter in front of it, clients on plain
//! sockets, and what must hold of every run.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use tollgate::meter::{Allowance, Config, DearerModel, Key, Meter, Policy, Totals, Upstream, Way};
use tollgate::money::Usd;
use tollgate::price::Table;
use tollgate::provider::Vendor;
use tollgate::simulate::{self, Answer, Reply, Script, Witness, WitnessHandle};

pub(crate) const KEY: &str = "the-real-key";
/// Rounds after which a client that nobody stops is a failure.
const ROUNDS_MAX: usize = 2_000;

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // A client that nobody answers would wait for ever.
    let bounded = async { tokio::time::timeout(Duration::from_secs(60), future).await };
    runtime.block_on(bounded).expect("it ends in time")
}

/// The simulated provider on a port, and its own account.
pub(crate) struct Provider {
    pub(crate) url: String,
    witness: WitnessHandle,
}

impl Provider {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let provider = simulate::Provider::new(script);
        let witness = provider.witness();
        tokio::spawn(provider.serve(listener, std::future::pending()));
        Self { url, witness }
    }

    pub(crate) fn witness(&self) -> Witness {
        self.witness.snapshot()
    }

    /// What it would bill.
    pub(crate) fn spent(&self) -> Usd {
        self.witness.usd()
    }
}

/// Says the same every time, billed as so many tokens.
pub(crate) fn says(tokens: u64) -> Script {
    Script::saying("Half of an answer.", tokens)
}

/// An answer with so many searches, after each of which the context is read again.
pub(crate) fn searches(web_searches: u64) -> Script {
    let answer =
        Answer { web_searches, samplings: web_searches + 1, ..Answer::text("Found.").of_tokens(200) };
    Script::new(move |_| Reply::from(answer.clone()))
}

pub(crate) fn policy() -> Policy {
    Policy {
        deny_unknown_model: true,
        deny_server_tools: true,
        dearer_model: DearerModel::Remap,
        steer_at: Some(80),
        enforce: true,
    }
}

/// Every API at one address.
pub(crate) fn ways(url: &str) -> Vec<Way> {
    let way = |vendor| Way {
        vendor,
        upstream: Upstream::parse(url).expect("an address"),
        key: Key::account(KEY.to_owned()),
    };
    Vendor::ALL.into_iter().map(way).collect()
}

pub(crate) fn config(provider: &Provider, cap: &str) -> Config {
    Config {
        ways: ways(&provider.url),
        table: Table::embedded(),
        policy: policy(),
        allowance: Allowance { usd: cap.parse().expect("an amount"), fresh_tokens: None },
        routed: None,
        output_default: None,
        journal: None,
        clock: || "2026-11-23T12:00:00Z".parse().expect("an instant"),
    }
}

pub(crate) async fn start(config: Config) -> Meter {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    Meter::start(listener, config).expect("a meter")
}

/// A streamed request with a text of so many bytes.
pub(crate) fn body(text_bytes: usize, max_tokens: u64) -> Value {
    json!({
        "model": "claude-sonnet-5-5", "max_tokens": max_tokens, "stream": true,
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "x".repeat(text_bytes) }] }],
    })
}

/// The same request with a field set.
pub(crate) fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

/// The same request with its text marked for the cache.
pub(crate) fn marked(mut body: Value, ttl: &str) -> Value {
    body["messages"][0]["content"][0]["cache_control"] = json!({ "type": "ephemeral", "ttl": ttl });
    body
}

/// The same request with the search tool, at most three times.
pub(crate) fn searching(body: Value) -> Value {
    with(body, "tools", json!([{ "type": "web_search_20250305", "name": "web_search", "max_uses": 3 }]))
}

/// An agent's side of a meter.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) url: String,
    pub(crate) token: String,
    /// Method and path of its requests.
    pub(crate) line: &'static str,
}

/// Where Anthropic's clients send their requests.
pub(crate) const MESSAGES: &str = "POST /v1/messages?beta=true";

impl Client {
    pub(crate) fn of(meter: &Meter) -> Self {
        Self { url: meter.url(), token: meter.token().to_owned(), line: MESSAGES }
    }

    /// The same client, of another API.
    pub(crate) fn at(self, line: &'static str) -> Self {
        Self { line, ..self }
    }

    pub(crate) async fn post(&self, body: &str) -> Got {
        self.post_with("", body).await
    }

    pub(crate) async fn post_with(&self, headers: &str, body: &str) -> Got {
        self.send(self.line, headers, body).await
    }

    pub(crate) async fn send(&self, line: &str, headers: &str, body: &str) -> Got {
        raw(&self.url, &self.written(line, headers, body)).await
    }

    /// A request as a well-behaved client writes it, on a connection of its own.
    pub(crate) fn written(&self, line: &str, headers: &str, body: &str) -> Vec<u8> {
        let (host, token) = (self.url.trim_start_matches("http://"), &self.token);
        format!(
            "{line} HTTP/1.1\r\nhost: {host}\r\nx-api-key: {token}\r\ncontent-type: application/json\r\n\
             anthropic-version: 2023-06-01\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// Writes a request and leaves its answer unread.
    pub(crate) async fn open(&self, body: &str) -> TcpStream {
        let mut stream = connect(&self.url).await;
        stream.write_all(&self.written(self.line, "", body)).await.expect("written");
        stream
    }

    /// Asks until it is stopped.
    pub(crate) async fn work(self, body: String) {
        for _ in 0..ROUNDS_MAX {
            let got = self.post(&body).await;
            if got.stopped() && got.status != 502 {
                return;
            }
        }
        panic!("never stopped");
    }

    /// Asks and goes away after the first bytes of the answer, or before them.
    pub(crate) async fn abort(self, body: String) {
        for round in 0..ROUNDS_MAX {
            let mut stream = self.open(&body).await;
            let mut some = [0; 300];
            if round % 3 > 0 {
                let read = stream.read(&mut some).await.expect("read");
                if String::from_utf8_lossy(&some[..read]).contains("x-tollgate: stopped") {
                    return;
                }
            }
        }
        panic!("never stopped");
    }
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

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.trim_start_matches("http://")).await.expect("a connection")
}

/// Sends bytes to an address and reads what comes back until it is closed.
pub(crate) async fn raw(url: &str, bytes: &[u8]) -> Got {
    let mut stream = connect(url).await;
    // The other side may close before it has read everything.
    drop(stream.write_all(bytes).await);
    let mut all = Vec::new();
    drop(stream.read_to_end(&mut all).await);
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Got { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// What a run came to, by both accounts.
pub(crate) struct Ended {
    pub(crate) totals: Totals,
    pub(crate) witness: Witness,
    /// Hundredths of a percent of the cap that were spent, by the provider's account.
    pub(crate) share: i128,
}

/// Ends a run and checks what must hold of every one: the provider's dollars are within the cap, nothing
/// stays held or in flight, no request was one that the API refuses, and both accounts agree to the
/// pico-dollar wherever every usage came; where one did not, the meter's says so and is not the lesser.
pub(crate) async fn finish(name: &str, meter: Meter, provider: &Provider, cap: &str) -> Ended {
    let cap = cap.parse::<Usd>().expect("an amount").pico();
    let watch = meter.snapshot();
    let totals = meter.drain(Duration::from_secs(4)).await;
    let witness = provider.witness();
    let (spent, settled) = (witness.usd.pico(), totals.settled.pico());
    assert!(spent <= cap, "{name}: {spent} of {cap} spent");
    assert!(settled <= cap, "{name}: {settled} of {cap} settled");
    assert_eq!(totals.overrun, None, "{name}");
    let (held, open) = (watch.borrow().in_flight, watch.borrow().open_requests);
    assert_eq!((held, open, witness.in_flight), (Usd::ZERO, 0, 0), "{name}: nothing stays in flight");
    assert_eq!(witness.violations, Vec::<String>::new(), "{name}");
    if witness.bills.iter().all(|bill| bill.told) {
        assert_eq!((settled, totals.estimated), (spent, Usd::ZERO), "{name}: the accounts agree");
        assert_eq!(totals.counts(), witness.tokens(), "{name}: token by token");
    } else {
        assert!(settled >= spent, "{name}: {settled} settled, {spent} spent");
        assert!(totals.estimated > Usd::ZERO, "{name}: an estimate is called one");
    }
    let by_model: i128 = totals.by_model.values().map(|used| used.usd.pico()).sum();
    assert_eq!(by_model, settled, "{name}: the models add up");
    assert_eq!(totals.requests, witness.generations, "{name}");
    let searches: u64 = witness.bills.iter().map(|bill| bill.web_searches).sum();
    assert!(totals.web_searches <= searches, "{name}: {} of {searches} searches", totals.web_searches);
    let share = spent * 10_000 / cap;
    let (whole, hundredths) = (share / 100, share % 100);
    let (requests, peak) = (totals.requests, witness.peak);
    show(&format!("{name}: {whole}.{hundredths:02} % of the cap, {requests} requests, {peak} at once"));
    Ended { totals, witness, share }
}

#[expect(clippy::print_stdout, reason = "the shares are what these runs are read for")]
fn show(line: &str) {
    println!("{line}");
}
