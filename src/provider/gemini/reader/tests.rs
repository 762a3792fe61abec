use serde_json::{Value, json};

use super::*;
use crate::tokens::Usage;

fn request(body: Value) -> Request {
    let path = "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse";
    Request::parse(path, body.to_string().into()).expect("a request")
}

fn plain() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "a"}]}]})
}

fn read(body: Value, status: u16, bytes: &[u8]) -> (Reading, Reader) {
    let mut reader = Reader::new(&request(body), &Edits::default(), Region::Global);
    let (head, tail) = bytes.split_at(bytes.len() / 3);
    reader.feed(head);
    reader.feed(tail);
    (reader.end(status), reader)
}

fn chunks() -> Vec<Value> {
    let usage = |candidates: Value, thoughts: u64| {
        json!({"promptTokenCount": 50, "cachedContentTokenCount": 20, "candidatesTokenCount": candidates,
            "thoughtsTokenCount": thoughts, "toolUsePromptTokenCount": 5})
    };
    let said = |text: &str, thought: bool, reason: Value| json!([{"content": {"parts": [{"text": text, "thought": thought}]}, "finishReason": reason}]);
    vec![
        json!({"candidates": said("hm", true, Value::Null), "usageMetadata": usage(Value::Null, 3), "modelVersion": "gemini-3.8-flash"}),
        json!({"candidates": said("Hé", false, Value::Null), "usageMetadata": usage(json!(1), 7)}),
        json!({"candidates": said("llo", false, json!("STOP")), "usageMetadata": usage(json!(4), 7)}),
    ]
}

fn as_events(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect()
}

fn as_array(chunks: &[Value]) -> String {
    let chunks: Vec<String> = chunks.iter().map(Value::to_string).collect();
    format!("[{}\n]", chunks.join("\n,\r\n"))
}

fn exact(reading: &Reading) -> Option<&Usage> {
    match reading {
        Reading::Exact(usage) => Some(usage),
        _ => None,
    }
}

#[test]
fn the_last_count_holds_in_both_forms_of_a_stream() {
    for text in [as_events(&chunks()), as_array(&chunks())] {
        let (reading, reader) = read(plain(), 200, text.as_bytes());
        let usage = exact(&reading).expect("a usage");
        let counts = usage.counts();
        assert_eq!((counts.input, counts.cache_read, counts.output), (35, 20, 11));
        assert_eq!((usage.lines[0].beside_prompt, reader.answer_tokens()), (5, Some(11)));
        assert_eq!((reader.text_tail().as_str(), reader.stop_reason()), ("Héllo", Some("STOP")));
    }
}

#[test]
fn a_stream_cut_anywhere_is_exact_or_broken_with_the_input_side_at_most() {
    for text in [as_events(&chunks()), as_array(&chunks())] {
        let (whole, _) = read(plain(), 200, text.as_bytes());
        for cut in 0..=text.len() {
            match read(plain(), 200, &text.as_bytes()[..cut]).0 {
                Reading::Exact(usage) => assert_eq!(Some(&usage), exact(&whole), "{cut}"),
                Reading::Broken { input_side: Some(usage) } => {
                    assert_eq!((usage.counts().prompt(), usage.counts().output), (55, 0), "{cut}");
                }
                Reading::Broken { input_side: None } => {}
                Reading::NotBilled => panic!("{cut}: not billed"),
            }
        }
    }
}

#[test]
fn every_candidate_has_to_finish_and_a_blocked_prompt_has_none() {
    let mut two = plain();
    two["generationConfig"] = json!({"candidateCount": 2});
    let (reading, _) = read(two.clone(), 200, as_events(&chunks()).as_bytes());
    assert!(matches!(reading, Reading::Broken { input_side: Some(_) }), "{reading:?}");
    let mut both = chunks();
    both.push(json!({"candidates": [{"index": 1, "finishReason": "MAX_TOKENS"}], "usageMetadata": {"candidatesTokenCount": 9}}));
    assert_eq!(exact(&read(two, 200, as_events(&both).as_bytes()).0).expect("a usage").counts().output, 16);
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8}});
    let usage = read(plain(), 200, blocked.to_string().as_bytes()).0;
    assert_eq!(exact(&usage).expect("a usage").counts().prompt(), 8);
    let error = json!([{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}]).to_string();
    assert_eq!(read(plain(), 503, error.as_bytes()).0, Reading::NotBilled);
    assert_eq!(read(plain(), 500, b"<html>").0, Reading::Broken { input_side: None });
}

#[test]
fn a_header_names_the_tier_and_queries_are_counted() {
    let mut reader = Reader::new(&request(plain()), &Edits::default(), Region::Global);
    reader.served_tier("priority");
    let mut last = chunks();
    last[2]["candidates"][0]["groundingMetadata"] = json!({"webSearchQueries": ["a", "b"]});
    reader.feed(as_events(&last).as_bytes());
    let Reading::Exact(usage) = reader.end(200) else { panic!("no usage") };
    assert_eq!((usage.web_searches, &usage.lines[0].terms.tier), (2, &crate::tokens::ServiceTier::Priority));
}
