//! Answers in the shape of every API, cut at every byte: each cut gives the exact usage, or what is charged is
//! the bound of what is not known, and never less than the answer cost.
//!
//! The recordings in `tests/data/streams` are our own, in the vendors' shapes, with the amounts worked out by
//! hand.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use tollgate::meter::Config;
use tollgate::model::ModelId;
use tollgate::money::Usd;
use tollgate::price::{Bound, Own, OwnPrice, Table, When};
use tollgate::provider::{Api, Edits, InputBound, Reader, Reading, Request};
use tollgate::tokens::Region;

use crate::meter_rig::{Client, Provider, config, run, says, start, ways};

/// Output cap of every request.
const CAP: u64 = 4_096;

/// Name and bytes of a recording, the API and path it answers, the request's model, and what it cost.
type Recording = (&'static str, &'static [u8], Api, &'static str, &'static str, &'static str);

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../data/streams/", $name))
    };
}

const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const CHAT: &str = "/v1/chat/completions";
const EVENTS: &str = "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse";
const ARRAY: &str = "/v1beta/models/gemini-3.8-flash:streamGenerateContent";
const WHOLE: &str = "/v1beta/models/gemini-3.8-flash:generateContent";
const VERTEX: &str =
    "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-5-5:streamRawPredict";
const GLOBAL: &str =
    "/v1/projects/p/locations/global/publishers/anthropic/models/claude-sonnet-5-5:streamRawPredict";
const VERTEX_WHOLE: &str =
    "/v1/projects/p/locations/global/publishers/anthropic/models/claude-sonnet-5-5:rawPredict";
const BEDROCK: &str = "/model/us.anthropic.claude-sonnet-5-5/invoke-with-response-stream";
const BEDROCK_GOV: &str = "/model/us-gov.anthropic.claude-sonnet-5-5/invoke-with-response-stream";
const BEDROCK_WHOLE: &str = "/model/global.anthropic.claude-sonnet-5-5/invoke";

#[rustfmt::skip]
const RECORDED: [Recording; 19] = [
    ("messages.sse",             recorded!("messages.sse"),             Api::Anthropic,       MESSAGES,  "claude-sonnet-5-5",        "0.0104434"),
    ("messages-old.sse",         recorded!("messages-old.sse"),         Api::Anthropic,       MESSAGES,  "claude-sonnet-4-20250514", "0.002106"),
    ("messages.json",            recorded!("messages.json"),            Api::Anthropic,       MESSAGES,  "claude-sonnet-5-5",        "0.0104434"),
    ("responses.sse",            recorded!("responses.sse"),            Api::OpenAiResponses, RESPONSES, "gpt-6.1-sol",              "0.0211256"),
    ("responses-incomplete.sse", recorded!("responses-incomplete.sse"), Api::OpenAiResponses, RESPONSES, "gpt-6.1-sol",              "0.0416"),
    ("responses.json",           recorded!("responses.json"),           Api::OpenAiResponses, RESPONSES, "gpt-6.1-sol",              "0.0211256"),
    ("chat.sse",                 recorded!("chat.sse"),                 Api::OpenAiChat,      CHAT,      "gpt-5.6-luna",             "0.00021496"),
    ("chat-router.sse",          recorded!("chat-router.sse"),          Api::OpenAiChat,      CHAT,      "x-ai/grok-4.6",            "0.0024123"),
    ("chat.json",                recorded!("chat.json"),                Api::OpenAiChat,      CHAT,      "gpt-5.6-luna",             "0.00021496"),
    ("gemini.sse",               recorded!("gemini.sse"),               Api::Gemini,          EVENTS,    "gemini-3.8-flash",         "0.00256905"),
    ("gemini-thinking.sse",      recorded!("gemini-thinking.sse"),      Api::Gemini,          EVENTS,    "gemini-3.8-flash",         "0.00385875"),
    ("gemini-array.json",        recorded!("gemini-array.json"),        Api::Gemini,          ARRAY,     "gemini-3.8-flash",         "0.00256905"),
    ("gemini.json",              recorded!("gemini.json"),              Api::Gemini,          WHOLE,     "gemini-3.8-flash",         "0.00256905"),
    // A cloud's price goes by the place that is asked: the tenth more that the first party charges, none, or a fifth.
    ("vertex.sse",               recorded!("messages.sse"),             Api::Vertex,          VERTEX,    "claude-sonnet-5-5",        "0.0104434"),
    ("vertex-global.sse",        recorded!("messages.sse"),             Api::Vertex,          GLOBAL,    "claude-sonnet-5-5",        "0.009494"),
    ("vertex-global.json",       recorded!("messages.json"),            Api::Vertex,          VERTEX_WHOLE, "claude-sonnet-5-5",     "0.009494"),
    ("bedrock.bin",              recorded!("bedrock.bin"),              Api::Bedrock,         BEDROCK,   "claude-sonnet-5-5",        "0.0104434"),
    ("bedrock-gov.bin",          recorded!("bedrock.bin"),              Api::Bedrock,         BEDROCK_GOV, "claude-sonnet-5-5",      "0.0113928"),
    ("bedrock-global.json",      recorded!("messages.json"),            Api::Bedrock,         BEDROCK_WHOLE, "claude-sonnet-5-5",    "0.009494"),
];

