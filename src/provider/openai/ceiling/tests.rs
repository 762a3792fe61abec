use serde_json::{Value, json};

use super::super::super::{Edits, InputBound};
use super::super::{Form, Request};
use crate::model::{Limits, Thinking};
use crate::tokens::{CacheWrites, Ceiling, ServiceTier};

const LIMITS: Limits =
    Limits { window: 1_000_000, output: 128_000, thinking: Thinking::Adaptive, image: 2_000 };

fn ceiling(form: Form, body: &Value, input: InputBound) -> Ceiling {
    let request = Request::parse(form, "/", body.to_string().into()).expect("a request");
    request.ceiling(&Edits::default(), &|_| LIMITS, input)
}

fn responses() -> Value {
    json!({"model": "gpt-6.1-sol", "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]})
}

#[test]
fn text_is_bounded_by_its_bytes_and_what_says_nothing_by_the_window() {
    let plain = responses();
    let bytes = plain.to_string().len() as u64;
    let first = |body: &Value| ceiling(Form::Responses, body, InputBound::Bytes).lines[0].clone();
    assert_eq!(first(&plain).input, bytes + 2 * 10 + 64);
    let part = |part: Value| {
        let mut body = responses();
        body["input"][0]["content"] = json!([part]);
        body
    };
    let image = format!("data:image/png;base64,{}", "A".repeat(90_000));
    let picture = part(json!({"type": "input_image", "image_url": image}));
    let input = first(&picture).input;
    assert!((2_000..6_000).contains(&input), "{input}: the picture counts as its most and not by its bytes");
    for held in [
        part(json!({"type": "input_file", "file_id": "f"})),
        part(json!({"type": "input_file", "file_url": "https://x.test"})),
        part(json!({"type": "input_audio", "input_audio": {"data": "AA"}})),
        part(json!({"type": "hologram"})),
        json!({"model": "m", "input": "a", "previous_response_id": "r"}),
        json!({"model": "m", "input": "a", "conversation": "c"}),
        json!({"model": "m", "input": [{"type": "item_reference", "id": "i"}]}),
    ] {
        assert_eq!(first(&held).input, LIMITS.window, "{held}");
    }
    let counted = InputBound::Counted { tokens: 1_000, extra: 5 };
    let known = json!({"model": "m", "input": "a", "previous_response_id": "r"});
    assert_eq!(ceiling(Form::Responses, &known, counted).lines[0].input, 1_000 + 10 + 64 + 5);
}

#[test]
fn answers_tiers_writes_and_tools_are_counted_at_their_most() {
    let mut chat = json!({"model": "gpt-6.1-sol", "messages": [{"role": "user", "content": "a"}], "n": 3, "service_tier": "priority"});
    let line = ceiling(Form::Chat, &chat, InputBound::Bytes).lines[0].clone();
    assert_eq!((line.choices, line.samplings, line.output), (3, 1, 128_000));
    assert_eq!((line.terms.tier, line.cache_writes), (ServiceTier::Priority, CacheWrites::ThirtyMinutes));
    chat["prompt_cache_retention"] = json!("12h");
    chat["max_tokens"] = json!(100);
    chat["max_completion_tokens"] = json!(200);
    let line = ceiling(Form::Chat, &chat, InputBound::Bytes).lines[0].clone();
    assert_eq!((line.output, line.cache_writes), (200, CacheWrites::TwelveHours));
    chat["models"] = json!(["gpt-6-luna"]);
    assert_eq!(ceiling(Form::Chat, &chat, InputBound::Bytes).lines.len(), 2);
    let mut tools = responses();
    tools["tools"] = json!([{"type": "web_search"}, {"type": "file_search"}]);
    let all = ceiling(Form::Responses, &tools, InputBound::Bytes);
    assert_eq!((all.lines[0].samplings, all.lines[0].input), (11, LIMITS.window));
    assert_eq!((all.web_searches, all.calls.file_searches), (10, 10));
    tools["max_tool_calls"] = json!(2);
    assert_eq!(ceiling(Form::Responses, &tools, InputBound::Bytes).lines[0].samplings, 3);
}

#[test]
fn tools_that_items_bring_are_tools() {
    let with = |tools: Value| {
        let mut body = responses();
        let items = body["input"].as_array_mut().expect("items");
        items.insert(0, json!({"type": "additional_tools", "role": "developer", "tools": tools}));
        let body = body.to_string();
        (body.len() as u64, Request::parse(Form::Responses, "/", body.into()).expect("a request"))
    };
    // As Codex offers its own: in a namespace, and none of them the provider's.
    let own =
        json!([{"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}]);
    let size = own.to_string().len() as u64;
    let (bytes, request) = with(own);
    assert!(request.offers_tools() && request.server_tools().is_empty(), "{:?}", request.server_tools());
    assert_eq!(request.unknown_fields(), &[] as &[String]);
    let input = request.ceiling(&Edits::default(), &|_| LIMITS, InputBound::Bytes).lines[0].input;
    assert_eq!(input, bytes + size + 1_024 + 3 * 10 + 64, "its bytes, those of tools twice");
    let (_, request) = with(json!([{"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]}]));
    assert_eq!(request.server_tools(), ["web_search"], "however deep it is");
    assert!(
        !Request::parse(Form::Responses, "/", responses().to_string().into())
            .expect("a request")
            .offers_tools()
    );
}
