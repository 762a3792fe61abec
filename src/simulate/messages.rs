//! The Messages API's shapes: a whole message, a stream of events, an error.

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Block, Served};

/// How many bytes of text one `content_block_delta` carries at most.
const DELTA_BYTES_MAX: usize = 120;

/// An error in the API's shape.
pub(super) fn error(status: u16, message: &str) -> Bytes {
    Bytes::from(error_value(status, message).to_string())
}

fn error_value(status: u16, message: &str) -> Value {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let error = json!({ "type": kind, "message": message });
    json!({ "type": "error", "error": error, "request_id": "req_simulated" })
}

/// The `error` event that may end a stream.
pub(super) fn error_event() -> Bytes {
    event("error", &error_value(529, "Overloaded"))
}

/// An answer as one message.
pub(super) fn whole(served: &Served) -> Bytes {
    let content: Vec<Value> = served.blocks.iter().map(|block| block_value(block, true)).collect();
    let mut message = envelope(served);
    message["content"] = Value::Array(content);
    message["stop_reason"] = json!(served.stop_reason);
    if let Some(usage) = &served.usage {
        message["usage"] = usage.whole();
    }
    Bytes::from(message.to_string())
}

/// An answer as the events of a stream, in order.
pub(super) fn events(served: &Served) -> Vec<Bytes> {
    let mut message = envelope(served);
    if let Some(usage) = &served.usage {
        message["usage"] = usage.start();
    }
    let mut events = vec![
        event("message_start", &json!({ "type": "message_start", "message": message })),
        event("ping", &json!({ "type": "ping" })),
    ];
    for (index, block) in served.blocks.iter().enumerate() {
        let kind = "content_block_start";
        let start = json!({ "type": kind, "index": index, "content_block": block_value(block, false) });
        events.push(event(kind, &start));
        for delta in deltas(block) {
            let kind = "content_block_delta";
            events.push(event(kind, &json!({ "type": kind, "index": index, "delta": delta })));
        }
        let kind = "content_block_stop";
        events.push(event(kind, &json!({ "type": kind, "index": index })));
    }
    let delta = json!({ "stop_reason": served.stop_reason, "stop_sequence": null });
    let mut end = json!({ "type": "message_delta", "delta": delta });
    if let Some(usage) = &served.usage {
        end["usage"] = usage.delta();
    }
    events.push(event("message_delta", &end));
    events.push(event("message_stop", &json!({ "type": "message_stop" })));
    events
}

fn envelope(served: &Served) -> Value {
    json!({
        "id": served.id,
        "type": "message",
        "role": "assistant",
        "model": served.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
    })
}

fn event(kind: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {kind}\ndata: {data}\n\n"))
}

/// A block with its content, or as a stream begins it.
fn block_value(block: &Block, full: bool) -> Value {
    let text = |text: &String| if full { text.clone() } else { String::new() };
    match block {
        Block::Thinking(thought) => {
            let signature = if full { "c2ltdWxhdGVk" } else { "" };
            json!({ "type": "thinking", "thinking": text(thought), "signature": signature })
        }
        Block::Text(said) => json!({ "type": "text", "text": text(said) }),
        Block::Call { id, name, input } => {
            let input = if full { input.clone() } else { json!({}) };
            json!({ "type": "tool_use", "id": id, "name": name, "input": input })
        }
    }
}

fn deltas(block: &Block) -> Vec<Value> {
    match block {
        Block::Thinking(thought) => {
            let mut deltas: Vec<Value> =
                pieces(thought).map(|piece| json!({ "type": "thinking_delta", "thinking": piece })).collect();
            deltas.push(json!({ "type": "signature_delta", "signature": "c2ltdWxhdGVk" }));
            deltas
        }
        Block::Text(said) => {
            pieces(said).map(|piece| json!({ "type": "text_delta", "text": piece })).collect()
        }
        Block::Call { input, .. } => {
            let input = input.to_string();
            pieces(&input).map(|piece| json!({ "type": "input_json_delta", "partial_json": piece })).collect()
        }
    }
}

/// The text in pieces, cut between characters.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let longest = rest.len().min(DELTA_BYTES_MAX);
        let end = (1..=longest).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(piece)
    })
}
