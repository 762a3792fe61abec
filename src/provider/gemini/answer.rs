//! What the meter says in the provider's place.

use bytes::Bytes;
use serde_json::json;

use super::super::{Answer, Problem};
use super::Request;

const JSON: &str = "application/json; charset=UTF-8";
const EVENTS: &str = "text/event-stream";

/// A finished turn of the model's with one text and no tool call, as a stream where one was asked for. `id`
/// tells one such answer from another.
#[must_use]
pub fn say_stop(request: &Request, text: &str, id: &str) -> Answer {
    let answer = json!({
        "candidates": [{
            "content": {"parts": [{"text": text}], "role": "model"},
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
        "modelVersion": request.model().as_str(),
        "responseId": id,
    });
    let (content_type, body) = match (request.stream, request.events) {
        (true, true) => (EVENTS, format!("data: {answer}\r\n\r\n")),
        (true, false) => (JSON, format!("[{answer}]")),
        (false, _) => (JSON, answer.to_string()),
    };
    Answer { status: 200, content_type, body: body.into(), final_word: true }
}

/// A problem in the API's own error shape. None of these is tried again by Gemini CLI but the last.
#[must_use]
pub fn say(problem: &Problem) -> Answer {
    let (code, status, message) = match problem {
        Problem::Unauthorized => (
            401,
            "UNAUTHENTICATED",
            "the meter's token is missing or wrong: send it where the API key goes, in x-goog-api-key"
                .to_owned(),
        ),
        Problem::NotFound(what) => (
            404,
            "NOT_FOUND",
            format!(
                "{what} is not forwarded: the meter serves generateContent, streamGenerateContent and \
                 countTokens of /v1beta/models, and its list"
            ),
        ),
        Problem::Invalid(why) => (400, "INVALID_ARGUMENT", why.clone()),
        Problem::Denied(rule) => (403, "PERMISSION_DENIED", rule.clone()),
        Problem::TooLarge { bytes_max } => (
            413,
            "INVALID_ARGUMENT",
            format!("the body is larger than the {bytes_max} bytes the meter takes"),
        ),
        Problem::CapReached(what) => (400, "FAILED_PRECONDITION", what.clone()),
        Problem::UpgradeRequired => (
            426,
            "INVALID_ARGUMENT",
            "the meter speaks plain HTTP and takes no upgrade: send the request by POST".to_owned(),
        ),
        Problem::Upstream(why) => (502, "UNAVAILABLE", why.clone()),
    };
    let error = json!({"error": {"code": code, "message": message, "status": status}});
    let final_word = !matches!(problem, Problem::Upstream(_));
    Answer { status: code, content_type: JSON, body: Bytes::from(error.to_string()), final_word }
}
