//! What the meter says in a cloud's place.

use serde_json::json;

use super::super::{Answer, Problem, anthropic};
use super::{Cloud, Request, frames};

const JSON: &str = "application/json";
const FRAMES: &str = "application/vnd.amazon.eventstream";

/// A finished assistant turn, as [`anthropic::say_stop`] says it; in Bedrock's frames where a stream was asked
/// for there.
#[must_use]
pub fn say_stop(request: &Request, text: &str, id: &str) -> Answer {
    let answer = anthropic::say_stop(request.messages(), text, id);
    if request.cloud == Cloud::Vertex || !request.messages().stream() {
        return answer;
    }
    let lines = answer.body.split(|byte| *byte == b'\n');
    let events = lines.filter_map(|line| line.strip_prefix(b"data: "));
    let body: Vec<u8> = events.flat_map(frames::encode).collect();
    Answer { content_type: FRAMES, body: body.into(), ..answer }
}

/// A problem in the cloud's own error shape. A reached cap is a 400, which no known client tries again.
#[must_use]
pub fn say(cloud: Cloud, problem: &Problem) -> Answer {
    let (status, google, amazon, message) = match problem {
        Problem::Unauthorized => (
            401,
            "UNAUTHENTICATED",
            "UnrecognizedClientException",
            "the meter's token is missing or wrong: send it as a bearer, or in x-api-key".to_owned(),
        ),
        Problem::NotFound(what) => {
            let serves = match cloud {
                Cloud::Vertex => "rawPredict and streamRawPredict of Anthropic's models, and count-tokens",
                Cloud::Bedrock => "invoke, invoke-with-response-stream and count-tokens of /model",
            };
            (
                404,
                "NOT_FOUND",
                "ResourceNotFoundException",
                format!("{what} is not forwarded: the meter serves {serves}"),
            )
        }
        Problem::Invalid(why) => (400, "INVALID_ARGUMENT", "ValidationException", why.clone()),
        Problem::Denied(rule) => (403, "PERMISSION_DENIED", "AccessDeniedException", rule.clone()),
        Problem::TooLarge { bytes_max } => (
            413,
            "INVALID_ARGUMENT",
            "ValidationException",
            format!("the body is larger than the {bytes_max} bytes the meter takes"),
        ),
        Problem::CapReached(what) => (400, "FAILED_PRECONDITION", "ValidationException", what.clone()),
        Problem::UpgradeRequired => (
            426,
            "INVALID_ARGUMENT",
            "ValidationException",
            "the meter speaks plain HTTP and takes no upgrade: send the request by POST".to_owned(),
        ),
        Problem::Upstream(why) => (502, "UNAVAILABLE", "ServiceUnavailableException", why.clone()),
    };
    let error = match cloud {
        Cloud::Vertex => json!({ "error": { "code": status, "message": message, "status": google } }),
        Cloud::Bedrock => json!({ "__type": amazon, "message": message }),
    };
    let final_word = !matches!(problem, Problem::Upstream(_));
    Answer { status, content_type: JSON, body: error.to_string().into(), final_word }
}
