use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::ModelId;
use crate::tokens::Counts;

fn request(more: &str) -> Request {
    let body = format!(
        r#"{{"model":"m","max_tokens":9,"stream":true,"messages":[{{"role":"user","content":"a"}}]{more}}}"#
    );
    Request::parse(Bytes::from(body)).expect("a request")
}

fn reader() -> Reader {
    Reader::new(&request(""), &Edits::default())
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type"))
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"model": "claude-sonnet-5-5", "content": [], "usage": {
        "input_tokens": 12, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 400,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 1, "service_tier": "standard",
    }}})
}

fn text_start() -> Value {
    json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
}

fn text(text: &str) -> Value {
    json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
}

fn delta(output: u64) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output}})
}

/// Events as the provider sends them: keys in its order, which `json!` keeps.
fn stream() -> String {
    [
        start(),
        text_start(),
        json!({"type": "ping"}),
        text("Hällo "),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "w\"o\\r\nld 🎉"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "input": {}}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"text_delta\":1}"}}),
        delta(77),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(event)
    .collect()
}

const COUNTS: Counts = Counts {
    input: 12,
    cache_read: 400,
    cache_write_5m: 10,
    cache_write_1h: 20,
    cache_write_30m: 0,
    cache_write_12h: 0,
    audio_input: 0,
    audio_cache_read: 0,
    output: 77,
};

fn counts(reading: &Reading) -> Option<(String, Counts)> {
    let Reading::Exact(usage) = reading else { return None };
    Some((usage.lines[0].model.to_string(), usage.counts()))
}

fn read(body: &str, status: u16) -> Reading {
    let mut reader = reader();
    reader.feed(body.as_bytes());
    reader.end(status)
}

#[test]
fn a_stream_cut_in_two_anywhere_says_the_same() {
    let stream = stream();
    for cut in 0..=stream.len() {
        let mut reader = reader();
        reader.feed(&stream.as_bytes()[..cut]);
        reader.feed(&stream.as_bytes()[cut..]);
        let reading = reader.end(200);
        assert_eq!(counts(&reading), Some(("claude-sonnet-5-5".to_owned(), COUNTS)), "cut at {cut}");
        assert_eq!(reader.text_tail(), "Hällo w\"o\\r\nld 🎉", "cut at {cut}");
        assert_eq!((reader.answer_tokens(), reader.stop_reason()), (Some(77), Some("end_turn")));
    }
}

#[test]
fn a_stream_that_ends_early_is_broken_and_keeps_its_input_side() {
    let stream = stream();
    let start_ends = stream.find("\n\n").expect("an event");
    let stop_ends = stream.trim_end().len();
    let input_side = Counts { output: 0, ..COUNTS };
    for end in 0..=stream.len() {
        let reading = read(&stream[..stream.floor_char_boundary(end)], 200);
        if end >= stop_ends {
            assert_eq!(counts(&reading).expect("exact").1, COUNTS);
            continue;
        }
        let Reading::Broken { input_side: known } = reading else { panic!("not broken at {end}") };
        let expected = (end >= start_ends).then_some(input_side);
        assert_eq!(known.map(|usage| usage.counts()), expected, "ends at {end}");
    }
}

