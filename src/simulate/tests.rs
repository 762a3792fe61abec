use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::agent::{self, Endpoint};
use super::*;
use crate::money::Usd;
use crate::tokens::Counts;

/// A provider that is up, and its account.
async fn up(script: Script) -> (Endpoint, WitnessHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base_url = format!("http://{}", listener.local_addr().expect("an address"));
    let provider = Provider::new(script);
    let witness = provider.witness();
    tokio::spawn(provider.serve(listener, std::future::pending()));
    (Endpoint { base_url, key: "k".to_owned() }, witness)
}

/// What came of a request: the status, what could be read of the body, and whether it came to its end.
#[derive(Debug)]
struct Got {
    status: u16,
    retry_after: Option<String>,
    body: String,
    ended: bool,
}

async fn post(endpoint: &Endpoint, path: &str, body: &Value) -> Option<Got> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("{}{path}", endpoint.base_url))
        .header("x-api-key", &endpoint.key)
        .header("anthropic-version", "2023-06-01")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a request");
    let response = client.request(request).await.ok()?;
    let retry_after = response.headers().get("retry-after").map(|v| v.to_str().expect("text").to_owned());
    let mut got = Got { status: response.status().into(), retry_after, body: String::new(), ended: true };
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let data = frame.into_data().unwrap_or_default();
                got.body.push_str(&String::from_utf8_lossy(&data));
            }
            Err(_) => got.ended = false,
        }
    }
    Some(got)
}

fn request(stream: bool) -> Value {
    json!({
        "model": "claude-opus-5-5", "max_tokens": 1_000, "stream": stream,
        "messages": [{ "role": "user", "content": "12345678" }],
    })
}

fn usd(text: &str) -> Usd {
    text.parse().expect(text)
}

fn args(threads: u32) -> agent::Args {
    let (model, prompt) = ("claude-haiku-4-5".to_owned(), "Look at the change.".to_owned());
    agent::Args { model, prompt, max_tokens: 8_000, threads, turns: 20 }
}

#[tokio::test]
async fn the_agent_loops_until_the_turn_ends_and_says_its_last_text_last() {
    let script = Script::looping(100, |seen| ToolCall::new(seen.tools[0], json!({ "paths": ["x"] })));
    let (endpoint, witness) = up(script.ending_after(2, "All is well.\nReally.")).await;
    let mut out = Vec::new();
    assert_eq!(agent::run(&args(1), &endpoint, &mut out).await.expect("a run"), 0);
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "[0] turn 1: list_files: 1 lines\n[0] turn 2: list_files: 1 lines\n[0] turn 3: ends (end_turn)\n\
         All is well.\nReally.\n"
    );
    let witness = witness.snapshot();
    assert_eq!(witness.violations, Vec::<String>::new());
    assert_eq!((witness.generations, witness.in_flight), (3, 0));
    let tokens = witness.tokens();
    assert_eq!(tokens.output, 300);
    assert_eq!(tokens.input, 0, "everything is marked");
    let longest = witness.bills[2].counts.prompt();
    assert_eq!(tokens.cache_write_5m, longest, "each piece is written once");
    let pico = i128::from(tokens.cache_write_5m) * 1_250_000
        + i128::from(tokens.cache_read) * 100_000
        + 300 * 5_000_000;
    assert_eq!(witness.usd, Usd::from_pico(pico));
}

#[tokio::test]
async fn threads_are_told_apart_and_run_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let opener = gate.clone();
    let script = Script::new(move |seen| {
        if seen.index == 3 {
            opener.add_permits(4);
        }
        let text = seen.agent.unwrap_or("main").to_owned();
        Reply { before: Some(Wait::Permit(gate.clone())), ..Answer::text(&text).into() }
    });
    let (endpoint, witness) = up(script).await;
    let mut out = Vec::new();
    assert_eq!(agent::run(&args(4), &endpoint, &mut out).await.expect("a run"), 0);
    assert!(String::from_utf8(out).expect("text").ends_with("\nmain\n"));
    assert_eq!(witness.snapshot().peak, 4);
}

