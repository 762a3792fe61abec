//! For every API and mode: no usage that an answer may have costs more than its request's bound, and how
//! loose the bound is.
//!
//! The usages are our own: the most that a text of so many bytes can be (a token a byte), what it usually is
//! (a token for four bytes), with everything new, read from a cache or written to one, and with the whole of
//! the output cap used.

use serde_json::{Value, json};

use tollgate::model::{Limits, ModelId};
use tollgate::money::Usd;
use tollgate::price::{Bound, Table, When};
use tollgate::provider::{Api, Edits, InputBound, Reader, Reading, Request};
use tollgate::tokens::Region;

const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const CHAT: &str = "/v1/chat/completions";

/// What an answer counts, in tokens.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    fresh: u64,
    read: u64,
    /// Written to the cache that lives longest, of those the request may write to.
    written: u64,
    output: u64,
}

/// How a request may use caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    /// It reads from one at most.
    Read,
    /// It may write to one of the usual lifetime.
    Short,
    /// It may write to one of the longer lifetime.
    Long,
}

/// A mode: its name, the API and path, the request, what its prompt and output can be at most, how it may use
/// caches, and what the answer says besides its counts.
struct Mode {
    name: &'static str,
    api: Api,
    path: String,
    body: Value,
    prompt: u64,
    output: u64,
    cache: Cache,
    served: Value,
}

fn text(bytes: u64) -> String {
    "x".repeat(usize::try_from(bytes).expect("small"))
}

fn with(mut value: Value, more: Value) -> Value {
    let (Some(fields), Value::Object(more)) = (value.as_object_mut(), more) else { panic!("objects") };
    fields.extend(more);
    value
}

fn messages(name: &'static str, model: &str, prompt: u64, cache: Cache, more: Value, served: Value) -> Mode {
    let mut block = json!({ "type": "text", "text": text(prompt) });
    match cache {
        Cache::Read => {}
        Cache::Short => block["cache_control"] = json!({ "type": "ephemeral" }),
        Cache::Long => block["cache_control"] = json!({ "type": "ephemeral", "ttl": "1h" }),
    }
    let body = json!({
        "model": model, "max_tokens": 4_000, "messages": [{ "role": "user", "content": [block] }],
    });
    let served = with(json!({ "model": model }), served);
    Mode {
        name,
        api: Api::Anthropic,
        path: MESSAGES.to_owned(),
        body: with(body, more),
        prompt,
        output: 4_000,
        cache,
        served,
    }
}

fn responses(name: &'static str, model: &str, prompt: u64, cache: Cache, more: Value, served: Value) -> Mode {
    let body = json!({ "model": model, "input": text(prompt), "max_output_tokens": 4_000 });
    let served = with(json!({ "model": model, "status": "completed", "output": [] }), served);
    Mode {
        name,
        api: Api::OpenAiResponses,
        path: RESPONSES.to_owned(),
        body: with(body, more),
        prompt,
        output: 4_000,
        cache,
        served,
    }
}

fn chat(name: &'static str, model: &str, prompt: u64, cache: Cache, more: Value, served: Value) -> Mode {
    let body = json!({
        "model": model, "max_completion_tokens": 4_000, "messages": [{ "role": "user", "content": text(prompt) }],
    });
    let choices = json!([{ "index": 0, "message": { "content": "a" }, "finish_reason": "stop" }]);
    let served = with(json!({ "model": model, "choices": choices }), served);
    Mode {
        name,
        api: Api::OpenAiChat,
        path: CHAT.to_owned(),
        body: with(body, more),
        prompt,
        output: 4_000,
        cache,
        served,
    }
}

fn gemini(name: &'static str, model: &str, prompt: u64, more: Value, served: Value) -> Mode {
    let path = format!("/v1beta/models/{model}:generateContent");
    let body = json!({
        "contents": [{ "role": "user", "parts": [{ "text": text(prompt) }] }],
        "generationConfig": { "maxOutputTokens": 4_000 },
    });
    let candidates = json!([{ "index": 0, "finishReason": "STOP" }]);
    let served = with(json!({ "modelVersion": model, "candidates": candidates }), served);
    Mode {
        name,
        api: Api::Gemini,
        path,
        body: with(body, more),
        prompt,
        output: 4_000,
        cache: Cache::Read,
        served,
    }
}