#[test]
fn where_the_provider_samples_again_the_input_side_is_not_known() {
    let request = request(r#","tools":[{"type":"web_search_1"}]"#);
    let mut reader = Reader::new(&request, &Edits::default());
    reader.feed(event(&start()).as_bytes());
    assert_eq!(reader.end(200), Reading::Broken { input_side: None });
}

#[test]
fn other_ways_of_writing_a_stream_are_read() {
    let exact = Some(("claude-sonnet-5-5".to_owned(), COUNTS));
    let crlf = stream().replace('\n', "\r\n");
    let bare: String =
        stream().lines().filter(|line| !line.starts_with("event:")).map(|l| format!("{l}\n")).collect();
    let tight = stream().replace("data: ", "data:").replace("event: ", "event:");
    let comments = stream().replace("event: ping", ": still here\nid: 7\nevent: ping");
    let spaced =
        stream().replace("{\"type\":\"content_block_delta\",", "{ \"type\": \"content_block_delta\", ");
    let several = stream().replace(&event(&delta(77)), &(event(&delta(5)) + &event(&delta(77))));
    for (name, body) in [
        ("crlf", crlf),
        ("bare", bare),
        ("tight", tight),
        ("comments", comments),
        ("spaced", spaced),
        ("several", several),
    ] {
        let mut reader = reader();
        reader.feed(body.as_bytes());
        assert_eq!(counts(&reader.end(200)), exact, "{name}");
        assert_eq!(reader.text_tail(), "Hällo w\"o\\r\nld 🎉", "{name}");
    }
}

#[test]
fn what_a_body_without_a_whole_answer_means() {
    let error = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "x"}});
    let after_start = event(&start()) + &event(&error("overloaded_error"));
    let broken = |known: bool| if known { "broken, input known" } else { "broken" };
    for (status, body, expected) in [
        (400, error("invalid_request_error").to_string(), "not billed"),
        (404, "<html>".to_owned(), "not billed"),
        (429, String::new(), "not billed"),
        (529, error("overloaded_error").to_string(), "not billed"),
        (307, String::new(), "not billed"),
        (500, error("api_error").to_string(), "not billed"),
        (502, "<html>bad gateway</html>".to_owned(), broken(false)),
        (504, String::new(), broken(false)),
        (504, error("timeout_error").to_string(), broken(false)),
        (500, error("timeout_error").to_string(), broken(false)),
        (200, String::new(), broken(false)),
        (200, event(&error("overloaded_error")), "not billed"),
        (200, event(&error("api_error")), broken(false)),
        (200, error("overloaded_error").to_string(), "not billed"),
        (200, error("timeout_error").to_string(), broken(false)),
        (200, after_start, broken(true)),
        (200, event(&start()) + &event(&json!({"type": "message_stop"})), broken(true)),
        (200, event(&delta(5)) + &event(&json!({"type": "message_stop"})), broken(false)),
        (
            200,
            event(&start())
                + "event: message_delta\ndata: {oops}\n\n"
                + &event(&json!({"type": "message_stop"})),
            broken(false),
        ),
        (200, stream().replace("\"output_tokens\":77", "\"output_tokens\":-7"), broken(false)),
        (200, "{\"type\":\"message\",\"usage\":{\"input_tokens\":1".to_owned(), broken(false)),
        (200, "{\"type\":\"message\"}".to_owned(), broken(false)),
    ] {
        let reading = match read(&body, status) {
            Reading::NotBilled => "not billed",
            Reading::Broken { input_side: None } => "broken",
            Reading::Broken { input_side: Some(_) } => "broken, input known",
            Reading::Exact(_) => "exact",
        };
        assert_eq!(reading, expected, "{status} {body}");
    }
}

#[test]
fn an_answer_in_one_piece_is_read_at_its_end() {
    let body = json!({
        "type": "message", "model": "claude-opus-5-5", "stop_reason": "max_tokens",
        "content": [{"type": "text", "text": "one"}, {"type": "tool_use", "input": {}}, {"type": "text", "text": "two"}],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    });
    let body = format!("\n{body}");
    let mut reader = reader();
    for byte in body.as_bytes() {
        reader.feed(&[*byte]);
    }
    let reading = reader.end(200);
    let expected = Counts { input: 3, output: 4, ..Counts::default() };
    assert_eq!(counts(&reading), Some(("claude-opus-5-5".to_owned(), expected)));
    assert_eq!(reader.text_tail(), "one\n\ntwo");
    assert_eq!((reader.answer_tokens(), reader.stop_reason()), (Some(4), Some("max_tokens")));
}

