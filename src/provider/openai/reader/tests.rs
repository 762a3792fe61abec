use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::tokens::Usage;

fn request(form: Form) -> Request {
    let body = match form {
        Form::Responses => json!({"model": "gpt-6.1-sol", "input": "a", "stream": true}),
        Form::Chat => {
            json!({"model": "gpt-6.1-sol", "messages": [{"role": "user", "content": "a"}], "stream": true})
        }
    };
    Request::parse(form, "/v1/x", body.to_string().into()).expect("a request")
}

fn read(form: Form, status: u16, pieces: &[&[u8]]) -> (Reading, Reader) {
    let mut reader = Reader::new(&request(form), &Edits::default(), Region::Global);
    pieces.iter().for_each(|piece| reader.feed(piece));
    (reader.end(status), reader)
}

fn usage_of(reading: &Reading) -> Option<&Usage> {
    match reading {
        Reading::Exact(usage) => Some(usage),
        _ => None,
    }
}

fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: x\ndata: {event}\n\n")).collect()
}

fn responses(kind: &str, usage: Value) -> String {
    let output = json!([{"type": "reasoning"}, {"type": "web_search_call"}, {"type": "message"}]);
    events(&[
        json!({"type": "response.created", "response": {"model": "gpt-6.1-sol", "usage": null, "error": null}}),
        json!({"type": "response.content_part.added", "part": {}}),
        json!({"type": "response.output_text.delta", "delta": "Hé"}),
        json!({"type": "response.function_call_arguments.delta", "delta": "{"}),
        json!({"type": "response.output_text.delta", "delta": "llo"}),
        json!({"type": kind, "response": {
            "model": "gpt-6.1-sol-2026-09-29", "service_tier": "flex", "status": "completed",
            "output": output, "usage": usage,
        }}),
    ])
}

fn responses_usage() -> Value {
    json!({
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 109,
    })
}

fn chat() -> String {
    let chunk = |value: Value| format!("data: {value}\n\n");
    let choice = |delta: Value, reason: Value| json!({"model": "gpt-5.5", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], "usage": null});
    [
        chunk(choice(json!({"role": "assistant", "content": "Hé"}), Value::Null)),
        chunk(choice(json!({"content": "llo"}), Value::Null)),
        chunk(choice(json!({}), json!("stop"))),
        chunk(json!({"model": "gpt-5.5", "choices": [], "service_tier": "default",
            "usage": {"prompt_tokens": 100, "completion_tokens": 9, "total_tokens": 109,
                "prompt_tokens_details": {"cached_tokens": 64}}})),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat()
}

#[test]
fn the_last_event_says_the_usage_the_model_the_tier_and_the_calls() {
    for kind in ["response.completed", "response.incomplete", "response.failed"] {
        let (reading, reader) = read(Form::Responses, 200, &[responses(kind, responses_usage()).as_bytes()]);
        let usage = usage_of(&reading).expect(kind);
        let line = &usage.lines[0];
        assert_eq!(
            (line.model.as_str(), &line.terms.tier),
            ("gpt-6.1-sol-2026-09-29", &crate::tokens::ServiceTier::Flex)
        );
        let counts = line.counts;
        assert_eq!((counts.input, counts.cache_read, counts.cache_write_30m, counts.output), (10, 60, 30, 9));
        assert_eq!((usage.web_searches, reader.answer_tokens()), (1, Some(9)));
        assert_eq!((reader.text_tail().as_str(), reader.stop_reason()), ("Héllo", Some("completed")));
    }
    let (reading, _) = read(Form::Responses, 200, &[responses("response.failed", Value::Null).as_bytes()]);
    assert_eq!(reading, Reading::Broken { input_side: None }, "a failure may have cost something");
}

#[test]
fn a_chat_says_its_usage_in_the_last_chunk() {
    let (reading, reader) = read(Form::Chat, 200, &[chat().as_bytes()]);
    let counts = usage_of(&reading).expect("a usage").counts();
    assert_eq!((counts.input, counts.cache_read, counts.output), (36, 64, 9));
    assert_eq!((reader.text_tail().as_str(), reader.stop_reason()), ("Héllo", Some("stop")));
    let silent = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    assert_eq!(read(Form::Chat, 200, &[silent.as_bytes()]).0, Reading::Broken { input_side: None });
    // A count beside choices is not the last before the end of the stream.
    let early = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n";
    assert_eq!(read(Form::Chat, 200, &[early.as_bytes()]).0, Reading::Broken { input_side: None });
    let late = format!("{early}data: [DONE]\n\n");
    assert_eq!(usage_of(&read(Form::Chat, 200, &[late.as_bytes()]).0).expect("a usage").counts().output, 1);
}