/// A request that the recording may be the answer to: its text has a byte for every token.
fn asked(api: Api, name: &str, model: &str) -> Value {
    let text = "x".repeat(16_000);
    let stream = name.ends_with(".sse");
    match api {
        // The path says the model, and with Bedrock whether it is a stream.
        Api::Vertex | Api::Bedrock => {
            let mut body = asked(Api::Anthropic, name, model);
            let fields = body.as_object_mut().expect("an object");
            fields.remove("model");
            if api == Api::Bedrock {
                fields.remove("stream");
            }
            body
        }
        Api::Anthropic => json!({
            "model": model, "max_tokens": CAP, "stream": stream,
            "messages": [{ "role": "user", "content": [
                { "type": "text", "text": text, "cache_control": { "type": "ephemeral", "ttl": "1h" } },
            ] }],
        }),
        Api::OpenAiResponses => {
            json!({ "model": model, "input": text, "stream": stream, "max_output_tokens": CAP })
        }
        Api::OpenAiChat => json!({
            "model": model, "stream": stream, "max_completion_tokens": CAP,
            "messages": [{ "role": "user", "content": text }],
        }),
        Api::Gemini => json!({
            "contents": [{ "role": "user", "parts": [{ "text": text }] }],
            "generationConfig": { "maxOutputTokens": CAP },
        }),
    }
}

fn usd(text: &str) -> Usd {
    text.parse().expect(text)
}

fn when() -> When {
    When::Around("2026-11-23T12:00:00Z".parse().expect("an instant"))
}

fn bound(request: &Request) -> Bound {
    let table = Table::embedded();
    let limits = |model: &ModelId| table.limits(model).expect("a known model");
    let mut ceiling = request.ceiling(&Edits::default(), &limits, InputBound::Bytes);
    // What is asked of a cloud is served in a place that is known.
    if let (region, true) = request.region(&Edits::default(), Region::Global) {
        for line in &mut ceiling.lines {
            line.terms.region = region.clone();
            line.region_open = false;
        }
    }
    table.bound(&ceiling, when()).expect("a price")
}

/// A reader of the answer.
fn reader(request: &Request) -> Reader {
    let edits = Edits::default();
    Reader::new(request, &edits, request.region(&edits, Region::Global).0)
}

/// What is charged for what was read: the usage where it is whole, else what is known of the input with the
/// most that the output can cost, else the most of all.
fn charged(reading: &Reading, bound: Bound) -> Usd {
    let table = Table::embedded();
    match reading {
        Reading::Exact(usage) => table.cost(usage, when()).expect("a price").usd,
        Reading::Broken { input_side: None } => bound.total(),
        // What has no price under the name that the answer gives it counts at its bound as well.
        Reading::Broken { input_side: Some(usage) } => match table.cost(usage, when()) {
            Ok(cost) => cost.usd + bound.output_rate * bound.output_max,
            Err(_) => bound.total(),
        },
        Reading::NotBilled => Usd::ZERO,
    }
}

#[test]
fn every_recording_cut_at_every_byte_is_exact_or_charged_at_its_bound() {
    for (name, bytes, api, path, model, cost) in RECORDED {
        let body = asked(api, name, model).to_string();
        let request = Request::parse(api, path, body.into()).expect(name);
        let (bound, cost) = (bound(&request), usd(cost));
        let read = |pieces: &[&[u8]]| {
            let mut reader = reader(&request);
            pieces.iter().for_each(|piece| reader.feed(piece));
            reader.end(200)
        };
        let whole = read(&[bytes]);
        assert!(matches!(whole, Reading::Exact(_)), "{name}: {whole:?}");
        assert_eq!(charged(&whole, bound), cost, "{name}");
        assert!(bound.total() >= cost, "{name}: {} bounds {cost}", bound.total());
        let mut exact_from = None;
        for cut in 0..=bytes.len() {
            if cut % 5 == 0 {
                assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), whole, "{name} in two pieces at {cut}");
            }
            let part = read(&[&bytes[..cut]]);
            let counted = charged(&part, bound);
            assert!(counted >= cost, "{name} cut at {cut}: {counted} of {cost}, {part:?}");
            assert!(counted <= bound.total(), "{name} cut at {cut}: {counted} is above the bound");
            if matches!(part, Reading::Exact(_)) {
                assert_eq!(part, whole, "{name} cut at {cut}");
                exact_from.get_or_insert(cut);
            } else {
                assert_eq!(exact_from, None, "{name} cut at {cut}: it was whole before");
            }
        }
        let bytes: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&bytes), whole, "{name} byte by byte");
        let rest = bytes.len() - exact_from.expect("a whole answer");
        assert!(rest <= 32, "{name}: exact {rest} bytes before its end");
    }
}

