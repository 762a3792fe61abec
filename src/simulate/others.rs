//! The simulated provider's other tongues: OpenAI Responses and Chat Completions, and Gemini.
//!
//! One model of each vendor, at today's list prices, with a count of its own: a token is four bytes of any
//! text in the request, begun ones counted. Written apart from `price` and `provider` on purpose.

use bytes::Bytes;
use serde_json::{Value, json};

use super::script::{Fault, Reply};
use super::witness::Bill;
use crate::model::ModelId;
use crate::money::Usd;
use crate::tokens::Counts;

/// The shortest prompt that a cache takes, in tokens.
const CACHED_MIN: u64 = 1_024;
/// OpenAI's model: pico-dollars of input, cache read, cache write and output.
const OPENAI: (&str, [i128; 4]) = ("gpt-6.1-sol", [2_000_000, 100_000, 2_500_000, 10_000_000]);
/// Google's model, which takes nothing for writing.
const GEMINI: (&str, [i128; 4]) = ("gemini-3.8-flash", [750_000, 75_000, 750_000, 3_750_000]);
/// OpenAI doubles all of a request above this prompt, but output only by half.
const LONG_PROMPT: u64 = 272_000;

/// An API that is spoken besides Messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tongue {
    Responses,
    Chat,
    Gemini { stream: bool, events: bool },
}

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Answer(Tongue),
    Count(Tongue),
}

/// What a `POST` to a path asks for.
pub(super) fn asked(path: &str, query: Option<&str>) -> Option<Asked> {
    let events = query.is_some_and(|query| query.contains("alt=sse"));
    let gemini = |stream| Tongue::Gemini { stream, events };
    match path {
        "/v1/responses" => return Some(Asked::Answer(Tongue::Responses)),
        "/v1/responses/input_tokens" => return Some(Asked::Count(Tongue::Responses)),
        "/v1/chat/completions" => return Some(Asked::Answer(Tongue::Chat)),
        _ => {}
    }
    match path.strip_prefix("/v1beta/models/")?.strip_prefix(GEMINI.0)? {
        ":generateContent" => Some(Asked::Answer(gemini(false))),
        ":streamGenerateContent" => Some(Asked::Answer(gemini(true))),
        ":countTokens" => Some(Asked::Count(gemini(false))),
        _ => None,
    }
}

/// The answer of the count endpoint.
pub(super) fn counted(tongue: Tongue, body: &Value) -> Bytes {
    let tokens = prompt(body);
    let answer = match tongue {
        Tongue::Gemini { .. } => json!({ "totalTokens": tokens }),
        Tongue::Responses | Tongue::Chat => {
            json!({ "object": "response.input_tokens", "input_tokens": tokens })
        }
    };
    answer.to_string().into()
}

/// An answer, worked out.
#[derive(Debug)]
pub(super) struct Spoken {
    pub(super) bill: Bill,
    pub(super) content_type: &'static str,
    /// Whether it is a stream, of so many pieces.
    pub(super) stream: bool,
    pub(super) pieces: Vec<Bytes>,
}

/// Works out an answer. `warm` says that the same prompt may have been cached before.
///
/// # Errors
/// What is wrong with the request: a well-behaved meter leaves nothing to be said.
pub(super) fn speak(tongue: Tongue, body: &Value, warm: bool, reply: &Reply) -> Result<Spoken, String> {
    let cap = output_cap(tongue, body).ok_or("no output cap: the answer may be as long as it likes")?;
    check(tongue, body)?;
    let mut counts = cached(tongue, prompt(body), warm);
    counts.output = reply.answer.output_tokens.unwrap_or(1).max(1).min(cap);
    match reply.fault {
        Fault::ExtraOutput(tokens) => counts.output += tokens,
        Fault::ExtraInput(tokens) => counts.input += tokens,
        _ => {}
    }
    let told = matches!(reply.fault, Fault::None | Fault::ExtraOutput(_) | Fault::ExtraInput(_));
    let (model, rates) = if matches!(tongue, Tongue::Gemini { .. }) { GEMINI } else { OPENAI };
    let usd = charge(rates, &counts, model == OPENAI.0);
    let bill = Bill { model: ModelId::new(model), counts, web_searches: 0, usd, told };
    let silent = reply.fault == Fault::NoUsage;
    let (stream, pieces) = pieces(tongue, body, &reply.answer.text, &counts, silent);
    let events = !matches!(tongue, Tongue::Gemini { events: false, .. });
    let content_type = if stream && events { "text/event-stream" } else { "application/json" };
    Ok(Spoken { bill, content_type, stream, pieces })
}

fn check(tongue: Tongue, body: &Value) -> Result<(), String> {
    if tongue != Tongue::Responses && tongue != Tongue::Chat {
        return Ok(());
    }
    if body["model"] != OPENAI.0 {
        return Err(format!("The model `{}` does not exist", body["model"]));
    }
    if body["service_tier"] != "default" {
        return Err("service_tier: served at the project's, whichever that is".to_owned());
    }
    if tongue == Tongue::Chat && body["stream"] == true && body["stream_options"]["include_usage"] != true {
        return Err("stream_options.include_usage: no usage will be said".to_owned());
    }
    Ok(())
}

fn output_cap(tongue: Tongue, body: &Value) -> Option<u64> {
    match tongue {
        Tongue::Responses => body["max_output_tokens"].as_u64(),
        Tongue::Chat => body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()),
        Tongue::Gemini { .. } => body["generationConfig"]["maxOutputTokens"].as_u64(),
    }
}

