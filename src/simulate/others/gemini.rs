//! An answer as the Gemini API says it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Saying, event};

/// The whole answer, or its stream in two pieces, as events or as one array.
pub(super) fn pieces(saying: &Saying<'_>, stream: bool, events: bool) -> Vec<Bytes> {
    let output = saying.counts.output;
    let calls = saying.answer.calls.iter();
    let calls: Vec<Value> =
        calls.map(|call| json!({ "functionCall": { "name": call.name, "args": call.input } })).collect();
    let mut said = vec![json!({ "text": saying.answer.text })];
    said.retain(|part| part["text"] != "");
    if !stream {
        said.extend(calls);
        return vec![chunk(saying, said, json!("STOP"), output).to_string().into()];
    }
    let first = chunk(saying, said, Value::Null, output / 2);
    // A stream may end without any more of the answer.
    let rest = if calls.is_empty() { vec![json!({ "text": "" })] } else { calls };
    let last = chunk(saying, rest, json!("STOP"), output);
    if events {
        vec![event(&first), event(&last)]
    } else {
        vec![format!("[{first}").into(), format!(",\n{last}]").into()]
    }
}

fn chunk(saying: &Saying<'_>, parts: Vec<Value>, reason: Value, output: u64) -> Value {
    let prompt = saying.counts.input + saying.counts.cache_read;
    let thoughts = output / 3;
    let usage = json!({
        "promptTokenCount": prompt,
        "cachedContentTokenCount": saying.counts.cache_read,
        "candidatesTokenCount": output - thoughts,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + output,
    });
    let mut candidate = json!({ "index": 0, "content": { "role": "model", "parts": parts } });
    if !reason.is_null() {
        candidate["finishReason"] = reason;
    }
    let mut chunk = json!({
        "candidates": [candidate], "modelVersion": saying.model, "responseId": saying.id("resp", 0),
    });
    if !saying.silent {
        chunk["usageMetadata"] = usage;
    }
    chunk
}
