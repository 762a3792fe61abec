use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::super::image::tests::{encode, png_of};
use super::*;
use crate::model::Thinking;
use crate::tokens::{Region, ServiceTier, Speed, Terms};

const WINDOW: u64 = 200_000;
const IMAGE: u64 = 1_568;

fn limits(_model: &ModelId) -> Limits {
    Limits { window: WINDOW, output: 64_000, thinking: Thinking::Adaptive, image: IMAGE }
}

fn request(body: &serde_json::Value) -> Request {
    Request::parse(Bytes::from(body.to_string())).expect("a request")
}

fn asking(content: serde_json::Value, more: serde_json::Value) -> Request {
    let mut body =
        json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": content}]});
    for (key, value) in more.as_object().expect("fields") {
        body[key] = value.clone();
    }
    request(&body)
}

fn ceiling(request: &Request) -> Ceiling {
    request.ceiling(&Edits::default(), &limits, InputBound::Bytes)
}

fn input(request: &Request) -> u64 {
    ceiling(request).lines[0].input
}

#[test]
fn code_that_is_charged_by_the_hour_is_refused_unless_it_is_free() {
    let offers = |kinds: &[&str]| {
        let tools: Vec<_> = kinds.iter().map(|kind| json!({"type": kind, "name": "t"})).collect();
        asking(json!("a"), json!({"tools": tools})).check_tools()
    };
    for (kinds, fine) in [
        (&["web_search_20250305"][..], true),
        (&["code_execution_20250825"], false),
        (&["bash_code_execution_20250825"], false),
        (&["code_execution_20250825", "web_search_20250305"], false),
        (&["code_execution_20250825", "web_search_20260209"], true),
        (&["web_fetch_20260301", "code_execution_20260120"], true),
        (&["bash_20250124"], true),
    ] {
        assert_eq!(offers(kinds).is_ok(), fine, "{kinds:?}");
    }
    let why = "the request offers `code_execution_20250825`, whose cost no answer tells; leave it out, or offer it \
               beside web_search_20260209, where it is free";
    assert_eq!(offers(&["code_execution_20250825"]), Err(Problem::Denied(why.to_owned())));
}

#[test]
fn text_counts_its_bytes_and_what_the_provider_adds() {
    let plain = asking(json!("hello"), json!({}));
    let body = plain.body().len() as u64;
    assert_eq!(input(&plain), body + MESSAGE_TOKENS + REQUEST_TOKENS);

    let tools = json!([{"name": "Read", "input_schema": {"type": "object"}}]);
    let tools_bytes = tools.to_string().len() as u64;
    let with_tools = asking(json!("hello"), json!({"tools": tools}));
    let expected =
        with_tools.body().len() as u64 + tools_bytes + TOOLS_TOKENS + MESSAGE_TOKENS + REQUEST_TOKENS;
    assert_eq!(input(&with_tools), expected);

    let bash = asking(json!("hello"), json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}));
    let tool_bytes = json!([{"type": "bash_20250124", "name": "bash"}]).to_string().len() as u64;
    let base = bash.body().len() as u64 + MESSAGE_TOKENS + REQUEST_TOKENS;
    assert_eq!(input(&bash), base + tool_bytes + TOOLS_TOKENS + 325);
    assert_eq!(input(&asking(json!("x".repeat(300_000)), json!({}))), WINDOW);
}

#[test]
fn images_count_their_patches_wherever_the_provider_looks_for_them() {
    let image = |bytes: &[u8]| json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encode(bytes)}});
    let large = image(&png_of(280, 280, 150_000));
    let frame = image(b"").to_string().len() as u64;
    let text = |blocks: u64| blocks * frame + 260;
    for (name, content, tokens) in [
        ("at the top", json!([large]), 105),
        (
            "in a tool's result",
            json!([{"type": "tool_result", "tool_use_id": "t", "content": [large, large]}]),
            210,
        ),
        ("of unknown size", json!([image(&[1; 3000])]), IMAGE),
        (
            "in a document",
            json!([{"type": "document", "source": {"type": "content", "content": [large]}}]),
            105,
        ),
        ("at an address", json!([{"type": "image", "source": {"type": "url", "url": "https://x"}}]), IMAGE),
        ("in a file", json!([{"type": "image", "source": {"type": "file", "file_id": "f"}}]), IMAGE),
    ] {
        let bound = input(&asking(content, json!({})));
        assert!(bound >= tokens && bound < tokens + text(2), "{name}: {bound}");
    }
    for (name, content) in [
        (
            "in a tool's input",
            json!([{"type": "tool_use", "id": "t", "name": "n", "input": {"source": large["source"], "content": [large]}}]),
        ),
        ("in a block of text", json!([{"type": "text", "text": "a", "content": [large]}])),
        ("as a block of another kind", json!([{"type": "text", "text": "a", "source": large["source"]}])),
    ] {
        assert_eq!(input(&asking(content, json!({}))), WINDOW, "{name}, it is text, or unknown");
    }
}

