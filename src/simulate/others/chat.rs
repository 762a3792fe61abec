//! An answer as Chat Completions say it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Saying, event};

/// The whole answer, or the chunks of its stream.
pub(super) fn pieces(saying: &Saying<'_>) -> Vec<Bytes> {
    let counts = saying.counts;
    let usage = json!({
        "prompt_tokens": saying.prompt(),
        "prompt_tokens_details": {
            "cached_tokens": counts.cache_read, "cache_write_tokens": counts.cache_write_30m,
        },
        "completion_tokens": counts.output,
        "total_tokens": saying.prompt() + counts.output,
    });
    let usage = if saying.silent { Value::Null } else { usage };
    let calls: Vec<Value> = saying
        .answer
        .calls
        .iter()
        .enumerate()
        .map(|(at, call)| {
            json!({
                "index": at, "id": saying.id("call", at), "type": "function",
                "function": { "name": call.name, "arguments": call.input.to_string() },
            })
        })
        .collect();
    let reason = if calls.is_empty() { "stop" } else { "tool_calls" };
    let said = |mut message: Value| {
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        message
    };
    let text = &saying.answer.text;
    let object = if saying.stream { "chat.completion.chunk" } else { "chat.completion" };
    let chunk = |choices: Value, usage: &Value| {
        json!({
            "id": saying.id("chatcmpl", 0), "object": object, "created": 1, "model": saying.model,
            "service_tier": "default", "choices": choices, "usage": usage,
        })
    };
    if !saying.stream {
        let message = said(json!({ "role": "assistant", "content": text, "refusal": null }));
        let choice = json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": reason }]);
        return vec![chunk(choice, &usage).to_string().into()];
    }
    let choice =
        |delta: Value, reason: Value| json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
    let start = json!({ "role": "assistant", "content": "" });
    let mut pieces = vec![
        event(&chunk(choice(start, Value::Null), &Value::Null)),
        event(&chunk(choice(said(json!({ "content": text })), Value::Null), &Value::Null)),
        event(&chunk(choice(json!({}), json!(reason)), &Value::Null)),
    ];
    if !saying.silent {
        pieces.push(event(&chunk(json!([]), &usage)));
    }
    pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
    pieces
}
