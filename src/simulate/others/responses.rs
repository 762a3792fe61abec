//! An answer as the Responses API says it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Saying;
use crate::simulate::script::ToolCall;

/// The whole answer, or the events of its stream.
pub(super) fn pieces(saying: &Saying<'_>) -> Vec<Bytes> {
    let counts = saying.counts;
    let usage = json!({
        "input_tokens": saying.prompt(),
        "input_tokens_details": {
            "cached_tokens": counts.cache_read, "cache_write_tokens": counts.cache_write_30m,
        },
        "output_tokens": counts.output,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": saying.prompt() + counts.output,
    });
    let text = Some(message(saying)).filter(|_| !saying.answer.text.is_empty());
    let calls = saying.answer.calls.iter().enumerate().map(|(at, made)| call(saying, at, made));
    let items: Vec<Value> = text.into_iter().chain(calls).collect();
    let whole = json!({
        "id": saying.id("resp", 0), "object": "response", "created_at": 1, "status": "completed",
        "model": saying.model, "service_tier": "default", "error": null, "incomplete_details": null,
        "instructions": null, "metadata": {}, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "output": items, "usage": if saying.silent { Value::Null } else { usage },
    });
    if !saying.stream {
        return vec![whole.to_string().into()];
    }
    let mut begun = whole.clone();
    (begun["usage"], begun["output"], begun["status"]) = (Value::Null, json!([]), json!("in_progress"));
    let mut events = vec![
        json!({ "type": "response.created", "response": begun }),
        json!({ "type": "response.in_progress", "response": begun }),
    ];
    for (at, item) in items.iter().enumerate() {
        events.extend(item_events(at, item));
    }
    events.push(json!({ "type": "response.completed", "response": whole }));
    let numbered = events.into_iter().enumerate().map(|(number, mut event)| {
        event["sequence_number"] = json!(number);
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        Bytes::from(format!("event: {kind}\ndata: {event}\n\n"))
    });
    numbered.collect()
}

fn message(saying: &Saying<'_>) -> Value {
    let part =
        json!({ "type": "output_text", "text": saying.answer.text, "annotations": [], "logprobs": [] });
    json!({
        "id": saying.id("msg", 0), "type": "message", "status": "completed", "role": "assistant",
        "content": [part],
    })
}

/// A call whose input is a text is one of a custom tool; a name may have its namespace before it.
fn call(saying: &Saying<'_>, at: usize, call: &ToolCall) -> Value {
    let (id, call_id) = (saying.id("call_item", at), saying.id("call", at));
    if let Value::String(input) = &call.input {
        return json!({
            "id": id, "type": "custom_tool_call", "status": "completed", "call_id": call_id,
            "name": call.name, "input": input,
        });
    }
    let mut item = json!({
        "id": id, "type": "function_call", "status": "completed", "call_id": call_id,
        "name": call.name, "arguments": call.input.to_string(),
    });
    if let Some((namespace, name)) = call.name.split_once('.') {
        (item["namespace"], item["name"]) = (json!(namespace), json!(name));
    }
    item
}

fn item_events(at: usize, item: &Value) -> Vec<Value> {
    let place = |kind: &str, more: &[(&str, Value)]| {
        let mut event = json!({ "type": kind, "item_id": item["id"], "output_index": at });
        for (key, value) in more {
            event[*key] = value.clone();
        }
        event
    };
    let mut begun = item.clone();
    begun["status"] = json!("in_progress");
    let inside = match item["type"].as_str().unwrap_or_default() {
        "message" => {
            begun["content"] = json!([]);
            let part = &item["content"][0];
            let empty = json!({ "type": "output_text", "text": "", "annotations": [], "logprobs": [] });
            let at = ("content_index", json!(0));
            vec![
                place("response.content_part.added", &[at.clone(), ("part", empty)]),
                place(
                    "response.output_text.delta",
                    &[at.clone(), ("delta", part["text"].clone()), ("logprobs", json!([]))],
                ),
                place(
                    "response.output_text.done",
                    &[at.clone(), ("text", part["text"].clone()), ("logprobs", json!([]))],
                ),
                place("response.content_part.done", &[at, ("part", part.clone())]),
            ]
        }
        "function_call" => {
            begun["arguments"] = json!("");
            vec![
                place("response.function_call_arguments.delta", &[("delta", item["arguments"].clone())]),
                place(
                    "response.function_call_arguments.done",
                    &[("arguments", item["arguments"].clone()), ("name", item["name"].clone())],
                ),
            ]
        }
        _ => {
            begun["input"] = json!("");
            vec![
                place("response.custom_tool_call_input.delta", &[("delta", item["input"].clone())]),
                place("response.custom_tool_call_input.done", &[("input", item["input"].clone())]),
            ]
        }
    };
    let mut events = vec![json!({ "type": "response.output_item.added", "output_index": at, "item": begun })];
    events.extend(inside);
    events.push(json!({ "type": "response.output_item.done", "output_index": at, "item": item }));
    events
}