/// A request to a cloud: the Messages API's, with the model in the path.
fn cloud(name: &'static str, path: &str, model: &str, prompt: u64, cache: Cache) -> Mode {
    let mode = messages(name, model, prompt, cache, json!({ "anthropic_version": "v" }), json!({}));
    let api = if path.starts_with("/model/") { Api::Bedrock } else { Api::Vertex };
    let mut body = mode.body;
    body.as_object_mut().expect("an object").remove("model");
    Mode { api, path: path.to_owned(), body, ..mode }
}

/// A request to Vertex at a location.
fn vertex(name: &'static str, location: &str, model: &str, prompt: u64, cache: Cache) -> Mode {
    let path = format!("/v1/projects/p/locations/{location}/publishers/anthropic/models/{model}:rawPredict");
    cloud(name, &path, model, prompt, cache)
}

/// A request to Bedrock by an inference profile.
fn bedrock(name: &'static str, profile: &str, model: &str, prompt: u64, cache: Cache) -> Mode {
    let served = model.split("-v1").next().unwrap_or(model);
    cloud(name, &format!("/model/{profile}anthropic.{model}/invoke"), served, prompt, cache)
}

#[rustfmt::skip]
fn modes() -> Vec<Mode> {
    let none = || json!({});
    let tools = || json!({ "tools": [{ "name": "f", "description": "d", "input_schema": { "type": "object" } }] });
    let search = || json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search", "max_uses": 3 }] });
    let image = format!("data:image/png;base64,{}", "A".repeat(90_000));
    let calls = |kind: &str, count: usize| json!({ "output": vec![json!({ "type": kind }); count] });
    let mut all = vec![
        messages("messages", "claude-sonnet-5-5", 20_000, Cache::Read, none(), none()),
        messages("messages, 5 min writes", "claude-opus-5-5", 20_000, Cache::Short, none(), none()),
        messages("messages, 1 h writes", "claude-fable-5-2", 20_000, Cache::Long, none(), none()),
        messages("messages, tools", "claude-opus-5-5", 20_000, Cache::Short, tools(), none()),
        messages("messages, long band", "claude-haiku-5-5", 150_000, Cache::Long, none(), none()),
        messages("messages, near the band", "claude-haiku-5-5", 100_000, Cache::Short, none(), none()),
        messages("messages, fast", "claude-opus-5-5", 20_000, Cache::Short, json!({ "speed": "fast" }), json!({ "speed": "fast" })),
        messages("messages, fast served plainly", "claude-opus-5", 20_000, Cache::Short, json!({ "speed": "fast" }), json!({ "speed": "standard" })),
        messages("messages, us", "claude-sonnet-5-5", 20_000, Cache::Short, json!({ "inference_geo": "us" }), json!({ "inference_geo": "us" })),
        messages("messages, us by default", "claude-sonnet-5-5", 20_000, Cache::Long, none(), json!({ "inference_geo": "us" })),
        messages("messages, committed", "claude-sonnet-5-5", 20_000, Cache::Short, json!({ "service_tier": "auto" }), json!({ "service_tier": "priority" })),
        messages("messages, fallback", "claude-fable-5-2", 20_000, Cache::Short, json!({ "fallbacks": [{ "model": "claude-opus-5-5" }] }), json!({ "model": "claude-opus-5-5" })),
        messages("messages, searches", "claude-sonnet-5-5", 20_000, Cache::Short, search(), json!({ "server_tool_use": { "web_search_requests": 3 } })),
        messages("messages, bedrock's name", "us.anthropic.claude-opus-4-6-v1", 20_000, Cache::Short, none(), none()),
        messages("messages, an old model", "claude-opus-4-1", 20_000, Cache::Long, none(), none()),
        responses("responses", "gpt-6.1-sol", 20_000, Cache::Short, none(), none()),
        responses("responses, 12 h writes", "gpt-6-astra", 20_000, Cache::Long, json!({ "prompt_cache_retention": "12h" }), none()),
        responses("responses, long band", "gpt-6.1-terra", 300_000, Cache::Short, none(), none()),
        responses("responses, near the band", "gpt-5.6-sol", 272_000, Cache::Short, none(), none()),
        responses("responses, no write fee", "gpt-5.5", 20_000, Cache::Read, none(), none()),
        responses("responses, ultrafast", "gpt-6.1-sol", 20_000, Cache::Short, json!({ "service_tier": "ultrafast" }), json!({ "service_tier": "ultrafast" })),
        responses("responses, priority", "gpt-5.5", 20_000, Cache::Read, json!({ "service_tier": "priority" }), json!({ "service_tier": "priority" })),
        responses("responses, priority not had", "gpt-5.5", 20_000, Cache::Read, json!({ "service_tier": "priority" }), json!({ "service_tier": "default" })),
        responses("responses, flex not had", "gpt-6-luna", 20_000, Cache::Short, json!({ "service_tier": "flex" }), json!({ "service_tier": "default" })),
        responses("responses, an image", "gpt-6.1-sol", 20_000, Cache::Short, json!({ "input": [{ "role": "user", "content": [{ "type": "input_text", "text": text(20_000) }, { "type": "input_image", "image_url": image }] }] }), none()),
        responses("responses, searches", "gpt-6.1-sol", 20_000, Cache::Short, json!({ "tools": [{ "type": "web_search" }], "max_tool_calls": 4 }), calls("web_search_call", 4)),
        responses("responses, older searches", "gpt-4.1", 20_000, Cache::Read, json!({ "tools": [{ "type": "web_search_preview" }], "max_tool_calls": 2 }), calls("web_search_call", 2)),
        responses("responses, file searches", "gpt-6.1-sol", 20_000, Cache::Short, json!({ "tools": [{ "type": "file_search" }], "max_tool_calls": 2 }), calls("file_search_call", 2)),
        responses("responses, compaction", "gpt-6.1-sol", 20_000, Cache::Short, json!({ "context_management": [{ "type": "compaction" }] }), none()),
        chat("chat", "gpt-5.6-luna", 20_000, Cache::Short, none(), none()),
        chat("chat, three answers", "gpt-4.1-mini", 20_000, Cache::Read, json!({ "n": 3 }), none()),
        chat("chat, priority", "gpt-4.1", 20_000, Cache::Read, json!({ "service_tier": "priority" }), json!({ "service_tier": "priority" })),
        chat("chat, deepseek", "deepseek-v4-pro", 20_000, Cache::Read, none(), none()),
        chat("chat, qwen's third band", "qwen3-coder-plus", 200_000, Cache::Read, none(), none()),
        chat("chat, kimi writes", "kimi-k3", 20_000, Cache::Short, none(), none()),
        chat("chat, xai's band", "grok-4.6", 200_000, Cache::Read, none(), none()),
        chat("chat, a router's fallback", "openai/gpt-6-luna", 20_000, Cache::Short, json!({ "models": ["x-ai/grok-4.6"] }), json!({ "model": "x-ai/grok-4.6" })),
        gemini("gemini", "gemini-3.8-flash", 20_000, none(), none()),
        gemini("gemini, long band", "gemini-2.5-pro", 220_000, none(), none()),
        gemini("gemini, priority", "gemini-3.5-flash", 20_000, json!({ "serviceTier": "priority" }), none()),
        gemini("gemini, flex not had", "gemini-3.8-flash", 20_000, json!({ "serviceTier": "flex" }), json!({ "serviceTier": "standard" })),
        gemini("gemini, before it doubles", "gemini-4-carbon", 20_000, none(), none()),
        gemini("gemini, what is cached", "gemini-3.1-pro-preview", 20_000, json!({ "cachedContent": "cachedContents/1" }), none()),
        gemini("gemini, searches", "gemini-3.8-flash", 20_000, json!({ "tools": [{ "googleSearch": {} }] }), json!({ "candidates": [{ "index": 0, "finishReason": "STOP", "groundingMetadata": { "webSearchQueries": ["a", "b", "c"] } }] })),
        vertex("vertex, anywhere", "global", "claude-opus-5-5", 20_000, Cache::Long),
        vertex("vertex, a region", "us-east5", "claude-opus-5-5", 20_000, Cache::Long),
        vertex("vertex, long band", "us-east5", "claude-haiku-5-5", 150_000, Cache::Long),
        vertex("vertex, several regions", "eu", "claude-sonnet-4-5@20250929", 20_000, Cache::Short),
        bedrock("bedrock, anywhere", "global.", "claude-sonnet-5-5", 20_000, Cache::Short),
        bedrock("bedrock, a region", "eu.", "claude-sonnet-5-5", 20_000, Cache::Short),
        bedrock("bedrock, a bare model", "", "claude-haiku-4-5-20251001-v1%3A0", 20_000, Cache::Long),
        bedrock("bedrock, us-gov", "us-gov.", "claude-sonnet-5-5", 20_000, Cache::Short),
    ];
    for mode in &mut all {
        if mode.name == "chat, three answers" {
            mode.output = 12_000;
        }
    }
    all
}

