//! The meter between real sockets: whatever clients and provider do, spend stays within the cap, nothing
//! stays held, and the meter's count is the provider's to the pico-dollar.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use tollgate::meter::{Allowance, Config, DearerModel, Meter, Phase, Policy, Secret, Totals, Upstream};
use tollgate::money::Usd;
use tollgate::price::Table;

use crate::meter_witness::{Fault, Got, Plan, Provider, raw, written};

const KEY: &str = "the-real-key";

fn policy() -> Policy {
    Policy {
        deny_unknown_model: true,
        deny_server_tools: true,
        dearer_model: DearerModel::Remap,
        steer_at: Some(80),
        enforce: true,
    }
}

fn config(provider: &Provider, cap: &str) -> Config {
    Config {
        upstream: Upstream::parse(&provider.url).expect("an address"),
        key: Secret::new(KEY.to_owned()),
        table: Table::embedded(),
        policy: policy(),
        allowance: Allowance { usd: cap.parse().expect("an amount"), fresh_tokens: None },
        routed: None,
        journal: None,
        clock: || "2026-11-23T12:00:00Z".parse().expect("an instant"),
    }
}

async fn start(config: Config) -> Meter {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    Meter::start(listener, config).expect("a meter")
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// A streamed request with a text of so many bytes.
fn body(text_bytes: usize, max_tokens: u64) -> Value {
    json!({
        "model": "claude-sonnet-5-5", "max_tokens": max_tokens, "stream": true,
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "x".repeat(text_bytes) }] }],
    })
}

fn marked(mut body: Value, ttl: &str) -> Value {
    body["messages"][0]["content"][0]["cache_control"] = json!({ "type": "ephemeral", "ttl": ttl });
    body
}

/// An agent's side of a meter.
#[derive(Clone)]
struct Client {
    url: String,
    token: String,
}

impl Client {
    fn of(meter: &Meter) -> Self {
        Self { url: meter.url(), token: meter.token().to_owned() }
    }

    async fn post(&self, body: &str) -> Got {
        self.post_with("", body).await
    }

    async fn post_with(&self, headers: &str, body: &str) -> Got {
        raw(&self.url, &written(&self.url, &self.token, "POST /v1/messages?beta=true", headers, body)).await
    }

    /// Asks until it is stopped.
    async fn work(self, body: String) {
        for _ in 0..2_000 {
            if self.post(&body).await.stopped() {
                return;
            }
        }
        panic!("never stopped");
    }

