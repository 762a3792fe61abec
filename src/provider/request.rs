//! A request of any API.

use std::borrow::Cow;

use bytes::Bytes;

use super::cloud::{self, Cloud};
use super::{Answer, Api, Edits, InputBound, Problem, anthropic, gemini, openai};
use crate::model::{Limits, ModelId};
use crate::tokens::{Ceiling, Region};

/// A request for an answer, in whichever API.
#[derive(Clone, Debug)]
pub enum Request {
    /// Anthropic Messages.
    Anthropic(anthropic::Request),
    /// OpenAI Responses or Chat Completions.
    OpenAi(openai::Request),
    /// Gemini.
    Gemini(gemini::Request),
    /// Claude on Vertex or Bedrock.
    Cloud(Box<cloud::Request>),
}

/// The same question to each API.
macro_rules! each {
    ($self:ident, $request:ident => $answer:expr) => {
        match $self {
            Request::Anthropic($request) => $answer,
            Request::OpenAi($request) => $answer,
            Request::Gemini($request) => $answer,
            Request::Cloud(cloud) => {
                let $request = cloud.messages();
                $answer
            }
        }
    };
}

impl Request {
    /// Reads a body strictly; `path` is that of the request, with its query.
    ///
    /// # Errors
    /// [`Problem::Invalid`] or [`Problem::Denied`], with the reason.
    pub fn parse(api: Api, path: &str, body: Bytes) -> Result<Self, Problem> {
        match api {
            Api::Anthropic => anthropic::Request::parse(body).map(Request::Anthropic),
            Api::OpenAiResponses => {
                openai::Request::parse(openai::Form::Responses, path, body).map(Request::OpenAi)
            }
            Api::OpenAiChat => openai::Request::parse(openai::Form::Chat, path, body).map(Request::OpenAi),
            Api::Gemini => gemini::Request::parse(path, body).map(Request::Gemini),
            Api::Vertex => Self::cloud(Cloud::Vertex, path, body),
            Api::Bedrock => Self::cloud(Cloud::Bedrock, path, body),
        }
    }

    fn cloud(cloud: Cloud, path: &str, body: Bytes) -> Result<Self, Problem> {
        cloud::Request::parse(cloud, path, body).map(|request| Request::Cloud(Box::new(request)))
    }

    /// Where the request is served once `edits` are made, as far as that changes the price, and whether that is
    /// certain. `home` is where the endpoint keeps what names no place.
    #[must_use]
    pub fn region(&self, edits: &Edits, home: Region) -> (Region, bool) {
        match self {
            Request::Cloud(request) => (request.region(edits, &home), true),
            Request::Anthropic(_) | Request::OpenAi(_) | Request::Gemini(_) => (home, false),
        }
    }