/// What answers may count: see the top.
fn usages(mode: &Mode) -> Vec<Used> {
    let mut all = Vec::new();
    for prompt in [mode.prompt, mode.prompt / 4, 1] {
        for output in [mode.output, mode.output / 20, 0] {
            all.push(Used { fresh: prompt, output, ..Used::default() });
            all.push(Used { read: prompt, output, ..Used::default() });
            let third = prompt / 3;
            all.push(Used { fresh: prompt - third, read: third, output, ..Used::default() });
            if mode.cache != Cache::Read {
                all.push(Used { written: prompt, output, ..Used::default() });
                all.push(Used { fresh: third, read: third, written: prompt - 2 * third, output });
            }
        }
    }
    all
}

/// The answer's body with these counts, in the API's words.
fn answer(mode: &Mode, used: Used) -> Value {
    let Used { fresh, read, written, output } = used;
    let prompt = fresh + read + written;
    let mut body = mode.served.clone();
    match mode.api {
        // The clouds' answers are Anthropic's.
        Api::Anthropic | Api::Vertex | Api::Bedrock => {
            let (short, long) = if mode.cache == Cache::Long { (0, written) } else { (written, 0) };
            let mut usage = json!({
                "input_tokens": fresh, "cache_read_input_tokens": read, "cache_creation_input_tokens": written,
                "cache_creation": { "ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long },
                "output_tokens": output,
            });
            for field in ["speed", "inference_geo", "service_tier", "server_tool_use"] {
                if let Some(value) = mode.served.get(field) {
                    usage[field] = value.clone();
                }
            }
            body["usage"] = usage;
            body["stop_reason"] = json!("end_turn");
        }
        Api::OpenAiResponses => {
            let long = if mode.cache == Cache::Long { written } else { 0 };
            body["usage"] = json!({
                "input_tokens": prompt,
                "input_tokens_details": { "cached_tokens": read, "cache_write_tokens": written,
                    "cache_write_tokens_details": { "ttl_30m_tokens": written - long, "ttl_12h_tokens": long } },
                "output_tokens": output, "output_tokens_details": { "reasoning_tokens": output / 2 },
                "total_tokens": prompt + output,
            });
        }
        Api::OpenAiChat => {
            body["usage"] = json!({
                "prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output,
                "prompt_tokens_details": { "cached_tokens": read, "cache_write_tokens": written },
            });
        }
        Api::Gemini => {
            let thoughts = output / 2;
            body["usageMetadata"] = json!({
                "promptTokenCount": prompt, "cachedContentTokenCount": read, "thoughtsTokenCount": thoughts,
                "candidatesTokenCount": output - thoughts, "totalTokenCount": prompt + output,
            });
            if let Some(tier) = mode.served.get("serviceTier") {
                body["usageMetadata"]["serviceTier"] = tier.clone();
            }
        }
    }
    body
}

fn cost(request: &Request, body: &Value, when: When) -> Usd {
    let edits = Edits::default();
    let mut reader = Reader::new(request, &edits, request.region(&edits, Region::Global).0);
    reader.feed(body.to_string().as_bytes());
    let Reading::Exact(usage) = reader.end(200) else { panic!("not a whole answer: {body}") };
    Table::embedded().cost(&usage, when).expect("a price").usd
}

fn bound(request: &Request, input: InputBound, edits: &Edits, when: When) -> Bound {
    let table = Table::embedded();
    let limits = |model: &ModelId| -> Limits { table.limits(model).expect("a known model") };
    let mut ceiling = request.ceiling(edits, &limits, input);
    // What is asked of a cloud is served in a place that is known.
    if let (region, true) = request.region(edits, Region::Global) {
        for line in &mut ceiling.lines {
            line.terms.region = region.clone();
            line.region_open = false;
        }
    }
    table.bound(&ceiling, when).expect("a price")
}

/// The instant of admission: for one mode that of a day before its price doubles.
fn when(mode: &Mode) -> When {
    let instant = if mode.name.contains("doubles") { "2026-11-30T12:00:00Z" } else { "2026-11-23T12:00:00Z" };
    When::Around(instant.parse().expect("an instant"))
}

/// How many times `least` fits into `most`, in hundredths.
fn hundredths(most: Usd, least: Usd) -> i128 {
    most.pico() * 100 / least.pico()
}

#[expect(clippy::print_stdout, reason = "how loose the bounds are is what the table is read for")]
fn show(line: &str) {
    println!("{line}");
}

#[test]
fn no_usage_within_a_request_costs_more_than_its_bound() {
    show("mode                            bound over cost: at the most, and at a token for 4 bytes, capped");
    for mode in modes() {
        let when = when(&mode);
        let request = Request::parse(mode.api, &mode.path, mode.body.to_string().into()).expect(mode.name);
        let most = bound(&request, InputBound::Bytes, &Edits::default(), when);
        let mut tightest = i128::MAX;
        for used in usages(&mode) {
            let cost = cost(&request, &answer(&mode, used), when);
            assert!(cost > Usd::ZERO, "{}: {used:?} costs nothing", mode.name);
            assert!(cost <= most.total(), "{}: {used:?} costs {cost}, bound {}", mode.name, most.total());
            tightest = tightest.min(hundredths(most.total(), cost));
        }
        // What is left to be lowered is lowered: a shorter answer fits the bound that was lowered with it.
        let edits = Edits { output_cap: Some(500), ..Edits::default() };
        let lowered = bound(&request, InputBound::Bytes, &edits, when);
        let choices = mode.output / 4_000;
        let short = Used { fresh: mode.prompt, output: 500 * choices, ..Used::default() };
        let capped = cost(&request, &answer(&mode, short), when);
        assert!(capped <= lowered.total(), "{}: {capped} is above {}", mode.name, lowered.total());
        assert!(lowered.total() < most.total(), "{}: the cap lowers nothing", mode.name);
        let usual = Used { fresh: mode.prompt / 4, output: mode.output, ..Used::default() };
        let usual = hundredths(most.total(), cost(&request, &answer(&mode, usual), when));
        let times = |hundredths: i128| format!("{}.{:02}", hundredths / 100, hundredths % 100);
        show(&format!("{:<32} {:>8} {:>8}", mode.name, times(tightest), times(usual)));
        // Tools of the provider's read the context again, a window is a window, and what was asked for need not
        // be what was served: the rest is near.
        let words = ["searches", "compaction", "fallback", "cached", "image", "near", "plainly", "not had"];
        let wide = words.iter().any(|word| mode.name.contains(word));
        assert!(wide || tightest <= 200, "{}: {} times the dearest", mode.name, times(tightest));
    }
}

#[test]
fn a_count_of_the_input_bounds_it_more_closely() {
    for mode in modes() {
        let when = when(&mode);
        let request = Request::parse(mode.api, &mode.path, mode.body.to_string().into()).expect(mode.name);
        let (edits, tokens) = (Edits::default(), mode.prompt / 4);
        let counted = bound(&request, InputBound::Counted { tokens, extra: 0 }, &edits, when);
        let sized = bound(&request, InputBound::Bytes, &edits, when);
        if request.count_body(&edits).is_some() {
            assert!(counted.total() < sized.total(), "{}", mode.name);
            let used = Used { fresh: tokens, output: mode.output, ..Used::default() };
            assert!(cost(&request, &answer(&mode, used), when) <= counted.total(), "{}", mode.name);
        }
    }
}

#[test]
fn a_place_costs_what_the_clouds_pages_say_and_is_bounded_by_it() {
    let of = |mode: &Mode| {
        let request = Request::parse(mode.api, &mode.path, mode.body.to_string().into()).expect(mode.name);
        let used = Used { fresh: mode.prompt / 2, read: 1_000, written: 500, output: 700 };
        let bound = bound(&request, InputBound::Bytes, &Edits::default(), when(mode));
        (cost(&request, &answer(mode, used), when(mode)), bound.total())
    };
    let (model, cache) = ("claude-sonnet-5-5", Cache::Short);
    let (list, list_bound) = of(&bedrock("anywhere", "global.", model, 20_000, cache));
    for (mode, tenths) in [
        (vertex("vertex, anywhere", "global", model, 20_000, cache), 10),
        (vertex("vertex, us", "us", model, 20_000, cache), 11),
        (vertex("vertex, a region", "europe-west1", model, 20_000, cache), 11),
        (bedrock("bedrock, a region", "us.", model, 20_000, cache), 11),
        (bedrock("bedrock, a bare model", "", model, 20_000, cache), 11),
        (bedrock("bedrock, us-gov", "us-gov.", model, 20_000, cache), 12),
    ] {
        let (cost, most) = of(&mode);
        assert_eq!(cost.pico() * 10, list.pico() * tenths, "{}", mode.name);
        // A name's own bytes are bounded as well, and names are not of one length.
        let off = (most.pico() * 10 - list_bound.pico() * tenths).abs();
        assert!(off * 1_000 < list_bound.pico() * tenths, "{}: the bound", mode.name);
    }
}