/// An upstream that answers with these bytes, and closes.
async fn saying(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            drop(stream.write_all(&bytes).await);
            drop(stream.shutdown().await);
            // Closing with something unread would reset what was just written.
            while stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
        }
    });
    url
}

#[test]
fn the_meter_charges_what_a_cut_recording_may_have_cost() {
    for recording in RECORDED {
        run(through_the_meter(recording));
    }
}

async fn through_the_meter((name, bytes, api, path, model, cost): Recording) {
    let (nobody, cost) = (Provider::start(says(1)).await, usd(cost));
    let line: &'static str = Box::leak(format!("POST {path}").into_boxed_str());
    let kind = match name.rsplit_once('.') {
        Some((_, "sse")) => "text/event-stream",
        Some((_, "bin")) => "application/vnd.amazon.eventstream",
        _ => "application/json",
    };
    let body = asked(api, name, model).to_string();
    for cut in (0..bytes.len()).step_by(97).chain([bytes.len() - 1, bytes.len()]) {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
        let url = saying([head.as_bytes(), &bytes[..cut]].concat()).await;
        let meter = start(Config { ways: ways(&url), ..config(&nobody, "5") }).await;
        let got = Client::of(&meter).at(line).post(&body).await;
        assert_eq!(got.status, 200, "{name} cut at {cut}: {}", got.body);
        let watch = meter.snapshot();
        let totals = meter.drain(Duration::from_secs(2)).await;
        assert_eq!(watch.borrow().in_flight, Usd::ZERO, "{name} cut at {cut}");
        let exact = totals.estimated == Usd::ZERO;
        assert!(totals.settled >= cost, "{name} cut at {cut}: {} of {cost}", totals.settled);
        assert!(totals.overrun.is_none(), "{name} cut at {cut}");
        if exact {
            assert_eq!(totals.settled, cost, "{name} cut at {cut}");
        }
        assert!(exact || cut < bytes.len(), "{name}: the whole of it is exact");
    }
}

/// What a chat comes to whose answer says that it was charged so many dollars.
async fn charged_by_the_provider(dollars: &str) -> (tollgate::meter::Totals, Bound) {
    let body = asked(Api::OpenAiChat, "chat.json", "x-ai/grok-4.6").to_string();
    let request = Request::parse(Api::OpenAiChat, CHAT, body.clone().into()).expect("a request");
    let answer = format!(
        r#"{{"model":"x-ai/grok-4.6","choices":[{{"index":0,"message":{{"content":"Da."}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"cost":{dollars}}}}}"#
    );
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let nobody = Provider::start(says(1)).await;
    let url = saying([head.as_bytes(), answer.as_bytes()].concat()).await;
    let meter = start(Config { ways: ways(&url), ..config(&nobody, "5") }).await;
    Client::of(&meter).at("POST /v1/chat/completions").post(&body).await;
    (meter.drain(Duration::from_secs(2)).await, bound(&request))
}

#[test]
fn what_a_provider_says_it_charges_is_believed_below_the_bound_and_an_overrun_in_full_above_it() {
    let differs = "the provider says of `grok-4.6` what it charges; that is not what the price table makes of it, \
                   and counted";
    run(async {
        // 1,000 tokens in at $2 and 100 out at $6 are $0.0026 by the table.
        for (dollars, note) in [("0.0026", None), ("0.0001", Some(differs)), ("0.02", Some(differs))] {
            let (totals, bound) = charged_by_the_provider(dollars).await;
            assert!(usd(dollars) <= bound.total());
            assert_eq!((totals.settled, totals.estimated), (usd(dollars), Usd::ZERO), "{dollars}");
            assert_eq!(totals.overrun, None, "{dollars}");
            let noted = totals.notes.iter().any(|text| Some(text.as_str()) == note);
            assert_eq!(noted, note.is_some(), "{dollars}: {:?}", totals.notes);
        }
        let (totals, bound) = charged_by_the_provider("0.75").await;
        assert!(usd("0.75") > bound.total());
        assert_eq!(totals.settled, usd("0.75"), "it is charged in full");
        assert!(totals.overrun.is_some());
    });
}

