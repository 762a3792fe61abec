//! The simulated provider's other tongues: OpenAI Responses and Chat Completions, and Gemini.
//!
//! Some models of each vendor, at today's list prices, with a count of its own: a token is four bytes of any
//! text in the request, begun ones counted. Written apart from `price` and `provider` on purpose. What is said
//! in each tongue is in `chat`, `gemini` and `responses`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::script::{Fault, Reply};
use super::witness::Bill;
use crate::model::ModelId;
use crate::money::Usd;
use crate::tokens::Counts;

mod chat;
mod gemini;
mod responses;

/// The shortest prompt that a cache takes, in tokens.
const CACHED_MIN: u64 = 1_024;

/// A model: its name, pico-dollars of input, cache read, cache write and output, and where its long band
/// begins.
#[derive(Clone, Copy, Debug)]
struct Model {
    name: &'static str,
    pico: [i128; 4],
    long: Option<u64>,
}

/// OpenAI's; all of a request with a longer prompt costs twice as much, but output only half as much again.
const OPENAI: [Model; 3] = [
    Model { name: "gpt-6.1-sol", pico: [2_000_000, 100_000, 2_500_000, 10_000_000], long: Some(272_000) },
    Model { name: "gpt-6.1-terra", pico: [1_000_000, 50_000, 1_250_000, 5_000_000], long: Some(272_000) },
    Model { name: "gpt-6-luna", pico: [100_000, 10_000, 125_000, 500_000], long: Some(272_000) },
];
/// Google's, which takes nothing for writing.
const GOOGLE: [Model; 3] = [
    Model { name: "gemini-3.8-flash", pico: [750_000, 75_000, 750_000, 3_750_000], long: None },
    Model {
        name: "gemini-3.1-pro-preview",
        pico: [2_000_000, 200_000, 2_000_000, 12_000_000],
        long: Some(200_000),
    },
    Model { name: "gemini-3.1-flash-lite", pico: [250_000, 25_000, 250_000, 1_500_000], long: None },
];

/// An API that is spoken besides Messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tongue {
    Responses,
    Chat,
    /// With the place of its model, which the path names.
    Gemini {
        model: usize,
        stream: bool,
        events: bool,
    },
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
    match path {
        "/v1/responses" => return Some(Asked::Answer(Tongue::Responses)),
        "/v1/responses/input_tokens" => return Some(Asked::Count(Tongue::Responses)),
        "/v1/chat/completions" => return Some(Asked::Answer(Tongue::Chat)),
        _ => {}
    }
    let target = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?;
    let (name, action) = target.split_once(':')?;
    let model = GOOGLE.iter().position(|model| model.name == name)?;
    let gemini = |stream| Tongue::Gemini { model, stream, events };
    match action {
        "generateContent" => Some(Asked::Answer(gemini(false))),
        "streamGenerateContent" => Some(Asked::Answer(gemini(true))),
        "countTokens" => Some(Asked::Count(gemini(false))),
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

/// Works out the answer to the generation of that number, of all. The first writes a cache, and all others read
/// it, unless caches are `cold`.
///
/// # Errors
/// What is wrong with the request: a well-behaved meter leaves nothing to be said.
pub(super) fn speak(
    tongue: Tongue,
    body: &Value,
    index: u64,
    cold: bool,
    reply: &Reply,
) -> Result<Spoken, String> {
    let cap = output_cap(tongue, body).ok_or("no output cap: the answer may be as long as it likes")?;
    let model = model(tongue, body)?;
    check(tongue, body)?;
    let mut counts = cached(tongue, prompt(body), index > 0 && !cold);
    counts.output = reply.answer.output_tokens.unwrap_or(1).max(1).min(cap);
    match reply.fault {
        Fault::ExtraOutput(tokens) => counts.output += tokens,
        Fault::ExtraInput(tokens) => counts.input += tokens,
        _ => {}
    }
    let told = matches!(reply.fault, Fault::None | Fault::ExtraOutput(_) | Fault::ExtraInput(_));
    let usd = charge(&model, &counts);
    let bill = Bill { model: ModelId::new(model.name), counts, web_searches: 0, usd, told };
    let saying = Saying {
        model: model.name,
        answer: &reply.answer,
        counts: &counts,
        silent: reply.fault == Fault::NoUsage,
        stream: body["stream"] == true,
        index,
    };
    let (stream, pieces) = match tongue {
        Tongue::Responses => (saying.stream, responses::pieces(&saying)),
        Tongue::Chat => (saying.stream, chat::pieces(&saying)),
        Tongue::Gemini { stream, events, .. } => (stream, gemini::pieces(&saying, stream, events)),
    };
    let events = !matches!(tongue, Tongue::Gemini { events: false, .. });
    let content_type = if stream && events { "text/event-stream" } else { "application/json" };
    Ok(Spoken { bill, content_type, stream, pieces })
}

/// What an answer is made of.
struct Saying<'a> {
    model: &'static str,
    answer: &'a super::script::Answer,
    counts: &'a Counts,
    /// No usage is said.
    silent: bool,
    stream: bool,
    index: u64,
}

impl Saying<'_> {
    fn prompt(&self) -> u64 {
        self.counts.input + self.counts.cache_read + self.counts.cache_write_30m
    }

    /// A name for one of the answer's parts.
    fn id(&self, kind: &str, part: usize) -> String {
        format!("{kind}_sim{}_{part}", self.index)
    }
}

fn model(tongue: Tongue, body: &Value) -> Result<Model, String> {
    if let Tongue::Gemini { model, .. } = tongue {
        return Ok(GOOGLE[model]);
    }
    let model = OPENAI.into_iter().find(|model| body["model"] == model.name);
    model.ok_or_else(|| format!("The model `{}` does not exist", body["model"]))
}

fn check(tongue: Tongue, body: &Value) -> Result<(), String> {
    if tongue != Tongue::Responses && tongue != Tongue::Chat {
        return Ok(());
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
    let fields =
        ["input", "instructions", "messages", "contents", "systemInstruction", "system_instruction", "tools"];
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

fn charge(model: &Model, counts: &Counts) -> Usd {
    let [input, read, write, output] = model.pico;
    let prompt = counts.input + counts.cache_read + counts.cache_write_30m;
    let long = model.long.is_some_and(|above| prompt > above);
    let of_input = i128::from(counts.input) * input
        + i128::from(counts.cache_read) * read
        + i128::from(counts.cache_write_30m) * write;
    let of_output = i128::from(counts.output) * output;
    Usd::from_pico(if long { of_input * 2 + of_output * 3 / 2 } else { of_input + of_output })
}

/// One event of a stream without names.
fn event(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}
