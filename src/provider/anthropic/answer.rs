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

#[cfg(test)]
mod tests {
    use super::super::super::{Edits, Reading};
    use super::super::Reader;
    use super::*;

    fn request(stream: bool) -> Request {
        let body = json!({
            "model": "claude-sonnet-5-5", "max_tokens": 9, "stream": stream,
            "messages": [{"role": "user", "content": "a"}],
        });
        Request::parse(body.to_string().into()).expect("a request")
    }

    #[test]
    fn a_stop_is_a_finished_turn_in_the_form_that_was_asked_for() {
        let text = "The cap of $1.00 is reached.\n\"Done\": nothing.";
        for (stream, content_type) in [(true, EVENTS), (false, JSON)] {
            let request = request(stream);
            let answer = say_stop(&request, text, "stop1");
            assert_eq!((answer.status, answer.content_type), (200, content_type));
            let mut reader = Reader::new(&request, &Edits::default());
            reader.feed(&answer.body);
            let Reading::Exact(usage) = reader.end(200) else { panic!("not a whole answer") };
            assert_eq!((usage.counts().input, usage.counts().output), (1, 1));
            assert_eq!((reader.text_tail().as_str(), reader.stop_reason()), (text, Some("end_turn")));
        }
    }

    #[test]
    fn the_stream_has_every_event_that_clients_wait_for() {
        let answer = say_stop(&request(true), "x", "1");
        let body = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
        let events: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(
            events,
            [
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop"
            ]
        );
    }

    #[test]
    fn problems_are_said_in_the_apis_own_shape() {
        let text = |text: &str| text.to_owned();
        for (problem, status, last, body) in [
            (
                Problem::Unauthorized,
                401,
                true,
                r#"{"type":"error","error":{"type":"authentication_error","message":"the meter's token is missing or wrong: send it where the API key goes, in x-api-key"}}"#,
            ),
            (
                Problem::NotFound(text("POST /v1/files")),
                404,
                true,
                r#"{"type":"error","error":{"type":"not_found_error","message":"POST /v1/files is not forwarded: the meter serves /v1/messages, /v1/messages/count_tokens and /v1/models"}}"#,
            ),
            (
                Problem::Invalid(text("why")),
                400,
                true,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"why"}}"#,
            ),
            (
                Problem::Denied(text("rule")),
                403,
                true,
                r#"{"type":"error","error":{"type":"permission_error","message":"rule"}}"#,
            ),
            (
                Problem::TooLarge { bytes_max: 1024 },
                413,
                true,
                r#"{"type":"error","error":{"type":"request_too_large","message":"the body is larger than the 1024 bytes the meter takes"}}"#,
            ),
            (
                Problem::CapReached(text("the cap")),
                400,
                true,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"the cap"}}"#,
            ),
            (
                Problem::UpgradeRequired,
                426,
                true,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"the meter speaks plain HTTP and takes no upgrade: send the request by POST"}}"#,
            ),
            (
                Problem::Upstream(text("gone")),
                502,
                false,
                r#"{"type":"error","error":{"type":"api_error","message":"gone"}}"#,
            ),
        ] {
            let expected = Answer { status, content_type: JSON, body: Bytes::from(body), final_word: last };
            assert_eq!(say(&problem), expected);
        }
    }
}