/// A deployment of Azure's has a name of its own, which the path holds and the answer does not.
const DEPLOYMENT: &str = "POST /openai/deployments/review-bot/chat/completions?api-version=2026-10-01";

#[test]
fn a_deployment_is_bounded_by_what_it_stands_for_and_priced_by_what_answers() {
    let own = Own { model: "review-bot".into(), is: OwnPrice::SameAs("gpt-5.6-luna".into()) };
    let (table, _) = Table::embedded().with_own(&[own], false).expect("a name");
    let table = table.kept();
    let body = json!({ "messages": [{ "role": "user", "content": "x".repeat(4_000) }], "max_tokens": CAP });
    let answer = [
        &b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"[..],
        recorded!("chat.json"),
    ]
    .concat();
    run(async {
        let nobody = Provider::start(says(1)).await;
        let url = saying(answer).await;
        let meter = start(Config { ways: ways(&url), table, ..config(&nobody, "5") }).await;
        let got = Client::of(&meter).at(DEPLOYMENT).post(&body.to_string()).await;
        assert_eq!(got.status, 200, "{}", got.body);
        let totals = meter.drain(Duration::from_secs(2)).await;
        assert_eq!((totals.settled, totals.overrun), (usd("0.00021496"), None));
        let models: Vec<String> = totals.by_model.keys().map(ToString::to_string).collect();
        assert_eq!(models, ["gpt-5.6-luna"]);
        // Nobody has said what it stands for: it has no price, and the refusal has the API's shape.
        let meter = start(Config { ways: ways(&url), ..config(&nobody, "5") }).await;
        let got = Client::of(&meter).at(DEPLOYMENT).post(&body.to_string()).await;
        assert!(got.stopped());
        assert_eq!(
            (got.status, got.body.as_str()),
            (
                404,
                r#"{"error":{"message":"the price table has no model `review-bot`; the budget file says `unknown_model: deny`","type":"invalid_request_error","param":null,"code":"denied_by_policy"}}"#
            )
        );
        meter.drain(Duration::from_secs(2)).await;
    });
}

proptest! {
    /// A proxy, a bug or an attacker on the way: whatever becomes of an answer's bytes, reading them does not
    /// fail, and what was answered is charged.
    #[test]
    fn a_recording_that_was_tampered_with_still_costs_something(
        recording in prop::sample::select(RECORDED.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let (name, bytes, api, path, model, _) = recording;
        let request = Request::parse(api, path, asked(api, name, model).to_string().into()).expect(name);
        let mut bytes = bytes.to_vec();
        for (index, byte) in changes {
            *index.get_mut(&mut bytes) = byte;
        }
        let mut reader = reader(&request);
        let (first, rest) = bytes.split_at(cut.index(bytes.len()));
        reader.feed(first);
        reader.feed(rest);
        let reading = reader.end(200);
        match &reading {
            // A name, a tier or a count that was changed has another price, or none.
            Reading::Exact(usage) => {
                let cost = Table::embedded().cost(usage, when()).map(|cost| cost.usd);
                prop_assert!(cost.is_err() || cost.is_ok_and(|usd| usd > Usd::ZERO), "{name}: {usage:?}");
            }
            Reading::Broken { .. } => prop_assert!(charged(&reading, bound(&request)) > Usd::ZERO, "{name}"),
            Reading::NotBilled => prop_assert!(false, "{name}: an answer is not an error"),
        }
    }
}

#[test]
fn lists_of_models_and_counts_go_through_and_cost_nothing() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\nconnection: close\r\n\r\n{\"input_tokens\":7}";
    run(async {
        let nobody = Provider::start(says(1)).await;
        let url = saying(answer.to_vec()).await;
        let meter = start(Config { ways: ways(&url), ..config(&nobody, "1") }).await;
        for line in [
            "GET /v1/models",
            "GET /v1/models/claude-sonnet-5-5",
            "GET /v1beta/models",
            "POST /v1/messages/count_tokens?beta=true",
            "POST /v1/responses/input_tokens",
            "POST /openai/v1/responses/input_tokens",
            "POST /v1beta/models/gemini-3.8-flash:countTokens",
        ] {
            let got = Client::of(&meter).at(line).post("{}").await;
            assert_eq!((got.status, got.body.as_str()), (200, r#"{"input_tokens":7}"#), "{line}");
            assert!(got.head.contains("x-tollgate: forwarded"), "{line}: {}", got.head);
        }
        let totals = meter.drain(Duration::from_secs(2)).await;
        assert_eq!((totals.settled, totals.requests), (Usd::ZERO, 0));
    });
}
