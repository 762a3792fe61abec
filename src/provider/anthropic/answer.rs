//! What the meter says in the provider's place.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::{Answer, Problem};
use super::Request;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream; charset=utf-8";

/// A finished assistant turn with one text block and no tool call, as a stream where one was asked for.
/// `id` tells one such answer from another.
///
/// One token is reported each way, although nothing was sampled: some clients take an answer without any
/// usage for a fault of the provider and ask again.
#[must_use]
pub fn say_stop(request: &Request, text: &str, id: &str) -> Answer {
    let mut message = json!({
        "id": format!("msg_{id}"),
        "type": "message",
        "role": "assistant",
        "model": request.model().as_str(),
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": null,
        "usage": {
            "input_tokens": 1,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
        },
    });
    if !request.stream() {
        return Answer { status: 200, content_type: JSON, body: bytes_of(&message), final_word: true };
    }
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    let events = [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"output_tokens": 1},
        }),
        json!({"type": "message_stop"}),
    ];
    let mut body = String::new();
    for event in &events {
        let name = event["type"].as_str().unwrap_or_default();
        body.push_str(&format!("event: {name}\ndata: {event}\n\n"));
    }
    Answer { status: 200, content_type: EVENTS, body: body.into(), final_word: true }
}

/// A problem in the API's own error shape.
///
/// A reached cap is a 400: it is the one status that every client known takes as the end, without a retry.
#[must_use]
pub fn say(problem: &Problem) -> Answer {
    let (status, kind, message) = match problem {
        Problem::Unauthorized => (
            401,
            "authentication_error",
            "the meter's token is missing or wrong: send it where the API key goes, in x-api-key".to_owned(),
        ),
        Problem::NotFound(what) => (
            404,
            "not_found_error",
            format!(
                "{what} is not forwarded: the meter serves /v1/messages, /v1/messages/count_tokens and /v1/models"
            ),
        ),
        Problem::Invalid(why) => (400, "invalid_request_error", why.clone()),
        Problem::Denied(rule) => (403, "permission_error", rule.clone()),
        Problem::TooLarge { bytes_max } => (
            413,
            "request_too_large",
            format!("the body is larger than the {bytes_max} bytes the meter takes"),
        ),
        Problem::CapReached(what) => (400, "invalid_request_error", what.clone()),
        Problem::UpgradeRequired => (
            426,
            "invalid_request_error",
            "the meter speaks plain HTTP and takes no upgrade: send the request by POST".to_owned(),
        ),
        Problem::Upstream(why) => (502, "api_error", why.clone()),
    };
    let error = json!({"type": "error", "error": {"type": kind, "message": message}});
    let final_word = !matches!(problem, Problem::Upstream(_));
    Answer { status, content_type: JSON, body: bytes_of(&error), final_word }
}

fn bytes_of(value: &Value) -> Bytes {
    value.to_string().into()
}
