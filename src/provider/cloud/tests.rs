use super::super::{InputBound, Reading};
use super::*;
use crate::model::{Limits, ModelId, Thinking};

const VERTEX: &str =
    "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-5-5:streamRawPredict";
const BEDROCK: &str = "/model/us.anthropic.claude-sonnet-5-5/invoke-with-response-stream";
const BODY: &str = r#" {"anthropic_version":"v","anthropic_beta":["b"],"max_tokens":900,"messages":[{"role":"user","content":"a"}]}"#;

fn parse(cloud: Cloud, path: &str, body: &str) -> Result<Request, Problem> {
    Request::parse(cloud, path, Bytes::copy_from_slice(body.as_bytes()))
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_body_leaves_as_it_came_but_for_what_must_change() {
    for (cloud, path, model) in [
        (Cloud::Vertex, VERTEX, "claude-sonnet-5-5"),
        (Cloud::Bedrock, BEDROCK, "us.anthropic.claude-sonnet-5-5"),
    ] {
        let request = parse(cloud, path, BODY).expect("a request");
        assert_eq!(request.messages().model().as_str(), model);
        assert_eq!(request.messages().stream(), cloud == Cloud::Bedrock, "Vertex says it in the body");
        assert_eq!(request.messages().unknown_fields(), Vec::<String>::new());
        assert_eq!(text(&request.rewrite(&Edits::default())), BODY);
        let other = Edits { model: Some(ModelId::new("x:1")), ..Edits::default() };
        assert_eq!(text(&request.rewrite(&other)), BODY, "the model is in the path");
        assert_eq!(request.path(path, &other), path.replace(model, "x%3A1"));
        assert_eq!(request.path(path, &Edits::default()), path);
        let edits = Edits { output_cap: Some(40), note: Some("n".to_owned()), ..other };
        assert_eq!(
            text(&request.rewrite(&edits)),
            r#"{"anthropic_version":"v","anthropic_beta":["b"],"max_tokens":40,"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"n"}]}]}"#
        );
        // What is bounded is what is sent: never less than its bytes.
        let limits =
            |_: &ModelId| Limits { window: 1_000_000, output: 9_000, thinking: Thinking::Adaptive, image: 1 };
        let ceiling = request.messages().ceiling(&edits, &limits, InputBound::Bytes);
        assert!(ceiling.lines[0].input >= BODY.len() as u64);
        assert_eq!(ceiling.lines[0].output, 40);
    }
}

#[test]
fn what_a_cloud_would_read_otherwise_is_refused() {
    let twice = BODY.replace("\"max_tokens\"", "\"model\":\"claude-haiku-5-5\",\"max_tokens\"");
    let stream = BODY.replace("\"max_tokens\"", "\"stream\":true,\"max_tokens\"");
    let whole = VERTEX.replace("streamRawPredict", "rawPredict");
    let hidden = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fab/invoke";
    for (cloud, path, body, why) in [
        (Cloud::Vertex, VERTEX, twice.as_str(), "is given twice"),
        (Cloud::Bedrock, BEDROCK, &stream, "is given twice"),
        (Cloud::Vertex, &whole, &stream, "send it to streamRawPredict"),
        (Cloud::Bedrock, hidden, BODY, "does not say which model it runs"),
        (Cloud::Vertex, VERTEX, "[]", "must be a JSON object"),
        (Cloud::Vertex, VERTEX, "{}", "does not say max_tokens"),
    ] {
        let (Problem::Invalid(said) | Problem::Denied(said)) = parse(cloud, path, body).expect_err(why)
        else {
            panic!("{why}")
        };
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn tokens_are_counted_where_the_cloud_counts_them() {
    let vertex = parse(Cloud::Vertex, VERTEX, BODY).expect("a request");
    assert_eq!(
        vertex.count_path(VERTEX, &Edits::default()),
        "/v1/projects/p/locations/us-east5/publishers/anthropic/models/count-tokens:rawPredict"
    );
    assert_eq!(
        text(&vertex.count_body(&Edits::default()).expect("countable")),
        r#"{"anthropic_version":"vertex-2023-10-16","model":"claude-sonnet-5-5","messages":[{"role":"user","content":"a"}]}"#
    );
    assert_eq!(vertex.parse_count(br#"{"input_tokens":7}"#), Some(7));
    let bedrock = parse(Cloud::Bedrock, BEDROCK, BODY).expect("a request");
    assert_eq!(
        bedrock.count_path(BEDROCK, &Edits::default()),
        "/model/anthropic.claude-sonnet-5-5/count-tokens"
    );
    let body = bedrock.count_body(&Edits::default()).expect("countable");
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let inside =
        STANDARD.decode(body["input"]["invokeModel"]["body"].as_str().expect("text")).expect("base64");
    assert_eq!(String::from_utf8(inside).expect("text"), BODY);
    assert_eq!(bedrock.parse_count(br#"{"inputTokens":7}"#), Some(7));
    assert_eq!(bedrock.parse_count(br#"{"inputTokens":0}"#), None);
}

/// A stream as the first party sends it.
const EVENTS: [&str; 5] = [
    r#"{"type":"message_start","message":{"model":"claude-sonnet-5-5","usage":{"input_tokens":30,"cache_read_input_tokens":5,"output_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Done."}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":12}}"#,
    r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":30}}"#,
];

fn read(cloud: Cloud, path: &str, pieces: &[&[u8]], status: u16) -> Reading {
    let request = parse(cloud, path, BODY).expect("a request");
    let region = request.region(&Edits::default(), &Region::Regional);
    let mut reader = Reader::new(&request, &Edits::default(), region);
    pieces.iter().for_each(|piece| reader.feed(piece));
    reader.end(status)
}

/// Input, cache reads and output of a reading that is exact, or the known input side of one that is not.
fn said(reading: &Reading) -> (bool, Option<(u64, u64, u64, Region)>) {
    let (exact, usage) = match reading {
        Reading::Exact(usage) => (true, Some(usage)),
        Reading::Broken { input_side } => (false, input_side.as_ref()),
        Reading::NotBilled => panic!("billed"),
    };
    let line = usage.map(|usage| &usage.lines[0]);
    let tokens = |line: &crate::tokens::UsageLine| {
        (line.counts.input, line.counts.cache_read, line.counts.output, line.terms.region.clone())
    };
    (exact, line.map(tokens))
}

#[test]
fn usage_is_read_from_frames_cut_anywhere_and_never_less_than_all_of_it() {
    let stream: Vec<u8> = EVENTS.iter().flat_map(|event| frames::encode(event.as_bytes())).collect();
    let exact = (true, Some((30, 5, 12, Region::Regional)));
    for cut in 0..=stream.len() {
        let (before, after) = stream.split_at(cut);
        assert_eq!(said(&read(Cloud::Bedrock, BEDROCK, &[before, after], 200)), exact, "cut at {cut}");
        if cut < stream.len() {
            let (whole, known) = said(&read(Cloud::Bedrock, BEDROCK, &[before], 200));
            assert!(!whole, "broken off at {cut}");
            // What is known is the whole input side, or nothing.
            assert!(known.is_none_or(|(input, cached, ..)| (input, cached) == (30, 5)), "at {cut}");
        }
    }
    let mut damaged = stream.clone();
    let last = damaged.len() - 9;
    damaged[last] ^= 1;
    assert!(!said(&read(Cloud::Bedrock, BEDROCK, &[&damaged], 200)).0, "a damaged frame is no usage");
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(said(&read(Cloud::Bedrock, BEDROCK, &bytes, 200)), exact);
}

#[test]
fn vertex_streams_are_those_of_the_first_party_at_the_place_of_the_path() {
    let stream: String = EVENTS.iter().map(|event| format!("data: {event}\n\n")).collect();
    let read_at = |path: &str| said(&read(Cloud::Vertex, path, &[stream.as_bytes()], 200));
    assert_eq!(read_at(VERTEX), (true, Some((30, 5, 12, Region::Regional))));
    let global = VERTEX.replace("us-east5", "global");
    assert_eq!(read_at(&global), (true, Some((30, 5, 12, Region::Global))));
}

/// An exception in the middle of a stream.
fn exception(kind: &str) -> Vec<u8> {
    // Its headers are longer than a chunk's; the names and lengths are those of the format.
    let mut headers = Vec::new();
    for (name, value) in [(":message-type", "exception"), (":exception-type", kind)] {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        headers.extend_from_slice(&[7, 0, value.len() as u8]);
        headers.extend_from_slice(value.as_bytes());
    }
    frames::assemble(&headers, br#"{"message":"no"}"#)
}

#[test]
fn exceptions_and_statuses_are_billed_where_work_may_have_begun() {
    let start = frames::encode(EVENTS[0].as_bytes());
    let throttled = exception("throttlingException");
    assert_eq!(read(Cloud::Bedrock, BEDROCK, &[&throttled], 200), Reading::NotBilled);
    assert!(!said(&read(Cloud::Bedrock, BEDROCK, &[&start, &throttled], 200)).0);
    assert!(!said(&read(Cloud::Bedrock, BEDROCK, &[&exception("modelStreamErrorException")], 200)).0);
    let (amazon, google) =
        (&br#"{"message":"no"}"#[..], &br#"{"error":{"code":503,"status":"UNAVAILABLE"}}"#[..]);
    for (cloud, path, status, body, billed) in [
        (Cloud::Bedrock, BEDROCK, 400, amazon, false),
        (Cloud::Bedrock, BEDROCK, 403, amazon, false),
        (Cloud::Bedrock, BEDROCK, 408, amazon, true),
        (Cloud::Bedrock, BEDROCK, 429, amazon, false),
        (Cloud::Bedrock, BEDROCK, 500, amazon, false),
        (Cloud::Bedrock, BEDROCK, 503, b"<html>", true),
        (Cloud::Bedrock, BEDROCK, 504, amazon, true),
        (Cloud::Vertex, VERTEX, 429, google, false),
        (Cloud::Vertex, VERTEX, 503, google, false),
        (Cloud::Vertex, VERTEX, 503, b"upstream connect error", true),
        (Cloud::Vertex, VERTEX, 504, google, true),
    ] {
        let reading = read(cloud, path, &[body], status);
        assert_eq!(reading != Reading::NotBilled, billed, "{cloud:?} {status}");
    }
}

#[test]
fn a_stop_is_a_finished_turn_in_the_cloud_s_own_framing() {
    let request = parse(Cloud::Bedrock, BEDROCK, BODY).expect("a request");
    let stop = say_stop(&request, "Stopped.", "id");
    assert_eq!((stop.status, stop.content_type), (200, "application/vnd.amazon.eventstream"));
    let mut reader = Reader::new(&request, &Edits::default(), Region::Regional);
    reader.feed(&stop.body);
    assert!(matches!(reader.end(200), Reading::Exact(_)));
    assert_eq!(reader.text_tail().trim(), "Stopped.");
    let plain =
        parse(Cloud::Bedrock, &BEDROCK.replace("-with-response-stream", ""), BODY).expect("a request");
    assert_eq!(say_stop(&plain, "Stopped.", "id").content_type, "application/json");
    let streamed = BODY.replace("\"max_tokens\"", "\"stream\":true,\"max_tokens\"");
    let vertex = parse(Cloud::Vertex, VERTEX, &streamed).expect("a request");
    assert_eq!(say_stop(&vertex, "Stopped.", "id").content_type, "text/event-stream; charset=utf-8");
}

#[test]
fn problems_are_said_in_the_cloud_s_own_shape() {
    let cap = Problem::CapReached("no more".to_owned());
    let said = |cloud, problem: &Problem| {
        let answer = say(cloud, problem);
        format!("{} {} {}", answer.status, answer.final_word, text(&answer.body))
    };
    assert_eq!(
        said(Cloud::Vertex, &cap),
        r#"400 true {"error":{"code":400,"message":"no more","status":"FAILED_PRECONDITION"}}"#
    );
    assert_eq!(
        said(Cloud::Bedrock, &cap),
        r#"400 true {"__type":"ValidationException","message":"no more"}"#
    );
    let lost = Problem::Upstream("away".to_owned());
    assert_eq!(
        said(Cloud::Bedrock, &lost),
        r#"502 false {"__type":"ServiceUnavailableException","message":"away"}"#
    );
}