    /// Asks and goes away after the first bytes of the answer, or before them.
    async fn abort(self, body: String) {
        let bytes = written(&self.url, &self.token, "POST /v1/messages", "", &body);
        for round in 0..2_000 {
            let mut stream =
                TcpStream::connect(self.url.trim_start_matches("http://")).await.expect("a connection");
            stream.write_all(&bytes).await.expect("written");
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

/// What a scenario came to.
struct Ended {
    totals: Totals,
    /// Hundredths of a percent of the cap that were spent.
    share: i128,
}

/// Runs `clients` loops until each is stopped, and checks what must hold of every run.
async fn scenario(name: &str, config: Config, provider: &Provider, clients: usize, body: &Value) -> Ended {
    let cap = config.allowance.usd.pico();
    let meter = start(config).await;
    let mut loops = JoinSet::new();
    for _ in 0..clients {
        loops.spawn(Client::of(&meter).work(body.to_string()));
    }
    loops.join_all().await;
    finish(name, meter, provider, cap).await
}

async fn finish(name: &str, meter: Meter, provider: &Provider, cap: i128) -> Ended {
    let watch = meter.snapshot();
    let totals = meter.drain(Duration::from_secs(4)).await;
    let spent = provider.spent();
    let settled = totals.settled.pico();
    assert!(spent <= cap, "{name}: {spent} of {cap} spent");
    assert!(settled <= cap, "{name}: {settled} of {cap} settled");
    assert_eq!(watch.borrow().in_flight, Usd::ZERO, "{name}: nothing stays held");
    assert_eq!(totals.overrun, None, "{name}");
    if totals.estimated == Usd::ZERO {
        assert_eq!(settled, spent, "{name}: the meter and the provider agree");
    } else {
        assert!(settled >= spent, "{name}: {settled} settled, {spent} spent");
    }
    let by_model: i128 = totals.by_model.values().map(|used| used.usd.pico()).sum();
    assert_eq!(by_model, settled, "{name}: the models add up");
    assert_eq!(totals.requests, provider.requests(), "{name}");
    let share = spent * 10_000 / cap;
    println!("{name}: {}.{:02} % of the cap, {} requests", share / 100, share % 100, totals.requests);
    Ended { totals, share }
}

#[test]
fn a_loop_uses_nearly_all_of_its_cap() {
    run(async {
        for (name, clients, cap, least) in
            [("one client", 1, "0.2", 9_500), ("five", 5, "0.2", 9_500), ("twenty", 20, "0.2", 9_500)]
        {
            // 400 tokens of output: $0.004 of $0.2, and the cap that is asked for is a tight one.
            let provider = Provider::start(Plan { output: 400, ..Plan::default() }).await;
            let tight = body(400, 400);
            let ended = scenario(
                &format!("tight output, {name}"),
                config(&provider, cap),
                &provider,
                clients,
                &tight,
            )
            .await;
            assert!(ended.share >= least, "{name}: {}", ended.share);
            assert_eq!(ended.totals.phase, Phase::Stopped);
            let provider = Provider::start(Plan { output: 400, ..Plan::default() }).await;
            let long = body(400, 32_000);
            let ended = scenario(
                &format!("max_tokens 32000, {name}"),
                config(&provider, cap),
                &provider,
                clients,
                &long,
            )
            .await;
            assert!(ended.share >= least, "{name}: {}", ended.share);
        }
    });
}

#[test]
fn cache_writes_and_large_cached_contexts_stay_within_the_cap() {
    run(async {
        for clients in [1, 5, 20] {
            let provider = Provider::start(Plan::default()).await;
            let hour = marked(body(8_000, 1_000), "1h");
            let name = format!("1 h cache writes, {clients} clients");
            let ended = scenario(&name, config(&provider, "0.3"), &provider, clients, &hour).await;
            assert!(ended.share >= 9_000, "{name}: {}", ended.share);
        }
        let plan = Plan { cached: true, output: 8_000, ..Plan::default() };
        let provider = Provider::start(plan).await;
        let large = marked(body(600_000, 32_000), "5m");
        let ended = scenario("150k cached context", config(&provider, "5"), &provider, 1, &large).await;
        assert!(ended.share >= 8_500, "{}", ended.share);
        assert!(provider.counted() > 0, "bounds by size do not fit in the end");
    });
}

#[test]
fn clients_that_go_away_are_paid_for_exactly() {
    run(async {
        let provider = Provider::start(Plan::default()).await;
        let meter = start(config(&provider, "0.1")).await;
        let mut loops = JoinSet::new();
        for _ in 0..5 {
            loops.spawn(Client::of(&meter).abort(body(400, 4_000).to_string()));
        }
        loops.join_all().await;
        let ended = finish("aborting clients", meter, &provider, 100_000_000_000).await;
        assert_eq!(ended.totals.estimated, Usd::ZERO, "the rest of every answer was read");
    });
}

#[test]
fn answers_that_die_count_at_what_is_known_and_the_bound_of_the_rest() {
    run(async {
        for (fault, exact) in [
            (Fault::BeforeHeaders, false),
            (Fault::MidStream, false),
            (Fault::AfterDelta, false),
            (Fault::Overloaded, true),
        ] {
            let plan = Plan { fault: |_| Fault::None, ..Plan::default() };
            let plan = match fault {
                Fault::BeforeHeaders => {
                    Plan { fault: |n| if n % 2 == 0 { Fault::BeforeHeaders } else { Fault::None }, ..plan }
                }
                Fault::MidStream => {
                    Plan { fault: |n| if n % 2 == 0 { Fault::MidStream } else { Fault::None }, ..plan }
                }
                Fault::AfterDelta => {
                    Plan { fault: |n| if n % 2 == 0 { Fault::AfterDelta } else { Fault::None }, ..plan }
                }
                _ => Plan { fault: |n| if n % 2 == 0 { Fault::Overloaded } else { Fault::None }, ..plan },
            };
            for clients in [1, 5] {
                let provider = Provider::start(plan).await;
                let name = format!("{fault:?}, {clients} clients");
                let ended =
                    scenario(&name, config(&provider, "0.1"), &provider, clients, &body(400, 1_000)).await;
                assert_eq!(ended.totals.estimated == Usd::ZERO, exact, "{name}");
            }
        }
    });
}

#[test]
fn a_provider_that_cannot_be_reached_costs_nothing() {
    run(async {
        let provider = Provider::start(Plan::default()).await;
        let port = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let nobody = format!("http://{}", port.local_addr().expect("an address"));
        drop(port);
        let config =
            Config { upstream: Upstream::parse(&nobody).expect("an address"), ..config(&provider, "0.1") };
        let meter = start(config).await;
        let got = Client::of(&meter).post(&body(40, 100).to_string()).await;
        assert_eq!((got.status, got.stopped()), (502, true), "{got:?}");
        let totals = meter.drain(Duration::from_secs(1)).await;
        assert_eq!((totals.settled, totals.requests), (Usd::ZERO, 0));
    });
}

#[test]
fn server_tools_are_refused_or_bounded() {
    run(async {
        let mut search = body(400, 1_000);
        search["tools"] = json!([{ "type": "web_search_20250305", "name": "web_search", "max_uses": 3 }]);
        let provider = Provider::start(Plan { searches: 3, ..Plan::default() }).await;
        let meter = start(config(&provider, "40")).await;
        let got = Client::of(&meter).post(&search.to_string()).await;
        assert_eq!((got.status, got.stopped(), provider.requests()), (403, true, 0), "{got:?}");
        drop(meter);
        let policy = Policy { deny_server_tools: false, ..policy() };
        let bounded = Config { policy, ..config(&provider, "40") };
        let meter = start(bounded).await;
        for _ in 0..3 {
            assert!(!Client::of(&meter).post(&search.to_string()).await.stopped());
        }
        let ended = finish("server tools", meter, &provider, 40_000_000_000_000).await;
        assert_eq!(ended.totals.web_searches, 9);
    });
}

#[test]
fn the_agent_is_steered_called_last_and_stopped_in_its_own_language() {
    run(async {
        let provider = Provider::start(Plan { output: 400, ..Plan::default() }).await;
        let meter = start(config(&provider, "0.05")).await;
        let client = Client::of(&meter);
        let text = body(400, 400).to_string();
        let mut last = client.post(&text).await;
        while !last.stopped() {
            last = client.post(&text).await;
        }
        assert_eq!(last.status, 200);
        assert!(last.head.contains("text/event-stream"), "{}", last.head);
        assert!(last.head.contains("x-should-retry: false"), "{}", last.head);
        assert!(last.body.contains("Stopped at the cost cap: this run has used $0.0"), "{}", last.body);
        let bodies = provider.bodies();
        let with = |words: &str| bodies.iter().filter(|body| body.contains(words)).count();
        assert_eq!((with("Wrap up now"), with("This is the last answer")), (1, 1));
        assert!(bodies.last().expect("one").contains("This is the last answer"));
        assert_eq!(bodies[0], text, "what need not change is not changed");
        // A forced shape cannot be answered in words.
        let mut forced = body(400, 400);
        forced["tools"] = json!([{ "name": "t", "input_schema": { "type": "object" } }]);
        forced["tool_choice"] = json!({ "type": "tool", "name": "t" });
        let got = client.post(&forced.to_string()).await;
        assert!(got.stopped() && got.status >= 400, "{got:?}");
        assert!(got.head.contains("x-should-retry: false"), "{}", got.head);
        assert_eq!(meter.last_text().as_deref(), Some("Half of an answer."));
        let ended = finish("a whole landing", meter, &provider, 50_000_000_000).await;
        assert_eq!(ended.totals.stopped_requests, 2);
    });
}

#[test]
fn the_key_goes_up_and_the_token_does_not() {
    run(async {
        let provider = Provider::start(Plan::default()).await;
        let meter = start(config(&provider, "1")).await;
        let client = Client::of(&meter);
        let extra = "cookie: a=b
anthropic-beta: some-beta
proxy-authorization: x
forwarded: for=1
";
        assert_eq!(client.post_with(extra, &body(40, 100).to_string()).await.status, 200);
        let models = written(&client.url, &client.token, "GET /v1/models", "", "");
        let got = raw(&client.url, &models).await;
        assert_eq!((got.status, got.body.as_str()), (200, r#"{"data":[]}"#));
        for head in provider.heads() {
            let head = head.to_ascii_lowercase();
            assert!(head.contains(&format!("x-api-key: {KEY}")), "{head}");
            assert!(head.contains("accept-encoding: identity"), "{head}");
            for gone in [client.token.as_str(), "cookie", "proxy-authorization", "forwarded"] {
                assert!(!head.contains(gone), "{head}");
            }
        }
        assert!(provider.heads()[0].contains("anthropic-beta: some-beta"));
    });
}

#[test]
fn hostile_requests_end_at_the_door() {
    run(async {
        let provider = Provider::start(Plan::default()).await;
        let meter = start(config(&provider, "1")).await;
        let (url, token) = (meter.url(), meter.token().to_owned());
        let host = url.trim_start_matches("http://").to_owned();
        let good = body(40, 100).to_string();
        let request = |line: &str, host: &str, more: &str, body: &str| {
            format!(
                "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}content-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let key = format!("x-api-key: {token}\r\n");
        let wrong = format!("x-api-key: {}\r\n", "0".repeat(token.len()));
        let post = "POST /v1/messages";
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let twice = good.replacen('{', r#"{"max_tokens":1,"#, 1);
        let port = host.rsplit_once(':').expect("a port").1.to_owned();
        for (what, bytes, status) in [
            ("no token", request(post, &host, "", &good), 401),
            ("a wrong token", request(post, &host, &wrong, &good), 401),
            ("an empty token", request(post, &host, "x-api-key: \r\n", &good), 401),
            ("another host", request(post, "evil.test", &key, &good), 404),
            ("another host with our port", request(post, &format!("evil.test:{port}"), &key, &good), 404),
            ("another port", request(post, "127.0.0.1:1", &key, &good), 404),
            ("two hosts", request(post, &host, &format!("host: evil.test\r\n{key}"), &good), 404),
            ("a web page", request(post, &host, &format!("origin: https://evil.test\r\n{key}"), &good), 403),
            ("absolute form", request("POST http://169.254.169.254/v1/messages", &host, &key, &good), 404),
            ("connect", request("CONNECT 169.254.169.254:80", &host, &key, ""), 404),
            ("a path not listed", request("POST /v1/files", &host, &key, &good), 404),
            ("batches", request("POST /v1/messages/batches", &host, &key, &good), 404),
            ("a path up", request("POST /v1/messages/../files", &host, &key, &good), 404),
            ("an escaped path", request("POST /v1/%6dessages", &host, &key, &good), 404),
            ("a doubled slash", request("POST //evil.test/v1/messages", &host, &key, &good), 404),
            ("another method", request("PUT /v1/messages", &host, &key, &good), 404),
            (
                "a web socket",
                request("GET /v1/messages", &host, &format!("upgrade: websocket\r\n{key}"), ""),
                426,
            ),
            ("deep json", request(post, &host, &key, &deep), 400),
            ("a key twice", request(post, &host, &key, &twice), 400),
            ("no json", request(post, &host, &key, "nonsense"), 400),
            ("compressed", request(post, &host, &format!("content-encoding: gzip\r\n{key}"), &good), 400),
            (
                "a body too large",
                format!("{post} HTTP/1.1\r\nhost: {host}\r\n{key}content-length: 99999999999\r\n\r\n"),
                413,
            ),
            (
                "a head too large",
                request(post, &host, &format!("x-padding: {}\r\n{key}", "x".repeat(70_000)), &good),
                413,
            ),
            (
                "a head far too large",
                request(post, &host, &format!("x-padding: {}\r\n{key}", "x".repeat(300_000)), &good),
                431,
            ),
            ("two lengths", request(post, &host, &format!("content-length: 1\r\n{key}"), &good), 400),
        ] {
            let got = raw(&url, bytes.as_bytes()).await;
            assert_eq!(got.status, status, "{what}: {got:?}");
        }
        assert_eq!(provider.heads(), Vec::<String>::new(), "nothing went out");
        let smuggled = format!("{post} HTTP/1.1\r\nhost: {host}\r\nx-api-key: stolen\r\n\r\n");
        let chunked = format!(
            "{post} HTTP/1.1\r\nhost: {host}\r\n{key}content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n0\r\n\r\n{smuggled}",
            good.len()
        );
        let got = raw(&url, chunked.as_bytes()).await;
        assert_eq!(got.status, 200, "one reading of it, and the connection is closed: {got:?}");
        assert!(!got.body.contains("HTTP/1.1"), "no second answer");
        assert_eq!(provider.requests(), 1);
        let root = raw(&url, request("HEAD /", &host, "", "").as_bytes()).await;
        assert_eq!((root.status, root.stopped()), (200, true));
    });
}

#[test]
fn waiting_clients_that_leave_make_way() {
    run(async {
        // The first answer takes its time; the second client waits for it and leaves; the third gets in.
        let provider = Provider::start(Plan::default()).await;
        let meter = start(config(&provider, "0.012")).await;
        let client = Client::of(&meter);
        let text = body(40, 1_000).to_string();
        let bytes = written(&client.url, &client.token, "POST /v1/messages", "", &text);
        let mut gone = Vec::new();
        for _ in 0..8 {
            let mut stream =
                TcpStream::connect(client.url.trim_start_matches("http://")).await.expect("a connection");
            stream.write_all(&bytes).await.expect("written");
            gone.push(stream);
        }
        drop(gone);
        client.work(text).await;
        finish("clients that leave the queue", meter, &provider, 12_000_000_000).await;
    });
}

#[test]
fn new_tokens_cap_too_and_models_are_routed() {
    run(async {
        let provider = Provider::start(Plan::default()).await;
        let allowance = Allowance { usd: Usd::from_dollars(100), fresh_tokens: Some(20_000) };
        let routed = Some("claude-sonnet-5-5".into());
        let config = Config { allowance, routed, ..config(&provider, "100") };
        let mut dear = body(400, 1_000);
        dear["model"] = json!("claude-opus-5-5");
        let ended = scenario("new tokens", config, &provider, 3, &dear).await;
        let fresh = ended.totals.counts().fresh();
        assert!((19_000..=20_000).contains(&fresh), "{fresh}");
        assert_eq!(ended.totals.notes, ["requests for `claude-opus-5-5` went to `claude-sonnet-5-5`"]);
        assert_eq!(
            ended.totals.by_model.keys().map(ToString::to_string).collect::<Vec<_>>(),
            ["claude-sonnet-5-5"]
        );
    });
}

#[test]
fn a_model_without_a_price_is_refused() {
    run(async {
        let provider = Provider::start(Plan::default()).await;
        let meter = start(config(&provider, "1")).await;
        let mut unknown = body(40, 100);
        unknown["model"] = json!("claude-opus-99");
        let got = Client::of(&meter).post(&unknown.to_string()).await;
        assert_eq!((got.status, provider.requests()), (403, 0));
        assert!(
            got.body.contains(
                "the price table has no model `claude-opus-99`; the budget file says `unknown_model: deny`"
            ),
            "{}",
            got.body
        );
    });
}