    /// The model that was asked for.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        each!(self, request => request.model())
    }

    /// The output cap that was asked for, in tokens.
    #[must_use]
    pub fn output_cap(&self) -> Option<u64> {
        match self {
            Request::Anthropic(request) => Some(request.output_cap()),
            Request::Cloud(request) => Some(request.messages().output_cap()),
            Request::OpenAi(request) => request.output_cap(),
            Request::Gemini(request) => request.output_cap(),
        }
    }

    /// The least that the output cap can be lowered to without making the request invalid.
    #[must_use]
    pub fn min_output_cap(&self) -> u64 {
        each!(self, request => request.min_output_cap())
    }

    /// Whether the answer must have a shape (a tool call, a JSON schema), so that it can be neither
    /// steered by a line of text nor replaced by a finished turn.
    #[must_use]
    pub fn forced_shape(&self) -> bool {
        each!(self, request => request.forced_shape())
    }

    /// Whether a note can be added at the end.
    #[must_use]
    pub fn can_take_note(&self) -> bool {
        each!(self, request => request.can_take_note())
    }

    /// Fields, and kinds of content, that this version does not know.
    #[must_use]
    pub fn unknown_fields(&self) -> &[String] {
        each!(self, request => request.unknown_fields())
    }

    /// Betas that the body names, as clouds are told of them, and that this version does not know.
    #[must_use]
    pub fn unknown_betas(&self) -> &[String] {
        match self {
            Request::Anthropic(request) => request.unknown_betas(),
            Request::Cloud(request) => request.messages().unknown_betas(),
            Request::OpenAi(_) | Request::Gemini(_) => &[],
        }
    }

    /// Whether it goes to a cloud that serves another's models.
    #[must_use]
    pub const fn is_to_cloud(&self) -> bool {
        matches!(self, Request::Cloud(_))
    }

    /// Tools that the provider runs itself. One that is not known counts as one of them.
    #[must_use]
    pub fn server_tools(&self) -> &[String] {
        each!(self, request => request.server_tools())
    }

    /// Whether it offers the model any tools.
    #[must_use]
    pub fn offers_tools(&self) -> bool {
        each!(self, request => request.offers_tools())
    }

    /// Whether it has the shape of a sub-agent's request, of an agent whose headers do not tell.
    #[must_use]
    pub fn sub_agent_shape(&self) -> bool {
        match self {
            Request::Gemini(request) => request.sub_agent_shape(),
            Request::Anthropic(_) | Request::OpenAi(_) | Request::Cloud(_) => false,
        }
    }

    /// Refuses what no ceiling holds for, whatever policy says.
    ///
    /// # Errors
    /// [`Problem::Denied`], with the reason.
    pub fn check_tools(&self) -> Result<(), Problem> {
        match self {
            Request::OpenAi(request) => request.check_tools(),
            Request::Gemini(request) => request.check_tools(),
            Request::Anthropic(request) => request.check_tools(),
            Request::Cloud(request) => request.messages().check_tools(),
        }
    }

    /// Whether the request leaves its tier to settings that are not in it, and is sent so.
    #[must_use]
    pub fn leaves_tier_open(&self) -> bool {
        match self {
            Request::OpenAi(request) => request.leaves_tier_open(),
            Request::Anthropic(_) | Request::Gemini(_) | Request::Cloud(_) => false,
        }
    }

    /// The most that the request can use once `edits` are made.
    #[must_use]
    pub fn ceiling(&self, edits: &Edits, limits: &dyn Fn(&ModelId) -> Limits, input: InputBound) -> Ceiling {
        each!(self, request => request.ceiling(edits, limits, input))
    }

    /// The body with `edits` made, and with what metering needs.
    #[must_use]
    pub fn rewrite(&self, edits: &Edits) -> Bytes {
        match self {
            Request::Cloud(request) => request.rewrite(edits),
            other => each!(other, request => request.rewrite(edits)),
        }
    }

    /// The path with `edits` made, where a path names the model.
    #[must_use]
    pub fn path<'a>(&self, path: &'a str, edits: &Edits) -> Cow<'a, str> {
        match self {
            Request::Gemini(request) if edits.model.is_some() => Cow::Owned(request.path(path, edits)),
            Request::OpenAi(_) => edits
                .model
                .as_ref()
                .and_then(|model| openai::path_of(path, model))
                .map_or(Cow::Borrowed(path), Cow::Owned),
            Request::Cloud(request) => request.path(path, edits),
            _ => Cow::Borrowed(path),
        }
    }

    /// The path of the count endpoint that goes with a path of a generation.
    #[must_use]
    pub fn count_path(&self, path: &str, edits: &Edits) -> String {
        match self {
            Request::Anthropic(_) => "/v1/messages/count_tokens".to_owned(),
            Request::OpenAi(_) => openai::count_path(path),
            Request::Gemini(request) => request.count_path(edits),
            Request::Cloud(request) => request.count_path(path, edits),
        }
    }

    /// The body for the count endpoint; `None` where its answer would not bound the request.
    #[must_use]
    pub fn count_body(&self, edits: &Edits) -> Option<Bytes> {
        match self {
            Request::Cloud(request) => request.count_body(edits),
            other => each!(other, request => request.count_body(edits)),
        }
    }

    /// Reads the count endpoint's answer, in tokens.
    #[must_use]
    pub fn parse_count(&self, body: &[u8]) -> Option<u64> {
        match self {
            Request::Anthropic(_) => anthropic::parse_count(body),
            Request::OpenAi(_) => openai::parse_count(body),
            Request::Gemini(_) => gemini::parse_count(body),
            Request::Cloud(request) => request.parse_count(body),
        }
    }

    /// A finished turn with one text and no tool call, in the form that was asked for.
    #[must_use]
    pub fn say_stop(&self, text: &str, id: &str) -> Answer {
        match self {
            Request::Anthropic(request) => anthropic::say_stop(request, text, id),
            Request::OpenAi(request) => openai::say_stop(request, text, id),
            Request::Gemini(request) => gemini::say_stop(request, text, id),
            Request::Cloud(request) => cloud::say_stop(request, text, id),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::super::names_sub_agent;

    #[test]
    fn sub_agents_are_told_by_their_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("x-session-id", HeaderValue::from_static("s"));
        headers.insert("thread-id", HeaderValue::from_static("t"));
        assert!(!names_sub_agent(&headers));
        for name in
            ["X-Claude-Code-Agent-Id", "x-codex-parent-thread-id", "x-openai-subagent", "x-parent-session-id"]
        {
            let mut headers = headers.clone();
            headers.insert(http::HeaderName::try_from(name).expect("a name"), HeaderValue::from_static("a"));
            assert!(names_sub_agent(&headers), "{name}");
        }
    }
}
