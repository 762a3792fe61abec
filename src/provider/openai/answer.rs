//! What the meter says in the provider's place.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::{Answer, Problem};
use super::fields::StreamUsage;
use super::{Form, Request};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream; charset=utf-8";

/// A finished assistant turn with one text and no tool call, as a stream where one was asked for. `id`
/// tells one such answer from another.
///
/// One token is reported each way, although nothing was sampled: some clients fail on an answer without any
/// usage.
#[must_use]
pub fn say_stop(request: &Request, text: &str, id: &str) -> Answer {
    let body = match (request.form(), request.stream()) {
        (Form::Responses, true) => response_events(request, text, id),
        (Form::Responses, false) => response(request, Some(text), id).to_string(),
        (Form::Chat, true) => chat_chunks(request, text, id),
        (Form::Chat, false) => {
            let message = json!({"role": "assistant", "content": text, "refusal": null});
            let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
            chat(request, "chat.completion", id, json!([choice]), Some(chat_usage())).to_string()
        }
    };
    let content_type = if request.stream() { EVENTS } else { JSON };
    Answer { status: 200, content_type, body: body.into(), final_word: true }
}

/// A Responses object: finished with a text, or begun without one.
fn response(request: &Request, text: Option<&str>, id: &str) -> Value {
    let usage = json!({
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2,
    });
    json!({
        "id": format!("resp_{id}"),
        "object": "response",
        "created_at": 0,
        "status": if text.is_some() { "completed" } else { "in_progress" },
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "model": request.model().as_str(),
        "output": text.map(|text| vec![message(Some(text), id)]).unwrap_or_default(),
        "parallel_tool_calls": true,
        "tool_choice": "auto",
        "tools": [],
        "usage": text.map(|_| usage),
    })
}

fn message(text: Option<&str>, id: &str) -> Value {
    json!({
        "id": format!("msg_{id}"),
        "type": "message",
        "status": if text.is_some() { "completed" } else { "in_progress" },
        "role": "assistant",
        "content": text.map(|text| vec![part(text)]).unwrap_or_default(),
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

fn response_events(request: &Request, text: &str, id: &str) -> String {
    let item = format!("msg_{id}");
    let place = |kind: &str, more: Value| {
        let mut event = json!({"type": kind, "item_id": item, "output_index": 0, "content_index": 0});
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        event
    };
    let begun = response(request, None, id);
    let mut events = [
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.in_progress", "response": begun}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": message(None, id)}),
        place("response.content_part.added", json!({"part": part("")})),
        place("response.output_text.delta", json!({"delta": text, "logprobs": []})),
        place("response.output_text.done", json!({"text": text, "logprobs": []})),
        place("response.content_part.done", json!({"part": part(text)})),
        json!({"type": "response.output_item.done", "output_index": 0, "item": message(Some(text), id)}),
        json!({"type": "response.completed", "response": response(request, Some(text), id)}),
    ];
    let mut body = String::new();
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = json!(number);
        let kind = event["type"].as_str().unwrap_or_default();
        body.push_str(&format!("event: {kind}\ndata: {event}\n\n"));
    }
    body
}

fn chat(request: &Request, object: &str, id: &str, choices: Value, usage: Option<Value>) -> Value {
    let mut chat = json!({
        "id": format!("chatcmpl-{id}"),
        "object": object,
        "created": 0,
        "model": request.model().as_str(),
        "choices": choices,
    });
    if let Some(usage) = usage {
        chat["usage"] = usage;
    }
    chat
}

fn chat_usage() -> Value {
    json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2})
}

fn chat_chunks(request: &Request, text: &str, id: &str) -> String {
    let asked = matches!(request.found.stream_usage, StreamUsage::Asked);
    let chunk = |choices: Value, usage: Option<Value>| {
        format!("data: {}\n\n", chat(request, "chat.completion.chunk", id, choices, usage))
    };
    let choice = |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
    let mut body = chunk(choice(json!({"role": "assistant", "content": ""}), Value::Null), None);
    body.push_str(&chunk(choice(json!({"content": text}), Value::Null), None));
    body.push_str(&chunk(choice(json!({}), json!("stop")), None));
    if asked {
        body.push_str(&chunk(json!([]), Some(chat_usage())));
    }
    body.push_str("data: [DONE]\n\n");
    body
}

/// A problem in the API's own error shape.
///
/// What must not be tried again is a 400 for Responses, which Codex tries again for any other status, and a
/// 404 for a chat, which is the only one that litellm does not try again.
#[must_use]
pub fn say(form: Form, problem: &Problem) -> Answer {
    let refused = if form == Form::Responses { 400 } else { 404 };
    let (status, kind, code, message) = match problem {
        Problem::Unauthorized => (
            401,
            "invalid_request_error",
            "invalid_api_key",
            "the meter's token is missing or wrong: send it where the API key goes, in authorization"
                .to_owned(),
        ),
        Problem::NotFound(what) => (
            404,
            "invalid_request_error",
            "not_forwarded",
            format!(
                "{what} is not forwarded: the meter serves /v1/responses, /v1/responses/input_tokens, \
                 /v1/chat/completions and /v1/models"
            ),
        ),
        Problem::Invalid(why) => (400, "invalid_request_error", "invalid_request", why.clone()),
        Problem::Denied(rule) => (refused, "invalid_request_error", "denied_by_policy", rule.clone()),
        Problem::TooLarge { bytes_max } => (
            413,
            "invalid_request_error",
            "request_too_large",
            format!("the body is larger than the {bytes_max} bytes the meter takes"),
        ),
        Problem::CapReached(what) => (refused, "invalid_request_error", "cost_cap_reached", what.clone()),
        Problem::UpgradeRequired => (
            426,
            "invalid_request_error",
            "upgrade_refused",
            "the meter speaks plain HTTP and takes no upgrade: send the request by POST".to_owned(),
        ),
        Problem::Upstream(why) => (502, "server_error", "upstream_failed", why.clone()),
    };
    let error = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    let final_word = !matches!(problem, Problem::Upstream(_));
    Answer { status, content_type: JSON, body: Bytes::from(error.to_string()), final_word }
}