#[test]
fn what_the_provider_fetches_or_holds_counts_the_window() {
    let pdf = json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}});
    let countable = [
        json!([pdf]),
        json!([{"type": "document", "source": {"type": "file", "file_id": "f"}}]),
        json!([{"type": "tool_result", "tool_use_id": "t", "content": [pdf]}]),
    ];
    for content in countable {
        let request = asking(content, json!({}));
        assert_eq!(input(&request), WINDOW);
        let counted = InputBound::Counted { tokens: 10_000, extra: 5 };
        assert_eq!(request.ceiling(&Edits::default(), &limits, counted).lines[0].input, 10_269);
    }
    for request in [
        asking(json!([{"type": "document", "source": {"type": "url", "url": "https://x"}}]), json!({})),
        asking(json!([{"type": "container_upload", "file_id": "f"}]), json!({})),
        asking(json!([{"type": "video", "source": {"type": "base64", "data": "AAAA"}}]), json!({})),
        asking(json!([{"type": "image", "source": {"type": "one_day"}}]), json!({})),
        asking(json!("hi"), json!({"container": "c"})),
        asking(json!("hi"), json!({"thread": {"id": "t"}})),
        asking(json!("hi"), json!({"mcp_servers": [{"url": "https://x"}]})),
        asking(json!("hi"), json!({"tools": [{"type": "web_fetch_1", "max_uses": 1}]})),
    ] {
        assert_eq!(input(&request), WINDOW);
        let counted = InputBound::Counted { tokens: 10, extra: 0 };
        assert_eq!(request.ceiling(&Edits::default(), &limits, counted).lines[0].input, WINDOW);
        assert_eq!(request.count_body(&Edits::default()), None);
    }
    let text =
        json!([{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}}]);
    assert!(input(&asking(text, json!({}))) < 400);
}

