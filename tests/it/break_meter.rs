//! A hostile provider and a hostile agent: whatever either does, no answer makes the meter count less than
//! was spent, and nothing stays held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use tollgate::meter::{Config, Totals};
use tollgate::money::Usd;

use crate::meter_rig::{Client, Got, Provider, body, config, run, says, start, ways};

/// An upstream that gives these bytes to whoever has sent a head, and closes. Returns its address and how
/// many requests it has had.
async fn saying(bytes: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            seen.fetch_add(1, Ordering::SeqCst);
            drop(stream.write_all(&bytes).await);
            drop(stream.shutdown().await);
            // Closing with something unread would reset what was just written.
            while stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
        }
    });
    (url, asked)
}

/// What one request comes to that is answered with these bytes.
async fn answered(bytes: Vec<u8>, request: &Value) -> (Got, Totals) {
    let nobody = Provider::start(says(200)).await;
    let (url, _) = saying(bytes).await;
    let meter = start(Config { ways: ways(&url), ..config(&nobody, "1") }).await;
    let got = Client::of(&meter).post(&request.to_string()).await;
    let watch = meter.snapshot();
    let totals = meter.drain(Duration::from_secs(2)).await;
    assert_eq!(watch.borrow().in_flight, Usd::ZERO);
    (got, totals)
}

/// An event stream of one answer: 1,000 tokens in, 50 out.
fn events() -> String {
    let message = json!({ "id": "m", "type": "message", "role": "assistant", "content": [],
        "model": "claude-sonnet-5-5", "stop_reason": null,
        "usage": { "input_tokens": 1_000, "output_tokens": 1 } });
    [
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Hi." } }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 50 } }),
        json!({ "type": "message_stop" }),
    ]
    .iter()
    .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().expect("a type")))
    .collect()
}

fn stream_head() -> &'static str {
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
}

#[test]
fn a_stream_cut_at_any_byte_counts_no_less_than_it_cost() {
    run(async {
        let whole = format!("{}{}", stream_head(), events());
        let request = body(2_000, 100);
        let cost: Usd = "0.0025".parse().expect("an amount");
        for cut in (1..whole.len()).step_by(7).chain([whole.len() - 1, whole.len()]) {
            let (_, totals) = answered(whole.as_bytes()[..cut].to_vec(), &request).await;
            assert!(totals.settled >= cost, "cut at {cut}: {}", totals.settled);
            assert_eq!(totals.overrun, None, "cut at {cut}");
            if cut >= whole.len() - 2 {
                assert_eq!((totals.settled, totals.estimated), (cost, Usd::ZERO));
            }
        }
    });
}

#[test]
fn answers_that_break_the_rules_count_at_the_bound() {
    run(async {
        let request = body(2_000, 100);
        let least: Usd = "0.0025".parse().expect("an amount");
        let usage = |usage: &str| {
            let text = events().replace(r#""usage":{"output_tokens":50}"#, &format!(r#""usage":{usage}"#));
            format!("{}{text}", stream_head())
        };
        let json = |status: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        for (name, answer) in [
            ("nothing at all", String::new()),
            ("no http", "nonsense\r\n\r\n".to_owned()),
            ("no content", "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
            (
                "a switch of protocols",
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
            ),
            ("continue, and then nothing", "HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
            ("compressed", json("200 OK\r\ncontent-encoding: gzip", "\x1f\x08\x00\x00")),
            ("no usage", usage("null")),
            ("negative", usage(r#"{"output_tokens":-1}"#)),
            ("a fraction", usage(r#"{"output_tokens":1.5}"#)),
            ("no tokens in", format!("{}{}", stream_head(), events().replace("1000", "0"))),
            ("an empty object", json("200 OK", "{}")),
            ("a gateway's page", json("502 Bad Gateway", "<html>")),
            (
                "out of time",
                json(
                    "504 Gateway Timeout",
                    r#"{"type":"error","error":{"type":"timeout_error","message":"m"}}"#,
                ),
            ),
        ] {
            let (_, totals) = answered(answer.into_bytes(), &request).await;
            assert!(totals.settled >= least, "{name}: {}", totals.settled);
            assert_eq!((totals.requests, totals.overrun), (1, None), "{name}");
        }
        // Before the answer there may be others that say nothing.
        let early = format!("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{}{}", stream_head(), events());
        let (got, totals) = answered(early.into_bytes(), &request).await;
        assert_eq!((got.status, totals.settled, totals.estimated), (200, least, Usd::ZERO));
    });
}

#[test]
fn an_answer_that_costs_more_than_it_could_ends_the_run() {
    run(async {
        for (what, with) in [
            ("claude-sonnet-5-5", "claude-fable-5-2"),
            (r#""output_tokens":50"#, r#""output_tokens":18446744073709551615"#),
        ] {
            let answer = format!("{}{}", stream_head(), events().replace(what, with).replace("1000", "9000"));
            let (_, totals) = answered(answer.into_bytes(), &body(2_000, 100)).await;
            assert!(totals.overrun.is_some(), "{with}: {totals:?}");
        }
        // A region that the workspace chose and the request did not name is no overrun.
        let us = events().replace(r#""output_tokens":1}"#, r#""output_tokens":1,"inference_geo":"us"}"#);
        let full = us.replace(r#""output_tokens":50"#, r#""output_tokens":100"#).replace("1000", "2000");
        let (_, totals) = answered(format!("{}{full}", stream_head()).into_bytes(), &body(2_000, 100)).await;
        assert_eq!(totals.overrun, None);
        assert_eq!(totals.settled, "0.0055".parse().expect("an amount"));
    });
}

#[test]
fn the_count_endpoint_cannot_make_a_request_cheap_by_silence_or_by_zero() {
    run(async {
        for answer in [r#"{"input_tokens":0}"#, r#"{"input_tokens":-5}"#, "[]", ""] {
            let text = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            );
            let nobody = Provider::start(says(200)).await;
            let (url, asked) = saying(text.into_bytes()).await;
            let meter = start(Config { ways: ways(&url), ..config(&nobody, "0.1") }).await;
            let got = Client::of(&meter).post(&body(200_000, 100).to_string()).await;
            assert!(got.stopped(), "{answer}: {got:?}");
            assert_eq!(asked.load(Ordering::SeqCst), 1, "{answer}: only the count was asked for");
            assert_eq!(meter.drain(Duration::from_secs(1)).await.settled, Usd::ZERO);
        }
    });
}

#[test]
fn tools_hidden_in_the_conversation_are_refused_like_any_other() {
    run(async {
        let provider = Provider::start(says(200)).await;
        let meter = start(config(&provider, "40")).await;
        let definition = json!({ "type": "web_search_20260318", "name": "web_search" });
        let mut hidden = body(40, 100);
        hidden["messages"].as_array_mut().expect("messages").push(json!({ "role": "system", "content": [
            { "type": "tool_addition", "tool": { "type": "tool_definition", "definition": definition } },
        ] }));
        let got = Client::of(&meter).post(&hidden.to_string()).await;
        assert_eq!((got.status, got.stopped(), provider.witness().generations), (403, true, 0), "{got:?}");
    });
}
