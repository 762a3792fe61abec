//! The wire, pure: bytes to [`Usage`] and [`Ceiling`](crate::tokens::Ceiling), what to splice into a
//! request, and how to say stop in an API's own words.
//!
//! Nothing in here does I/O and nothing knows a price. Each API is a module and an arm of [`Api`], of
//! [`Request`] and of [`Reader`]; [`cloud`] is Anthropic's at two other vendors. `scan`, `splice`, `events`,
//! `image`, `tail` and `usage` are what they share.

use bytes::Bytes;
use http::HeaderName;

use crate::tokens::Usage;
use cloud::Cloud;

pub mod anthropic;
pub mod cloud;
pub mod converse;
mod events;
pub mod gemini;
mod image;
pub mod openai;
mod reader;
mod request;
mod scan;
mod splice;
mod tail;
pub mod usage;

pub use crate::model::Vendor;
pub use reader::Reader;
pub use request::Request;

/// An API whose requests the meter understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Responses.
    OpenAiResponses,
    /// OpenAI Chat Completions, which many other servers speak.
    OpenAiChat,
    /// Google's Gemini API.
    Gemini,
    /// Claude on Google Vertex.
    Vertex,
    /// Claude on Amazon Bedrock.
    Bedrock,
}

impl Vendor {
    /// The API that speaks for the vendor where a path says nothing.
    #[must_use]
    pub const fn api(self) -> Api {
        match self {
            Vendor::Anthropic => Api::Anthropic,
            Vendor::OpenAi => Api::OpenAiChat,
            Vendor::Gemini => Api::Gemini,
            Vendor::Vertex => Api::Vertex,
            Vendor::Bedrock => Api::Bedrock,
        }
    }

    /// What a request line is for, and in which API; `None` for anything that is not on the list.
    #[must_use]
    pub fn endpoint(self, method: &str, path: &str) -> Option<(Api, Endpoint)> {
        match self {
            Vendor::Anthropic => anthropic::endpoint(method, path).map(|endpoint| (Api::Anthropic, endpoint)),
            Vendor::OpenAi => openai::endpoint(method, path).map(|(form, endpoint)| match form {
                openai::Form::Responses => (Api::OpenAiResponses, endpoint),
                openai::Form::Chat => (Api::OpenAiChat, endpoint),
            }),
            Vendor::Gemini => gemini::endpoint(method, path).map(|endpoint| (Api::Gemini, endpoint)),
            Vendor::Vertex => cloud::endpoint(Cloud::Vertex, method, path).map(|found| (Api::Vertex, found)),
            Vendor::Bedrock => {
                cloud::endpoint(Cloud::Bedrock, method, path).map(|found| (Api::Bedrock, found))
            }
        }
    }
}

impl Api {
    /// Who it is reached at.
    #[must_use]
    pub const fn vendor(self) -> Vendor {
        match self {
            Api::Anthropic => Vendor::Anthropic,
            Api::OpenAiResponses | Api::OpenAiChat => Vendor::OpenAi,
            Api::Gemini => Vendor::Gemini,
            Api::Vertex => Vendor::Vertex,
            Api::Bedrock => Vendor::Bedrock,
        }
    }

    /// A problem in the API's own error shape.
    #[must_use]
    pub fn say(self, problem: &Problem) -> Answer {
        match self {
            Api::Anthropic => anthropic::say(problem),
            Api::OpenAiResponses => openai::say(openai::Form::Responses, problem),
            Api::OpenAiChat => openai::say(openai::Form::Chat, problem),
            Api::Gemini => gemini::say(problem),
            Api::Vertex => cloud::say(Cloud::Vertex, problem),
            Api::Bedrock => cloud::say(Cloud::Bedrock, problem),
        }
    }
}

/// Headers by which agents mark the requests of a sub-agent: Claude Code's, Codex's, opencode's.
static SUB_AGENT_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("x-claude-code-agent-id"),
    HeaderName::from_static("x-codex-parent-thread-id"),
    HeaderName::from_static("x-openai-subagent"),
    HeaderName::from_static("x-parent-session-id"),
];

/// Whether a request comes from a sub-agent, as far as its headers tell. A client that sends none of these has
/// one thread only, or does not tell.
#[must_use]
pub fn names_sub_agent(headers: &http::HeaderMap) -> bool {
    SUB_AGENT_HEADERS.iter().any(|name| headers.contains_key(name))
}

/// Whether a path segment is a plain model name. No slash, no escape, and no leading dot: nothing that
/// could lead somewhere else.
fn is_model_name(segment: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte);
    !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain)
}

/// What becomes of a request whose answer has a status that is no success, with the body that came.
///
/// Not billed are redirects, 4xx and 529, and other 5xx with an error in an API's own shape, which it gives
/// instead of an answer; but not a time that ran out, which says that work had begun. Another body, such as a
/// gateway's page, says nothing of what happened behind it.
fn ended(status: u16, body: &[u8]) -> Reading {
    if matches!(status, 300..=499 | 529) {
        return Reading::NotBilled;
    }
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    // Gemini puts its error into an array where it was asked for a stream.
    let error = value.get(0).unwrap_or(&value).get("error").is_some_and(serde_json::Value::is_object);
    if error && status != 504 { Reading::NotBilled } else { Reading::Broken { input_side: None } }
}

/// What a path of an API is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A generation, which costs money.
    Generate,
    /// Counting tokens, which is free.
    Count,
    /// The list of models or one of them, which is free.
    Models,
}

/// A whole answer that the meter gives itself, in the API's own shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `content-type` of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// Whether clients are told not to try again (`x-should-retry: false`).
    pub final_word: bool,
}

/// What a response's bytes said of its usage, read to their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The whole usage: the response ended as it should.
    Exact(Usage),
    /// The response broke off. What it had said of its input side by then, if anything; the rest is not
    /// known and counts at its bound.
    Broken {
        /// Usage with the input side as reported and no output.
        input_side: Option<Usage>,
    },
    /// The provider answered with an error before generating: nothing is billed.
    NotBilled,
}

/// Why the meter answers a request with an error of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No or a wrong token.
    Unauthorized,
    /// A path, method or host that is not on the list.
    NotFound(String),
    /// The request cannot be read or bounded; the text says which part and what to write instead.
    Invalid(String),
    /// The policy does not allow it; the text says which rule.
    Denied(String),
    /// The body is larger than the meter takes, in bytes.
    TooLarge {
        /// The most it takes.
        bytes_max: usize,
    },
    /// The cap is reached, in a place where a finished turn cannot be said.
    CapReached(String),
    /// A WebSocket upgrade: the meter speaks plain HTTP.
    UpgradeRequired,
    /// The provider could not be reached, or broke off before its answer began.
    Upstream(String),
}

/// What is known of a request's input before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputBound {
    /// Nothing but the body: its text counts one token a byte.
    Bytes,
    /// What the provider's free count endpoint said.
    Counted {
        /// Its answer, in tokens.
        tokens: u64,
        /// The margin, in tokens, that this run has shown it needs on top of the usual one.
        extra: u64,
    },
}

/// What the meter changes in a request; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Another model than the one that was asked for.
    pub model: Option<crate::model::ModelId>,
    /// A lower output cap, in tokens. One that is not lower than the request's own changes nothing.
    pub output_cap: Option<u64>,
    /// A line for the agent, added at the very end so that the cached prefix stays valid.
    pub note: Option<String>,
}

impl Edits {
    /// Whether the request goes out as it came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Edits::default()
    }
}