#[test]
fn a_count_of_nothing_is_no_count() {
    let zeros = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {
        "input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 5,
    }});
    let empty = json!({"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 0, "output_tokens": 1}}});
    let stop = json!({"type": "message_stop"});
    let read = |events: &[Value]| {
        let mut reader = reader();
        reader.feed(events.iter().map(event).collect::<String>().as_bytes());
        reader.end(200)
    };
    let Reading::Exact(usage) = read(&[start(), zeros.clone(), stop.clone()]) else { panic!("whole") };
    assert_eq!((usage.counts().prompt(), usage.counts().output), (442, 5), "zeros do not take back");
    let nothing_known = Reading::Broken { input_side: None };
    assert_eq!(read(&[empty.clone(), zeros, stop]), nothing_known);
    assert_eq!(read(&[empty]), nothing_known);
}

#[test]
fn a_refusal_after_thinking_that_is_not_shown_is_billed() {
    let refused = json!({"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 500}});
    let mut reader = reader();
    let events = [start(), refused, json!({"type": "message_stop"})];
    reader.feed(events.iter().map(event).collect::<String>().as_bytes());
    let Reading::Exact(usage) = reader.end(200) else { panic!("whole") };
    assert!(!usage.unbilled);
}

#[test]
fn a_refusal_is_free_only_before_any_output() {
    let refused =
        json!({"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 1}});
    let stop = json!({"type": "message_stop"});
    let before = [start(), refused.clone(), stop.clone()].iter().map(event).collect::<String>();
    let after = [start(), text_start(), text("no"), refused, stop].iter().map(event).collect::<String>();
    for (body, free) in [(before, true), (after, false)] {
        let Reading::Exact(usage) = read(&body, 200) else { panic!("not exact") };
        assert_eq!(usage.unbilled, free);
    }
}

#[test]
fn lines_too_long_break_a_response_only_where_they_count() {
    let long = "x".repeat(LINE_BYTES_MAX);
    let fetched = json!({"type": "content_block_start", "index": 9, "content_block": {"type": "web_fetch_tool_result", "content": long}});
    let with =
        |more: &str| event(&start()) + more + &event(&delta(77)) + &event(&json!({"type": "message_stop"}));
    for (body, exact) in [
        (with(&event(&fetched)), true),
        (with(&event(&text(&long))), true),
        (with(&format!("event: message_delta\ndata: {long}\n\n")), false),
        (with(&format!("data: {long}\n\n")), false),
    ] {
        for piece in [body.len(), 65_536, 1_000] {
            let mut reader = reader();
            body.as_bytes().chunks(piece).for_each(|piece| reader.feed(piece));
            assert_eq!(matches!(reader.end(200), Reading::Exact(_)), exact);
        }
    }
}

#[test]
fn only_the_end_of_a_long_text_is_kept() {
    let mut reader = reader();
    reader.feed(event(&start()).as_bytes());
    reader.feed(event(&text_start()).as_bytes());
    for n in 0..20_000 {
        reader.feed(event(&text(&format!("é{n}\n"))).as_bytes());
    }
    let tail = reader.text_tail();
    assert!(tail.len() <= 64 * 1024 && tail.len() > 50 * 1024, "{}", tail.len());
    assert!(tail.ends_with("é19998\né19999\n"));
    reader.feed(event(&text(&"ö".repeat(50_000))).as_bytes());
    assert_eq!(reader.text_tail(), "ö".repeat(32 * 1024));
}

#[test]
fn a_model_put_in_by_the_meter_is_the_one_without_a_name() {
    let edits = Edits { model: Some(ModelId::new("small")), ..Edits::default() };
    let mut reader = Reader::new(&request(""), &edits);
    reader.feed(br#"{"type":"message","usage":{"input_tokens":1,"output_tokens":1}}"#);
    assert_eq!(counts(&reader.end(200)).expect("exact").0, "small");
}

proptest! {
    #[test]
    fn pieces_of_any_size_say_the_same(
        texts in prop::collection::vec(".{0,12}", 0..12), sizes in prop::collection::vec(1_usize..40, 1..30)
    ) {
        let mut body = event(&start()) + &event(&text_start());
        for piece in &texts {
            body += &event(&text(piece));
        }
        body += &event(&delta(77));
        body += &event(&json!({"type": "message_stop"}));
        let mut reader = reader();
        let mut rest = body.as_bytes();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, more) = rest.split_at((*size).min(rest.len()));
            reader.feed(piece);
            rest = more;
        }
        prop_assert_eq!(counts(&reader.end(200)).map(|(_, counts)| counts), Some(COUNTS));
        prop_assert_eq!(reader.text_tail(), texts.concat());
    }

    #[test]
    fn no_bytes_make_the_reader_fail(body in prop::collection::vec(any::<u8>(), 0..300), status in 100_u16..600) {
        let mut reader = reader();
        reader.feed(&body);
        let is_exact = matches!(reader.end(status), Reading::Exact(_));
        prop_assert!(!is_exact);
        prop_assert!(reader.text_tail().len() <= 64 * 1024);
    }
}