#[test]
fn a_stream_cut_anywhere_is_exact_or_broken_and_pieces_make_no_difference() {
    for (form, text) in
        [(Form::Responses, responses("response.completed", responses_usage())), (Form::Chat, chat())]
    {
        let bytes = text.as_bytes();
        let (whole, _) = read(form, 200, &[bytes]);
        assert!(usage_of(&whole).is_some(), "{form:?}");
        let mut exact = 0;
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(read(form, 200, &[head, tail]).0, whole, "{form:?} in two pieces at {cut}");
            match read(form, 200, &[head]).0 {
                Reading::Exact(usage) => {
                    exact += 1;
                    assert_eq!(Some(&usage), usage_of(&whole), "{form:?} cut at {cut}");
                }
                broken => assert_eq!(broken, Reading::Broken { input_side: None }, "{form:?} cut at {cut}"),
            }
        }
        assert!((1..40).contains(&exact), "{form:?}: {exact} beginnings are whole");
    }
}

#[test]
fn a_whole_body_is_read_in_either_form() {
    let body = json!({
        "id": "r", "model": "gpt-5.5", "status": "incomplete", "error": null,
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "file_search_call"}, {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
        "usage": {"input_tokens": 5, "output_tokens": 3},
    });
    let (reading, reader) = read(Form::Responses, 200, &[body.to_string().as_bytes()]);
    let usage = usage_of(&reading).expect("a usage");
    assert_eq!((usage.counts().prompt(), usage.calls.file_searches), (5, 1));
    assert_eq!((reader.text_tail().as_str(), reader.stop_reason()), ("Hi", Some("max_output_tokens")));
    let body = json!({
        "model": "m", "choices": [{"message": {"content": "Hi"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "cost": 0.25},
    });
    let (reading, reader) = read(Form::Chat, 200, &[body.to_string().as_bytes()]);
    assert_eq!(usage_of(&reading).expect("a usage").billed, Some("0.25".parse().expect("an amount")));
    assert_eq!((reader.text_tail().as_str(), reader.stop_reason()), ("Hi", Some("length")));
}

#[test]
fn searches_of_the_older_kind_and_fees_that_no_answer_tells() {
    let body = |model: &str| {
        let calls = json!([{"type": "web_search_call"}, {"type": "web_search_call"}]);
        json!({"model": model, "status": "completed", "output": calls, "usage": responses_usage()})
            .to_string()
    };
    for (tool, model, searches, previews) in [
        ("web_search", "gpt-4.1-2025-04-14", 2, 0),
        ("web_search_preview", "gpt-4.1-2025-04-14", 0, 2),
        ("web_search_preview_2025_03_11", "gpt-4o", 0, 2),
        ("web_search_preview", "gpt-5.5", 2, 0),
    ] {
        let asked = json!({"model": model, "input": "a", "tools": [{"type": tool}]}).to_string();
        let request = Request::parse(Form::Responses, "/", asked.into()).expect("a request");
        let mut reader = Reader::new(&request, &Edits::default(), Region::Global);
        reader.feed(body(model).as_bytes());
        let Reading::Exact(usage) = reader.end(200) else { panic!("{tool} {model}") };
        assert_eq!(
            (usage.web_searches, usage.calls.preview_searches),
            (searches, previews),
            "{tool} {model}"
        );
    }
    let asked =
        json!({"model": "m", "messages": [{"role": "user", "content": "a"}], "web_search_options": {}});
    let request = Request::parse(Form::Chat, "/", asked.to_string().into()).expect("a request");
    for (cost, exact) in [("", false), (r#","cost":0.01"#, true)] {
        let mut reader = Reader::new(&request, &Edits::default(), Region::Global);
        reader.feed(
            format!(
                r#"{{"model":"m","choices":[],"usage":{{"prompt_tokens":9,"completion_tokens":1{cost}}}}}"#
            )
            .as_bytes(),
        );
        assert_eq!(usage_of(&reader.end(200)).is_some(), exact, "a search may have been charged: {cost}");
    }
}

#[test]
fn what_a_status_says_of_the_bill() {
    let error = r#"{"error":{"message":"m","type":"server_error"}}"#;
    for (status, body, billed) in [
        (400, error, false),
        (429, "", false),
        (302, "", false),
        (500, error, false),
        (500, "<html>", true),
        (504, error, true),
        (200, "", true),
        (200, error, false),
    ] {
        let (reading, _) = read(Form::Chat, status, &[body.as_bytes()]);
        let expected = if billed { Reading::Broken { input_side: None } } else { Reading::NotBilled };
        assert_eq!(reading, expected, "{status} {body}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_never_panics_and_never_costs_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for form in [Form::Responses, Form::Chat] {
            if let Reading::Exact(usage) = read(form, 200, &[&bytes]).0 {
                prop_assert!(usage.counts().prompt() > 0);
            }
        }
    }
}
