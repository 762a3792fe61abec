//! The meter between real sockets: whatever clients and provider do, spend stays within the cap, nothing
//! stays held, and the meter's count is the provider's to the pico-dollar.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use tollgate::meter::journal::recover;
use tollgate::meter::{Allowance, Config, DearerModel, Meter, Phase, Policy, Secret, Totals, Upstream};
use tollgate::money::Usd;
use tollgate::price::Table;

use crate::meter_witness::{Fault, Got, Plan, Provider, raw, written};

pub(crate) const KEY: &str = "the-real-key";

fn policy() -> Policy {
    Policy {
        deny_unknown_model: true,
        deny_server_tools: true,
        dearer_model: DearerModel::Remap,
        steer_at: Some(80),
        enforce: true,
    }
}

pub(crate) fn config(provider: &Provider, cap: &str) -> Config {
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

pub(crate) async fn start(config: Config) -> Meter {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    Meter::start(listener, config).expect("a meter")
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // A client that nobody answers would wait for ever.
    let bounded = async { tokio::time::timeout(Duration::from_secs(30), future).await };
    runtime.block_on(bounded).expect("it ends in time")
}

/// A streamed request with a text of so many bytes.
pub(crate) fn body(text_bytes: usize, max_tokens: u64) -> Value {
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
pub(crate) struct Client {
    pub(crate) url: String,
    pub(crate) token: String,
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
    pub(crate) async fn work(self, body: String) {
        for _ in 0..2_000 {
            let got = self.post(&body).await;
            if got.stopped() && got.status != 502 {
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
    show(&format!("{name}: {}.{:02} % of the cap, {} requests", share / 100, share % 100, totals.requests));
    Ended { totals, share }
}

#[expect(clippy::print_stdout, reason = "the shares are what these runs are read for")]
fn show(line: &str) {
    println!("{line}");
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
        // Half as many tokens as bytes: the bound by size is twice what it need be.
        let plan = Plan { cached: true, output: 8_000, tokens: |bytes| bytes / 2, ..Plan::default() };
        let provider = Provider::start(plan).await;
        let large = marked(body(300_000, 32_000), "5m");
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
fn an_answer_that_is_no_stream_is_read_too() {
    run(async {
        let provider = Provider::start(Plan::default()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let meter = start(Config { journal: Some(path.clone()), ..config(&provider, "0.1") }).await;
        let mut plain = body(400, 1_000);
        plain["stream"] = json!(false);
        let client = Client::of(&meter);
        for _ in 0..3 {
            let got = client.post(&plain.to_string()).await;
            assert!(got.head.contains("content-length:"), "{}", got.head);
            assert_eq!(
                serde_json::from_str::<Value>(&got.body).expect("whole")["usage"]["output_tokens"],
                200
            );
        }
        // As if the process was killed here: the journal knows it all.
        let killed = recover(&std::fs::read(&path).expect("a journal")).expect("whole");
        assert_eq!(
            (killed.totals.settled.pico(), killed.in_flight, killed.ended),
            (provider.spent(), 0, false)
        );
        let ended = finish("no streams", meter, &provider, 100_000_000_000).await;
        let journal = recover(&std::fs::read(&path).expect("a journal")).expect("whole");
        assert!(journal.ended);
        assert_eq!(journal.totals.by_model, ended.totals.by_model);
        assert_eq!(ended.totals.counts().output, 600);
    });
}

#[test]
fn observing_lets_everything_through_and_counts_it() {
    run(async {
        let provider = Provider::start(Plan { searches: 2, ..Plan::default() }).await;
        let observe = Policy { enforce: false, ..policy() };
        let meter = start(Config { policy: observe, ..config(&provider, "0.001") }).await;
        let mut search = body(400, 1_000);
        search["tools"] = json!([{ "type": "web_search_20250305", "name": "web_search" }]);
        for _ in 0..3 {
            assert!(!Client::of(&meter).post(&search.to_string()).await.stopped());
        }
        let totals = meter.drain(Duration::from_secs(4)).await;
        assert_eq!((totals.settled.pico(), totals.stopped_requests), (provider.spent(), 0));
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