/// Tokens of all text of the prompt.
fn prompt(body: &Value) -> u64 {
    let body = body.get("generateContentRequest").unwrap_or(body);
    let fields = ["input", "instructions", "messages", "contents", "systemInstruction", "tools"];
    fields.iter().map(|field| text_tokens(&body[field])).sum::<u64>().max(1)
}

fn text_tokens(value: &Value) -> u64 {
    match value {
        Value::String(text) => u64::try_from(text.len()).unwrap_or(u64::MAX).div_ceil(4),
        Value::Array(values) => values.iter().map(text_tokens).sum(),
        Value::Object(fields) => fields.values().map(text_tokens).sum(),
        _ => 0,
    }
}

fn cached(tongue: Tongue, prompt: u64, warm: bool) -> Counts {
    let whole = if prompt >= CACHED_MIN { prompt / 128 * 128 } else { 0 };
    let mut counts = Counts { input: prompt - whole, ..Counts::default() };
    match (warm, tongue) {
        (true, _) => counts.cache_read = whole,
        (false, Tongue::Gemini { .. }) => counts.input += whole,
        (false, _) => counts.cache_write_30m = whole,
    }
    counts
}

fn charge([input, read, write, output]: [i128; 4], counts: &Counts, banded: bool) -> Usd {
    let prompt = counts.input + counts.cache_read + counts.cache_write_30m;
    let long = banded && prompt > LONG_PROMPT;
    let of_input = i128::from(counts.input) * input
        + i128::from(counts.cache_read) * read
        + i128::from(counts.cache_write_30m) * write;
    let of_output = i128::from(counts.output) * output;
    Usd::from_pico(if long { of_input * 2 + of_output * 3 / 2 } else { of_input + of_output })
}

fn pieces(tongue: Tongue, body: &Value, text: &str, counts: &Counts, silent: bool) -> (bool, Vec<Bytes>) {
    let event = |value: Value| Bytes::from(format!("data: {value}\n\n"));
    let prompt = counts.input + counts.cache_read + counts.cache_write_30m;
    let said = |usage: Value| if silent { Value::Null } else { usage };
    match tongue {
        Tongue::Responses => {
            let usage = said(json!({
                "input_tokens": prompt,
                "input_tokens_details": {
                    "cached_tokens": counts.cache_read, "cache_write_tokens": counts.cache_write_30m,
                },
                "output_tokens": counts.output,
                "total_tokens": prompt + counts.output,
            }));
            let message = json!({ "type": "message", "content": [{ "type": "output_text", "text": text }] });
            let mut whole = json!({
                "id": "resp_sim", "object": "response", "status": "completed", "model": OPENAI.0,
                "service_tier": "default", "error": null, "output": [message], "usage": usage,
            });
            if body["stream"] != true {
                return (false, vec![whole.to_string().into()]);
            }
            let last = json!({ "type": "response.completed", "response": whole.clone() });
            whole["usage"] = Value::Null;
            let created = json!({ "type": "response.created", "response": whole });
            let delta = |text: &str| json!({ "type": "response.output_text.delta", "delta": text });
            (true, [created, delta(text), delta("."), delta("."), last].map(event).to_vec())
        }
        Tongue::Chat => {
            let usage = said(json!({
                "prompt_tokens": prompt,
                "prompt_tokens_details": {
                    "cached_tokens": counts.cache_read, "cache_write_tokens": counts.cache_write_30m,
                },
                "completion_tokens": counts.output,
                "total_tokens": prompt + counts.output,
            }));
            let chunk = |choices: Value, usage: &Value| json!({ "id": "c", "model": OPENAI.0, "service_tier": "default", "choices": choices, "usage": usage });
            if body["stream"] != true {
                let choice = json!([{ "index": 0, "message": { "content": text }, "finish_reason": "stop" }]);
                return (false, vec![chunk(choice, &usage).to_string().into()]);
            }
            let choice = |delta: Value, reason: Value| json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
            let mut pieces = vec![
                event(chunk(
                    choice(json!({ "role": "assistant", "content": "" }), Value::Null),
                    &Value::Null,
                )),
                event(chunk(choice(json!({ "content": text }), Value::Null), &Value::Null)),
                event(chunk(choice(json!({}), json!("stop")), &Value::Null)),
            ];
            if !silent {
                pieces.push(event(chunk(json!([]), &usage)));
            }
            pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
            (true, pieces)
        }
        Tongue::Gemini { stream, events } => {
            let (before, after) =
                (gemini_usage(counts, counts.output / 2), gemini_usage(counts, counts.output));
            let first = gemini_chunk(text, &Value::Null, said(before));
            let last = gemini_chunk(".", &json!("STOP"), said(after));
            match (stream, events) {
                (false, _) => (false, vec![last.to_string().into()]),
                (true, true) => (true, vec![event(first), event(last)]),
                (true, false) => (true, vec![format!("[{first}").into(), format!(",\n{last}]").into()]),
            }
        }
    }
}

fn gemini_usage(counts: &Counts, output: u64) -> Value {
    let prompt = counts.input + counts.cache_read;
    let thoughts = output / 3;
    json!({
        "promptTokenCount": prompt,
        "cachedContentTokenCount": counts.cache_read,
        "candidatesTokenCount": output - thoughts,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + output,
    })
}

fn gemini_chunk(text: &str, reason: &Value, usage: Value) -> Value {
    let candidate = json!({ "index": 0, "content": { "role": "model", "parts": [{ "text": text }] }, "finishReason": reason });
    json!({ "candidates": [candidate], "usageMetadata": usage, "modelVersion": GEMINI.0 })
}