#[test]
fn samplings_searches_and_other_models_are_counted() {
    let lines = |more: serde_json::Value| {
        let ceiling = ceiling(&asking(json!("hi"), more));
        let line = |line: &CeilingLine| format!("{} x{} out {}", line.model, line.samplings, line.output);
        (ceiling.lines.iter().map(line).collect::<Vec<_>>().join(", "), ceiling.web_searches)
    };
    for (more, expected, searches) in [
        (json!({}), "m x1 out 100", 0),
        (json!({"max_tokens": 1_000_000}), "m x1 out 1000000", 0),
        (json!({"tools": [{"type": "web_search_1", "max_uses": 3}]}), "m x4 out 100", 3),
        (json!({"tools": [{"type": "web_search_1"}]}), "m x11 out 100", SEARCHES_UNBOUNDED),
        (
            json!({"tools": [{"type": "web_search_1", "max_uses": 30}, {"type": "web_fetch_1", "max_uses": 2}]}),
            "m x11 out 100",
            30,
        ),
        (json!({"tools": [{"type": "code_execution_1"}]}), "m x11 out 100", 0),
        (
            json!({"tools": [{"type": "advisor_1", "model": "big", "max_uses": 2, "max_tokens": 2048}]}),
            "m x3 out 100, big x2 out 2048",
            0,
        ),
        (json!({"tools": [{"type": "advisor_1", "model": "big"}]}), "m x11 out 100, big x10 out 64000", 0),
        (
            json!({"fallbacks": [{"model": "a"}, {"model": "b", "max_tokens": 200}]}),
            "m x1 out 100, a x1 out 100, b x1 out 200",
            0,
        ),
        (json!({"fallbacks": null}), "m x1 out 100", 0),
        (
            json!({"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}),
            "m x1 out 100",
            0,
        ),
        (json!({"context_management": null}), "m x1 out 100", 0),
        (json!({"context_management": {"edits": [{"type": "compact_20260112"}]}}), "m x1 out 100", 0),
        (
            json!({"system": "x".repeat(50_000), "context_management": {"edits": [{"type": "compact_20260112"}]}}),
            "m x1 out 100, m x1 out 64000",
            0,
        ),
        (json!({"context_management": {"one_day": 1}}), "m x1 out 100, m x1 out 64000", 0),
        (json!({"compaction": {"type": "summarize"}}), "m x1 out 100, m x1 out 64000", 0),
    ] {
        assert_eq!(lines(more.clone()), (expected.to_owned(), searches), "{more}");
    }
}

#[test]
fn cache_writes_and_terms_are_the_dearest_that_the_request_asks_for() {
    let mark = |ttl: &str| json!([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": ttl}}]);
    for (name, request, writes) in [
        ("none", asking(json!("hi"), json!({})), CacheWrites::None),
        ("on a block", asking(mark("5m"), json!({})), CacheWrites::FiveMinutes),
        ("for an hour", asking(mark("1h"), json!({})), CacheWrites::OneHour),
        ("two", asking(mark("5m"), json!({"system": mark("1h")})), CacheWrites::OneHour),
        (
            "automatic",
            asking(json!("hi"), json!({"cache_control": {"type": "ephemeral"}})),
            CacheWrites::FiveMinutes,
        ),
        (
            "on an advisor's own prompt",
            asking(
                json!("hi"),
                json!({"tools": [{"type": "advisor_1", "model": "m", "caching": {"ttl": "1h"}}]}),
            ),
            CacheWrites::OneHour,
        ),
        (
            "of a kind that is not known",
            asking(json!("hi"), json!({"cache_control": "ephemeral"})),
            CacheWrites::OneHour,
        ),
        (
            "on a tool",
            asking(json!("hi"), json!({"tools": [{"name": "t", "cache_control": {"ttl": "1h"}}]})),
            CacheWrites::OneHour,
        ),
    ] {
        assert_eq!(ceiling(&request).lines[0].cache_writes, writes, "{name}");
        assert_eq!(request.hour_writes(), writes == CacheWrites::OneHour, "{name}");
    }
    for (more, terms) in [
        (json!({"service_tier": "auto", "speed": null, "inference_geo": "global"}), Terms::default()),
        (json!({"speed": "fast"}), Terms { speed: Speed::Fast, ..Terms::default() }),
        (json!({"inference_geo": "us"}), Terms { region: Region::Us, ..Terms::default() }),
        (
            json!({"service_tier": "gold"}),
            Terms { tier: ServiceTier::Other("gold".into()), ..Terms::default() },
        ),
        (json!({"inference_geo": "eu"}), Terms { region: Region::Other("eu".into()), ..Terms::default() }),
    ] {
        assert_eq!(ceiling(&asking(json!("hi"), more.clone())).lines[0].terms, terms, "{more}");
    }
}

#[test]
fn edits_are_bounded_as_they_will_be_sent() {
    let request = asking(json!("hi"), json!({"max_tokens": 5_000}));
    let note = "wrap up".to_owned();
    let edits = Edits { model: Some(ModelId::new("small")), output_cap: Some(1_000), note: Some(note) };
    let before = ceiling(&request).lines.remove(0);
    let after = request.ceiling(&edits, &limits, InputBound::Bytes).lines.remove(0);
    assert_eq!((after.model.as_str(), after.output), ("small", 1_000));
    assert_eq!(after.input, before.input + 7 + NOTE_TOKENS);
    let raised = Edits { output_cap: Some(9_000), ..Edits::default() };
    assert_eq!(request.ceiling(&raised, &limits, InputBound::Bytes).lines[0].output, 5_000);
    let counted = InputBound::Counted { tokens: 1_000, extra: 30 };
    assert_eq!(request.ceiling(&Edits::default(), &limits, counted).lines[0].input, 1_000 + 20 + 64 + 30);
    let unseen = asking(json!("hi"), json!({"one_day": "12345678"}));
    assert_eq!(unseen.ceiling(&Edits::default(), &limits, counted).lines[0].input, 1_000 + 20 + 64 + 30 + 10);
}

#[test]
fn a_fallback_is_bounded_for_itself() {
    let fallbacks = json!([{"model": "a", "speed": "fast"}, {"model": "b", "speed": null}]);
    let request = asking(json!("hello"), json!({"fallbacks": fallbacks}));
    let counted = InputBound::Counted { tokens: 10, extra: 0 };
    let lines = request.ceiling(&Edits::default(), &limits, counted).lines;
    let by_size = input(&request);
    assert_eq!(lines.iter().map(|line| line.input).collect::<Vec<_>>(), [10 + 1 + 64, by_size, by_size]);
    assert_eq!(
        lines.iter().map(|line| line.terms.speed.clone()).collect::<Vec<_>>(),
        [Speed::Standard, Speed::Fast, Speed::Standard]
    );
}

#[test]
fn tools_that_the_conversation_defines_are_tools() {
    let add = |definition: serde_json::Value| {
        let tool = json!({"type": "tool_definition", "definition": definition});
        json!({"type": "tool_addition", "tool": tool})
    };
    let search = json!({"type": "web_search_20260318", "name": "web_search", "max_uses": 2});
    let custom = json!({"name": "Read", "input_schema": {"type": "object"}});
    for request in [
        asking(json!([add(search.clone())]), json!({})),
        request(&json!({"model": "m", "max_tokens": 100, "messages": [
            {"role": "user", "content": "a"}, {"role": "system", "content": [add(search.clone())]},
        ]})),
        asking(json!([{"type": "compaction", "content": "a", "tool_changes": [add(search)]}]), json!({})),
    ] {
        assert_eq!(request.server_tools(), ["web_search_20260318"]);
        assert_eq!((ceiling(&request).lines[0].samplings, ceiling(&request).web_searches), (3, 2));
        assert_eq!(request.count_body(&Edits::default()), None);
        assert_eq!(request.unknown_fields(), Vec::<String>::new());
    }
    let inline = asking(json!([add(custom.clone())]), json!({}));
    let expected = inline.body().len() as u64
        + custom.to_string().len() as u64
        + TOOLS_TOKENS
        + MESSAGE_TOKENS
        + REQUEST_TOKENS;
    assert_eq!((input(&inline), inline.server_tools().len()), (expected, 0));
    for kind in ["bash_code_execution_20250825", "computer_20260801_cloud", "memory", "browser_toolset"] {
        let request = asking(json!("a"), json!({"tools": [{"type": kind, "name": "t"}]}));
        assert_eq!(request.server_tools(), [kind]);
    }
    for kind in ["bash_20250124", "browser_toolset_20260801", "computer_20251124", "custom"] {
        let request = asking(json!("a"), json!({"tools": [{"type": kind, "name": "t"}]}));
        assert_eq!(request.server_tools(), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn what_is_written_anew_for_the_model_or_not_known_is_counted_or_the_window() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encode(&png_of(9000, 9000, 9))}});
    for content in [
        json!([{"type": "one_day", "text": "a"}]),
        json!([{"type": "one_day_result", "content": [image]}]),
        json!([{"type": "search_result", "source": "s", "title": "t", "citations": {"enabled": true},
                "content": [{"type": "text", "text": "a. b."}]}]),
        json!([{"type": "document", "citations": {"enabled": true},
                "source": {"type": "text", "media_type": "text/plain", "data": "a. b."}}]),
    ] {
        let request = asking(content.clone(), json!({}));
        assert_eq!(input(&request), WINDOW, "{content}");
        assert!(request.count_body(&Edits::default()).is_some(), "{content}");
    }
    let plain = json!([{"type": "document", "citations": {"enabled": false},
        "source": {"type": "text", "media_type": "text/plain", "data": "a. b."}}]);
    assert!(input(&asking(plain, json!({}))) < 400);
}

proptest! {
    /// The densest tokenizer that could be: every byte of every text is a token, and so is the JSON of
    /// every tool call and tool.
    #[test]
    fn no_tokenizer_makes_more_tokens_than_the_ceiling(
        texts in prop::collection::vec("\\PC{0,60}", 1..8), system in ".{0,80}", name in "[a-z]{1,9}"
    ) {
        let messages: Vec<_> = texts.iter().map(|text| json!({"role": "user", "content": [
            {"type": "text", "text": text},
            {"type": "tool_use", "id": "t", "name": name, "input": {"command": text}},
            {"type": "tool_result", "tool_use_id": "t", "content": text},
        ]})).collect();
        let tools = json!([{"name": name, "description": system, "input_schema": {"type": "object"}}]);
        let request = request(&json!({
            "model": "m", "max_tokens": 1, "system": system, "messages": messages, "tools": tools,
        }));
        let rendered = |text: &String| 2 * text.len() + json!({"command": text}).to_string().len();
        let tokens = texts.iter().map(rendered).sum::<usize>() + system.len() + 2 * tools.to_string().len();
        prop_assert!(input(&request) >= (tokens as u64).min(WINDOW));
    }
}