#[tokio::test]
async fn the_last_call_and_missing_tools_end_the_loop() {
    let call = |_: &Seen<'_>| ToolCall::bash("true");
    let (endpoint, _) = up(Script::looping(10, call)).await;
    let tool = json!([{ "name": "Bash", "input_schema": { "type": "object" } }]);
    for (text, tools, reason) in [
        ("go on", tool.clone(), "tool_use"),
        ("This is the last answer the budget allows.", tool, "end_turn"),
        ("go on", json!([]), "end_turn"),
    ] {
        let mut body = request(false);
        body["tools"] = tools;
        body["messages"][0]["content"] = json!([{ "type": "text", "text": text }]);
        let got = post(&endpoint, "/v1/messages?beta=true", &body).await.expect("an answer");
        let message: Value = serde_json::from_str(&got.body).expect("JSON");
        assert_eq!(message["stop_reason"], reason, "{text}: {got:?}");
    }
}

#[tokio::test]
async fn an_answer_longer_than_its_cap_is_cut() {
    let (endpoint, witness) = up(Script::saying("much", 5_000)).await;
    let got = post(&endpoint, "/v1/messages", &request(true)).await.expect("an answer");
    assert!(got.body.contains(r#""stop_reason":"max_tokens""#), "{got:?}");
    assert!(got.body.contains(r#""output_tokens":1000"#), "{got:?}");
    assert_eq!(witness.usd(), usd("0.020008"), "2 tokens in, 1,000 out");
}

#[tokio::test]
async fn caches_are_written_first_and_read_afterwards() {
    let (endpoint, witness) = up(Script::saying("ok", 1)).await;
    let mark = |ttl: &str| json!({ "type": "ephemeral", "ttl": ttl });
    let text = |text: &str| json!({ "type": "text", "text": text });
    let mut body = request(false);
    body["system"] = json!([{ "type": "text", "text": "aaaa", "cache_control": mark("1h") }]);
    body["messages"] = json!([{ "role": "user", "content": [text("bbbbbbbb"), text("cccc")] }]);
    body["messages"][0]["content"][0]["cache_control"] = mark("5m");
    let mut other = body.clone();
    other["messages"][0]["content"][0]["text"] = json!("dddddddd");
    let mut unmarked = body.clone();
    unmarked["system"] = json!("aaaa");
    unmarked["messages"][0]["content"][0] = json!({ "type": "text", "text": "bbbbbbbb" });
    let counts = |input, cache_read, cache_write_5m, cache_write_1h| Counts {
        input,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        output: 1,
        ..Counts::default()
    };
    let mut expected = Vec::new();
    for (body, counts) in [
        (&body, counts(1, 0, 2, 1)),
        (&body, counts(1, 3, 0, 0)),
        (&other, counts(1, 1, 2, 0)),
        (&unmarked, counts(4, 0, 0, 0)),
    ] {
        let got = post(&endpoint, "/v1/messages", body).await.expect("an answer");
        assert_eq!(got.status, 200, "{got:?}");
        expected.push(counts);
    }
    let bills = witness.snapshot().bills;
    assert_eq!(bills.iter().map(|bill| bill.counts).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn tokens_are_counted_for_free_and_models_are_listed() {
    let (endpoint, witness) = up(Script::saying("ok", 1)).await;
    let mut body = request(false);
    let got = post(&endpoint, "/v1/messages/count_tokens", &body).await.expect("an answer");
    assert_eq!(got.status, 400, "{got:?}");
    for field in ["max_tokens", "stream"] {
        body.as_object_mut().expect("an object").remove(field);
    }
    let got = post(&endpoint, "/v1/messages/count_tokens", &body).await.expect("an answer");
    assert_eq!(got.body, r#"{"input_tokens":2}"#);
    let snapshot = witness.snapshot();
    assert_eq!((snapshot.usd, snapshot.counts, snapshot.generations), (Usd::ZERO, 2, 0));
    assert_eq!(snapshot.violations, ["max_tokens: Extra inputs are not permitted"]);
}

#[tokio::test]
async fn every_fault_is_what_it_says_and_is_charged_unless_refused() {
    let full = "0.002008";
    for (fault, stream, status, ended, part, charged) in [
        (Fault::None, true, 200, true, "message_stop", full),
        (Fault::CloseAfterEvents(3), true, 200, false, "content_block_start", full),
        (Fault::CloseAfterBytes(9), true, 200, false, "event: me", full),
        (Fault::CloseAfterBytes(9), false, 200, false, r#"{"id":"ms"#, full),
        (Fault::ErrorEvent(2), true, 200, true, "overloaded_error", full),
        (Fault::Status { status: 529, retry_after: None }, true, 529, true, "overloaded_error", "0"),
        (Fault::Status { status: 429, retry_after: Some(7) }, false, 429, true, "rate_limit_error", "0"),
        (Fault::NoUsage, true, 200, true, "message_delta", full),
        (Fault::ExtraOutput(1_000), true, 200, true, r#""output_tokens":1100"#, "0.022008"),
        (Fault::ExtraInput(10), true, 200, true, r#""input_tokens":12"#, "0.002048"),
        (Fault::BadGzip, true, 200, true, "message_stop", full),
        (Fault::WrongLength, false, 200, false, "end_turn", full),
    ] {
        let name = format!("{fault:?}");
        let no_usage = fault == Fault::NoUsage;
        let refused = matches!(fault, Fault::Status { retry_after: Some(7), .. });
        let (endpoint, witness) = up(Script::saying("hi", 100).failing(move |_| fault.clone())).await;
        let got = post(&endpoint, "/v1/messages", &request(stream)).await.expect("an answer");
        assert_eq!((got.status, got.ended), (status, ended), "{name}: {got:?}");
        assert!(got.body.contains(part), "{name}: {got:?}");
        assert_eq!(got.retry_after.as_deref(), refused.then_some("7"), "{name}");
        assert!(!no_usage || !got.body.contains("usage"), "{name}: {got:?}");
        assert_eq!(witness.usd(), usd(charged), "{name}");
        assert_eq!(witness.snapshot().violations, Vec::<String>::new(), "{name}");
    }
}

#[tokio::test]
async fn a_connection_that_dies_or_stalls_is_charged_too() {
    let (endpoint, witness) = up(Script::saying("hi", 100).failing(|_| Fault::CloseBeforeHeaders)).await;
    assert!(post(&endpoint, "/v1/messages", &request(true)).await.is_none());
    assert_eq!((witness.usd(), witness.snapshot().bills[0].told), (usd("0.002008"), false));

    for fault in [Fault::Stall, Fault::StallAfterEvents(1)] {
        let (endpoint, witness) = up(Script::saying("hi", 100).failing(move |_| fault.clone())).await;
        let body = request(true);
        let asked = post(&endpoint, "/v1/messages", &body);
        assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err());
        assert_eq!(witness.usd(), usd("0.002008"));
    }
}

#[test]
fn a_prompt_never_counts_more_than_its_bytes() {
    let mut body = request(true);
    for text in ["a", "é", "\u{1f980}\u{1f980}", "\n\n\"\\"] {
        body["system"] = json!(text);
        body["messages"][0]["content"] =
            json!([{ "type": "text", "text": text }, { "type": "text", "text": "b" }]);
        let bytes = text.len() as u64 * 2 + 1;
        assert!(prompt::count(&body) <= bytes, "{text}");
    }
}

/// Every value makes the API refuse the request with its message.
fn refused(cases: impl IntoIterator<Item = (&'static str, Value, &'static str)>) {
    for (field, value, message) in cases {
        let mut body = request(true);
        body[field] = value;
        assert_eq!(check::generation(&body), Err(message.to_owned()), "{field}");
    }
}

#[test]
fn fields_that_the_api_refuses_are_refused() {
    refused([
        ("model", json!(""), "model: Input should be a valid string"),
        ("max_tokens", json!(0), "max_tokens: Input should be a whole number, 1 or more"),
        ("max_tokens", json!(10.5), "max_tokens: Input should be a whole number, 1 or more"),
        ("stream", json!("yes"), "stream: Input should be a valid boolean"),
        ("max_output_tokens", json!(1), "max_output_tokens: Extra inputs are not permitted"),
        (
            "thinking",
            json!({ "type": "enabled", "budget_tokens": 1_024 }),
            "`max_tokens` must be greater than `thinking.budget_tokens`",
        ),
        (
            "thinking",
            json!({ "type": "enabled", "budget_tokens": 100 }),
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        ),
        (
            "tools",
            json!([{ "name": "a b" }]),
            "tools.0.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
        ),
        ("tools", json!([{ "name": "a" }]), "tools.0.input_schema.type: Field required"),
        ("tool_choice", json!({ "type": "any" }), "tool_choice: `tools` must be given to choose from"),
    ]);
}

#[test]
fn messages_that_the_api_refuses_are_refused() {
    let (user, call, result) = turns();
    refused([
        ("messages", json!([]), "messages: at least one message is required"),
        (
            "messages",
            json!([{ "role": "robot", "content": "u" }]),
            "messages.0.role: Input should be 'user', 'assistant' or 'system'",
        ),
        (
            "messages",
            json!([{ "role": "assistant", "content": "u" }, user]),
            "messages: first message must use the \"user\" role",
        ),
        ("messages", json!([{ "role": "user", "content": [] }]), "messages.0.content: must not be empty"),
        (
            "messages",
            json!([{ "role": "user", "content": "" }]),
            "messages.0.content.0.text: text content blocks must be non-empty",
        ),
        (
            "messages",
            json!([{ "role": "user", "content": [{ "type": "tool_use", "id": "t", "name": "n", "input": {} }] }]),
            "messages.0.content.0: Input tag \"tool_use\" is not one of those expected",
        ),
        (
            "messages",
            json!([user, call, user]),
            "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after",
        ),
        (
            "messages",
            json!([user, result]),
            "messages.1.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1",
        ),
        (
            "messages",
            json!([user, { "role": "assistant", "content": "a" }]),
            "this model does not support assistant message prefill: end with a user message",
        ),
    ]);
    let mut body = request(true);
    body["messages"] = json!([user, { "role": "system", "content": "s" }, call, result]);
    body["tools"] = json!([
        { "name": "x", "input_schema": { "type": "object" } },
        { "type": "web_search_20260209", "name": "web_search" },
    ]);
    body["thinking"] = json!({ "type": "adaptive" });
    assert_eq!(check::generation(&body), Ok(()));
}

/// A user's turn, a tool call, and its result.
fn turns() -> (Value, Value, Value) {
    let call = json!({ "type": "tool_use", "id": "t1", "name": "x", "input": {} });
    let result = json!({ "type": "tool_result", "tool_use_id": "t1", "content": "r" });
    (
        json!({ "role": "user", "content": "u" }),
        json!({ "role": "assistant", "content": [call] }),
        json!({ "role": "user", "content": [result] }),
    )
}

#[test]
fn cache_marks_that_the_api_refuses_are_refused() {
    let text = |ttl: &str| {
        let mark = json!({ "type": "ephemeral", "ttl": ttl });
        json!({ "type": "text", "text": "m", "cache_control": mark })
    };
    refused([
        ("system", json!([{ "type": "image" }]), "system.0: Input should be a text block"),
        (
            "system",
            json!([text("5m"), text("1h")]),
            "a ttl='1h' cache_control block must not come after a ttl='5m' one",
        ),
        (
            "system",
            Value::from(vec![text("5m"); 5]),
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
        (
            "cache_control",
            json!({ "type": "forever" }),
            "cache_control: Input should be ephemeral, with a ttl of '5m' or '1h'",
        ),
    ]);
}

#[tokio::test]
async fn terms_that_a_model_is_not_served_at_are_refused() {
    for (model, field, value, status, message) in [
        (
            "claude-sonnet-5-5",
            "speed",
            "fast",
            400,
            "speed: fast mode is not available for claude-sonnet-5-5",
        ),
        ("claude-haiku-4-5", "inference_geo", "us", 400, "inference_geo: not available for claude-haiku-4-5"),
        ("claude-opus-9", "speed", "standard", 404, "model: claude-opus-9"),
    ] {
        let (endpoint, witness) = up(Script::saying("ok", 1)).await;
        let mut body = request(true);
        body["model"] = json!(model);
        body[field] = json!(value);
        let got = post(&endpoint, "/v1/messages", &body).await.expect("an answer");
        assert_eq!(got.status, status, "{got:?}");
        assert_eq!(witness.snapshot().violations, [message]);
        assert_eq!(witness.usd(), Usd::ZERO);
    }
}
